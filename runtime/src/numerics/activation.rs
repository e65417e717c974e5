//! The gate of the feed-forward network: `gate = act(gate) * up`, element by element.

use super::exp::{LOG2_E, exp2};

/// See [`super::Numerics::relu2_gate`].
#[inline(always)]
pub fn relu2_gate(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "one gate a value");
    for (g, u) in gate.iter_mut().zip(up) {
        // This way round a NaN stays one.
        let positive = if *g < 0.0 { 0.0 } else { *g };
        *g = (positive * positive) * *u;
    }
}

/// See [`super::Numerics::silu_gate`].
#[inline(always)]
pub fn silu_gate(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "one gate a value");
    for (g, u) in gate.iter_mut().zip(up) {
        *g = silu(*g) * *u;
    }
}

/// Absolute error below 4e-7 * |x|, and below 3e-11 where the exponential is cut off (x < -27.7).
#[inline(always)]
fn silu(x: f32) -> f32 {
    // The argument of the exponential is never positive, so it cannot overflow.
    let e = exp2(-x.abs() * (LOG2_E as f32));
    let numerator = if x < 0.0 { e } else { 1.0 };
    x * (numerator / (1.0 + e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relu2_by_hand() {
        let mut gate = [3.0, -3.0, 0.5, 0.0];
        relu2_gate(&mut gate, &[2.0, 5.0, -4.0, 7.0]);
        assert_eq!(gate, [18.0, 0.0, -1.0, 0.0]);
        let mut nan = [f32::NAN];
        relu2_gate(&mut nan, &[1.0]);
        assert!(nan[0].is_nan());
    }

    #[test]
    fn silu_against_f64() {
        for i in -4000..=4000 {
            let x = i as f32 / 50.0;
            let exact = f64::from(x) / (1.0 + libm::exp(-f64::from(x)));
            let mut gate = [x];
            silu_gate(&mut gate, &[1.0]);
            let error = (f64::from(gate[0]) - exact).abs();
            assert!(error <= 4e-7 * f64::from(x.abs()) + 1e-30, "silu({x}): {} is not {exact}", gate[0]);
        }
        let mut gate = [f32::MIN, f32::NAN];
        silu_gate(&mut gate, &[1.0, 1.0]);
        assert_eq!(gate[0], 0.0);
        assert!(gate[1].is_nan());
    }
}
