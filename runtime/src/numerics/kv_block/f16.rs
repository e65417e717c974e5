//! f32 to f16 in integer operations, which every instruction set has. Subnormal f16 are zeros here.

/// Largest f16.
pub const F16_MAX: f32 = 65504.0;

/// Exponent bits of f32 that f16 does not have: the difference of the biases.
const BIAS: u32 = 127 - 15;

/// Bits of the fraction of f32 that f16 does not have.
const FRACTION: u32 = 23 - 10;

/// Magnitudes from here on, as [`f16_magnitude`] gives them, are beyond the largest f16, infinite or not a number.
pub const INFINITE: u32 = (BIAS + 31) << 10;

/// The magnitude of `x` rounded to the fraction of f16, ties to even, with the exponent bits of f32.
#[inline(always)]
pub fn f16_magnitude(x: f32) -> u32 {
    let magnitude = x.to_bits() & 0x7fff_ffff;
    let odd = magnitude >> FRACTION & 1;
    // A carry out of the fraction raises the exponent, as it should.
    (magnitude + (1 << (FRACTION - 1)) - 1 + odd) >> FRACTION
}

/// The f16 of the sign of `x` and a rounded magnitude below [`INFINITE`]; subnormal ones are zero.
#[inline(always)]
pub fn f16_bits(x: f32, magnitude: u32) -> u16 {
    const SMALLEST: u32 = (BIAS + 1) << 10;
    let normal = if magnitude >= SMALLEST { magnitude.wrapping_sub(BIAS << 10) } else { 0 };
    (x.to_bits() >> 16 & 0x8000 | normal) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_normal_f16_is_itself_and_others_round_as_the_half_crate_does() {
        let f16_from_f32 = |x: f32| {
            let magnitude = f16_magnitude(x);
            (f16_bits(x, magnitude), magnitude < INFINITE)
        };
        for bits in 0..=u16::MAX {
            let half = half::f16::from_bits(bits);
            let exponent = bits >> 10 & 31;
            let (found, fits) = f16_from_f32(half.to_f32());
            assert_eq!(fits, exponent < 31, "{bits:#x}");
            if exponent == 0 {
                assert_eq!(found, bits & 0x8000, "{bits:#x}");
            } else if fits {
                assert_eq!(found, bits);
            }
        }
        for bits in (0..=u32::MAX).step_by(4099) {
            let x = f32::from_bits(bits);
            let (found, fits) = f16_from_f32(x);
            assert_eq!(fits, x.abs() < 65520.0, "{x:e}");
            let expected = half::f16::from_f32(x);
            if fits && expected.to_f32().abs() > 6.2e-5 {
                assert_eq!(found, expected.to_bits(), "{x:e}");
            }
        }
        assert_eq!(f16_from_f32(65519.996), (0x7bff, true));
    }
}
