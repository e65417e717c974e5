//! Working memory that is kept from one use to the next: of fresh memory, every page would have to be zeroed first.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Pieces that nobody uses at present: as many as were in use at the same time at most.
#[derive(Debug)]
pub(crate) struct Spare<T>(Mutex<Vec<T>>);

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Spare(Mutex::default())
    }
}

impl<T: Default> Spare<T> {
    fn pieces(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The piece that was put back last, or a new one.
    pub fn take(&self) -> T {
        self.pieces().pop().unwrap_or_default()
    }

    /// Keeps a piece for others.
    pub fn put(&self, piece: T) {
        self.pieces().push(piece);
    }
}
