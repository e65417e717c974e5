//! Q4_0: an f16 scale, then 16 bytes. Byte `j` holds weight `j` in its low and weight `j + 16` in its high four bits, as the
//! code `q` of `scale * (q - 8)`.

use half::f16;

use super::{Block, inverse, largest, read_f16};

pub(super) struct Q4_0;

/// Weights in the low four bits, and as many in the high ones.
const HALF: usize = 16;

impl Block for Q4_0 {
    const WEIGHTS: usize = 2 * HALF;
    const BYTES: usize = 2 + HALF;

    fn dequantize(block: &[u8], weights: &mut [f32]) {
        let scale = read_f16(block);
        let (low, high) = weights.split_at_mut(HALF);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(&block[2..]) {
            *low = scale * (i32::from(byte & 15) - 8) as f32;
            *high = scale * (i32::from(byte >> 4) - 8) as f32;
        }
    }

    /// The largest weight becomes -8, whatever its sign; codes are rounded half up.
    fn quantize(weights: &[f32], block: &mut [u8]) {
        let scale = largest(weights) / -8.0;
        let inverse = inverse(scale);
        // Never below 0: no weight is less than -8 scales, but for rounding.
        let code = |weight: f32| (weight * inverse + 8.5).min(15.0) as u8;
        block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
        let (low, high) = weights.split_at(HALF);
        for ((byte, low), high) in block[2..].iter_mut().zip(low).zip(high) {
            *byte = code(*low) | code(*high) << 4;
        }
    }
}
