//! How the head's kernels go through memory.

use std::ops::Range;

/// Bytes that are many for a stream.
const LONG: usize = 16 << 20;

/// How one token's kernels go through memory; it changes no result. Which is the fastest depends on the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Walk {
    /// One tile or row after the other, weights asked for 4 KiB ahead.
    OneStream,
    /// Three in turn, far apart, weights asked for 2 KiB ahead: of as many streams more lines are under way than of one.
    #[default]
    ThreeStreams,
    /// Four in turn, for CPUs that read ahead best by themselves: what is asked for does not start them reading, and no more of
    /// it is under way than the first-level cache has buffers for (on Zen 3 two thirds of what is read of memory without). A
    /// kernel that takes weights as fast as memory brings them asks for them 256 bytes ahead, enough for the way from the
    /// second-level cache; one that has more to do with each, and so is late to reach the next, 2 KiB.
    FourStreams,
}

impl Walk {
    /// All of them.
    pub const ALL: [Walk; 3] = [Walk::OneStream, Walk::ThreeStreams, Walk::FourStreams];

    /// Tiles or rows that are worked on in turn.
    pub fn streams(self) -> usize {
        match self {
            Walk::OneStream => 1,
            Walk::ThreeStreams => 3,
            Walk::FourStreams => 4,
        }
    }

    /// How far ahead of their use weights are asked for, in bytes, by a kernel that takes them as fast as memory brings them
    /// (`swift`), or one that does not.
    pub fn ahead(self, swift: bool) -> usize {
        match self {
            Walk::OneStream => 4096,
            Walk::FourStreams if swift => 256,
            Walk::ThreeStreams | Walk::FourStreams => 2048,
        }
    }

    /// The most bytes of weights that a thread takes at a time, where of other weights it takes so many: streams that the CPU
    /// reads ahead in by itself had better be long, for it has to find out about each anew (on Zen 3 2 MiB are read at 0.94 of
    /// the rate of 32 MiB).
    pub fn piece_bytes(self, stream_bytes: usize) -> usize {
        match self {
            Walk::OneStream | Walk::ThreeStreams => stream_bytes,
            Walk::FourStreams => stream_bytes.max(LONG),
        }
    }

    /// The one of so many streams; `None` where there is none.
    pub fn of_streams(streams: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|walk| walk.streams() == streams)
    }
}

/// Which of the calls it is that multiply the same weights, each with other tokens. The first of them waits for memory and the
/// others do not, so each asks for its share of the weights that lie behind them, which are the next: memory is kept busy by all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Counted from 0.
    pub index: usize,
    /// How many they are.
    pub of: usize,
}

impl Turn {
    /// The only one, which asks for weights of its own.
    pub const ALONE: Turn = Turn { index: 0, of: 1 };

    /// What is asked for beside an item of `item` bytes of `all` that are multiplied: what is its turn's share of those behind
    /// them, or where it is alone what lies `ahead` bytes on, a step for each `part` bytes of the item.
    #[inline(always)]
    pub fn asks(self, ahead: usize, all: usize, item: usize, part: usize) -> Asks {
        match self.of {
            1 => Asks { ahead, behind: 0 },
            of => Asks { ahead: all + self.index * item / of, behind: part - part.div_ceil(of) },
        }
    }
}

/// Which bytes are asked for while a part of an item is worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asks {
    /// How far ahead of the item's first part.
    ahead: usize,
    /// How much less with each part.
    behind: usize,
}

impl Asks {
    /// How far ahead of the part of so many before it; modulo 2^64, for it may lie behind.
    #[inline(always)]
    pub fn ahead(self, part: usize) -> usize {
        self.ahead.wrapping_sub(part * self.behind)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_together_ask_for_all_that_lies_behind() {
        // Two items of three parts of 64 bytes.
        let (all, item, part) = (384, 192, 64);
        for of in [2, 3, 4, 7] {
            let mut asked = Vec::new();
            for (index, begin) in (0..of).flat_map(|index| [(index, 0), (index, item)]) {
                let asks = Turn { index, of }.asks(2048, all, item, part);
                asked.extend((0..item / part).map(|n| (begin + n * part).wrapping_add(asks.ahead(n)) / 64));
            }
            asked.sort_unstable();
            asked.dedup();
            assert!((all / 64..2 * all / 64).all(|line| asked.contains(&line)), "{of} turns: {asked:?}");
        }
        let alone = Turn::ALONE.asks(2048, all, item, part);
        assert_eq!([0, 1, 2].map(|n| alone.ahead(n)), [2048; 3]);
    }
}
