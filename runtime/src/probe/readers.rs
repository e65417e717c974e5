//! Ways to read memory. All return the sum of its words, which keeps the reads from being left out and shows in tests that
//! nothing was.

use crate::kernels::abi::IsaInfo;
use crate::kernels::{ISAS, PORTABLE};

/// What is read is a multiple of so many bytes: a round of four streams of [`STEP`] bytes and then some.
pub(super) const GRANULE: usize = 4096;
/// Bytes of one stream that a round of the loops reads: four cache lines.
const STEP: usize = 256;

/// Where the reads go.
#[derive(Debug, Clone, Copy)]
struct Pattern {
    /// Streams that are read in turn, each a contiguous part of the whole: 1, 2, 4 or 8.
    streams: usize,
    /// Bytes that a prefetch is ahead of the reads; 0 for none.
    ahead: usize,
}

/// The patterns of each instruction set.
const PATTERNS: [Pattern; 7] = [
    Pattern { streams: 1, ahead: 0 },
    Pattern { streams: 1, ahead: 1 << 10 },
    Pattern { streams: 1, ahead: 2 << 10 },
    Pattern { streams: 1, ahead: 4 << 10 },
    Pattern { streams: 4, ahead: 0 },
    Pattern { streams: 4, ahead: 1 << 10 },
    Pattern { streams: 4, ahead: 2 << 10 },
];

/// One way to read all of a buffer.
#[derive(Debug)]
pub(super) struct Reader {
    /// The instruction set and the pattern, in words.
    pub name: String,
    pattern: Pattern,
    /// # Safety
    /// The CPU must have the instruction set.
    sum: unsafe fn(&[u8], Pattern) -> u64,
}

impl Reader {
    /// The sum of the words of a buffer of whole granules, modulo 2^64.
    pub fn sum(&self, buffer: &[u8]) -> u64 {
        // SAFETY: readers are made where the CPU has their instruction set.
        unsafe { (self.sum)(buffer, self.pattern) }
    }
}

/// The readers that this CPU has.
pub(super) fn available() -> Vec<Reader> {
    let functions = SUMS.iter().filter(|(isa, _)| (isa.available)() && ISAS.iter().any(|i| i.id == isa.id));
    // Only the loops written for an instruction set prefetch.
    let patterns = |isa: &IsaInfo| {
        let plain = isa.rank == 0;
        PATTERNS.into_iter().filter(move |pattern| !plain || pattern.ahead == 0)
    };
    functions.flat_map(|&(isa, sum)| patterns(isa).map(move |pattern| reader(isa, pattern, sum))).collect()
}

fn reader(isa: &IsaInfo, pattern: Pattern, sum: unsafe fn(&[u8], Pattern) -> u64) -> Reader {
    let mut name = isa.id.to_owned();
    if pattern.streams > 1 {
        name += &format!(", {} streams", pattern.streams);
    }
    if pattern.ahead > 0 {
        name += &format!(", prefetch {} KiB ahead", pattern.ahead >> 10);
    }
    Reader { name, pattern, sum }
}

/// A function for each instruction set whose loads differ.
type Sum = (&'static IsaInfo, unsafe fn(&[u8], Pattern) -> u64);

#[cfg(target_arch = "x86_64")]
static SUMS: [Sum; 3] = [
    (&PORTABLE, sum__portable),
    (&crate::kernels::AVX2, x86::sum__avx2),
    (&crate::kernels::AVX512BW, x86::sum__avx512bw),
];
#[cfg(not(target_arch = "x86_64"))]
static SUMS: [Sum; 1] = [(&PORTABLE, sum__portable)];

/// Eight partial sums, in whatever vectors every CPU of the architecture has.
///
/// # Safety
/// None is needed; the signature is that of the others.
#[allow(non_snake_case, reason = "the name says the instruction set, as those of kernels do")]
unsafe fn sum__portable(buffer: &[u8], Pattern { streams, .. }: Pattern) -> u64 {
    let mut sums = [0u64; 8];
    let part = buffer.len() / streams;
    for offset in (0..part).step_by(STEP) {
        for stream in 0..streams {
            for line in buffer[stream * part + offset..][..STEP].chunks_exact(64) {
                for (sum, word) in sums.iter_mut().zip(line.chunks_exact(8)) {
                    let word: [u8; 8] = word.try_into().unwrap_or_default();
                    *sum = sum.wrapping_add(u64::from_le_bytes(word));
                }
            }
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

#[cfg(target_arch = "x86_64")]
#[allow(non_snake_case, reason = "the names say the instruction set, as those of kernels do")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Pattern, STEP};
    use crate::kernels::x86_ops::prefetch;

    /// A sum by vector loads; closures would be functions of their own, without the instruction set in their name.
    macro_rules! sum {
        ($name:ident, $features:literal, $vector:ty, $zero:ident, $load:ident, $add:ident, $store:ident) => {
            /// # Safety
            /// The CPU must have the instruction set.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(buffer: &[u8], Pattern { streams, ahead }: Pattern) -> u64 {
                const BYTES: usize = size_of::<$vector>();
                let mut sums = [$zero(); STEP / BYTES];
                let part = buffer.len() / streams;
                for offset in (0..part).step_by(STEP) {
                    for stream in 0..streams {
                        let step = buffer[stream * part + offset..][..STEP].as_ptr();
                        for i in 0..STEP / BYTES {
                            // Right before the loads of the line that many bytes behind it: prefetches that come
                            // several at a time are slower by a third.
                            if ahead > 0 && (BYTES * i).is_multiple_of(64) {
                                prefetch::<0>(step.wrapping_add(ahead + BYTES * i));
                            }
                            // SAFETY: the vectors are the step, which lies inside of the buffer.
                            let lanes = unsafe { $load(step.add(BYTES * i).cast()) };
                            sums[i] = $add(sums[i], lanes);
                        }
                    }
                }
                let mut all = sums[0];
                for i in 1..sums.len() {
                    all = $add(all, sums[i]);
                }
                let mut words = [0u64; BYTES / 8];
                // SAFETY: the words are as long as the vector.
                unsafe { $store(words.as_mut_ptr().cast(), all) };
                let mut sum = 0u64;
                for word in words {
                    sum = sum.wrapping_add(word);
                }
                sum
            }
        };
    }

    sum! { sum__avx2, "avx2", __m256i, _mm256_setzero_si256, _mm256_loadu_si256, _mm256_add_epi64, _mm256_storeu_si256 }
    sum! { sum__avx512bw, "avx512f,avx512bw", __m512i, _mm512_setzero_si512, _mm512_loadu_si512, _mm512_add_epi64,
    _mm512_storeu_si512 }
}
