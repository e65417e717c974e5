//! Two interpreters, for tests: [`ir`] executes a kernel's IR with exact integers and checks every value against
//! the range proof, [`machine`] executes its lowered form over [`models`] of the intrinsics, bit for bit. So every
//! back-end is executed on every machine.

pub mod ir;
pub mod machine;
pub mod models;
pub mod tiles;

use std::borrow::Cow;

use crate::abi::{EXPANSION, Streams, expand};
use crate::compile::Kernel;
use crate::ir::Ends;
use crate::layout::{ATOM_COLS, TILE_ROWS};

/// A matrix product for an interpreter: the operands of a kernel.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// Rows M.
    pub rows: usize,
    /// Columns K.
    pub cols: usize,
    /// The packed matrix; the interpreters expand it themselves for the kernels that want that.
    pub weights: &'a [u8],
    /// Activation vectors, zero padded.
    pub acts: &'a [i8],
    /// Values from one activation vector to the next.
    pub act_stride: usize,
    /// The sum of each activation vector.
    pub act_sums: &'a [i32],
    /// The row tiles to compute.
    pub first_tile: usize,
    /// One past the last row tile.
    pub end_tile: usize,
}

impl<'a> Data<'a> {
    /// The weights as a kernel wants them.
    fn weights_for(&self, kernel: &Kernel) -> Cow<'a, [u8]> {
        let Some(fields) = kernel.program.expanded else { return Cow::Borrowed(self.weights) };
        let mut codes = vec![0; self.weights.len() * EXPANSION];
        expand(self.weights, fields, &mut codes);
        Cow::Owned(codes)
    }

    fn k_atoms(&self) -> usize {
        self.cols.div_ceil(ATOM_COLS)
    }

    /// The row tiles that a kernel with so many weight streams works on at a time, one of each stream, and which of its call's
    /// they are.
    fn rounds(&self, streams: usize) -> Vec<(Vec<usize>, Ends)> {
        let calls = Streams::covering(self.first_tile..self.end_tile, streams);
        let round = |call: Streams, step| {
            let tiles = (0..streams).map(|stream| call.tile(stream, step)).collect();
            (tiles, Ends { first: step == 0, last: step + 1 == call.steps })
        };
        calls.flat_map(|call| (0..call.steps).map(move |step| round(call, step))).collect()
    }

    /// Rows of the result of one vector.
    fn out_rows(&self) -> usize {
        (self.end_tile * TILE_ROWS).min(self.rows) - self.first_tile * TILE_ROWS
    }

    /// Weights `offset..offset + len` past the start of a tile, advanced by whole atoms of so many bytes.
    fn weights_at(
        &self,
        atom_bytes: usize,
        tile: usize,
        atom: usize,
        offset: usize,
        len: usize,
    ) -> Result<&[u8], Fault> {
        let start = (tile * self.k_atoms() + atom) * atom_bytes + offset;
        self.weights.get(start..start + len).ok_or(Fault::Read { what: "weights", at: start, len })
    }

    /// Activations `offset..offset + len` of a vector, advanced by whole atoms.
    fn acts_at(&self, token: usize, atom: usize, offset: usize, len: usize) -> Result<&[i8], Fault> {
        let start = token * self.act_stride + atom * ATOM_COLS + offset;
        self.acts.get(start..start + len).ok_or(Fault::Read { what: "activations", at: start, len })
    }
}

/// What an interpreter refuses to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A read outside of an operand.
    #[error("read of {len} bytes at {at} lies outside of the {what}")]
    Read {
        /// The operand.
        what: &'static str,
        /// Where the read starts.
        at: usize,
        /// How long it is.
        len: usize,
    },
    /// A write outside of the results.
    #[error("write of row {row} of vector {token} lies outside of the results")]
    Write {
        /// Which vector.
        token: usize,
        /// Row from the first tile's first.
        row: usize,
    },
    /// A value outside of the interval that was proven for it.
    #[error("value '{value}' is {found}, proven to stay in {lo}..={hi}")]
    Unproven {
        /// The value's name.
        value: String,
        /// What it is.
        found: i64,
        /// Smallest proven value.
        lo: i64,
        /// Largest proven value.
        hi: i64,
    },
    /// A value used before it is defined.
    #[error("'{0}' is used before it is defined")]
    Undefined(String),
    /// A tile configuration, or an instruction on tiles, that the CPU would refuse.
    #[error("{0}")]
    Tile(String),
    /// An instruction that has no model, or arguments that its model does not take.
    #[error("no model of '{0}' for these arguments")]
    NoModel(&'static str),
}
