//! Random weights, the same ones everywhere.

use rand_core::Rng;
use rand_pcg::Pcg64;

/// Of 65,536 draws so many are -1, and as many +1: 28.9 per cent, as in BitNet b1.58 2B-4T.
const SIGNED: u16 = 18_940;
/// One over the standard deviation of the sum of four bytes: each has a variance of (256^2 - 1) / 12.
const BELL_SCALE: f32 = 1.0 / 147.800_54;

/// The stream of one tensor.
pub(super) struct Random(Pcg64);

impl Random {
    pub fn new(seed: u64, tensor: u64) -> Self {
        Random(Pcg64::new(seed.into(), tensor.into()))
    }

    /// Fills `trits` with -1, 0 and +1, four of a draw.
    pub fn fill_trits(&mut self, trits: &mut [i8]) {
        for four in trits.chunks_mut(4) {
            let draw = self.0.next_u64();
            for (i, trit) in four.iter_mut().enumerate() {
                let part = (draw >> (16 * i)) as u16;
                *trit = i8::from(part >= u16::MAX - SIGNED + 1) - i8::from(part < SIGNED);
            }
        }
    }

    /// A value with mean 0 and variance 1 from a bell-shaped distribution, the sum of four uniform ones.
    pub fn bell(&mut self) -> f32 {
        let sum: i32 = self.0.next_u32().to_le_bytes().into_iter().map(i32::from).sum();
        (sum - 510) as f32 * BELL_SCALE
    }
}
