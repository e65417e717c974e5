//! The kernels of the packed formats ([`super::layout`]): sixteen rows at a time, a lane each.
//!
//! A group of columns gives an exact integer a row, which is rounded to f32, multiplied with the group's scale and added to
//! the row's sum, groups ascending; at the end the sum is multiplied with one over the activations' scale. That is the
//! arithmetic whatever the instruction set and the number of tokens, so that all return the same bits.
//!
//! Codes are unsigned. Their offset is taken off by a number a group and token that the activations bring along: minus the
//! code of zero times the sum of the group's activations.

mod formats;

use formats::{ByteRows, Bytes, Nibbles, SixBits};

use super::layout::Format;
use super::schedule::{Turn, Walk, rest, steps};
use crate::lanes::{LANES, Lanes, MANY, PAIR};

/// Tiles beside each other where tokens are few: a tile has two products in turn for each sum, and one tile's sums would be waited
/// for. (Four tokens with 2B-4T's head on an Emerald Rapids: one tile 4.6 ms a token, two 3.6, three 3.2.)
const BESIDE_FEW: usize = 3;

/// What is known of one token beside its integers.
#[derive(Clone, Copy, Debug)]
pub struct Token<'a> {
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
    /// The tokens' activations, in the kernel's arrangement; here `[columns / 2][tokens][2]`, the columns rounded up to whole
    /// parts.
    pub words: &'a [i16],
    /// As many as the kernel takes at once; here one to [`FEW`](crate::lanes::FEW), or [`Lanes::AT_ONCE`].
    pub tokens: &'a [Token<'a>],
    /// How the tiles are gone through for one token; for several there is one stream.
    pub walk: Walk,
    /// What is asked for where there are several tokens.
    pub turn: Turn,
    /// Results, `[tokens][16 * tiles]`.
    pub out: &'a mut [f32],
}

/// A format of packed tiles: how a part of one is multiplied with some tokens.
trait Packed {
    /// The format.
    const FORMAT: Format;
    /// Parts of a tile that are worked on before those of another stream: some hundred bytes.
    const TURN: usize = 1;
    /// Whether tiles that are worked on beside each other share activations that are read once for all.
    const SHARES: bool = false;

    /// What is known of a tile's sums while its parts are worked on.
    type Sums<L: Lanes, const T: usize>: Copy;
    /// Sums of no part.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    unsafe fn none<L: Lanes, const T: usize>() -> Self::Sums<L, T>;
    /// Adds the same part of some tiles, of each at its `bytes`, multiplied with the interleaved activations that begin at `words`,
    /// and asks for what lies so many bytes ahead of them.
    ///
    /// # Safety
    /// The CPU must have the instruction set; the parts' bytes, and activations and offsets for them.
    unsafe fn part<L: Lanes, const T: usize, const S: usize>(
        sums: &mut [Self::Sums<L, T>; S],
        bytes: [*const u8; S],
        part: usize,
        words: *const i16,
        tokens: &[Token<'_>; T],
        ahead: usize,
    );
    /// The totals of all parts, but for the activations' scales.
    ///
    /// # Safety
    /// The CPU must have the instruction set; sixteen scales, where the format keeps them apart.
    unsafe fn totals<L: Lanes, const T: usize>(
        sums: Self::Sums<L, T>,
        scales: *const f32,
        tokens: &[Token<'_>; T],
    ) -> [L::Floats; T];
}

macro_rules! kernels {
    ($($format:ident, $name:ident;)*) => {
        $(
            #[doc = concat!("Tiles of [`", stringify!($format), "`](super::layout::Format).")]
            ///
            /// # Panics
            /// When the operands do not belong together.
            ///
            /// # Safety
            /// The CPU must have the instruction set of `L`.
            #[inline(always)]
            pub unsafe fn $name<L: Lanes>(call: Call<'_>) {
                // SAFETY: the caller promises the instruction set.
                unsafe { tiles::<L, $format>(call) }
            }
        )*
    };
}

kernels! {
    Nibbles, q4_0;
    Bytes, q8_0;
    SixBits, q6_k;
    ByteRows, i8row;
}

/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn tiles<L: Lanes, F: Packed>(call: Call<'_>) {
    let tile_bytes = call.parts * F::FORMAT.part_bytes;
    let count = call.tiles.len() / tile_bytes.max(1);
    assert!(tile_bytes > 0 && call.tiles.len() == count * tile_bytes, "whole tiles");
    assert!(call.out.len() == call.tokens.len() * count * LANES, "a result a token and row");
    assert!(F::FORMAT.group_cols > 0 || call.scales.len() == count * LANES, "a scale a row");
    let words = call.tokens.len() * call.parts * F::FORMAT.part_cols;
    assert!(call.words.len() == words, "activations for whole parts");
    for token in call.tokens {
        assert!(
            token.offsets.len() == F::FORMAT.groups(call.parts * F::FORMAT.part_cols),
            "an offset a group"
        );
    }
    // SAFETY: the caller promises the instruction set, and the lengths were checked.
    unsafe {
        match *call.tokens {
            [a] => match call.walk {
                Walk::OneStream => in_turn::<L, F, 1, 1>(call, count, [a]),
                Walk::ThreeStreams => in_turn::<L, F, 1, 3>(call, count, [a]),
                Walk::FourStreams => in_turn::<L, F, 1, 4>(call, count, [a]),
            },
            [a, b] => several::<L, F, 2>(call, count, [a, b]),
            [a, b, c] => several::<L, F, 3>(call, count, [a, b, c]),
            [a, b, c, d] => several::<L, F, 4>(call, count, [a, b, c, d]),
            [a, b, c, d, e, f, g, h] if L::AT_ONCE == MANY => {
                several::<L, F, MANY>(call, count, [a, b, c, d, e, f, g, h])
            }
            _ => unreachable!("one to four tokens, or as many as are taken at once"),
        }
    }
}

/// Several tokens: tiles beside each other, where that is to be had.
///
/// # Safety
/// The CPU must have the instruction set; operands that belong together.
#[inline(always)]
unsafe fn several<L: Lanes, F: Packed, const T: usize>(call: Call<'_>, count: usize, tokens: [Token<'_>; T]) {
    // SAFETY: the caller promises the same.
    unsafe {
        match F::SHARES && L::BESIDE > 1 {
            true if T == MANY => in_turn::<L, F, T, PAIR>(call, count, tokens),
            true => in_turn::<L, F, T, BESIDE_FEW>(call, count, tokens),
            false => in_turn::<L, F, T, 1>(call, count, tokens),
        }
    }
}

/// Equal parts of the tiles at a time, a tile of each; then what is left over, one by one.
///
/// # Safety
/// The CPU must have the instruction set; operands that belong together.
#[inline(always)]
unsafe fn in_turn<L: Lanes, F: Packed, const T: usize, const S: usize>(
    mut call: Call<'_>,
    count: usize,
    tokens: [Token<'_>; T],
) {
    // SAFETY: the tiles are some of the call's; the caller promises the rest.
    unsafe {
        for tiles in steps::<S>(count) {
            at_once::<L, F, T, S>(&mut call, count, tiles, &tokens);
        }
        for tile in rest::<S>(count) {
            at_once::<L, F, T, 1>(&mut call, count, [tile], &tokens);
        }
    }
}

/// Some tiles of `count`, a turn of each after the other.
///
/// # Safety
/// The CPU must have the instruction set; operands that belong together, and tiles that there are.
#[inline(always)]
unsafe fn at_once<L: Lanes, F: Packed, const T: usize, const S: usize>(
    call: &mut Call<'_>,
    count: usize,
    tiles: [usize; S],
    tokens: &[Token<'_>; T],
) {
    let part_bytes = F::FORMAT.part_bytes;
    // One token's kernels are for those that come alone.
    let turn = if T == 1 { Turn::ALONE } else { call.turn };
    let ahead = call.walk.ahead(T == 1 && F::FORMAT.is_swift());
    let asks = turn.asks(ahead, call.tiles.len(), call.parts * part_bytes, part_bytes);
    let words = |part: usize| call.words.as_ptr().wrapping_add(part * F::FORMAT.part_cols * T);
    // SAFETY: the caller promises the instruction set, and that what the parts read is there.
    unsafe {
        let bytes = tiles.map(|tile| call.tiles.as_ptr().add(tile * call.parts * part_bytes));
        let scales = tiles.map(|tile| call.scales.as_ptr().wrapping_add(tile * LANES));
        if !call.scales.is_empty() {
            scales.iter().for_each(|scales| L::prefetch(scales.cast(), 0));
        }
        let mut sums = [F::none::<L, T>(); S];
        let mut part = 0;
        if F::SHARES && T > 1 {
            while part < call.parts {
                let bytes = bytes.map(|tile| tile.add(part * part_bytes));
                F::part::<L, T, S>(&mut sums, bytes, part, words(part), tokens, asks.ahead(part));
                part += 1;
            }
        }
        while part < call.parts {
            let end = call.parts.min(part + F::TURN);
            for (sums, tile) in sums.iter_mut().zip(bytes) {
                for part in part..end {
                    let bytes = [tile.add(part * part_bytes)];
                    let sums = std::array::from_mut(&mut *sums);
                    F::part::<L, T, 1>(sums, bytes, part, words(part), tokens, asks.ahead(part));
                }
            }
            part = end;
        }
        for stream in 0..S {
            let totals = F::totals::<L, T>(sums[stream], scales[stream], tokens);
            for t in 0..T {
                let floats = L::mul(totals[t], L::floats(tokens[t].inverse));
                let out = &mut call.out[(t * count + tiles[stream]) * LANES..];
                if let Some(out) = out.first_chunk_mut() {
                    L::store(floats, out);
                }
            }
        }
    }
}
