//! The read bandwidth of one thread: the best of several ways to read, for whatever reads fastest is what a kernel
//! could have done.

use std::hint::black_box;
use std::time::Instant;

/// One way to read all of a buffer; the sum keeps the reads from being left out.
struct Variant {
    name: &'static str,
    available: bool,
    read: fn(&[u8]) -> u64,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Bandwidth {
    /// Bytes a second of the best variant.
    pub bytes_per_second: f64,
    /// Which variant it was.
    pub variant: &'static str,
    /// Every variant that this CPU has, with its bytes a second.
    pub all: Vec<(&'static str, f64)>,
}

/// Bytes that are timed at a time: about what a kernel reads in a sample, so that both have the same chance of a moment in
/// which the machine's other users are quiet.
const WINDOW: usize = 16 << 20;

/// Reads `buffer` `rounds` times with each variant; the best window of the best variant counts. The buffer has to be
/// larger than any cache: then a window is in none when its turn comes again.
pub fn read_bandwidth(buffer: &[u8], rounds: usize) -> Bandwidth {
    let mut all = Vec::new();
    for variant in variants().into_iter().filter(|variant| variant.available) {
        let windows = (0..rounds.max(1)).flat_map(|_| buffer.chunks(WINDOW));
        let rates = windows.map(|window| {
            let start = Instant::now();
            black_box((variant.read)(black_box(window)));
            window.len() as f64 / start.elapsed().as_secs_f64().max(1e-9)
        });
        all.push((variant.name, rates.fold(0.0, f64::max)));
    }
    let (variant, bytes_per_second) =
        all.iter().copied().fold(("none", 0.0), |best, one| if one.1 > best.1 { one } else { best });
    Bandwidth { bytes_per_second, variant, all }
}

fn variants() -> Vec<Variant> {
    let portable = [
        Variant { name: "words", available: true, read: sum_words },
        Variant { name: "four streams", available: true, read: sum_four_streams },
    ];
    #[cfg(target_arch = "x86_64")]
    let of_the_cpu = x86::variants();
    #[cfg(not(target_arch = "x86_64"))]
    let of_the_cpu = [];
    portable.into_iter().chain(of_the_cpu).collect()
}

/// The sum of all whole words in eight partial sums.
fn sum_words(buffer: &[u8]) -> u64 {
    let mut sums = [0u64; 8];
    for line in buffer.chunks_exact(64) {
        for (sum, word) in sums.iter_mut().zip(line.chunks_exact(8)) {
            let word: [u8; 8] = word.try_into().unwrap_or_default();
            *sum = sum.wrapping_add(u64::from_le_bytes(word));
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// The same, a line of each quarter of the buffer in turn: more requests under way at a time on some CPUs.
fn sum_four_streams(buffer: &[u8]) -> u64 {
    let quarter = (buffer.len() / 4 / 64 * 64).max(64);
    let mut streams = buffer.chunks(quarter).map(|stream| stream.chunks_exact(64)).collect::<Vec<_>>();
    let mut sum = 0u64;
    loop {
        let mut any = false;
        for stream in &mut streams {
            if let Some(line) = stream.next() {
                sum = sum.wrapping_add(sum_words(line));
                any = true;
            }
        }
        if !any {
            return sum;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use tritforge::kernels::ISAS;

    use super::Variant;

    /// Bytes that one round of the unrolled loops reads: four cache lines.
    const STEP: usize = 256;

    pub(super) fn variants() -> [Variant; 6] {
        let has = |id: &str| ISAS.iter().any(|isa| isa.id == id && (isa.available)());
        let (avx2, avx512) = (has("avx2"), has("avx512vnni"));
        // A variant that the CPU lacks is not available, and only available ones are called.
        macro_rules! variant {
            ($name:literal, $available:ident, $sum:expr) => {
                Variant {
                    name: $name,
                    available: $available,
                    read: |buffer| {
                        // SAFETY: the CPU has the feature, see above.
                        unsafe { $sum(buffer) }
                    },
                }
            };
        }
        [
            variant!("avx2", avx2, avx2_sum::<0>),
            variant!("avx2, prefetch 1 KiB", avx2, avx2_sum::<1024>),
            variant!("avx2, prefetch 4 KiB", avx2, avx2_sum::<4096>),
            variant!("avx512", avx512, avx512_sum::<0>),
            variant!("avx512, prefetch 1 KiB", avx512, avx512_sum::<1024>),
            variant!("avx512, prefetch 4 KiB", avx512, avx512_sum::<4096>),
        ]
    }

    #[target_feature(enable = "avx2")]
    fn avx2_sum<const AHEAD: usize>(buffer: &[u8]) -> u64 {
        let mut sums = [_mm256_setzero_si256(); 8];
        for step in buffer.chunks_exact(STEP) {
            prefetch::<AHEAD>(step.as_ptr());
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: eight vectors of 32 bytes are the step.
                let lanes = unsafe { _mm256_loadu_si256(step.as_ptr().add(32 * i).cast()) };
                *sum = _mm256_add_epi64(*sum, lanes);
            }
        }
        let sum = sums.into_iter().reduce(|a, b| _mm256_add_epi64(a, b)).unwrap_or(sums[0]);
        let mut lanes = [0u64; 4];
        // SAFETY: the lanes have 32 bytes.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), sum) };
        lanes.iter().fold(0, |a, b| a.wrapping_add(*b))
    }

    #[target_feature(enable = "avx512f")]
    fn avx512_sum<const AHEAD: usize>(buffer: &[u8]) -> u64 {
        let mut sums = [_mm512_setzero_si512(); 4];
        for step in buffer.chunks_exact(STEP) {
            prefetch::<AHEAD>(step.as_ptr());
            for (i, sum) in sums.iter_mut().enumerate() {
                // SAFETY: four vectors of 64 bytes are the step.
                let lanes = unsafe { _mm512_loadu_si512(step.as_ptr().add(64 * i).cast()) };
                *sum = _mm512_add_epi64(*sum, lanes);
            }
        }
        let sum = sums.into_iter().reduce(|a, b| _mm512_add_epi64(a, b)).unwrap_or(sums[0]);
        let mut lanes = [0u64; 8];
        // SAFETY: the lanes have 64 bytes.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), sum) };
        lanes.iter().fold(0, |a, b| a.wrapping_add(*b))
    }

    /// Asks for the lines of a step `AHEAD` bytes further on, past the buffer too: a prefetch cannot fault.
    #[inline(always)]
    fn prefetch<const AHEAD: usize>(from: *const u8) {
        if AHEAD > 0 {
            for line in 0..STEP / 64 {
                // SAFETY: every x86_64 CPU has the instruction, and it accepts any address.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(AHEAD + 64 * line).cast()) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every variant must have read everything: they all return the sum of the words.
    #[test]
    fn variants_agree_on_the_sum() {
        // Four streams of whole lines, whole steps of the unrolled loops.
        let buffer: Vec<u8> = (0..16 * 1024u32).map(|i| ((i * i) >> 3) as u8).collect();
        let words = buffer.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        let expected = words.fold(0u64, u64::wrapping_add);
        for variant in variants().into_iter().filter(|variant| variant.available) {
            assert_eq!((variant.read)(&buffer), expected, "{}", variant.name);
        }
    }

    #[test]
    fn the_best_variant_counts() {
        let bandwidth = read_bandwidth(&vec![1; 1 << 20], 3);
        assert!(bandwidth.bytes_per_second > 0.0);
        assert!(bandwidth.all.iter().all(|(_, rate)| *rate <= bandwidth.bytes_per_second));
        assert!(bandwidth.all.iter().any(|(name, _)| *name == bandwidth.variant));
    }
}
