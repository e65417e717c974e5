// What the AVX2 kernels call besides intrinsics.

use std::arch::asm;
use std::arch::x86_64::*;

/// `vpaddw`: sums of lanes of 16 bits, in the order in which they are written. Where the compiler knows what the
/// instruction does, it adds products of several fields to each other before it adds them to a narrow sum, and keeps so
/// many of them at a time that accumulators go to the stack and back.
///
/// # Safety
/// For callers without the feature: the CPU must have it.
#[inline]
#[target_feature(enable = "avx2")]
#[allow(non_snake_case, reason = "functions for an instruction set end in its id")]
pub fn add_epi16__avx2(a: __m256i, b: __m256i) -> __m256i {
    let sums;
    // SAFETY: the instruction works on these registers alone, and the CPU has it: the caller has the feature.
    unsafe {
        asm!(
            "vpaddw {sums}, {a}, {b}",
            a = in(ymm_reg) a,
            b = in(ymm_reg) b,
            sums = lateout(ymm_reg) sums,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}
