//! Random trits and floats that are the same on every machine.

use rand_core::Rng as _;
use rand_pcg::Pcg64;

/// Of 65536 equally likely draws, those that give -1, and as many that give +1: 28.9 per cent each, which is
/// how often the signs occur in BitNet b1.58 2B-4T. The remaining 42.2 per cent are zero.
const SIGN_DRAWS: u16 = 18940;

/// Share of the weights that are not zero.
pub(super) const NONZERO_SHARE: f64 = 2.0 * SIGN_DRAWS as f64 / 65536.0;

/// A seeded source.
pub(super) struct Random(Pcg64);

impl Random {
    /// The source of tensor number `stream`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self(Pcg64::new(u128::from(seed), u128::from(stream)))
    }

    /// Four independent draws of 16 bits.
    fn quarters(&mut self) -> [u16; 4] {
        let bits = self.0.next_u64();
        [bits as u16, (bits >> 16) as u16, (bits >> 32) as u16, (bits >> 48) as u16]
    }

    /// Fills `trits` with -1, 0 and +1.
    pub(super) fn fill_trits(&mut self, trits: &mut [i8]) {
        for four in trits.chunks_mut(4) {
            for (trit, draw) in four.iter_mut().zip(self.quarters()) {
                *trit = i8::from(draw >= u16::MAX - SIGN_DRAWS + 1) - i8::from(draw < SIGN_DRAWS);
            }
        }
    }

    /// Fills `values` with draws around `mean`, in a bell that ends at 3.46 times `deviation`: the sum of four
    /// even draws, whose variance is 4 (2^32 - 1) / 12.
    pub(super) fn fill_normal(&mut self, mean: f32, deviation: f32, values: &mut [f32]) {
        let unit = deviation / (f64::from(u32::MAX) / 3.0).sqrt() as f32;
        for value in values {
            let sum: i32 = self.quarters().into_iter().map(i32::from).sum();
            *value = mean + (sum - 2 * i32::from(u16::MAX)) as f32 * unit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trits_come_in_their_proportions_and_are_independent_of_their_neighbours() {
        const COUNT: usize = 1 << 20;
        let mut trits = vec![9; COUNT];
        Random::new(7, 3).fill_trits(&mut trits);
        let share = |count: usize| count as f64 / COUNT as f64;
        // Five standard deviations of a share of a million draws are below 0.0025.
        for (trit, expected) in [(-1, 0.289), (0, 0.422), (1, 0.289)] {
            let found = share(trits.iter().filter(|&&t| t == trit).count());
            assert!((found - expected).abs() < 0.0025, "{trit}: {found}");
        }
        for distance in [1, 2, 3, 4, 128] {
            let alike = trits.iter().zip(&trits[distance..]).filter(|(a, b)| a == b).count();
            let expected = 2.0 * 0.289 * 0.289 + 0.422 * 0.422;
            assert!((share(alike) - expected).abs() < 0.0025, "distance {distance}");
        }
    }

    #[test]
    fn bells_have_their_mean_and_deviation() {
        const COUNT: usize = 1 << 18;
        let mut values = vec![f32::NAN; COUNT];
        Random::new(7, 3).fill_normal(1.0, 0.25, &mut values);
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / COUNT as f64;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / COUNT as f64;
        assert!((mean - 1.0).abs() < 0.003, "{mean}");
        assert!((variance.sqrt() - 0.25).abs() < 0.003, "{variance}");
        let largest = values.iter().map(|v| (v - 1.0).abs()).fold(0.0, f32::max);
        assert!(largest > 0.7 && largest < 0.87, "{largest}");
    }

    #[test]
    fn seeds_and_streams_differ() {
        let trits = |seed, stream| {
            let mut trits = [0; 64];
            Random::new(seed, stream).fill_trits(&mut trits);
            trits
        };
        assert_eq!(trits(1, 1), trits(1, 1));
        assert_ne!(trits(1, 1), trits(2, 1));
        assert_ne!(trits(1, 1), trits(1, 2));
    }
}
