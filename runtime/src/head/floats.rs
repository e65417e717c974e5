//! The kernels of heads that stay as they are stored: rows of f32, binary16 or bf16, read in place.
//!
//! Column i of a row belongs to lane i mod 16: it is converted exactly, multiplied with the token's value, rounded, and added
//! to the lane, columns ascending; then the lanes fold 8, 4, 2, 1. These are the bits of
//! [`crate::numerics::Numerics::dot_rows`].

use super::lanes::{LANES, Lanes};

/// How far ahead of their use weights are asked for, in bytes.
const AHEAD: usize = 4096;

/// Whole rows and the tokens that they are multiplied with.
#[derive(Debug)]
pub struct Call<'a> {
    /// The rows' bytes, of any alignment.
    pub rows: &'a [u8],
    /// Columns, at least one.
    pub cols: usize,
    /// One to [`super::blocks::TOKENS`] tokens of so many values.
    pub tokens: &'a [&'a [f32]],
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
    for (row, bytes) in call.rows.chunks_exact(row_bytes).enumerate() {
        macro_rules! run {
            ($count:literal, $tokens:expr) => {{
                // SAFETY: the caller promises the instruction set, and the lengths were checked.
                let sums = unsafe { dots::<L, S, $count>(bytes.as_ptr(), call.cols, $tokens) };
                for (token, sum) in sums.into_iter().enumerate() {
                    call.out[token * count + row] = sum;
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

/// The products of a row with some tokens. One row at a time: the rows are then one linear stream, and two registers of
/// eight lanes already add as fast as memory delivers.
///
/// # Safety
/// The CPU must have the instruction set; `cols` values in the row and in every token.
#[inline(always)]
unsafe fn dots<L: Lanes, S: Stored, const T: usize>(
    row: *const u8,
    cols: usize,
    tokens: [&[f32]; T],
) -> [f32; T] {
    // SAFETY: the caller promises the instruction set and the lengths.
    unsafe {
        let mut lanes = [L::floats(0.0); T];
        macro_rules! chunk {
            ($col:expr) => {{
                let weights = S::lanes::<L>(row.add($col * S::BYTES));
                for t in 0..T {
                    let values = L::f32s(tokens[t].as_ptr().add($col));
                    lanes[t] = L::add(lanes[t], L::mul(weights, values));
                }
            }};
        }
        let mut col = 0;
        while col + 4 * LANES <= cols {
            for line in 0..S::BYTES {
                L::prefetch(row.wrapping_add(col * S::BYTES + AHEAD + 64 * line));
            }
            chunk!(col);
            chunk!(col + LANES);
            chunk!(col + 2 * LANES);
            chunk!(col + 3 * LANES);
            col += 4 * LANES;
        }
        while col + LANES <= cols {
            chunk!(col);
            col += LANES;
        }
        if col < cols {
            // The products of what is filled up are +0, which no sum that began at +0 is changed by.
            let rest = cols - col;
            let mut weights = [0u8; 4 * LANES];
            std::ptr::copy_nonoverlapping(row.add(col * S::BYTES), weights.as_mut_ptr(), rest * S::BYTES);
            let weights = S::lanes::<L>(weights.as_ptr());
            for t in 0..T {
                let mut values = [0.0f32; LANES];
                values[..rest].copy_from_slice(&tokens[t][col..]);
                lanes[t] = L::add(lanes[t], L::mul(weights, L::f32s(values.as_ptr())));
            }
        }
        let mut sums = [0.0; T];
        for t in 0..T {
            let mut lanes_of = [0.0; LANES];
            L::store(lanes[t], &mut lanes_of);
            sums[t] = fold(lanes_of);
        }
        sums
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
