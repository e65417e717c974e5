//! Working memory that is kept from one use to the next.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

use crate::os::AlignedBytes;

/// Elements from a cache line's start on, as many as were ever asked for; on huge pages where they are many, for a CPU reads
/// ahead only within a page.
pub(crate) struct Room<T> {
    bytes: AlignedBytes,
    of: PhantomData<T>,
}

impl<T: Pod> Room<T> {
    /// The first `len` elements. Their values are left from before, or zero bytes where there have not been as many.
    pub fn sized(&mut self, len: usize) -> &mut [T] {
        if self.len() < len {
            self.bytes = AlignedBytes::zeroed(len * size_of::<T>());
        }
        &mut self[..len]
    }
}

impl<T> Default for Room<T> {
    fn default() -> Self {
        Room { bytes: AlignedBytes::zeroed(0), of: PhantomData }
    }
}

impl<T: Pod> Clone for Room<T> {
    fn clone(&self) -> Self {
        let mut clone = Self::default();
        clone.sized(self.len()).copy_from_slice(self);
        clone
    }
}

impl<T: Pod> Deref for Room<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        bytemuck::cast_slice(&self.bytes)
    }
}

impl<T: Pod> DerefMut for Room<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.bytes)
    }
}

impl<T> fmt::Debug for Room<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_and_is_kept() {
        let mut room = Room::<f32>::default();
        assert!(room.is_empty() && room.sized(0).is_empty());
        room.sized(3).copy_from_slice(&[1.0, 2.0, 3.0]);
        let place = room.as_ptr();
        assert_eq!((room.sized(2), place as usize % 64), (&mut [1.0, 2.0][..], 0));
        assert_eq!((room.len(), room.as_ptr()), (3, place));
        // More than lies on pages of its own.
        let many = room.sized(1 << 20);
        assert!(many.iter().all(|value| *value == 0.0) && many.len() == 1 << 20);
    }
}
