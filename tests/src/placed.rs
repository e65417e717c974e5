//! Buffers at a known distance from an aligned address.

use std::ops::{Deref, DerefMut};

/// What packed weights are aligned to, in bytes.
const ALIGNMENT: usize = 64;

/// Values that start a given number of elements past a multiple of 64 bytes.
#[derive(Debug)]
pub struct Placed<T> {
    buffer: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Placed<T> {
    /// `len` default values, `offset` elements past a multiple of 64 bytes.
    pub fn new(len: usize, offset: usize) -> Self {
        let buffer = vec![T::default(); len + offset + ALIGNMENT];
        // The heap block of a vector stays where it is when the vector moves.
        let start = buffer.as_ptr().align_offset(ALIGNMENT) + offset;
        Placed { buffer, start, len }
    }

    /// A copy of `values`, `offset` elements past a multiple of 64 bytes.
    pub fn copy_of(values: &[T], offset: usize) -> Self {
        let mut placed = Self::new(values.len(), offset);
        placed.copy_from_slice(values);
        placed
    }
}

impl<T> Deref for Placed<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.buffer[self.start..self.start + self.len]
    }
}

impl<T> DerefMut for Placed<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.buffer[self.start..self.start + self.len]
    }
}
