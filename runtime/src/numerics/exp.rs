//! The exponential function, base 2, from additions and multiplications alone.
//!
//! Both users (softmax and the logistic function) need arguments of at most 0 only: the softmax subtracts the
//! maximum first, the logistic function can be written with `exp(-|x|)`. A caller that wants `exp(x)` folds
//! `log2(e)` into a factor that it multiplies with anyway.

/// log2(e), for folding into the factor in front of the argument.
pub const LOG2_E: f64 = std::f64::consts::LOG2_E;

/// Arguments below this give 0: beside a sum that is at least 1, such a term is below the last bit of f32.
pub const SMALLEST_EXPONENT: f32 = -40.0;

/// 1.5 * 2^23: a number of magnitude below 2^22 added to it is rounded to an integer, ties to even, which
/// then stands in the low bits of the sum.
const ROUND_MAGIC: f32 = 12_582_912.0;

/// The integer nearest to `x`, ties to even, for magnitudes below 2^22: it stands in the low bits of the sum.
/// `round_ties_even` is a call where there is no SSE4.1.
#[inline(always)]
pub(crate) fn nearest_integer(x: f32) -> i32 {
    ((x + ROUND_MAGIC).to_bits() as i32).wrapping_sub(ROUND_MAGIC.to_bits() as i32)
}

/// Coefficients of (2^f - 1) / f on [-1/2, 1/2], degree 5: interpolation at the six Chebyshev nodes, rounded
/// to f32 (the first is then ln 2). Relative error of 1 + f * p(f) against 2^f, before any rounding of the
/// evaluation: 9.2e-9.
const COEFFICIENTS: [f32; 6] =
    [std::f32::consts::LN_2, 0.240_226_5, 0.055_503_57, 0.009_618_083, 0.001_339_086_3, 0.000_154_531_63];

/// 2^t for t at most 0; exactly 0 for t below -40 and exactly 2^t for integers.
///
/// The largest relative error found is 9.6e-8 (less than one unit in the last place of f32), tested against
/// f64 to stay below 1e-7. A NaN gives a NaN. For t above 0 the result is right up to 127 but no caller needs
/// it.
#[inline(always)]
pub fn exp2(t: f32) -> f32 {
    let shifted = t + ROUND_MAGIC;
    let integer = shifted - ROUND_MAGIC;
    let fraction = t - integer;
    let [c0, c1, c2, c3, c4, c5] = COEFFICIENTS;
    let p = ((((c5 * fraction + c4) * fraction + c3) * fraction + c2) * fraction + c1) * fraction + c0;
    let mantissa = p * fraction + 1.0;
    // `shifted` holds the integer in its low bits; what stands above them is shifted out.
    let exponent = shifted.to_bits().wrapping_add(127) << 23;
    let power = mantissa * f32::from_bits(exponent);
    if t < SMALLEST_EXPONENT { 0.0 } else { power }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_f64_function_everywhere() {
        let mut largest = 0.0f64;
        // Every 97th float between -40 and -2^-30, and so all exponents and all fractions.
        let mut bits = SMALLEST_EXPONENT.to_bits();
        while f32::from_bits(bits) < -1e-9 {
            let t = f32::from_bits(bits);
            let exact = libm::exp2(f64::from(t));
            largest = largest.max((f64::from(exp2(t)) / exact - 1.0).abs());
            bits -= 97;
        }
        assert!(largest < 1e-7, "relative error {largest:e}");
    }

    #[test]
    fn with_log2_e_folded_in_it_is_the_natural_exponential() {
        for i in 0..2700 {
            let x = -f64::from(i) / 100.0;
            // The folded factor is rounded to f32, which costs |x| * 2^-24 of relative error.
            let ours = f64::from(exp2((x * LOG2_E) as f32));
            assert!((ours / libm::exp(x) - 1.0).abs() < 2e-6, "exp({x})");
        }
    }

    #[test]
    fn integers_are_exact_and_the_far_tail_is_zero() {
        for n in 0..=40u32 {
            assert_eq!(exp2(-(n as f32)), 1.0 / (1u64 << n) as f32);
        }
        assert_eq!(exp2(-40.00001), 0.0);
        assert_eq!(exp2(-1e30), 0.0);
        assert_eq!(exp2(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp2(-0.0), 1.0);
        assert!(exp2(f32::NAN).is_nan());
    }
}
