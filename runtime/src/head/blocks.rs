//! The kernels of the packed formats ([`super::layout`]): sixteen rows at a time, a lane each.
//!
//! A group of columns gives an exact integer a row, which is rounded to f32, multiplied with the group's scale and added to
//! the row's sum, groups ascending; at the end the sum is multiplied with one over the activations' scale. That is the
//! arithmetic whatever the instruction set and the number of tokens, so that all return the same bits.
//!
//! Codes are unsigned. Their offset is taken off by a number a group and token that the activations bring along: minus the
//! code of zero times the sum of the group's activations.

use super::lanes::{LANES, Lanes};
use super::layout::{ATOM, I8_ROW, Q4_0, Q6_K, Q8_0, SCALES};

/// How far ahead of their use weights are asked for, in bytes.
const AHEAD: usize = 4096;

/// The integers of one token.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
    /// The activations, as many as the columns, rounded up to whole parts.
    pub words: &'a [i16],
    /// What takes the codes' offset off: a number a group.
    pub offsets: &'a [i32],
    /// One over the scale.
    pub inverse: f32,
}

/// Whole tiles and the tokens that they are multiplied with.
#[derive(Debug)]
pub struct Call<'a> {
    /// The tiles' bytes.
    pub tiles: &'a [u8],
    /// Scales of the tiles' rows, for formats that keep them apart; else empty.
    pub scales: &'a [f32],
    /// Parts of a tile.
    pub parts: usize,
    /// One to [`TOKENS`] tokens.
    pub tokens: &'a [Token<'a>],
    /// Results, `[tokens][16 * tiles]`.
    pub out: &'a mut [f32],
}

/// Tokens that a kernel takes at once.
pub const TOKENS: usize = 4;

/// One kernel: a tile for a number of tokens.
macro_rules! kernel {
    ($(#[$doc:meta])* $name:ident, $tile:ident, $format:expr, $groups:expr) => {
        $(#[$doc])*
        ///
        /// # Panics
        /// When the operands do not belong together.
        ///
        /// # Safety
        /// The CPU must have the instruction set of `L`.
        #[inline(always)]
        pub unsafe fn $name<L: Lanes>(call: Call<'_>) {
            let tile_bytes = call.parts * $format.part_bytes;
            let tiles = call.tiles.len() / tile_bytes.max(1);
            let groups: fn(usize) -> usize = $groups;
            let rows = tiles * LANES;
            assert!(tile_bytes > 0 && call.tiles.len() == tiles * tile_bytes, "whole tiles");
            assert!(call.out.len() == call.tokens.len() * rows, "a result a token and row");
            assert!($format.group_cols > 0 || call.scales.len() == rows, "a scale a row");
            for token in call.tokens {
                assert!(token.words.len() == call.parts * $format.part_cols, "activations for whole parts");
                assert!(token.offsets.len() == groups(call.parts), "an offset a group");
            }
            for tile in 0..tiles {
                let bytes = call.tiles[tile * tile_bytes..][..tile_bytes].as_ptr();
                let scales = call.scales.as_ptr().wrapping_add(tile * LANES);
                macro_rules! run {
                    ($count:literal, $tokens:expr) => {{
                        // SAFETY: the caller promises the instruction set, and the lengths were checked.
                        let floats = unsafe { $tile::<L, $count>(bytes, scales, call.parts, $tokens) };
                        for (token, floats) in floats.into_iter().enumerate() {
                            let out = &mut call.out[token * rows + tile * LANES..];
                            if let Some(out) = out.first_chunk_mut() {
                                // SAFETY: the caller promises the instruction set.
                                unsafe { L::store(floats, out) };
                            }
                        }
                    }};
                }
                match *call.tokens {
                    [a] => run!(1, [a]),
                    [a, b] => run!(2, [a, b]),
                    [a, b, c] => run!(3, [a, b, c]),
                    [a, b, c, d] => run!(4, [a, b, c, d]),
                    _ => unreachable!("one to four tokens"),
                }
            }
        }
    };
}

kernel! {
    /// [`Q4_0`].
    q4_0, q4_0_tile, Q4_0, |parts| parts
}
kernel! {
    /// [`Q8_0`].
    q8_0, q8_0_tile, Q8_0, |parts| parts
}
kernel! {
    /// [`Q6_K`].
    q6_k, q6_k_tile, Q6_K, |parts| 16 * parts
}
kernel! {
    /// [`I8_ROW`].
    i8row, i8row_tile, I8_ROW, |_| 1
}

/// Asks for the lines of a part some kilobytes ahead.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn prefetch<L: Lanes>(part: *const u8, bytes: usize) {
    for line in 0..bytes.div_ceil(64) {
        // SAFETY: a prefetch takes any address.
        unsafe { L::prefetch(part.wrapping_add(AHEAD + 64 * line)) };
    }
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

/// # Safety
/// The CPU must have the instruction set; `parts` parts, and activations and offsets for them.
#[inline(always)]
unsafe fn q4_0_tile<L: Lanes, const T: usize>(
    tile: *const u8,
    _scales: *const f32,
    parts: usize,
    tokens: [Token<'_>; T],
) -> [L::Floats; T] {
    // SAFETY: the caller promises the instruction set and the lengths.
    unsafe {
        let mut totals = [L::floats(0.0); T];
        for part in 0..parts {
            let bytes = tile.add(part * Q4_0.part_bytes);
            prefetch::<L>(bytes, Q4_0.part_bytes);
            let mut sums = [L::sums(0); T];
            for t in 0..T {
                sums[t] = L::sums(*tokens[t].offsets.as_ptr().add(part));
            }
            // Fields that are masked only count 16 and 256 times. Their sums have zeros below, and with four atoms of two
            // columns stay under 8 * 15 * 256 * 32767 < 2^30.
            let (mut sixteenfold, mut large) = ([L::sums(0); T], [L::sums(0); T]);
            for atom in 0..4 {
                let words = L::words(bytes.add(atom * ATOM));
                let fields = if T == 1 {
                    [L::and(words, 0xf), L::and(words, 0xf0), L::and(words, 0xf00), L::shr::<12>(words)]
                } else {
                    let shifted = [L::shr::<4>(words), L::shr::<8>(words)];
                    [
                        L::and(words, 0xf),
                        L::and(shifted[0], 0xf),
                        L::and(shifted[1], 0xf),
                        L::shr::<12>(words),
                    ]
                };
                for t in 0..T {
                    let pairs = tokens[t].words.as_ptr().add(part * 32 + atom * 8);
                    sums[t] = L::dot(sums[t], fields[0], pairs);
                    if T == 1 {
                        sixteenfold[t] = L::dot(sixteenfold[t], fields[1], pairs.add(2));
                        large[t] = L::dot(large[t], fields[2], pairs.add(4));
                    } else {
                        sums[t] = L::dot(sums[t], fields[1], pairs.add(2));
                        sums[t] = L::dot(sums[t], fields[2], pairs.add(4));
                    }
                    sums[t] = L::dot(sums[t], fields[3], pairs.add(6));
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
        scaled::<L, T>(totals, tokens)
    }
}

/// The totals times one over the activations' scales.
///
/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn scaled<L: Lanes, const T: usize>(
    mut totals: [L::Floats; T],
    tokens: [Token<'_>; T],
) -> [L::Floats; T] {
    for t in 0..T {
        // SAFETY: the caller promises the instruction set.
        totals[t] = unsafe { L::mul(totals[t], L::floats(tokens[t].inverse)) };
    }
    totals
}

/// Four columns of an atom of bytes.
///
/// # Safety
/// The CPU must have the instruction set; 64 bytes at `atom`, four activations of each token from `col` on.
#[inline(always)]
unsafe fn bytes_dot<L: Lanes, const T: usize>(
    sums: &mut [L::Sums; T],
    atom: *const u8,
    col: usize,
    tokens: &[Token<'_>; T],
) {
    // SAFETY: the caller promises the instruction set and the lengths.
    unsafe {
        let words = L::words(atom);
        let (low, high) = (L::and(words, 0xff), L::shr::<8>(words));
        for t in 0..T {
            let pairs = tokens[t].words.as_ptr().add(col);
            sums[t] = L::dot(sums[t], low, pairs);
            sums[t] = L::dot(sums[t], high, pairs.add(2));
        }
    }
}

/// # Safety
/// The CPU must have the instruction set; `parts` parts, and activations and offsets for them.
#[inline(always)]
unsafe fn q8_0_tile<L: Lanes, const T: usize>(
    tile: *const u8,
    _scales: *const f32,
    parts: usize,
    tokens: [Token<'_>; T],
) -> [L::Floats; T] {
    // SAFETY: the caller promises the instruction set and the lengths.
    unsafe {
        let mut totals = [L::floats(0.0); T];
        for part in 0..parts {
            let bytes = tile.add(part * Q8_0.part_bytes);
            prefetch::<L>(bytes, Q8_0.part_bytes);
            let mut sums = [L::sums(0); T];
            for t in 0..T {
                sums[t] = L::sums(*tokens[t].offsets.as_ptr().add(part));
            }
            for atom in 0..8 {
                bytes_dot::<L, T>(&mut sums, bytes.add(atom * ATOM), part * 32 + atom * 4, &tokens);
            }
            let scale = L::f16s(bytes.add(8 * ATOM));
            for t in 0..T {
                accumulate::<L>(&mut totals[t], sums[t], scale);
            }
        }
        scaled::<L, T>(totals, tokens)
    }
}

/// # Safety
/// The CPU must have the instruction set; `parts` parts, activations and offsets for them, and sixteen scales.
#[inline(always)]
unsafe fn i8row_tile<L: Lanes, const T: usize>(
    tile: *const u8,
    scales: *const f32,
    parts: usize,
    tokens: [Token<'_>; T],
) -> [L::Floats; T] {
    // SAFETY: the caller promises the instruction set and the lengths.
    unsafe {
        // The sums run modulo 2^32 until the offset is off: only the whole row's is known to fit.
        let (mut even, mut odd) = ([L::sums(0); T], [L::sums(0); T]);
        let mut part = 0;
        while part + 2 <= parts {
            let bytes = tile.add(part * ATOM);
            prefetch::<L>(bytes, 2 * ATOM);
            bytes_dot::<L, T>(&mut even, bytes, part * 4, &tokens);
            bytes_dot::<L, T>(&mut odd, bytes.add(ATOM), part * 4 + 4, &tokens);
            part += 2;
        }
        if part < parts {
            bytes_dot::<L, T>(&mut even, tile.add(part * ATOM), part * 4, &tokens);
        }
        let mut totals = [L::floats(0.0); T];
        for t in 0..T {
            let sums = L::add_sums(L::add_sums(even[t], odd[t]), L::sums(*tokens[t].offsets.as_ptr()));
            totals[t] = L::mul(L::from_sums(sums), L::f32s(scales));
        }
        scaled::<L, T>(totals, tokens)
    }
}

/// # Safety
/// The CPU must have the instruction set; `parts` parts, and activations and offsets for them.
#[inline(always)]
unsafe fn q6_k_tile<L: Lanes, const T: usize>(
    tile: *const u8,
    _scales: *const f32,
    parts: usize,
    tokens: [Token<'_>; T],
) -> [L::Floats; T] {
    // SAFETY: the caller promises the instruction set and the lengths.
    unsafe {
        let mut totals = [L::floats(0.0); T];
        for part in 0..parts {
            let bytes = tile.add(part * Q6_K.part_bytes);
            let scale = L::f16s(bytes);
            prefetch::<L>(bytes, SCALES + 256);
            for group in 0..16 {
                let atoms = bytes.add(SCALES + 256 + group * 3 * ATOM);
                prefetch::<L>(atoms, 3 * ATOM);
                let upper = L::words(atoms);
                let (first, second) = (L::words(atoms.add(ATOM)), L::words(atoms.add(2 * ATOM)));
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
                    for t in 0..T {
                        let pairs = tokens[t].words.as_ptr().add(part * 256 + group * 16 + quad * 4);
                        sums[t] = L::dot(sums[t], low, pairs);
                        sums[t] = L::dot(sums[t], high, pairs.add(2));
                    }
                }
                // Eleven bits times eight: exact.
                let factor = L::mul(scale, L::i8s(bytes.add(SCALES + group * LANES)));
                for t in 0..T {
                    accumulate::<L>(&mut totals[t], sums[t], factor);
                }
            }
        }
        scaled::<L, T>(totals, tokens)
    }
}
