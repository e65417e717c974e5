//! How the head's kernels go through memory.

use std::ops::Range;

/// How one token's kernels go through memory; it changes no result. Which is the fastest depends on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Walk {
    /// One tile or row after the other, weights asked for 4 KiB ahead.
    OneStream,
    /// Three in turn, far apart, weights asked for 2 KiB ahead: of as many streams more lines are under way than of one.
    #[default]
    ThreeStreams,
}

impl Walk {
    /// All of them.
    pub const ALL: [Walk; 2] = [Walk::OneStream, Walk::ThreeStreams];

    /// Tiles or rows that are worked on in turn.
    pub fn streams(self) -> usize {
        match self {
            Walk::OneStream => 1,
            Walk::ThreeStreams => 3,
        }
    }

    /// How far ahead of their use weights are asked for, in bytes.
    pub fn ahead(self) -> usize {
        match self {
            Walk::OneStream => 4096,
            Walk::ThreeStreams => 2048,
        }
    }

    /// The one of so many streams; `None` where there is none.
    pub fn of_streams(streams: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|walk| walk.streams() == streams)
    }
}

/// What is worked on together: an item of each of `S` equal parts of `count` items, step by step.
pub fn steps<const S: usize>(count: usize) -> impl Iterator<Item = [usize; S]> {
    let each = count / S;
    (0..each).map(move |step| std::array::from_fn(|stream| stream * each + step))
}

/// The items that these parts leave over.
pub fn rest<const S: usize>(count: usize) -> Range<usize> {
    count - count % S..count
}
