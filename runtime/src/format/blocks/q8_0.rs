//! Q8_0: an f16 scale, then 32 signed bytes; a weight is their product.

use half::f16;

use super::{Block, inverse, largest, read_f16};

pub(super) struct Q8_0;

impl Block for Q8_0 {
    const WEIGHTS: usize = 32;
    const BYTES: usize = 2 + 32;

    fn dequantize(block: &[u8], weights: &mut [f32]) {
        let scale = read_f16(block);
        for (weight, byte) in weights.iter_mut().zip(&block[2..]) {
            *weight = scale * f32::from(*byte as i8);
        }
    }

    /// The largest magnitude becomes 127; codes are rounded half away from zero, by the scale as it was before it was
    /// rounded to f16.
    fn quantize(weights: &[f32], block: &mut [u8]) {
        let scale = largest(weights).abs() / 127.0;
        let inverse = inverse(scale);
        block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
        for (byte, weight) in block[2..].iter_mut().zip(weights) {
            *byte = (weight * inverse).round() as i8 as u8;
        }
    }
}
