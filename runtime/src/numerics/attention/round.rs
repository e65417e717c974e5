//! Rounding to fewer significant bits.
//!
//! A KV cache in f16 or int8 is read by loops that multiply operands whose significands have at most 24 bits together. Such
//! a product is exact, so that a CPU with a fused multiply-add may use it and get the same bits.

use crate::numerics::kv_block::KvType;

/// Magnitudes below this count as zero: products of what is above it, in f16 or int8, are normal numbers.
pub const SMALLEST: f32 = f32::from_bits((127 - 60) << 23);

/// Significant bits of a factor whose products with what the cache holds are exact; 24 where they need not be.
pub const fn factor_bits(kv_type: KvType) -> u32 {
    match kv_type {
        KvType::F32 => 24,
        KvType::F16 => 24 - 11,
        KvType::Int8 => 24 - 8,
    }
}

/// Whether products with keys and values of a type are exact, the other factor being rounded.
pub const fn is_exact(kv_type: KvType) -> bool {
    factor_bits(kv_type) < 24
}

/// The largest factor of so many bits whose products with what the cache holds are all finite: 65504 is the largest f16, 127
/// the largest code. Beyond it a multiplication overflows, a fused multiply-add perhaps not.
const fn largest_factor(kv_type: KvType) -> f32 {
    match kv_type {
        KvType::F32 => f32::INFINITY,
        // 4098 * 2^100
        KvType::F16 => f32::from_bits((127 + 112) << 23 | (4098 - (1 << 12)) << 11),
        // 33026 * 2^106
        KvType::Int8 => f32::from_bits((127 + 121) << 23 | (33_026 - (1 << 15)) << 8),
    }
}

/// `x` rounded to `bits` significant bits, at most 24, halves away from zero.
#[inline(always)]
pub fn nearest(x: f32, bits: u32) -> f32 {
    let last_place = 1u32 << (24 - bits);
    // A carry out of the fraction raises the exponent, as it should.
    f32::from_bits(x.to_bits().wrapping_add(last_place >> 1) & !(last_place - 1))
}

/// The same; 0 where it is below [`SMALLEST`].
#[inline(always)]
fn round(x: f32, bits: u32) -> f32 {
    let rounded = nearest(x, bits);
    if rounded.abs() < SMALLEST { 0.0 } else { rounded }
}

/// Queries as factors of keys, rounded where products with these are to be exact. Queries that are too large for that become
/// infinite, and so do their scores, or not a number.
#[inline(always)]
pub fn round_queries(queries: &[f32], factors: &mut [f32], kv_type: KvType) {
    let (bits, largest) = (factor_bits(kv_type), largest_factor(kv_type));
    if !is_exact(kv_type) {
        return factors.copy_from_slice(queries);
    }
    for (factor, query) in factors.iter_mut().zip(queries) {
        let rounded = round(*query, bits);
        *factor = if rounded.abs() > largest { rounded * f32::INFINITY } else { rounded };
    }
}

/// Rounds weights of the softmax, which are at most 1, times the scales of values to factors of values. (Without scales
/// [`nearest`] does: a weight is 0 or far above [`SMALLEST`].)
/// What is rounded up to too large a factor is rounded down: the scale of an f32 is not larger.
#[inline(always)]
pub fn round_weights(weights: &mut [f32], kv_type: KvType) {
    let (bits, largest) = (factor_bits(kv_type), largest_factor(kv_type));
    if is_exact(kv_type) {
        for weight in weights {
            let rounded = round(*weight, bits);
            *weight = if rounded > largest { largest } else { rounded };
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
        let all = [1.0 + 0.5f32.powi(23), f32::from_bits(1)];
        let mut factors = [0.0; 2];
        round_queries(&all, &mut factors, KvType::F32);
        assert_eq!(factors, all);
        assert_eq!(all.map(|x| nearest(x, factor_bits(KvType::F32))), all);
        round_weights(&mut factors, KvType::F32);
        assert_eq!(factors, all);
        assert_eq!(round(SMALLEST, 13), SMALLEST);
        assert_eq!(round(SMALLEST * 0.9, 13), 0.0);
        assert_eq!(round(f32::from_bits(1), 16), 0.0);
        assert!(round(f32::NAN, 13).is_nan());
        assert_eq!(round(f32::INFINITY, 13), f32::INFINITY);
    }

    #[test]
    fn products_are_finite_up_to_the_largest_factor_and_no_further() {
        for (kv_type, most) in [(KvType::F16, 65504.0), (KvType::Int8, 127.0)] {
            let largest = largest_factor(kv_type);
            assert_eq!(round(largest, factor_bits(kv_type)), largest);
            assert!((largest * most).is_finite());
            let next = f32::from_bits(largest.to_bits() + (1 << (24 - factor_bits(kv_type))));
            assert!((next * most).is_infinite());
            let queries = [largest, -largest, next, -next, f32::MAX, f32::INFINITY];
            let mut factors = [0.0; 6];
            round_queries(&queries, &mut factors, kv_type);
            let (inf, minus) = (f32::INFINITY, f32::NEG_INFINITY);
            assert_eq!(factors, [largest, -largest, inf, minus, inf, inf]);
            let mut weights = [1.0, largest, next];
            round_weights(&mut weights, kv_type);
            assert_eq!(weights, [1.0, largest, largest]);
        }
        // The scale of the largest values.
        let mut scale = [f32::MAX / 127.0];
        round_weights(&mut scale, KvType::Int8);
        assert_eq!(scale, [largest_factor(KvType::Int8)]);
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
