//! RMS normalisation of rows.

use super::reduce::sum_of_squares;

/// A row held an infinite value or a NaN, or values so large that the sum of their squares is infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFinite;

/// See [`super::Numerics::rms_norm`].
#[inline(always)]
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) -> Result<(), NotFinite> {
    assert_eq!(x.len(), weight.len(), "one weight an element");
    assert_eq!(x.len(), out.len(), "one output an element");
    let factor = factor(x, eps)?;
    for ((o, v), w) in out.iter_mut().zip(x).zip(weight) {
        *o = normed(*v, factor, *w);
    }
    Ok(())
}

/// One over the root of the mean square.
#[inline(always)]
pub(super) fn factor(x: &[f32], eps: f32) -> Result<f32, NotFinite> {
    let squares = sum_of_squares(x);
    if !squares.is_finite() {
        return Err(NotFinite);
    }
    Ok(1.0 / (squares / x.len() as f32 + eps).sqrt())
}

/// One value of the result.
#[inline(always)]
pub(super) fn normed(value: f32, factor: f32, weight: f32) -> f32 {
    (value * factor) * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Mean square of (3, -4, 0, 5) is 12.5; with eps 3.5 the root is 4.
        let mut out = [0.0; 4];
        rms_norm(&[3.0, -4.0, 0.0, 5.0], &[1.0, 2.0, 7.0, -0.5], 3.5, &mut out).unwrap();
        assert_eq!(out, [0.75, -2.0, 0.0, -0.625]);
    }

    #[test]
    fn overflow_of_the_squares_is_an_error_not_a_row_of_zeros() {
        assert_eq!(rms_norm(&[1e30, 1.0], &[1.0, 1.0], 1e-5, &mut [0.0; 2]), Err(NotFinite));
    }
}
