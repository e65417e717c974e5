//! Random values that are the same in every run and on every machine.

use rand_core::Rng;
use rand_pcg::Pcg32;

/// A seeded source of trits, activations and raw bits.
pub struct Random(Pcg32);

impl Random {
    /// The source of a seed.
    pub fn new(seed: u64) -> Self {
        Random(Pcg32::new(seed, 0x0a02_bdbf_7bb3_c0a7))
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Trits: -1, 0 and +1 alike often.
    pub fn trits(&mut self, len: usize) -> Vec<i8> {
        (0..len).map(|_| (self.bits() % 3) as i8 - 1).collect()
    }

    /// Activations: every value from -128 to 127 alike often.
    pub fn acts(&mut self, len: usize) -> Vec<i8> {
        (0..len).map(|_| self.bits() as i8).collect()
    }
}
