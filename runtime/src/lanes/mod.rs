//! Sixteen lanes: what an instruction set does with the sixteen rows of a tile, or with sixteen neighbouring columns.
//!
//! The kernels of the output head ([`crate::head`]) and of attention ([`crate::numerics::attention`]) are written once, in
//! these operations. An instruction set says here how it carries them out; one without a form of its own takes what the
//! compiler makes of the portable one. Every form returns the same bits: integers are exact, and each float operation is one
//! multiplication, addition or conversion, rounded to nearest, or where its product is exact a fused multiply-add.

use std::marker::PhantomData;

mod portable;
#[cfg(target_arch = "x86_64")]
mod v256;
#[cfg(target_arch = "x86_64")]
mod v512;

/// Lanes of a vector.
pub const LANES: usize = 16;

/// Tokens that every instruction set has kernels for: so many and less.
pub const FEW: usize = 4;
/// Tokens that those of many registers have kernels for besides.
pub const MANY: usize = 8;

/// Vectors beside each other where there are many registers.
pub const PAIR: usize = 2;

/// The proof that the CPU has the instruction set of `L`.
pub struct Has<L>(PhantomData<L>);

impl<L> Has<L> {
    /// The proof, where the caller has it.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Has(PhantomData)
    }
}

impl<L> Clone for Has<L> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<L> Copy for Has<L> {}

/// The operations of one instruction set.
///
/// # Safety
/// The functions of an implementation may be called only where the CPU has its instruction set. Those that take a pointer
/// read as many bytes as they say, at any alignment.
pub trait Lanes {
    /// Two 16-bit words a lane: 64 bytes, a lane after the other, little endian.
    type Words: Copy;
    /// An i32 a lane.
    type Sums: Copy;
    /// An f32 a lane.
    type Floats: Copy;

    /// The most tokens that a kernel takes at once: [`FEW`] or [`MANY`]. A sum of each has to stay in registers, and there have to
    /// be enough of them that none is waited for.
    const AT_ONCE: usize = FEW;
    /// Vectors that are multiplied with the same factors in turn, so that each factor is read once for all: one or
    /// [`PAIR`]. A sum of each with each of [`Lanes::AT_ONCE`] has to stay in registers.
    const BESIDE: usize = 1;

    /// 64 bytes as words.
    unsafe fn words(from: *const u8) -> Self::Words;
    /// The bits of every word that are set in `mask`.
    unsafe fn and(words: Self::Words, mask: u16) -> Self::Words;
    /// The bits that are set in either.
    unsafe fn or(words: Self::Words, other: Self::Words) -> Self::Words;
    /// Every word shifted right, zeros coming in.
    unsafe fn shr<const BITS: u32>(words: Self::Words) -> Self::Words;
    /// Every word shifted left.
    unsafe fn shl<const BITS: u32>(words: Self::Words) -> Self::Words;

    /// The same i32 in every lane.
    unsafe fn sums(value: i32) -> Self::Sums;
    /// Lane by lane, modulo 2^32.
    unsafe fn add_sums(sums: Self::Sums, other: Self::Sums) -> Self::Sums;
    /// Every lane divided by a power of two, rounded down.
    unsafe fn shr_sums<const BITS: u32>(sums: Self::Sums) -> Self::Sums;
    /// `sums + words[0] * pair[0] + words[1] * pair[1]` lane by lane, of signed words, modulo 2^32. Reads two i16 at `pair`.
    unsafe fn dot(sums: Self::Sums, words: Self::Words, pair: *const i16) -> Self::Sums;
    /// The same for a caller that has [`FEW`] sums or more to go on with while one is under way: in one instruction where there is
    /// one. Compilers make two of it, a multiplication and an addition, for the addition alone is waited for then.
    unsafe fn dot_of_many(sums: Self::Sums, words: Self::Words, pair: *const i16) -> Self::Sums {
        // SAFETY: the caller promises the same.
        unsafe { Self::dot(sums, words, pair) }
    }

    /// The same f32 in every lane.
    unsafe fn floats(value: f32) -> Self::Floats;
    /// The nearest f32 of every sum.
    unsafe fn from_sums(sums: Self::Sums) -> Self::Floats;
    /// Sixteen f32.
    unsafe fn f32s(from: *const f32) -> Self::Floats;
    /// Sixteen little-endian f32, which need not be aligned.
    unsafe fn le_f32s(from: *const u8) -> Self::Floats;
    /// Sixteen little-endian binary16 values, exactly.
    unsafe fn f16s(from: *const u8) -> Self::Floats;
    /// Sixteen little-endian bf16 values, exactly.
    unsafe fn bf16s(from: *const u8) -> Self::Floats;
    /// Sixteen i8, exactly.
    unsafe fn i8s(from: *const u8) -> Self::Floats;
    /// Lane by lane.
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// Lane by lane.
    unsafe fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `sum + a * b` for factors whose product is exact: the same bits with one rounding as with two.
    unsafe fn add_exact_product(sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The lanes in memory.
    unsafe fn store(floats: Self::Floats, to: &mut [f32; LANES]);

    /// Asks for the cache line so many bytes past an address, which may be anything; at this place among the loads.
    unsafe fn prefetch(from: *const u8, ahead: usize);
}

/// Implements a trait's operations: functions that are inlined into a kernel, which alone has the target features.
macro_rules! operations {
    ($($(const $bits:ident: $kind:ty,)? fn $name:ident($($argument:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {
        $(
            #[inline(always)]
            #[allow(unused_unsafe, reason = "not every operation of every form needs it")]
            unsafe fn $name$(<const $bits: $kind>)?($($argument: $type),*) $(-> $result)? {
                // SAFETY: the caller promises the instruction set and what pointers point to.
                unsafe { $body }
            }
        )*
    };
}
use operations;

/// Asks for the cache line so many bytes past an address. The compiler cannot move it away from its place.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch(from: *const u8, ahead: usize) {
    // SAFETY: a prefetch reads nothing that the program could see, and never faults. That it might touch memory is what
    // keeps it in its place.
    unsafe {
        std::arch::asm!(
            "prefetcht0 [{from} + {ahead}]",
            from = in(reg) from,
            ahead = in(reg) ahead,
            options(nostack, preserves_flags),
        );
    }
}

/// The form that each instruction set takes, under the name of its version of a function.
#[allow(non_camel_case_types, reason = "the names are those that `with_isas!` makes")]
#[allow(unused_imports, reason = "no architecture has all of them")]
pub mod of {
    pub use super::portable::{
        Portable as __portable, Portable as __neon, Portable as __neondotprod, Portable as __neoni8mm,
        Portable as __simd128,
    };
    #[cfg(target_arch = "x86_64")]
    pub use super::v256::{Avx2 as __avx2, AvxVnni as __avxvnni};
    #[cfg(target_arch = "x86_64")]
    pub use super::v512::{Avx512Bw as __avx512bw, Avx512Vnni as __avx512vnni};
}
