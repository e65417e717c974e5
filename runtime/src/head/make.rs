//! Making a head of a file's tensor, on the engine's threads.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::layout::{Format, I8_ROW};
use super::pack::{Blocks, pack_i8_row};
use super::{Head, HeadError, HeadType, Weights, on_tiles, quantize};
use crate::engine::Engine;
use crate::format::{BlockTensor, BlockType, VocabMatrix};
use crate::lanes::LANES;
use crate::numerics::Numerics;
use crate::os::AlignedBytes;

impl Head {
    /// What `head_type` says of a matrix.
    ///
    /// # Errors
    /// [`HeadError`]: no rows or columns, weights that are not finite, a format that does not take the columns, a kernel of
    /// the engine's that returns other bits than the portable one for the first rows.
    pub fn new(matrix: &VocabMatrix, head_type: HeadType, engine: &Engine) -> Result<Self, HeadError> {
        let (rows, cols) = (matrix.rows(), matrix.cols());
        check_shape(rows, cols, "any format", usize::MAX)?;
        let weights = match (head_type, matrix) {
            (HeadType::Exact, _) => Weights::Stored { matrix: matrix.clone(), copy: None },
            (HeadType::Stored, VocabMatrix::Float(_)) => {
                Weights::Stored { matrix: matrix.clone(), copy: Some(copy(matrix.bytes(), engine)) }
            }
            (HeadType::Stored, VocabMatrix::Blocks(tensor)) => from_blocks(tensor, engine)?,
            (HeadType::Int8, _) => int8(matrix, engine)?,
            // Quantising once more would lose some of it.
            (HeadType::Q4_0, VocabMatrix::Blocks(tensor)) if tensor.kind() == BlockType::Q4_0 => {
                from_blocks(tensor, engine)?
            }
            (HeadType::Q4_0, _) => q4_0(matrix, engine)?,
        };
        let head = Head { rows, cols, weights, walk: engine.head_walk(), blocks: engine.blocks() };
        head.check(engine)?;
        Ok(head)
    }

    /// The logits of the first rows for one token and for several, by the engine's kernels and by the portable ones.
    fn check(&self, engine: &Engine) -> Result<(), HeadError> {
        let states = on_tiles::FROM * self.cols;
        let hidden: Vec<f32> = (0..states).map(|i| (i * 7919 % 2003) as f32 * 0.0131 - 13.1).collect();
        let same = [&hidden[..self.cols], &hidden[..]].iter().all(|hidden| {
            self.first_tile(engine.numerics(), hidden) == self.first_tile(&Numerics::portable(), hidden)
        });
        if same { Ok(()) } else { Err(HeadError::Kernel { name: self.kernel_name(engine) }) }
    }
}

fn check_shape(rows: usize, cols: usize, format: &'static str, most: usize) -> Result<(), HeadError> {
    if rows > 0 && (1..=most).contains(&cols) {
        return Ok(());
    }
    Err(HeadError::Shape { rows, cols, format, most })
}

/// The same bytes, each written by one of the engine's threads.
fn copy(bytes: &[u8], engine: &Engine) -> AlignedBytes {
    const PIECE: usize = 1 << 20;
    let mut copy = AlignedBytes::zeroed(bytes.len());
    engine.pool().install(|| {
        let pieces = copy.par_chunks_mut(PIECE).zip(bytes.par_chunks(PIECE));
        pieces.for_each(|(to, from)| to.copy_from_slice(from));
    });
    copy
}

/// Each row as 8-bit integers.
fn int8(matrix: &VocabMatrix, engine: &Engine) -> Result<Weights, HeadError> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    check_shape(rows, cols, I8_ROW.name, I8_ROW.most_cols())?;
    let padded = I8_ROW.parts(cols) * I8_ROW.part_cols;
    let mut scales = vec![0.0f32; rows.next_multiple_of(LANES)];
    let row_scales: Vec<Mutex<&mut [f32]>> = scales.chunks_mut(LANES).map(Mutex::new).collect();
    let tiles = pack_tiles(&I8_ROW, rows, cols, engine, |rows, tile| {
        let (mut values, mut q) = (vec![0.0; cols], vec![0i8; padded]);
        let mut scales = row_scales[rows.start / LANES].lock().unwrap_or_else(PoisonError::into_inner);
        for (i, row) in rows.enumerate() {
            finite_row(matrix, row, &mut values)?;
            scales[i] = quantize::int8_row(&values, &mut q[..cols]);
            pack_i8_row(&q, i, tile);
        }
        Ok(())
    })?;
    drop(row_scales);
    Ok(Weights::Packed { format: &I8_ROW, tiles, scales })
}

/// Each row as blocks of Q4_0.
fn q4_0(matrix: &VocabMatrix, engine: &Engine) -> Result<Weights, HeadError> {
    let (rows, cols) = (matrix.rows(), matrix.cols());
    let blocks = Blocks::of(BlockType::Q4_0);
    if BlockType::Q4_0.row_bytes(cols).is_none() {
        return Err(HeadError::Columns { cols, format: blocks.format.name, block: blocks.kind.weights() });
    }
    let tiles = pack_tiles(blocks.format, rows, cols, engine, |rows, tile| {
        let (mut values, mut packed) = (vec![0.0; cols], Vec::new());
        for (i, row) in rows.enumerate() {
            finite_row(matrix, row, &mut values)?;
            packed.clear();
            blocks.kind.quantize(&values, &mut packed);
            pack_row(blocks, &packed, row, i, tile)?;
        }
        Ok(())
    })?;
    Ok(Weights::Packed { format: blocks.format, tiles, scales: Vec::new() })
}

/// The blocks of a file in the order of the kernels.
fn from_blocks(tensor: &BlockTensor, engine: &Engine) -> Result<Weights, HeadError> {
    let blocks = Blocks::of(tensor.kind());
    let row_bytes = tensor.bytes().len() / tensor.rows();
    let tiles = pack_tiles(blocks.format, tensor.rows(), tensor.cols(), engine, |rows, tile| {
        let mut each = rows.enumerate();
        each.try_for_each(|(i, row)| {
            pack_row(blocks, &tensor.bytes()[row * row_bytes..][..row_bytes], row, i, tile)
        })
    })?;
    Ok(Weights::Packed { format: blocks.format, tiles, scales: Vec::new() })
}

/// A row as f32.
///
/// # Errors
/// [`HeadError::NotFinite`] for the first weight that is not.
fn finite_row(matrix: &VocabMatrix, row: usize, values: &mut [f32]) -> Result<(), HeadError> {
    matrix.row_to_f32(row, values);
    match values.iter().position(|value| !value.is_finite()) {
        Some(col) => Err(HeadError::NotFinite { row, col, value: values[col] }),
        None => Ok(()),
    }
}

fn pack_row(
    blocks: &Blocks,
    bytes: &[u8],
    row: usize,
    of_tile: usize,
    tile: &mut [u8],
) -> Result<(), HeadError> {
    let format = blocks.format.name;
    blocks.pack_row(bytes, of_tile, tile).map_err(|block| HeadError::Scale { row, block, format })
}

/// The tiles of a matrix, each filled by `pack(rows, tile)`, on the engine's threads.
fn pack_tiles(
    format: &'static Format,
    rows: usize,
    cols: usize,
    engine: &Engine,
    pack: impl Fn(Range<usize>, &mut [u8]) -> Result<(), HeadError> + Sync,
) -> Result<AlignedBytes, HeadError> {
    let too_large = HeadError::Shape { rows, cols, format: format.name, most: format.most_cols() };
    let tile_bytes = format.tile_bytes(cols).ok_or_else(|| too_large.clone())?;
    let len = rows.div_ceil(LANES).checked_mul(tile_bytes).ok_or(too_large)?;
    let mut tiles = AlignedBytes::zeroed(len);
    engine.pool().install(|| {
        tiles
            .par_chunks_mut(tile_bytes)
            .enumerate()
            .try_for_each(|(index, tile)| pack(index * LANES..((index + 1) * LANES).min(rows), tile))
    })?;
    Ok(tiles)
}
