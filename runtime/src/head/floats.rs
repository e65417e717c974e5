//! The kernels of heads that stay as they are stored: rows of f32, binary16 or bf16, read in place.
//!
//! Column i of a row belongs to lane i mod 16: it is converted exactly, multiplied with the token's value, rounded, and added
//! to the lane, columns ascending; then the lanes fold 8, 4, 2, 1. These are the bits of
//! [`crate::numerics::Numerics::dot_rows`].

use super::schedule::{Asks, Turn, Walk, rest, steps};
use crate::lanes::{LANES, Lanes, MANY};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Whole rows and the tokens that they are multiplied with.
#[derive(Debug)]
pub struct Call<'a> {
    /// The rows' bytes, of any alignment.
    pub rows: &'a [u8],
    /// Columns, at least one.
    pub cols: usize,
    /// One to [`FEW`](crate::lanes::FEW) tokens, or [`Lanes::AT_ONCE`], of so many values.
    pub tokens: &'a [&'a [f32]],
    /// How the rows are gone through.
    pub walk: Walk,
    /// What is asked for where there are several tokens.
    pub turn: Turn,
    /// Results, `[tokens][rows]`.
    pub out: &'a mut [f32],
}

/// A way to store floats.
trait Stored {
    /// Bytes of a value.
    const BYTES: usize;
    /// Sixteen values.
    ///
    /// # Safety
    /// The CPU must have the instruction set; sixteen values at `from`.
    unsafe fn lanes<L: Lanes>(from: *const u8) -> L::Floats;
}

macro_rules! stored {
    ($($name:ident, $kernel:ident, $bytes:literal, $read:ident;)*) => {
        $(
            struct $name;

            impl Stored for $name {
                const BYTES: usize = $bytes;

                #[inline(always)]
                unsafe fn lanes<L: Lanes>(from: *const u8) -> L::Floats {
                    // SAFETY: the caller promises the instruction set and the values.
                    unsafe { L::$read(from) }
                }
            }

            #[doc = concat!("Rows of ", stringify!($kernel), ".")]
            ///
            /// # Panics
            /// When the operands do not belong together.
            ///
            /// # Safety
            /// The CPU must have the instruction set of `L`.
            #[inline(always)]
            pub unsafe fn $kernel<L: Lanes>(call: Call<'_>) {
                // SAFETY: the caller promises the instruction set.
                unsafe { rows::<L, $name>(call) }
            }
        )*
    };
}

stored! {
    F32, f32, 4, le_f32s;
    F16, f16, 2, f16s;
    Bf16, bf16, 2, bf16s;
}

/// # Safety
/// The CPU must have the instruction set.
#[inline(always)]
unsafe fn rows<L: Lanes, S: Stored>(call: Call<'_>) {
    let row_bytes = call.cols * S::BYTES;
    let count = call.rows.len() / row_bytes.max(1);
    assert!(row_bytes > 0 && call.rows.len() == count * row_bytes, "whole rows");
    assert!(call.out.len() == call.tokens.len() * count, "a result a token and row");
    assert!(call.tokens.iter().all(|token| token.len() == call.cols), "a value a column");
    // SAFETY: the caller promises the instruction set, and the lengths were checked.
    unsafe {
        match *call.tokens {
            [a] => walk::<L, S, 1>(call, count, [a]),
            [a, b] => walk::<L, S, 2>(call, count, [a, b]),
            [a, b, c] => walk::<L, S, 3>(call, count, [a, b, c]),
            [a, b, c, d] => walk::<L, S, 4>(call, count, [a, b, c, d]),
            [a, b, c, d, e, f, g, h] if L::AT_ONCE == MANY => {
                walk::<L, S, MANY>(call, count, [a, b, c, d, e, f, g, h])
            }
            _ => unreachable!("one to four tokens, or as many as are taken at once"),
        }
    }
}

/// One row after the other, or some in turn; of several tokens not so many that their sums would not stay in registers.
///
/// # Safety
/// The CPU must have the instruction set; operands that belong together.
#[inline(always)]
unsafe fn walk<L: Lanes, S: Stored, const T: usize>(call: Call<'_>, count: usize, tokens: [&[f32]; T]) {
    // SAFETY: the caller promises the same.
    unsafe {
        match call.walk {
            _ if T > 2 && L::BESIDE == 1 => in_turn::<L, S, T, 1>(call, count, tokens),
            Walk::OneStream => in_turn::<L, S, T, 1>(call, count, tokens),
            Walk::FourStreams if T == 1 => in_turn::<L, S, T, 4>(call, count, tokens),
            Walk::ThreeStreams | Walk::FourStreams => in_turn::<L, S, T, 3>(call, count, tokens),
        }
    }
}

/// Equal parts of the rows at a time, a row of each; then what is left over, one by one.
///
/// # Safety
/// The CPU must have the instruction set; operands that belong together.
#[inline(always)]
unsafe fn in_turn<L: Lanes, S: Stored, const T: usize, const R: usize>(
    call: Call<'_>,
    count: usize,
    tokens: [&[f32]; T],
) {
    let mut store = |row: usize, sums: [f32; T]| {
        for (t, sum) in sums.into_iter().enumerate() {
            call.out[t * count + row] = sum;
        }
    };
    let at = |row: usize| call.rows.as_ptr().wrapping_add(row * call.cols * S::BYTES);
    // One token's kernels are for those that come alone.
    let turn = if T == 1 { Turn::ALONE } else { call.turn };
    let asks = turn.asks(call.walk.ahead(T == 1), call.rows.len(), call.cols * S::BYTES, LINE);
    // SAFETY: the rows are some of the call's; the caller promises the rest.
    unsafe {
        for rows in steps::<R>(count) {
            let sums = dots::<L, S, T, R>(rows.map(at), call.cols, &tokens, asks);
            (0..R).for_each(|stream| store(rows[stream], sums[stream]));
        }
        for row in rest::<R>(count) {
            let [sums] = dots::<L, S, T, 1>([at(row)], call.cols, &tokens, asks);
            store(row, sums);
        }
    }
}

/// The products of some rows with some tokens, a turn of four vectors of each row after the other.
///
/// # Safety
/// The CPU must have the instruction set; `cols` values in the rows and in every token.
#[inline(always)]
unsafe fn dots<L: Lanes, S: Stored, const T: usize, const R: usize>(
    rows: [*const u8; R],
    cols: usize,
    tokens: &[&[f32]; T],
    asks: Asks,
) -> [[f32; T]; R] {
    // SAFETY: the caller promises the instruction set and the lengths.
    unsafe {
        let mut lanes = [[L::floats(0.0); T]; R];
        let mut col = 0;
        while col + 4 * LANES <= cols {
            for r in 0..R {
                for chunk in 0..4 {
                    let at = (col + chunk * LANES) * S::BYTES;
                    let from = rows[r].add(at);
                    // Once a line: a vector is one, or half.
                    if (chunk * LANES * S::BYTES).is_multiple_of(LINE) {
                        L::prefetch(from, asks.ahead(at / LINE));
                    }
                    multiply::<L, T>(&mut lanes[r], S::lanes::<L>(from), tokens, col + chunk * LANES);
                }
            }
            col += 4 * LANES;
        }
        while col + LANES <= cols {
            for r in 0..R {
                let weights = S::lanes::<L>(rows[r].add(col * S::BYTES));
                multiply::<L, T>(&mut lanes[r], weights, tokens, col);
            }
            col += LANES;
        }
        if col < cols {
            // The products of what is filled up are +0, which no sum that began at +0 is changed by.
            let rest = cols - col;
            for r in 0..R {
                let mut weights = [0u8; 4 * LANES];
                let from = rows[r].add(col * S::BYTES);
                std::ptr::copy_nonoverlapping(from, weights.as_mut_ptr(), rest * S::BYTES);
                let weights = S::lanes::<L>(weights.as_ptr());
                for t in 0..T {
                    let mut values = [0.0f32; LANES];
                    values[..rest].copy_from_slice(&tokens[t][col..]);
                    lanes[r][t] = L::add(lanes[r][t], L::mul(weights, L::f32s(values.as_ptr())));
                }
            }
        }
        let mut sums = [[0.0; T]; R];
        for r in 0..R {
            for t in 0..T {
                let mut lanes_of = [0.0; LANES];
                L::store(lanes[r][t], &mut lanes_of);
                sums[r][t] = fold(lanes_of);
            }
        }
        sums
    }
}

/// Adds the products of sixteen weights with those values of each token that begin at column `col`.
///
/// # Safety
/// The CPU must have the instruction set; sixteen values of each token from `col` on.
#[inline(always)]
unsafe fn multiply<L: Lanes, const T: usize>(
    lanes: &mut [L::Floats; T],
    weights: L::Floats,
    tokens: &[&[f32]; T],
    col: usize,
) {
    for t in 0..T {
        // SAFETY: the caller promises the instruction set and the values.
        unsafe {
            let values = L::f32s(tokens[t].as_ptr().add(col));
            lanes[t] = L::add(lanes[t], L::mul(weights, values));
        }
    }
}

/// Lanes 8 apart are added, then 4, 2 and 1.
#[inline(always)]
fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}
