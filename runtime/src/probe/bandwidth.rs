//! The read bandwidth of memory: the best of several ways to read it, for whatever reads fastest is what a kernel could have
//! done.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::readers::{self, GRANULE, Reader};
use super::samples::{Rate, Samples};
use crate::shares::Shares;
use crate::team::Team;

/// Bytes that a member of a team reads before it looks what is left of its part.
const PIECE: usize = 256 << 10;

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Bandwidth {
    /// Bytes a second of all members together: the samples of the variant of the greatest median, and the best sample of
    /// any variant.
    pub rate: Rate,
    /// The variant of the greatest median.
    pub variant: String,
    /// Every variant that this CPU has, with its bytes a second.
    pub all: Vec<(String, Rate)>,
}

/// A probe of the read bandwidth that takes one sample after the other.
///
/// In each sample every variant reads a window of the memory: each member of the team its own contiguous part, started
/// together; one that is done helps at the far end of another's part, as in the products of a model. The time is that until
/// the last is done.
#[derive(Debug)]
pub struct ReadProbe<'m> {
    windows: Vec<&'m [u8]>,
    /// The window that is read next: the one that was read the longest ago.
    next: usize,
    variants: Vec<(Reader, Samples)>,
}

impl<'m> ReadProbe<'m> {
    /// A probe that goes through `memory` in windows of `window` bytes. The memory has to be larger than any cache, so
    /// that a window is in none when its turn comes again: see [`MEMORY`](super::MEMORY) and [`WINDOW`](super::WINDOW).
    ///
    /// # Panics
    /// If the memory does not hold a window, or a window is no multiple of 4 KiB.
    pub fn new(memory: &'m [u8], window: usize) -> Self {
        assert!(
            window > 0 && window.is_multiple_of(GRANULE),
            "windows of whole {GRANULE} bytes, not {window}"
        );
        let windows: Vec<&[u8]> = memory.chunks_exact(window).collect();
        assert!(!windows.is_empty(), "{} bytes hold no window of {window}", memory.len());
        let variants = readers::available().into_iter().map(|reader| (reader, Samples::default())).collect();
        ReadProbe { windows, next: 0, variants }
    }

    /// Takes a sample of every variant.
    pub fn sample(&mut self, team: &Team<'_>) {
        for (reader, samples) in &mut self.variants {
            let window = self.windows[self.next];
            self.next = (self.next + 1) % self.windows.len();
            let start = Instant::now();
            black_box(read(team, reader, black_box(window)));
            samples.push(window.len() as f64 / start.elapsed().as_secs_f64().max(1e-9));
        }
    }

    /// The variant of the greatest median.
    fn fastest(&self) -> &(Reader, Samples) {
        let median = |(_, samples): &&(Reader, Samples)| samples.rate().median;
        self.variants
            .iter()
            .max_by(|a, b| median(a).total_cmp(&median(b)))
            .expect("every CPU reads in the portable way")
    }

    /// The samples of the variant of the greatest median, to hold others against: see [`Samples::of`].
    pub fn samples(&self) -> &Samples {
        &self.fastest().1
    }

    /// What the samples so far say.
    pub fn bandwidth(&self) -> Bandwidth {
        let all: Vec<(String, Rate)> =
            self.variants.iter().map(|(reader, samples)| (reader.name.clone(), samples.rate())).collect();
        let (reader, samples) = self.fastest();
        let mut rate = samples.rate();
        rate.best = all.iter().map(|(_, rate)| rate.best).fold(rate.best, f64::max);
        Bandwidth { rate, variant: reader.name.clone(), all }
    }
}

/// Reads a window of whole granules on all members; the sum of its words modulo 2^64.
fn read(team: &Team<'_>, reader: &Reader, window: &[u8]) -> u64 {
    let shares = Shares::new(window.len() / GRANULE, team.size(), PIECE / GRANULE);
    let sum = AtomicU64::new(0);
    team.run(|member| {
        let mut own = 0u64;
        while let Some(granules) = shares.claim(member) {
            let piece = &window[granules.start * GRANULE..granules.end * GRANULE];
            own = own.wrapping_add(reader.sum(piece));
        }
        sum.fetch_add(own, Ordering::Relaxed);
    });
    sum.into_inner()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;

    /// Every variant must have read everything once, however many members there are: all return the sum of the words.
    #[test]
    fn variants_and_teams_agree_on_the_sum() {
        let window: Vec<u8> = (0..37 * GRANULE).map(|i| ((i * i) >> 3) as u8).collect();
        let words = window.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        let expected = words.fold(0u64, u64::wrapping_add);
        for reader in readers::available() {
            for threads in 1..=3 {
                let engine = Engine::with_threads(threads).unwrap();
                let sum = engine.region(|team| read(team, &reader, &window));
                assert_eq!(sum, expected, "{}, {threads} threads", reader.name);
            }
        }
    }

    #[test]
    fn the_variant_of_the_greatest_median_counts() {
        let memory = vec![1; 16 * GRANULE];
        let mut probe = ReadProbe::new(&memory, 4 * GRANULE);
        (0..5).for_each(|_| probe.sample(&Team::solo()));
        let bandwidth = probe.bandwidth();
        assert!(bandwidth.rate.worst > 0.0 && bandwidth.all.len() >= 2);
        for (name, rate) in &bandwidth.all {
            assert!(rate.median <= bandwidth.rate.median && rate.best <= bandwidth.rate.best);
            assert!(*name != bandwidth.variant || rate.median == bandwidth.rate.median);
        }
    }
}
