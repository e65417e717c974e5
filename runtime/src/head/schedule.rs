//! How the head's kernels go through memory.

use std::ops::Range;

/// How far ahead of their use weights are asked for, in bytes.
pub const AHEAD: usize = 2048;

/// Tiles or rows that a token is multiplied with in turn, far apart: as many streams of weights, of which more lines are
/// under way than of one.
pub const STREAMS: usize = 3;

/// What is worked on together: an item of each of `S` equal parts of `count` items, step by step.
pub fn steps<const S: usize>(count: usize) -> impl Iterator<Item = [usize; S]> {
    let each = count / S;
    (0..each).map(move |step| std::array::from_fn(|stream| stream * each + step))
}

/// The items that these parts leave over.
pub fn rest<const S: usize>(count: usize) -> Range<usize> {
    count - count % S..count
}
