//! Packing of many matrices at once, on all threads: each packs the row tiles that it will multiply, into memory that
//! nobody has touched before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::Engine;
use crate::format::{FormatError, TernaryTensor};
use crate::os::AlignedBytes;
use crate::packed::{PackError, PackedTernaryWeights, packed_bytes, tile_bytes};
use crate::shares::Shares;

/// Packed bytes that a thread writes between two looks at what is left.
const PIECE_BYTES: usize = 256 << 10;

/// Matrices that the system is asked to read from the disk ahead of the one that is packed: those of two layers.
const READ_AHEAD: usize = 14;

/// How far loading has come, in bytes of packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// Packed so far.
    pub done: u64,
    /// To be packed in all.
    pub total: u64,
}

/// A matrix that could not be packed: its place in the list, and why.
pub(crate) type Unpacked = (usize, PackError<FormatError>);

/// Some row tiles of a matrix, and where they go.
struct Piece<'a> {
    first_tile: usize,
    out: &'a mut [u8],
}

/// A matrix with its pieces, each of which is taken once.
struct Matrix<'a> {
    tensor: &'a TernaryTensor,
    tile_bytes: usize,
    pieces: Vec<Mutex<Option<Piece<'a>>>>,
    shares: Shares,
}

/// Packs all of these matrices on the threads of `engine`, one after another in the same memory. `progress` is called on
/// those threads, after every few hundred KiB.
///
/// # Errors
/// The first fault by matrix and row, whichever thread comes upon it.
pub(crate) fn pack(
    tensors: &[&TernaryTensor],
    engine: &Engine,
    progress: &(dyn Fn(LoadProgress) + Sync),
) -> Result<Vec<PackedTernaryWeights>, Unpacked> {
    let sizes = tensors.iter().enumerate().map(|(index, tensor)| {
        packed_bytes(tensor.rows(), tensor.cols(), tensor.scales()).map_err(|error| (index, error))
    });
    let sizes = sizes.collect::<Result<Vec<usize>, Unpacked>>()?;
    let mut memory = AlignedBytes::zeroed(sizes.iter().sum());
    fill(&mut memory, tensors, &sizes, engine, progress)?;
    let (memory, mut start) = (Arc::new(memory), 0);
    let packed = tensors.iter().zip(sizes).map(|(tensor, size)| {
        let range = start..start + size;
        start += size;
        let (rows, cols, scales) = (tensor.rows(), tensor.cols(), tensor.scales().clone());
        PackedTernaryWeights::in_memory(rows, cols, scales, Arc::clone(&memory), range)
    });
    Ok(packed.collect())
}

/// Writes all matrices, of so many bytes each.
fn fill(
    mut memory: &mut [u8],
    tensors: &[&TernaryTensor],
    sizes: &[usize],
    engine: &Engine,
    progress: &(dyn Fn(LoadProgress) + Sync),
) -> Result<(), Unpacked> {
    let total = memory.len() as u64;
    let mut matrices = Vec::with_capacity(tensors.len());
    for (&tensor, &size) in tensors.iter().zip(sizes) {
        let (out, rest) = std::mem::take(&mut memory).split_at_mut(size);
        memory = rest;
        let tile_bytes = tile_bytes(tensor.cols());
        let tiles = (PIECE_BYTES / tile_bytes).max(1);
        let piece = |(index, out)| Mutex::new(Some(Piece { first_tile: index * tiles, out }));
        let pieces: Vec<_> = out.chunks_mut(tiles * tile_bytes).enumerate().map(piece).collect();
        let shares = Shares::new(pieces.len(), engine.threads(), 1);
        matrices.push(Matrix { tensor, tile_bytes, pieces, shares });
    }
    let done = AtomicU64::new(0);
    let fault: Mutex<Option<(usize, usize, PackError<FormatError>)>> = Mutex::new(None);
    tensors.iter().take(READ_AHEAD).for_each(|tensor| tensor.read_ahead());
    engine.pool().broadcast(|context| {
        let mut trits = Vec::new();
        for (index, matrix) in matrices.iter().enumerate() {
            while let Some(claimed) = matrix.shares.claim(context.index()) {
                for place in claimed {
                    let mut taken = matrix.pieces[place].lock().unwrap_or_else(PoisonError::into_inner);
                    let Some(piece) = taken.take() else { continue };
                    let order = (index, piece.first_tile);
                    let fault_before = |fault: &Option<(usize, usize, _)>| {
                        fault.as_ref().is_some_and(|&(index, tile, _)| (index, tile) < order)
                    };
                    if fault_before(&fault.lock().unwrap_or_else(PoisonError::into_inner)) {
                        continue;
                    }
                    if place == 0
                        && let Some(ahead) = tensors.get(index + READ_AHEAD)
                    {
                        ahead.read_ahead();
                    }
                    let bytes = piece.out.len() as u64;
                    if let Err(error) = matrix.pack(piece, &mut trits) {
                        let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
                        if !fault_before(&fault) {
                            *fault = Some((order.0, order.1, error));
                        }
                        continue;
                    }
                    let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
                    progress(LoadProgress { done, total });
                }
            }
        }
    });
    match fault.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some((index, _, error)) => Err((index, error)),
        None => Ok(()),
    }
}

impl Matrix<'_> {
    fn pack(&self, piece: Piece<'_>, trits: &mut Vec<i8>) -> Result<(), PackError<FormatError>> {
        let tiles = piece.out.chunks_exact_mut(self.tile_bytes).zip(piece.first_tile..);
        for (out, tile) in tiles {
            self.tensor.pack_tile(tile, out, trits)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
