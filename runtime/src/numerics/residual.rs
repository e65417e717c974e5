//! The residual connection.

/// See [`super::Numerics::add`].
#[inline(always)]
pub fn add(states: &mut [f32], delta: &[f32]) {
    assert_eq!(states.len(), delta.len(), "one difference a state");
    for (state, delta) in states.iter_mut().zip(delta) {
        *state += *delta;
    }
}
