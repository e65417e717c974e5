//! Q6_K: 256 weights in 16 groups of 16, each `d * factor * (q - 32)` with a code `q` of six bits, an int8 factor of the
//! group and an f16 `d` of the block.
//!
//! The bytes are 128 with the low four bits of the codes, 64 with their high two bits, 16 factors, d. Each half of 128
//! weights has its own 64 and 32 bytes: of weight `32 k + l` of a half (`k` below 4, `l` below 32), the low bits lie in byte
//! `l + 32 (k mod 2)`, in its low nibble for `k` below 2 and else in the high one, and the high bits in byte `l` from bit
//! `2 k` on.

use half::f16;

use super::{Block, largest, read_f16};

pub(super) struct Q6K;

const GROUP: usize = 16;
const GROUPS: usize = 16;
/// Where the high bits, the factors and d begin.
const HIGH: usize = 128;
const FACTORS: usize = HIGH + 64;
const SCALE: usize = FACTORS + GROUPS;

/// Codes stand for -32 to 31.
const OFFSET: i32 = 32;

/// A block of magnitudes below this is stored as zeros.
const LEAST: f32 = 1e-15;

/// Byte and shift of the low bits of a weight, and of its high bits.
const fn places(weight: usize) -> ((usize, u32), (usize, u32)) {
    let (half, k, l) = (weight / 128, weight % 128 / 32, weight % 32);
    let low = (64 * half + 32 * (k % 2) + l, 4 * (k / 2) as u32);
    let high = (HIGH + 32 * half + l, 2 * k as u32);
    (low, high)
}

impl Block for Q6K {
    const WEIGHTS: usize = GROUPS * GROUP;
    const BYTES: usize = SCALE + 2;

    fn dequantize(block: &[u8], weights: &mut [f32]) {
        let scale = read_f16(&block[SCALE..]);
        for (index, weight) in weights.iter_mut().enumerate() {
            let ((low, low_shift), (high, high_shift)) = places(index);
            let code =
                i32::from(block[low] >> low_shift & 15) | i32::from(block[high] >> high_shift & 3) << 4;
            let factor = f32::from(block[FACTORS + index / GROUP] as i8);
            *weight = scale * factor * (code - OFFSET) as f32;
        }
    }

    /// Each group gets the scale that [`best_scale`] finds; d is such that the largest of these is -128 times it; codes are
    /// rounded half to even, by the rounded scales.
    fn quantize(weights: &[f32], block: &mut [u8]) {
        block.fill(0);
        let mut scales = [0.0; GROUPS];
        for (scale, group) in scales.iter_mut().zip(weights.chunks_exact(GROUP)) {
            *scale = best_scale(group);
        }
        // What is too large for f32 sums is too large for f16 scales.
        let most =
            if scales.iter().all(|scale| scale.is_finite()) { largest(&scales) } else { f32::INFINITY };
        if most.abs() < LEAST {
            return;
        }
        let inverse = -128.0 / most;
        let d = f16::from_f32(1.0 / inverse);
        block[SCALE..].copy_from_slice(&d.to_le_bytes());
        let factors = scales.map(|scale| (inverse * scale).round_ties_even().min(127.0) as i8);
        for (index, weight) in weights.iter().enumerate() {
            let factor = factors[index / GROUP];
            block[FACTORS + index / GROUP] = factor as u8;
            let step = d.to_f32() * f32::from(factor);
            // A group that came to nothing has no codes that could tell.
            let code = if step == 0.0 { 0 } else { nearest(weight / step) + OFFSET };
            let ((low, low_shift), (high, high_shift)) = places(index);
            block[low] |= (code as u8 & 15) << low_shift;
            block[high] |= (code as u8 >> 4) << high_shift;
        }
    }
}

/// The integer that a code can stand for next to `ratio`, ties to even; 0 for a NaN.
fn nearest(ratio: f32) -> i32 {
    // 1.5 * 2^23, whose neighbours are 1 apart: adding it rounds. `round_ties_even` is a call where there is no SSE4.1.
    const ROUNDER: f32 = 12_582_912.0;
    let inside = ratio.clamp(-OFFSET as f32, (OFFSET - 1) as f32);
    ((inside + ROUNDER) - ROUNDER) as i32
}

/// The scale by which integers of -32 to 31 come nearest to the weights of a group, errors being weighted by the squares
/// of the weights: the best of 19 ways to map the largest weight to about -32, each with the scale of least squares. 0 for
/// a group of nothing.
fn best_scale(group: &[f32]) -> f32 {
    let most = largest(group);
    if most.abs() < LEAST {
        return 0.0;
    }
    // With integers l, the scale of least squares is xl / ll, and takes away xl^2 / ll from the error.
    let sums = |inverse: f32| {
        group.iter().fold((0.0f32, 0.0f32), |(xl, ll), &x| {
            let l = nearest(inverse * x) as f32;
            let weight = x * x;
            (xl + weight * x * l, ll + weight * l * l)
        })
    };
    let scale_of = |(xl, ll): (f32, f32)| if ll > 0.0 { xl / ll } else { 0.0 };
    let first = sums(-(OFFSET as f32) / most);
    let mut scale = scale_of(first);
    let mut best = scale * first.0;
    for trial in (-9..=9).filter(|&trial| trial != 0) {
        let (xl, ll) = sums(-(OFFSET as f32 + 0.1 * trial as f32) / most);
        if ll > 0.0 && xl * xl > best * ll {
            scale = scale_of((xl, ll));
            best = scale * xl;
        }
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn halves_go_to_the_even_and_the_ends_are_closed() {
        for eighths in -400..400 {
            let ratio = eighths as f32 / 8.0;
            assert_eq!(nearest(ratio), (ratio.round_ties_even() as i32).clamp(-32, 31), "{ratio}");
        }
        assert_eq!([f32::MAX, f32::INFINITY, f32::MIN, f32::NAN].map(nearest), [31, 31, -32, 0]);
    }
}
