//! Rounding to fewer significant bits.
//!
//! A KV cache in f16 or int8 is read by loops that multiply operands whose significands have at most 24 bits together. Such
//! a product is exact, so that a CPU with a fused multiply-add may use it and get the same bits.

use crate::numerics::kv_block::KvType;

/// Magnitudes below this count as zero: products of what is above it, in f16 or int8, are normal numbers.
pub const SMALLEST: f32 = f32::from_bits((127 - 60) << 23);

/// Magnitudes from here on count as infinite: of what is below, a product with what a cache holds is finite by itself, as
/// it is between the two steps of a fused multiply-add.
pub const LARGEST: f32 = f32::from_bits((127 + 111) << 23);

/// Significant bits of a factor whose products with what the cache holds are exact; 24 where they need not be.
pub const fn factor_bits(kv_type: KvType) -> u32 {
    match kv_type {
        KvType::F32 => 24,
        KvType::F16 => 24 - 11,
        KvType::Int8 => 24 - 8,
    }
}

/// `x` rounded to `bits` significant bits, fewer than 24, halves away from zero; 0 where it is below [`SMALLEST`], infinite
/// from [`LARGEST`] on.
#[inline(always)]
fn round(x: f32, bits: u32) -> f32 {
    let half = 1u32 << (23 - bits);
    // A carry out of the fraction raises the exponent, as it should.
    let rounded = f32::from_bits(x.to_bits().wrapping_add(half) & !(2 * half - 1));
    let magnitude = rounded.abs();
    if magnitude < SMALLEST {
        0.0
    } else if magnitude >= LARGEST {
        rounded * f32::INFINITY
    } else {
        rounded
    }
}

/// Rounds factors to `bits` significant bits; 24 leave them as they are.
#[inline(always)]
pub fn round_all(factors: &mut [f32], bits: u32) {
    if bits < 24 {
        for factor in factors {
            *factor = round(*factor, bits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_number_of_so_many_bits() {
        assert_eq!(round(1.0 + 0.5f32.powi(12), 13), 1.0 + 0.5f32.powi(12));
        // Half of the last place, a little less, and what carries into the exponent.
        assert_eq!(round(1.0 + 0.5f32.powi(13), 13), 1.0 + 0.5f32.powi(12));
        assert_eq!(round(-1.0 - 0.5f32.powi(13), 13), -1.0 - 0.5f32.powi(12));
        assert_eq!(round(1.0 + 0.5f32.powi(14), 13), 1.0);
        assert_eq!(round(2.0 - 0.5f32.powi(20), 13), 2.0);
        let mut all = [1.0 + 0.5f32.powi(23), f32::from_bits(1)];
        round_all(&mut all, 24);
        assert_eq!(all, [1.0 + 0.5f32.powi(23), f32::from_bits(1)]);
        assert_eq!(round(SMALLEST, 13), SMALLEST);
        assert_eq!(round(SMALLEST * 0.9, 13), 0.0);
        assert_eq!(round(f32::from_bits(1), 16), 0.0);
        assert!(round(f32::NAN, 13).is_nan());
        assert_eq!(round(f32::INFINITY, 13), f32::INFINITY);
        assert_eq!(round(LARGEST, 13), f32::INFINITY);
        assert_eq!(round(-f32::MAX, 16), f32::NEG_INFINITY);
        // A neighbour below stays itself.
        let below = LARGEST * (1.0 - 0.5f32.powi(13));
        assert_eq!(round(below, 13), below);
    }

    #[test]
    fn products_with_what_a_cache_holds_are_exact() {
        let mut state = 1u32;
        for _ in 0..100_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let x = f32::from_bits(state & 0x807f_ffff | (100 + (state >> 23) % 60) << 23);
            let exact = |a: f32, b: f32| f64::from(a * b) == f64::from(a) * f64::from(b);
            let half = half::f16::from_bits((state >> 9) as u16 & 0xbfff | 0x0400).to_f32();
            assert!(exact(round(x, factor_bits(KvType::F16)), half), "{x:e}, {half}");
            let code = f32::from((state >> 11) as i8);
            assert!(exact(round(x, factor_bits(KvType::Int8)), code), "{x:e}, {code}");
        }
    }
}
