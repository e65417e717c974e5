//! Splitting independent pieces of work over the threads of the current rayon pool.

use rayon::prelude::*;

/// Number of elementary operations (multiply-adds, conversions) below which a split over threads costs more
/// than it saves.
pub const MIN_PARALLEL_WORK: usize = 1 << 16;

/// True when `work` elementary operations are worth splitting over the threads of the current pool.
pub fn worth_splitting(work: usize) -> bool {
    work >= MIN_PARALLEL_WORK && rayon::current_num_threads() > 1
}

/// Calls `body(index, chunk)` for each `chunk_len` elements of `data` (the last chunk may be shorter), on
/// several threads when `work` (elementary operations in all) is large enough.
///
/// A chunk is computed by one thread from start to end, so the split changes no bit of the result.
///
/// # Panics
/// When `chunk_len` is 0.
pub fn for_each_chunk<T: Send>(
    data: &mut [T],
    chunk_len: usize,
    work: usize,
    body: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    if worth_splitting(work) {
        data.par_chunks_mut(chunk_len).enumerate().for_each(|(index, chunk)| body(index, chunk));
    } else {
        data.chunks_mut(chunk_len).enumerate().for_each(|(index, chunk)| body(index, chunk));
    }
}
