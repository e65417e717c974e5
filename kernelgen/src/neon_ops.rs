// What the Arm back-ends call besides intrinsics: instructions that stable Rust has no intrinsic for, operations on pairs
// of registers, and the store of a part of a register.

use std::arch::aarch64::*;
use std::arch::asm;

/// Four activations, repeated over the register.
#[inline]
#[target_feature(enable = "neon")]
pub fn quad(word: i32) -> int8x16_t {
    let mut acts = vdupq_n_s32(word);
    // Keeps from the compiler that both halves are alike. Where it knows, it multiplies by one half only, and spends an
    // instruction on moving the codes of the other down to it.
    // SAFETY: there is no instruction.
    unsafe { asm!("/* {0:v} */", inlateout(vreg) acts, options(pure, nomem, nostack, preserves_flags)) };
    vreinterpretq_s8_s32(acts)
}

/// `sdot`: acc plus, for each of four rows, the four products of signed codes and activations.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub fn sdot(acc: int32x4_t, codes: int8x16_t, acts: int8x16_t) -> int32x4_t {
    let sums;
    // SAFETY: the instruction works on these three registers alone, and the CPU has it: the caller has the feature.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {codes:v}.16b, {acts:v}.16b",
            acc = inlateout(vreg) acc => sums,
            codes = in(vreg) codes,
            acts = in(vreg) acts,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// `usdot`: the same with codes that are unsigned.
#[inline]
#[target_feature(enable = "neon,i8mm")]
pub fn usdot(acc: int32x4_t, codes: int8x16_t, acts: int8x16_t) -> int32x4_t {
    let sums;
    // SAFETY: as for `sdot`.
    unsafe {
        asm!(
            "usdot {acc:v}.4s, {codes:v}.16b, {acts:v}.16b",
            acc = inlateout(vreg) acc => sums,
            codes = in(vreg) codes,
            acts = in(vreg) acts,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Sixteen i16 sums of zero.
#[inline]
#[target_feature(enable = "neon")]
pub fn zero_pair() -> int16x8x2_t {
    int16x8x2_t(vdupq_n_s16(0), vdupq_n_s16(0))
}

/// The sixteen products of codes and activations.
#[inline]
#[target_feature(enable = "neon")]
pub fn products(codes: int8x16_t, acts: int8x16_t) -> int16x8x2_t {
    int16x8x2_t(vmull_s8(vget_low_s8(codes), vget_low_s8(acts)), vmull_high_s8(codes, acts))
}

/// a + b in sixteen i16; where b are products, the compiler makes one instruction of both (`smlal`).
#[inline]
#[target_feature(enable = "neon")]
pub fn add_pair(a: int16x8x2_t, b: int16x8x2_t) -> int16x8x2_t {
    int16x8x2_t(vaddq_s16(a.0, b.0), vaddq_s16(a.1, b.1))
}

/// Sixteen i16 shifted right by `BY` bits.
#[inline]
#[target_feature(enable = "neon")]
pub fn shift_pair<const BY: i32>(x: int16x8x2_t) -> int16x8x2_t {
    int16x8x2_t(vshrq_n_s16::<BY>(x.0), vshrq_n_s16::<BY>(x.1))
}

/// acc plus each of four rows' four i16 sums.
#[inline]
#[target_feature(enable = "neon")]
pub fn widen(acc: int32x4_t, sums: int16x8x2_t) -> int32x4_t {
    vaddq_s32(acc, vpaddq_s32(vpaddlq_s16(sums.0), vpaddlq_s16(sums.1)))
}

/// Writes the first `rows_left` of four sums, all of them where there are more. Runs at most once a call of a kernel and
/// is no part of any loop, so that it is not worth a copy at every place that might call it.
///
/// # Safety
/// `to` must be valid for writing `rows_left` (at most 4) values; it needs no alignment.
#[inline(never)]
#[target_feature(enable = "neon")]
pub unsafe fn store_part(to: *mut i32, rows_left: i32, x: int32x4_t) {
    let mut sums = [0; 4];
    let bytes = 4 * rows_left.clamp(0, 4) as usize;
    // SAFETY: the array has four values, and the caller promises as many writable ones as are copied.
    unsafe {
        vst1q_s32(sums.as_mut_ptr(), x);
        std::ptr::copy_nonoverlapping(sums.as_ptr().cast::<u8>(), to.cast(), bytes);
    }
}

/// Asks for the cache line `AHEAD` bytes past an address, which may be any; at this place among the other loads.
#[inline(always)]
pub fn prefetch<const AHEAD: usize>(at: *const u8) {
    // SAFETY: a prefetch reads nothing that the program could see, and never faults. That it might touch memory is what
    // keeps it in its place.
    unsafe {
        asm!("prfm pldl1keep, [{at}]", at = in(reg) at.wrapping_add(AHEAD), options(nostack, preserves_flags));
    }
}
