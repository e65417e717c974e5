//! How the rows of a quantised head lie in memory: tiles of sixteen rows, each one linear stream in the order in which a
//! kernel consumes it. Only this file, the packer ([`super::pack`]) and the kernels ([`super::blocks`]) know it.
//!
//! The unit is an atom of 64 bytes: sixteen rows of four bytes, row after row. Kernels see the four bytes of a row as two
//! little-endian words, masks bring a field of both to the fore, and the two numbers are multiplied with two neighbouring
//! activations. So an atom of nibbles holds column 2p of a row in bits 4p to 4p+3 of its first word and column 2p+1 in those
//! of the second, and an atom of bytes columns 0 and 1 in the low bytes of the two words, 2 and 3 in the high ones.
//!
//! | format | a tile's part | bytes | columns |
//! |---|---|---|---|
//! | [`Q4_0`] | 4 atoms of nibbles (codes 0..16 for -8..8), 16 scales (binary16) | 288 | 32 |
//! | [`Q8_0`] | 8 atoms of bytes (codes 0..256 for -128..128), 16 scales (binary16) | 544 | 32 |
//! | [`Q6_K`] | 16 scales (binary16), 16 x 16 factors (i8), 16 groups of 16 columns: an atom of upper two bits, two of lower four (codes 0..64 for -32..32) | 3360 | 256 |
//! | [`I8_ROW`] | an atom of bytes; the rows' scales (f32) lie apart | 64 | 4 |

use crate::lanes::LANES;

/// Bytes of an atom.
pub const ATOM: usize = 64;
/// Bytes of sixteen binary16 scales.
pub const SCALES: usize = 32;

/// A format of packed tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Its name, as in kernels' names.
    pub name: &'static str,
    /// Columns of a part; rows are padded to a multiple of it with activations of zero.
    pub part_cols: usize,
    /// Bytes of a part: its columns for sixteen rows.
    pub part_bytes: usize,
    /// Columns whose products are added up as integers; 0 for all of a row's.
    pub group_cols: usize,
    /// The code that stands for zero.
    pub zero: i32,
    /// The greatest magnitude of a weight's integer.
    pub largest: i32,
}

/// Blocks of 32 4-bit integers with a scale.
pub const Q4_0: Format = Format {
    name: "q4_0",
    part_cols: 32,
    part_bytes: 4 * ATOM + SCALES,
    group_cols: 32,
    zero: 8,
    largest: 8,
};
/// Blocks of 32 8-bit integers with a scale.
pub const Q8_0: Format = Format {
    name: "q8_0",
    part_cols: 32,
    part_bytes: 8 * ATOM + SCALES,
    group_cols: 32,
    zero: 128,
    largest: 128,
};
/// Blocks of 256 6-bit integers with a scale, and an 8-bit factor for each 16 of them.
pub const Q6_K: Format = Format {
    name: "q6_k",
    part_cols: 256,
    part_bytes: SCALES + 256 + 48 * ATOM,
    group_cols: 16,
    zero: 32,
    largest: 32,
};
/// 8-bit integers with a scale a row.
pub const I8_ROW: Format =
    Format { name: "i8row", part_cols: 4, part_bytes: ATOM, group_cols: 0, zero: 128, largest: 127 };

impl Format {
    /// Parts of a row of so many columns.
    pub fn parts(&self, cols: usize) -> usize {
        cols.div_ceil(self.part_cols)
    }

    /// Whether a kernel takes its weights for one token as fast as memory brings them: there are few in a cache line, and they
    /// are whole bytes.
    pub fn is_swift(&self) -> bool {
        self.part_bytes >= self.part_cols * LANES
    }

    /// Bytes of a tile; `None` where they overflow.
    pub fn tile_bytes(&self, cols: usize) -> Option<usize> {
        self.parts(cols).checked_mul(self.part_bytes)
    }

    /// Activations of a token are integers from minus this to this: what keeps the sum of a group in i32, and at most
    /// what an i16 holds.
    pub fn amplitude(&self, cols: usize) -> i32 {
        let group = if self.group_cols == 0 { cols } else { self.group_cols };
        let bound = i64::from(i32::MAX) / i64::from(self.largest) / group.max(1) as i64;
        bound.min(i64::from(i16::MAX)) as i32
    }

    /// The most columns: as many as leave the activations eight bits where a whole row is added up.
    pub fn most_cols(&self) -> usize {
        if self.group_cols == 0 { (i32::MAX / self.largest / 127) as usize } else { usize::MAX }
    }

    /// Integer sums of a row, one for each group.
    pub fn groups(&self, cols: usize) -> usize {
        cols.checked_div(self.group_cols).unwrap_or(1)
    }
}
