//! What the members of a team ask of memory while they wait for the next step: between two matrix products the leader
//! normalises and quantises, and memory would have nothing to do.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::prefetch;

/// Bytes that a member asks for at most: what is read in the time of the leader's own steps, and stays in a small L2 cache.
const MOST: usize = 256 << 10;

/// Bytes that are asked for between two looks for the next step.
const AT_ONCE: usize = 512;

/// What the next step will read.
pub(super) struct Ahead {
    /// Counts the announcements.
    round: AtomicUsize,
    start: AtomicPtr<u8>,
    len: AtomicUsize,
}

impl Ahead {
    pub fn new() -> Self {
        Ahead { round: AtomicUsize::new(0), start: AtomicPtr::new(ptr::null_mut()), len: AtomicUsize::new(0) }
    }

    /// Members that wait ask for the beginnings of their parts of these bytes from now on.
    pub fn announce(&self, start: *const u8, len: usize) {
        // Whoever sees one of the three without the others asks for what is not read, and no harm is done.
        self.start.store(start.cast_mut(), Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        self.round.fetch_add(1, Ordering::Release);
    }
}

/// How far a member is.
pub(super) struct Reader {
    member: usize,
    size: usize,
    round: usize,
    next: *const u8,
    left: usize,
}

impl Reader {
    /// Of so many members, this one.
    pub fn new(member: usize, size: usize) -> Self {
        Reader { member, size, round: 0, next: ptr::null(), left: 0 }
    }

    /// Asks for some more, where there is any.
    pub fn read_on(&mut self, ahead: &Ahead) {
        let round = ahead.round.load(Ordering::Acquire);
        if round != self.round {
            let part = ahead.len.load(Ordering::Relaxed) / self.size;
            self.round = round;
            self.next = ahead.start.load(Ordering::Relaxed).wrapping_add(self.member * part);
            self.left = part.min(MOST);
        }
        let some = self.left.min(AT_ONCE);
        prefetch::bytes(self.next, some);
        self.next = self.next.wrapping_add(some);
        self.left -= some;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_goes_through_the_beginning_of_its_part_and_starts_anew_with_the_next() {
        let bytes = vec![0u8; 3 * MOST];
        let (ahead, mut reader) = (Ahead::new(), Reader::new(1, 2));
        reader.read_on(&ahead);
        assert_eq!((reader.next, reader.left), (ptr::null(), 0));
        ahead.announce(bytes.as_ptr(), bytes.len());
        reader.read_on(&ahead);
        let part = bytes[3 * MOST / 2..].as_ptr();
        assert_eq!((reader.next, reader.left), (part.wrapping_add(AT_ONCE), MOST - AT_ONCE));
        for _ in 0..MOST / AT_ONCE {
            reader.read_on(&ahead);
        }
        assert_eq!((reader.next, reader.left), (part.wrapping_add(MOST), 0));
        ahead.announce(bytes.as_ptr(), 100);
        reader.read_on(&ahead);
        assert_eq!((reader.next, reader.left), (bytes[100..].as_ptr(), 0));
    }
}
