//! Two registers of 256 bits: AVX2 with F16C and FMA, and AVX-VNNI.

use std::arch::x86_64::*;

use super::{LANES, Lanes, operations, prefetch};

/// Lanes in two registers; `VNNI` where there is an instruction that multiplies pairs and adds.
pub struct V256<const VNNI: bool>;

/// `vpmaddwd` and an addition.
pub type Avx2 = V256<false>;
/// `vpdpwssd`.
pub type AvxVnni = V256<true>;

/// The same for both registers.
macro_rules! both {
    ($half:ident => $value:expr) => {{
        [
            {
                let $half = 0usize;
                $value
            },
            {
                let $half = 1usize;
                $value
            },
        ]
    }};
}

/// `vpdpwssd`, and nothing else.
///
/// # Safety
/// The CPU must have AVX-VNNI.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn vpdpwssd(mut sums: __m256i, words: __m256i, pair: __m256i) -> __m256i {
    // SAFETY: registers alone are touched; the caller promises the instruction.
    unsafe {
        std::arch::asm!(
            "{{vex}} vpdpwssd {sums}, {words}, {pair}",
            sums = inout(ymm_reg) sums,
            words = in(ymm_reg) words,
            pair = in(ymm_reg) pair,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

impl<const VNNI: bool> Lanes for V256<VNNI> {
    type Words = [__m256i; 2];
    type Sums = [__m256i; 2];
    type Floats = [__m256; 2];

    operations! {
        fn words(from: *const u8) -> Self::Words {
            both!(half => _mm256_loadu_si256(from.add(32 * half).cast()))
        }
        fn and(words: Self::Words, mask: u16) -> Self::Words {
            let mask = _mm256_set1_epi16(mask as i16);
            both!(half => _mm256_and_si256(words[half], mask))
        }
        fn or(words: Self::Words, other: Self::Words) -> Self::Words {
            both!(half => _mm256_or_si256(words[half], other[half]))
        }
        const BITS: u32, fn shr(words: Self::Words) -> Self::Words {
            let bits = _mm_cvtsi32_si128(BITS as i32);
            both!(half => _mm256_srl_epi16(words[half], bits))
        }
        const BITS: u32, fn shl(words: Self::Words) -> Self::Words {
            let bits = _mm_cvtsi32_si128(BITS as i32);
            both!(half => _mm256_sll_epi16(words[half], bits))
        }

        fn sums(value: i32) -> Self::Sums { both!(_half => _mm256_set1_epi32(value)) }
        fn add_sums(sums: Self::Sums, other: Self::Sums) -> Self::Sums {
            both!(half => _mm256_add_epi32(sums[half], other[half]))
        }
        const BITS: u32, fn shr_sums(sums: Self::Sums) -> Self::Sums {
            let bits = _mm_cvtsi32_si128(BITS as i32);
            both!(half => _mm256_sra_epi32(sums[half], bits))
        }
        fn dot(sums: Self::Sums, words: Self::Words, pair: *const i16) -> Self::Sums {
            let pair = _mm256_set1_epi32(pair.cast::<i32>().read_unaligned());
            both!(half => if VNNI {
                _mm256_dpwssd_avx_epi32(sums[half], words[half], pair)
            } else {
                _mm256_add_epi32(sums[half], _mm256_madd_epi16(words[half], pair))
            })
        }

        fn dot_of_many(sums: Self::Sums, words: Self::Words, pair: *const i16) -> Self::Sums {
            if !VNNI {
                return Self::dot(sums, words, pair);
            }
            let pair = _mm256_set1_epi32(pair.cast::<i32>().read_unaligned());
            both!(half => vpdpwssd(sums[half], words[half], pair))
        }

        fn floats(value: f32) -> Self::Floats { both!(_half => _mm256_set1_ps(value)) }
        fn from_sums(sums: Self::Sums) -> Self::Floats { both!(half => _mm256_cvtepi32_ps(sums[half])) }
        fn f32s(from: *const f32) -> Self::Floats { both!(half => _mm256_loadu_ps(from.add(8 * half))) }
        fn le_f32s(from: *const u8) -> Self::Floats {
            both!(half => _mm256_loadu_ps(from.add(32 * half).cast()))
        }
        fn f16s(from: *const u8) -> Self::Floats {
            both!(half => _mm256_cvtph_ps(_mm_loadu_si128(from.add(16 * half).cast())))
        }
        fn bf16s(from: *const u8) -> Self::Floats {
            both!(half => {
                let words = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(16 * half).cast()));
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(words))
            })
        }
        fn i8s(from: *const u8) -> Self::Floats {
            both!(half => {
                let bytes = _mm_loadl_epi64(from.add(8 * half).cast());
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
            })
        }
        fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats { both!(half => _mm256_mul_ps(a[half], b[half])) }
        fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats { both!(half => _mm256_add_ps(a[half], b[half])) }
        fn add_exact_product(sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats {
            both!(half => _mm256_fmadd_ps(a[half], b[half], sum[half]))
        }
        fn store(floats: Self::Floats, to: &mut [f32; LANES]) {
            let to = to.as_mut_ptr();
            _mm256_storeu_ps(to, floats[0]);
            _mm256_storeu_ps(to.add(8), floats[1]);
        }

        fn prefetch(from: *const u8, ahead: usize) { prefetch(from, ahead); }
    }
}
