// What the WebAssembly kernels call besides intrinsics: operations on pairs of registers, and the store of a part of a
// register.

use std::arch::wasm32::*;

/// What stands in even columns, and in odd ones.
#[derive(Clone, Copy, Debug)]
pub struct Pair(pub v128, pub v128);

/// Both registers.
#[inline]
#[target_feature(enable = "simd128")]
pub fn pair(even: v128, odd: v128) -> Pair {
    Pair(even, odd)
}

/// For each of four rows, the sum of its two products of codes and activations in even columns, and in odd ones.
#[inline]
#[target_feature(enable = "simd128")]
pub fn products(codes: Pair, acts: Pair) -> Pair {
    Pair(i32x4_dot_i16x8(codes.0, acts.0), i32x4_dot_i16x8(codes.1, acts.1))
}

/// The sum of both registers in i32.
#[inline]
#[target_feature(enable = "simd128")]
pub fn sum(products: Pair) -> v128 {
    i32x4_add(products.0, products.1)
}

/// Writes the first `rows_left` of four sums, all of them where there are more. Runs at most once a call of a kernel and
/// is no part of any loop, so that it is not worth a copy at every place that might call it.
///
/// # Safety
/// `to` must be valid for writing `rows_left` (at most 4) values; it needs no alignment.
#[inline(never)]
#[target_feature(enable = "simd128")]
pub unsafe fn store_part(to: *mut i32, rows_left: i32, x: v128) {
    let mut sums = [0_i32; 4];
    let bytes = 4 * rows_left.clamp(0, 4) as usize;
    // SAFETY: the array has four values, and the caller promises as many writable ones as are copied.
    unsafe {
        v128_store(sums.as_mut_ptr().cast(), x);
        std::ptr::copy_nonoverlapping(sums.as_ptr().cast::<u8>(), to.cast(), bytes);
    }
}
