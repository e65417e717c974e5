//! A part of a tile times some tokens, for each packed format.

use super::super::layout::{ATOM, Format, I8_ROW, Q4_0, Q6_K, Q8_0, SCALES};
use super::{Packed, Token};
use crate::lanes::{FEW, LANES, Lanes};

/// An atom of a stream, after asking for the one so many bytes ahead.
///
/// # Safety
/// The CPU must have the instruction set; 64 bytes at `from`.
#[inline(always)]
unsafe fn atom<L: Lanes>(from: *const u8, ahead: usize) -> L::Words {
    // SAFETY: the caller promises the instruction set and the bytes.
    unsafe {
        L::prefetch(from, ahead);
        L::words(from)
    }
}

/// Two activations of a token, from an even column on, among those of `T` that are interleaved.
#[inline(always)]
fn pair<const T: usize>(words: *const i16, col: usize, token: usize) -> *const i16 {
    words.wrapping_add(col * T + 2 * token)
}

/// The sums of one of `T` tokens with the products of a pair of its activations.
///
/// # Safety
/// The CPU must have the instruction set; two activations at `pair`.
#[inline(always)]
unsafe fn dot<L: Lanes, const T: usize>(sums: L::Sums, words: L::Words, pair: *const i16) -> L::Sums {
    // SAFETY: the caller promises the instruction set and the activations.
    unsafe { if T >= FEW { L::dot_of_many(sums, words, pair) } else { L::dot(sums, words, pair) } }
}

/// The sums of a group, scaled and added to what the rows have.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn accumulate<L: Lanes>(total: &mut L::Floats, sums: L::Sums, scale: L::Floats) {
    // SAFETY: the caller promises the instruction set.
    unsafe { *total = L::add(*total, L::mul(L::from_sums(sums), scale)) };
}

/// A format whose blocks have scales: their integers are exact, what they add up to are floats.
pub trait Blocks {
    /// See [`Packed::FORMAT`].
    const FORMAT: Format;
    /// See [`Packed::part`].
    ///
    /// # Safety
    /// As there.
    unsafe fn part<L: Lanes, const T: usize>(
        totals: &mut [L::Floats; T],
        bytes: *const u8,
        part: usize,
        words: *const i16,
        tokens: &[Token<'_>; T],
        ahead: usize,
    );
}

impl<B: Blocks> Packed for B {
    const FORMAT: Format = B::FORMAT;
    type Sums<L: Lanes, const T: usize> = [L::Floats; T];

    #[inline(always)]
    unsafe fn none<L: Lanes, const T: usize>() -> [L::Floats; T] {
        // SAFETY: the caller promises the instruction set.
        unsafe { [L::floats(0.0); T] }
    }

    #[inline(always)]
    unsafe fn part<L: Lanes, const T: usize, const S: usize>(
        totals: &mut [[L::Floats; T]; S],
        bytes: [*const u8; S],
        part: usize,
        words: *const i16,
        tokens: &[Token<'_>; T],
        ahead: usize,
    ) {
        for (totals, bytes) in totals.iter_mut().zip(bytes) {
            // SAFETY: the caller promises the same.
            unsafe { <B as Blocks>::part::<L, T>(totals, bytes, part, words, tokens, ahead) }
        }
    }

    #[inline(always)]
    unsafe fn totals<L: Lanes, const T: usize>(
        totals: [L::Floats; T],
        _scales: *const f32,
        _tokens: &[Token<'_>; T],
    ) -> [L::Floats; T] {
        totals
    }
}

/// Blocks of [`Q4_0`].
pub struct Nibbles;

impl Blocks for Nibbles {
    const FORMAT: Format = Q4_0;

    #[inline(always)]
    unsafe fn part<L: Lanes, const T: usize>(
        totals: &mut [L::Floats; T],
        bytes: *const u8,
        part: usize,
        words: *const i16,
        tokens: &[Token<'_>; T],
        ahead: usize,
    ) {
        // SAFETY: the caller promises the instruction set and the lengths.
        unsafe {
            let mut sums = [L::sums(0); T];
            for t in 0..T {
                sums[t] = L::sums(*tokens[t].offsets.as_ptr().add(part));
            }
            // Fields that are masked only count 16 and 256 times. Their sums have zeros below, and with four atoms of two
            // columns stay under 8 * 15 * 256 * 32767 < 2^30.
            let (mut sixteenfold, mut large) = ([L::sums(0); T], [L::sums(0); T]);
            for index in 0..4 {
                let codes = atom::<L>(bytes.add(index * ATOM), ahead);
                let fields = if T == 1 {
                    [L::and(codes, 0xf), L::and(codes, 0xf0), L::and(codes, 0xf00), L::shr::<12>(codes)]
                } else {
                    let shifted = [L::shr::<4>(codes), L::shr::<8>(codes)];
                    [
                        L::and(codes, 0xf),
                        L::and(shifted[0], 0xf),
                        L::and(shifted[1], 0xf),
                        L::shr::<12>(codes),
                    ]
                };
                for t in 0..T {
                    let pair = |col: usize| pair::<T>(words, index * 8 + col, t);
                    sums[t] = dot::<L, T>(sums[t], fields[0], pair(0));
                    if T == 1 {
                        sixteenfold[t] = dot::<L, T>(sixteenfold[t], fields[1], pair(2));
                        large[t] = dot::<L, T>(large[t], fields[2], pair(4));
                    } else {
                        sums[t] = dot::<L, T>(sums[t], fields[1], pair(2));
                        sums[t] = dot::<L, T>(sums[t], fields[2], pair(4));
                    }
                    sums[t] = dot::<L, T>(sums[t], fields[3], pair(6));
                }
            }
            let scale = L::f16s(bytes.add(4 * ATOM));
            for t in 0..T {
                if T == 1 {
                    sums[t] = L::add_sums(sums[t], L::shr_sums::<4>(sixteenfold[t]));
                    sums[t] = L::add_sums(sums[t], L::shr_sums::<8>(large[t]));
                }
                accumulate::<L>(&mut totals[t], sums[t], scale);
            }
        }
    }
}

/// Four columns of an atom of bytes of each of some tiles, which share the reading of activations.
///
/// # Safety
/// The CPU must have the instruction set; 64 bytes at each of `bytes`, four activations of each token at `words`.
#[inline(always)]
unsafe fn bytes_dot<L: Lanes, const T: usize, const S: usize>(
    sums: &mut [[L::Sums; T]; S],
    bytes: [*const u8; S],
    words: *const i16,
    ahead: usize,
) {
    // SAFETY: the caller promises the instruction set and the lengths.
    unsafe {
        let codes = bytes.map(|bytes| atom::<L>(bytes, ahead));
        let halves = [codes.map(|codes| L::and(codes, 0xff)), codes.map(|codes| L::shr::<8>(codes))];
        for t in 0..T {
            for (half, codes) in halves.iter().enumerate() {
                for (sums, codes) in sums.iter_mut().zip(codes) {
                    sums[t] = dot::<L, T>(sums[t], *codes, pair::<T>(words, 2 * half, t));
                }
            }
        }
    }
}

/// Blocks of [`Q8_0`].
pub struct Bytes;

impl Blocks for Bytes {
    const FORMAT: Format = Q8_0;

    #[inline(always)]
    unsafe fn part<L: Lanes, const T: usize>(
        totals: &mut [L::Floats; T],
        bytes: *const u8,
        part: usize,
        words: *const i16,
        tokens: &[Token<'_>; T],
        ahead: usize,
    ) {
        // SAFETY: the caller promises the instruction set and the lengths.
        unsafe {
            let mut sums = [L::sums(0); T];
            for t in 0..T {
                sums[t] = L::sums(*tokens[t].offsets.as_ptr().add(part));
            }
            for index in 0..8 {
                let (bytes, words) = ([bytes.add(index * ATOM)], pair::<T>(words, index * 4, 0));
                bytes_dot::<L, T, 1>(std::array::from_mut(&mut sums), bytes, words, ahead);
            }
            let scale = L::f16s(bytes.add(8 * ATOM));
            for t in 0..T {
                accumulate::<L>(&mut totals[t], sums[t], scale);
            }
        }
    }
}

/// Rows of [`I8_ROW`].
pub struct ByteRows;

impl Packed for ByteRows {
    const FORMAT: Format = I8_ROW;
    const TURN: usize = 4;
    const SHARES: bool = true;
    /// They run modulo 2^32 until the offset is off: only the whole row's is known to fit.
    type Sums<L: Lanes, const T: usize> = [L::Sums; T];

    #[inline(always)]
    unsafe fn none<L: Lanes, const T: usize>() -> [L::Sums; T] {
        // SAFETY: the caller promises the instruction set.
        unsafe { [L::sums(0); T] }
    }

    #[inline(always)]
    unsafe fn part<L: Lanes, const T: usize, const S: usize>(
        sums: &mut [[L::Sums; T]; S],
        bytes: [*const u8; S],
        _part: usize,
        words: *const i16,
        _tokens: &[Token<'_>; T],
        ahead: usize,
    ) {
        // SAFETY: the caller promises the instruction set and the lengths.
        unsafe { bytes_dot::<L, T, S>(sums, bytes, words, ahead) }
    }

    #[inline(always)]
    unsafe fn totals<L: Lanes, const T: usize>(
        sums: [L::Sums; T],
        scales: *const f32,
        tokens: &[Token<'_>; T],
    ) -> [L::Floats; T] {
        // SAFETY: the caller promises the instruction set and the scales.
        unsafe {
            let mut totals = [L::floats(0.0); T];
            for t in 0..T {
                let sums = L::add_sums(sums[t], L::sums(*tokens[t].offsets.as_ptr()));
                totals[t] = L::mul(L::from_sums(sums), L::f32s(scales));
            }
            totals
        }
    }
}

/// Blocks of [`Q6_K`].
pub struct SixBits;

impl Blocks for SixBits {
    const FORMAT: Format = Q6_K;

    #[inline(always)]
    unsafe fn part<L: Lanes, const T: usize>(
        totals: &mut [L::Floats; T],
        bytes: *const u8,
        part: usize,
        words: *const i16,
        tokens: &[Token<'_>; T],
        ahead: usize,
    ) {
        // SAFETY: the caller promises the instruction set and the lengths.
        unsafe {
            let scale = L::f16s(bytes);
            for group in 0..16 {
                let atoms = bytes.add(SCALES + 256 + group * 3 * ATOM);
                let upper = atom::<L>(atoms, ahead);
                let (first, second) =
                    (atom::<L>(atoms.add(ATOM), ahead), atom::<L>(atoms.add(2 * ATOM), ahead));
                // Four codes of two columns each stand in the bytes of a word pair.
                let codes = [
                    L::or(L::and(first, 0x0f0f), L::and(L::shl::<4>(upper), 0x3030)),
                    L::or(L::and(L::shr::<4>(first), 0x0f0f), L::and(L::shl::<2>(upper), 0x3030)),
                    L::or(L::and(second, 0x0f0f), L::and(upper, 0x3030)),
                    L::or(L::and(L::shr::<4>(second), 0x0f0f), L::and(L::shr::<2>(upper), 0x3030)),
                ];
                let mut sums = [L::sums(0); T];
                for t in 0..T {
                    sums[t] = L::sums(*tokens[t].offsets.as_ptr().add(part * 16 + group));
                }
                for (quad, codes) in codes.into_iter().enumerate() {
                    let (low, high) = (L::and(codes, 0xff), L::shr::<8>(codes));
                    let col = group * 16 + quad * 4;
                    for (t, sums) in sums.iter_mut().enumerate() {
                        *sums = dot::<L, T>(*sums, low, pair::<T>(words, col, t));
                        *sums = dot::<L, T>(*sums, high, pair::<T>(words, col + 2, t));
                    }
                }
                // Eleven bits times eight: exact.
                let factors = bytes.add(SCALES + group * LANES);
                if group % 4 == 0 {
                    L::prefetch(factors, ahead);
                }
                let factor = L::mul(scale, L::i8s(factors));
                for t in 0..T {
                    accumulate::<L>(&mut totals[t], sums[t], factor);
                }
            }
        }
    }
}
