// What the x86 kernels call besides intrinsics.

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

/// Asks for the cache line `AHEAD` bytes past an address, which may be any; at this place among the other loads and
/// stores. Where the compiler may move prefetches, it gathers those of an unrolled loop behind its loads, and a stream
/// from memory then comes at two thirds of the pace.
#[inline(always)]
pub fn prefetch<const AHEAD: usize>(at: *const u8) {
    // SAFETY: a prefetch reads nothing that the program could see, and never faults. That it might touch memory is what
    // keeps it in its place.
    unsafe {
        asm!(
            "prefetcht0 [{at} + {ahead}]",
            at = in(reg) at,
            ahead = const AHEAD,
            options(nostack, preserves_flags),
        );
    }
}
