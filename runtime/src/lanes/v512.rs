//! One register of 512 bits: AVX-512 F and BW, and VNNI.

use std::arch::x86_64::*;

use super::{LANES, Lanes, MANY, PAIR, operations, prefetch};

/// Lanes in one register; `VNNI` where there is an instruction that multiplies pairs and adds.
pub struct V512<const VNNI: bool>;

/// `vpmaddwd` and an addition.
pub type Avx512Bw = V512<false>;
/// `vpdpwssd`.
pub type Avx512Vnni = V512<true>;

/// `vpdpwssd`, and nothing else.
///
/// # Safety
/// The CPU must have AVX-512-VNNI.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn vpdpwssd(mut sums: __m512i, words: __m512i, pair: __m512i) -> __m512i {
    // SAFETY: registers alone are touched; the caller promises the instruction.
    unsafe {
        std::arch::asm!(
            "vpdpwssd {sums}, {words}, {pair}",
            sums = inout(zmm_reg) sums,
            words = in(zmm_reg) words,
            pair = in(zmm_reg) pair,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

impl<const VNNI: bool> Lanes for V512<VNNI> {
    type Words = __m512i;
    type Sums = __m512i;
    type Floats = __m512;

    /// Of 32 registers, and `vpdpwssd` takes two a cycle where it is fastest and five cycles for each.
    const AT_ONCE: usize = MANY;
    const BESIDE: usize = PAIR;

    operations! {
        fn words(from: *const u8) -> Self::Words { _mm512_loadu_si512(from.cast()) }
        fn and(words: Self::Words, mask: u16) -> Self::Words {
            _mm512_and_si512(words, _mm512_set1_epi16(mask as i16))
        }
        fn or(words: Self::Words, other: Self::Words) -> Self::Words { _mm512_or_si512(words, other) }
        const BITS: u32, fn shr(words: Self::Words) -> Self::Words {
            _mm512_srl_epi16(words, _mm_cvtsi32_si128(BITS as i32))
        }
        const BITS: u32, fn shl(words: Self::Words) -> Self::Words {
            _mm512_sll_epi16(words, _mm_cvtsi32_si128(BITS as i32))
        }

        fn sums(value: i32) -> Self::Sums { _mm512_set1_epi32(value) }
        fn add_sums(sums: Self::Sums, other: Self::Sums) -> Self::Sums { _mm512_add_epi32(sums, other) }
        const BITS: u32, fn shr_sums(sums: Self::Sums) -> Self::Sums {
            _mm512_sra_epi32(sums, _mm_cvtsi32_si128(BITS as i32))
        }
        fn dot(sums: Self::Sums, words: Self::Words, pair: *const i16) -> Self::Sums {
            let pair = _mm512_set1_epi32(pair.cast::<i32>().read_unaligned());
            if VNNI {
                _mm512_dpwssd_epi32(sums, words, pair)
            } else {
                _mm512_add_epi32(sums, _mm512_madd_epi16(words, pair))
            }
        }

        fn dot_of_many(sums: Self::Sums, words: Self::Words, pair: *const i16) -> Self::Sums {
            if !VNNI {
                return Self::dot(sums, words, pair);
            }
            vpdpwssd(sums, words, _mm512_set1_epi32(pair.cast::<i32>().read_unaligned()))
        }

        fn floats(value: f32) -> Self::Floats { _mm512_set1_ps(value) }
        fn from_sums(sums: Self::Sums) -> Self::Floats { _mm512_cvtepi32_ps(sums) }
        fn f32s(from: *const f32) -> Self::Floats { _mm512_loadu_ps(from) }
        fn le_f32s(from: *const u8) -> Self::Floats { _mm512_loadu_ps(from.cast()) }
        fn f16s(from: *const u8) -> Self::Floats { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) }
        fn bf16s(from: *const u8) -> Self::Floats {
            let words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(words))
        }
        fn i8s(from: *const u8) -> Self::Floats {
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())))
        }
        fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats { _mm512_mul_ps(a, b) }
        fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats { _mm512_add_ps(a, b) }
        fn add_exact_product(sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats {
            _mm512_fmadd_ps(a, b, sum)
        }
        fn store(floats: Self::Floats, to: &mut [f32; LANES]) { _mm512_storeu_ps(to.as_mut_ptr(), floats) }

        fn prefetch(from: *const u8, ahead: usize) { prefetch(from, ahead); }
    }
}
