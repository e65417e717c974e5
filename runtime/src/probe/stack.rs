//! Matrices that are read one after the other, as those of the same activations are in a model.

use std::ops::Range;

use super::memory::WeightMemory;
use crate::exact::Activations;
use crate::kernels::abi::{Kernel, Problem, TILE_ROWS};
use crate::kernels::layouts::i2a16;
use crate::shares::by_matrix;

/// Distinct matrices of a shape, one behind the other in memory, so many that none is in a cache when its turn comes again.
#[derive(Debug)]
pub struct Stack<'a> {
    weights: &'a [u8],
    /// Bytes of a matrix.
    bytes: usize,
    /// Rows of a matrix.
    rows: usize,
    /// The matrix that is read next.
    next: usize,
}

/// A matrix as a kernel takes it, and which of its tiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// Rows M.
    pub rows: usize,
    /// Packed, 64-byte aligned.
    pub weights: &'a [u8],
    /// Tiles of 16 rows.
    pub tiles: Range<usize>,
}

impl<'a> Part<'a> {
    /// Its product with as many activation vectors as a kernel takes, from the one counted `first` on.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn problem(&self, acts: &'a Activations, kernel: &Kernel, first: usize) -> Problem<'a> {
        Problem { rows: self.rows, ..acts.problem(kernel, self.weights, first) }
    }
}

impl<'a> Stack<'a> {
    /// As many matrices of so many rows and columns as there is room for.
    ///
    /// # Panics
    /// If there is none for one.
    pub fn new(memory: &'a WeightMemory, (rows, cols): (usize, usize)) -> Self {
        let bytes = i2a16::packed_bytes(rows, cols);
        let matrices = memory.matrices(bytes).len();
        Stack { weights: &memory.bytes()[..matrices * bytes], bytes, rows, next: 0 }
    }

    /// How many matrices there are.
    pub fn matrices(&self) -> usize {
        self.weights.len() / self.bytes
    }

    /// One of them, counted around.
    pub fn matrix(&self, index: usize) -> &'a [u8] {
        &self.weights[index % self.matrices() * self.bytes..][..self.bytes]
    }

    /// Tiles of a matrix.
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(TILE_ROWS)
    }

    /// Bytes of a tile.
    pub fn tile_bytes(&self) -> usize {
        self.bytes / self.tiles()
    }

    /// How many tiles of a matrix stay in a cache of so many bytes: whole groups of as many as a kernel has streams, for it computes
    /// some that are left over twice.
    pub fn cached(&self, kernel: &Kernel, bytes: usize) -> usize {
        let streams = kernel.descriptor().streams;
        (bytes / self.tile_bytes() / streams * streams).max(streams).min(self.tiles())
    }

    /// The tiles of as many matrices as hold so many bytes (all at most) that have not been read for longest.
    pub fn next(&mut self, bytes: usize) -> Range<usize> {
        let count = bytes.div_ceil(self.bytes).clamp(1, self.matrices());
        let first = if self.next + count > self.matrices() { 0 } else { self.next };
        self.next = first + count;
        first * self.tiles()..self.next * self.tiles()
    }

    /// Some tiles, counted from the first of a turn, for a kernel: as the engine calls it for products of the same activations, of
    /// all matrices as if they were one, or, if it serves one shape only, of one matrix after the other.
    pub fn parts(
        &self,
        kernel: &Kernel,
        turn: &Range<usize>,
        tiles: Range<usize>,
    ) -> impl Iterator<Item = Part<'a>> {
        let tiles = turn.start + tiles.start..turn.start + tiles.end;
        let (rows, each) = match kernel.descriptor().shape {
            Some(_) => (self.rows, self.tiles()),
            None => (self.matrices() * self.tiles() * TILE_ROWS, self.matrices() * self.tiles()),
        };
        let (weights, bytes) = (self.weights, each * self.tile_bytes());
        by_matrix(tiles, each).map(move |(index, tiles)| Part {
            rows,
            weights: &weights[index * bytes..][..bytes],
            tiles,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::DESCRIPTORS;

    #[test]
    fn matrices_are_read_in_turn_and_never_past_the_last() {
        // Matrices of three tiles of 128 bytes: of 40 rows, which are 48 with padding, and 24 columns, which are 32.
        let memory = WeightMemory::new(5 * 384 + 100);
        let mut stack = Stack::new(&memory, (40, 24));
        assert_eq!((stack.matrices(), stack.tiles(), stack.tile_bytes()), (5, 3, 128));
        assert_eq!(stack.matrix(6), &memory.bytes()[384..768]);
        assert_eq!([stack.next(700), stack.next(768), stack.next(769)], [0..6, 6..12, 0..9]);
        assert_eq!([stack.next(1), stack.next(1 << 20)], [9..12, 0..15]);
    }

    #[test]
    fn a_kernel_of_any_shape_takes_all_as_one() {
        let memory = WeightMemory::new(3 * 8192);
        let stack = Stack::new(&memory, (128, 256));
        let parts = |shape: Option<(usize, usize)>| {
            let mut kernels = DESCRIPTORS.iter().filter(|descriptor| descriptor.shape == shape);
            let kernel = kernels.find_map(Kernel::new).expect("one of the portable ones");
            stack.parts(&kernel, &(4..24), 2..13).collect::<Vec<_>>()
        };
        assert_eq!(parts(None), [Part { rows: 384, weights: memory.bytes(), tiles: 6..17 }]);
        let one = |index, tiles| Part { rows: 128, weights: stack.matrix(index), tiles };
        assert_eq!(parts(Some((128, 256))), [one(0, 6..8), one(1, 0..8), one(2, 0..1)]);
    }

    #[test]
    fn what_stays_in_a_cache_is_whole_groups() {
        // Tiles of 1024 bytes, of which there are eight.
        let memory = WeightMemory::new(8192);
        let stack = Stack::new(&memory, (128, 256));
        let streams = |of: usize| DESCRIPTORS.iter().filter(move |descriptor| descriptor.streams == of);
        let one = streams(1).find_map(Kernel::new).expect("one of the portable ones");
        assert_eq!([100, 5000, 9000].map(|bytes| stack.cached(&one, bytes)), [1, 4, 8]);
        if let Some(two) = streams(2).find_map(Kernel::new) {
            assert_eq!([100, 5000, 7100].map(|bytes| stack.cached(&two, bytes)), [2, 4, 6]);
        }
    }
}
