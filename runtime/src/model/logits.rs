//! Where a session's logits are.

use std::ops::Range;
use std::sync::Arc;

use crate::room::Room;

/// The logits of the last token of a sequence. Those of sequences that are decoded together lie in one piece of memory, which
/// is kept for as long as one of them is there.
#[derive(Debug, Default)]
pub(super) struct Logits {
    memory: Arc<Room<f32>>,
    last: Range<usize>,
}

impl Logits {
    /// `[vocab]`; empty where there are none.
    pub fn last(&self) -> &[f32] {
        &self.memory[self.last.clone()]
    }

    /// Forgets them, and leaves memory that is shared to the others.
    pub fn clear(&mut self) {
        self.last = 0..0;
        if Arc::get_mut(&mut self.memory).is_none() {
            self.memory = Arc::default();
        }
    }

    /// Forgets them, and makes room for others.
    pub fn room(&mut self, len: usize) -> &mut [f32] {
        self.clear();
        // Nobody else has it, so that nothing is copied.
        Arc::make_mut(&mut self.memory).sized(len)
    }

    /// Says which of those that were written to [`Logits::room`] are the last token's.
    pub fn set_last(&mut self, last: Range<usize>) {
        self.last = last;
    }

    /// Those of another sequence in the same memory.
    pub fn beside(&self, last: Range<usize>) -> Self {
        Logits { memory: Arc::clone(&self.memory), last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_stays_until_nobody_has_it() {
        let mut first = Logits::default();
        assert!(first.last().is_empty());
        first.room(4).copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        first.set_last(0..2);
        let mut second = first.beside(2..4);
        assert_eq!((first.last(), second.last()), (&[1.0, 2.0][..], &[3.0, 4.0][..]));
        // One goes on alone.
        second.room(2).fill(9.0);
        second.set_last(0..2);
        assert_eq!((first.last(), second.last()), (&[1.0, 2.0][..], &[9.0; 2][..]));
        // Nobody else has the memory: it is kept.
        let place = first.memory.as_ptr();
        assert_eq!(first.room(3).as_ptr(), place);
        assert!(first.last().is_empty());
    }
}
