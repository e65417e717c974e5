//! How the row tiles of a product are shared out: each thread streams one contiguous block of them from its start, and a
//! thread that is done takes over from the far end of another's block, so that cores of unequal speed finish together.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::cpu;
use crate::kernels::abi::TILE_ROWS;
use crate::prefetch;

/// How many bytes of weights are worked on at a time. What is best depends on a CPU's caches; it changes no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// The most that a thread takes at a time of what is read once: the streams of a kernel that has several are then long
    /// enough for the CPU to read ahead in each, and near enough to each other.
    pub stream_bytes: usize,
    /// What is worked on for all tokens before the next is read, and the most that a thread takes at a time of it, as kernels
    /// read it: it stays in the second-level cache together with the activations of a kernel's call. As many as these where
    /// they are more, so that neither is read more often than the other.
    pub chunk_bytes: usize,
}

/// A second-level cache where nobody knows how large it is: as small as any is today.
const SECOND_LEVEL_BYTES: usize = 256 << 10;

impl Default for Blocks {
    /// Half of this CPU's second-level cache for a chunk.
    fn default() -> Self {
        let second_level = cpu::second_level_bytes().unwrap_or(SECOND_LEVEL_BYTES);
        Blocks { stream_bytes: 512 << 10, chunk_bytes: second_level / 2 }
    }
}

impl Blocks {
    /// Tiles of a chunk: of tiles of so many bytes, as kernels read them, by kernels with so many weight streams, which take as
    /// many bytes of activations a call. Whole groups of as many tiles as streams, for a kernel computes those that are left
    /// over together with some that it has done.
    pub fn chunk(&self, tile_bytes: usize, streams: usize, call_bytes: usize) -> usize {
        let tiles = self.chunk_bytes.max(call_bytes) / tile_bytes.max(1);
        tiles.max(1).next_multiple_of(streams)
    }
}

/// The fewest bytes that a thread takes at a time: a stream that starts anew costs as much as some KiB.
const PIECE_BYTES: usize = 64 << 10;

/// The blocks of all threads. A tile is handed out exactly once.
#[derive(Debug)]
pub struct Shares {
    /// What is left of each block: its first tile in the upper half, one past its last in the lower.
    left: Vec<AtomicU64>,
    /// Tiles that belong together, see [`odd_groups`].
    group: u32,
    /// The fewest tiles that are handed out at a time, where there are as many.
    least: u32,
    /// The most.
    most: u32,
}

impl Shares {
    /// `tiles` tiles in so many blocks, one a thread, which differ by at most one tile; at least one is handed out at a time.
    ///
    /// # Panics
    /// If there are no parts or 2^32 tiles, which no matrix in memory has.
    pub fn new(tiles: usize, parts: usize, chunk: usize) -> Self {
        let bound = |part: usize| u32::try_from(part * tiles / parts).expect("fewer than 2^32 tiles");
        let left = (0..parts).map(|part| AtomicU64::new(pack(bound(part), bound(part + 1)))).collect();
        let chunk = u32::try_from(chunk).unwrap_or(u32::MAX).max(1);
        Shares { left, group: chunk, least: chunk, most: chunk }
    }

    /// The same, for work that gains from many tiles at a time: what is handed out is about three quarters of what is left of a
    /// block, an odd number of groups of `group` tiles from `least` to `most`, and all where less than `least` would be left.
    ///
    /// # Panics
    /// As [`Shares::new`].
    pub fn dwindling(tiles: usize, parts: usize, group: usize, least: usize, most: usize) -> Self {
        let shares = Shares::new(tiles, parts, group);
        let bound = |tiles: usize| odd_groups(u32::try_from(tiles).unwrap_or(u32::MAX), shares.group);
        let least = bound(least);
        Shares { least, most: bound(most).max(least), ..shares }
    }

    /// Tiles of so many bytes that are read once, by a kernel of so many tokens with so many weight streams: no more at a time
    /// than a call computes.
    ///
    /// # Panics
    /// As [`Shares::new`].
    pub fn streamed(
        blocks: Blocks,
        tiles: usize,
        tile_bytes: usize,
        (tokens, streams): (usize, usize),
        parts: usize,
    ) -> Self {
        let tiles_of = |bytes: usize| bytes / tile_bytes.max(1);
        let most = tiles_of(blocks.stream_bytes).min(in_a_call(tokens, streams));
        // A thread alone has nobody to wait for.
        let least = if parts == 1 { most } else { tiles_of(PIECE_BYTES.min(blocks.stream_bytes)) };
        Shares::dwindling(tiles, parts, streams, least, most)
    }

    /// How many of so many tiles that are left are handed out.
    fn piece(&self, left: u32) -> u32 {
        if self.least == self.most {
            return self.most.min(left);
        }
        let piece = odd_groups(left / 4 * 3, self.group).clamp(self.least, self.most);
        if left < piece + self.least { left } else { piece }
    }

    /// The next tiles for the owner of block `own`: from the front of that block, then from the back of the block of
    /// which most is left; `None` when nothing is left of any.
    pub fn claim(&self, own: usize) -> Option<Range<usize>> {
        self.take(own, |start, end| (start + self.piece(end - start), end)).or_else(|| {
            loop {
                let longest = self.left.iter().enumerate().max_by_key(|(_, left)| len(left))?.0;
                if len(&self.left[longest]) == 0 {
                    return None;
                }
                let tiles = self.take(longest, |start, end| (start, end - self.piece(end - start)));
                // Its owner may have taken the last tiles meanwhile.
                if tiles.is_some() {
                    return tiles;
                }
            }
        })
    }

    /// Shortens a block at one end, by what `shorten` says is left of it; the tiles in between, if there are any.
    fn take(&self, block: usize, shorten: impl Fn(u32, u32) -> (u32, u32)) -> Option<Range<usize>> {
        // The tiles themselves are nothing but numbers; what threads write to them is joined by the end of the scope.
        let before = self.left[block].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            let (start, end) = unpack(left);
            let (new_start, new_end) = shorten(start, end);
            (start < end).then(|| pack(new_start, new_end))
        });
        let (start, end) = unpack(before.ok()?);
        let (new_start, new_end) = shorten(start, end);
        let tiles = if new_start > start { start..new_start } else { new_end..end };
        Some(tiles.start as usize..tiles.end as usize)
    }
}

/// Bytes of integer sums that stay near until they are scaled: more would lie on more pages than a core knows at once.
const SUMS_BYTES: usize = 32 << 10;

/// As many whole groups as there are in some tiles, or one more, so that they are an odd number. A kernel's streams are as far
/// apart as it has groups of tiles to compute. A CPU reads ahead in a stream up to the end of a page, and streams that are
/// whole pages apart all come to that at once: of many sizes of tiles (10240 bytes for 2560 columns) an even number is whole
/// pages, an odd one is not.
fn odd_groups(tiles: u32, group: u32) -> u32 {
    ((tiles / group) | 1).saturating_mul(group)
}

/// Tiles that a kernel of so many tokens and weight streams computes in a call: whole groups of as many tiles as streams, for a
/// kernel computes those that are left over together with some that it has done.
fn in_a_call(tokens: usize, streams: usize) -> usize {
    let tiles = SUMS_BYTES / (tokens * TILE_ROWS * size_of::<i32>()).max(1);
    odd_groups(tiles as u32, streams as u32) as usize
}

/// Parts of some tiles that such a kernel computes at a time.
pub fn parts(tiles: Range<usize>, tokens: usize, streams: usize) -> impl Iterator<Item = Range<usize>> {
    let each = in_a_call(tokens, streams);
    tiles.clone().step_by(each).map(move |first| first..tiles.end.min(first + each))
}

/// Tiles of parts of so many each that stand one below the other: of each part that has any, how many are those of others before
/// it, and which of its own.
pub(crate) fn by_part<T>(
    tiles: Range<usize>,
    parts: impl Iterator<Item = (T, usize)>,
) -> impl Iterator<Item = (T, usize, Range<usize>)> {
    let places = parts.scan(0, |end, (part, len)| {
        let start = *end;
        *end += len;
        Some((part, start..*end))
    });
    let places = places.take_while(move |(_, place)| place.start < tiles.end);
    places.filter_map(move |(part, place)| {
        let own = tiles.start.max(place.start)..tiles.end.min(place.end);
        (!own.is_empty())
            .then(|| (part, own.start - tiles.start, own.start - place.start..own.end - place.start))
    })
}

/// Tiles of matrices of so many each that stand one below the other: which matrix, counted from 0, and which of its tiles.
pub fn by_matrix(tiles: Range<usize>, each: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
    let each = each.max(1);
    // None before is gone through.
    let first = tiles.start / each;
    let tiles = tiles.start - first * each..tiles.end - first * each;
    by_part(tiles, (first..).map(move |index| (index, each))).map(|(index, _, own)| (index, own))
}

fn pack(start: u32, end: u32) -> u64 {
    u64::from(start) << 32 | u64::from(end)
}

fn unpack(left: u64) -> (u32, u32) {
    ((left >> 32) as u32, left as u32)
}

fn len(left: &AtomicU64) -> u32 {
    let (start, end) = unpack(left.load(Ordering::Relaxed));
    end.saturating_sub(start)
}

/// Tokens whose results are asked for while those of the ones before are written.
const AHEAD: usize = 2;

/// The results of a product, `[tokens][rows]`, which threads write to where they have claimed the tiles.
pub(crate) struct SharedRows<'a> {
    values: *mut f32,
    rows: usize,
    tokens: usize,
    of: PhantomData<&'a mut [f32]>,
}

// SAFETY: it is a mutable slice of f32 whose parts go to threads as `each` demands.
unsafe impl Send for SharedRows<'_> {}
// SAFETY: as above; `each` is the only method that reaches the values.
unsafe impl Sync for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    /// Results of so many rows each; the number of tokens follows.
    ///
    /// # Panics
    /// If they are not whole vectors.
    pub fn new(values: &'a mut [f32], rows: usize) -> Self {
        assert!(rows > 0 && values.len().is_multiple_of(rows), "whole vectors of results");
        SharedRows { tokens: values.len() / rows, values: values.as_mut_ptr(), rows, of: PhantomData }
    }

    /// Asks for the places of the first of some tokens' results for the rows of some tiles, which [`SharedRows::each`] is asked
    /// for soon: they are far apart and seldom in a near cache, and a core goes on without what it writes to, but not for many
    /// stores. (That it is to be written to, only instructions could say that not every CPU has.)
    pub fn will_write(&self, tokens: &Range<usize>, tiles: &Range<usize>) {
        tokens.clone().take(AHEAD).for_each(|token| self.ask(token, tiles));
    }

    fn ask(&self, token: usize, tiles: &Range<usize>) {
        let rows = self.rows_of(tiles);
        let place = self.values.wrapping_add(token * self.rows + rows.start);
        prefetch::bytes(place.cast(), rows.len() * size_of::<f32>());
    }

    fn rows_of(&self, tiles: &Range<usize>) -> Range<usize> {
        let row = |tile: usize| (tile * TILE_ROWS).min(self.rows);
        row(tiles.start)..row(tiles.end)
    }

    /// The results of some tokens for the rows of some tiles, of one token after the other; those of the next ones are asked for
    /// meanwhile. (Those of all at once would keep all else waiting.)
    ///
    /// # Panics
    /// If there is no such token or tile.
    ///
    /// # Safety
    /// No two slices that are alive at a time may share a token and a tile.
    pub unsafe fn each<'s>(
        &'s self,
        tokens: Range<usize>,
        tiles: &'s Range<usize>,
    ) -> impl Iterator<Item = (usize, &'s mut [f32])> {
        let rows = self.rows_of(tiles);
        assert!(tokens.end <= self.tokens && !rows.is_empty(), "results that there are");
        tokens.clone().map(move |token| {
            if token + AHEAD < tokens.end {
                self.ask(token + AHEAD, tiles);
            }
            let start = token * self.rows + rows.start;
            // SAFETY: the slice lies inside of the results, and the caller promises that no other overlaps it.
            (token, unsafe { std::slice::from_raw_parts_mut(self.values.add(start), rows.len()) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is claimed by `own` until nothing is left.
    fn all(shares: &Shares, own: usize) -> Vec<Range<usize>> {
        std::iter::from_fn(|| shares.claim(own)).collect()
    }

    #[test]
    fn an_owner_goes_forward_and_a_helper_comes_from_the_far_end() {
        let shares = Shares::new(10, 2, 2);
        assert_eq!(shares.claim(0), Some(0..2));
        assert_eq!(shares.claim(1), Some(5..7));
        assert_eq!(shares.claim(1), Some(7..9));
        assert_eq!(shares.claim(1), Some(9..10));
        // Its own block is done: 2..5 of the other's is left.
        assert_eq!(shares.claim(1), Some(3..5));
        assert_eq!(shares.claim(0), Some(2..3));
        assert_eq!((shares.claim(0), shares.claim(1)), (None, None));
    }

    #[test]
    fn a_chunk_is_whole_groups_and_no_less_than_a_call_reads() {
        let blocks = Blocks { stream_bytes: 1, chunk_bytes: 1000 };
        assert_eq!((blocks.chunk(100, 1, 0), blocks.chunk(100, 3, 0)), (10, 12));
        assert_eq!(
            (blocks.chunk(100, 1, 2550), blocks.chunk(2000, 1, 0), blocks.chunk(2000, 2, 0)),
            (25, 1, 2)
        );
    }

    #[test]
    fn parts_are_odd_numbers_of_groups_whose_sums_stay_near() {
        // 32 KiB are 512 sums of a tile's row for one token.
        assert_eq!(parts(5..60, 32, 2).collect::<Vec<_>>(), [5..23, 23..41, 41..59, 59..60]);
        assert_eq!(parts(0..40, 32, 3).collect::<Vec<_>>(), [0..15, 15..30, 30..40]);
        assert_eq!(parts(0..3, 1024, 2).collect::<Vec<_>>(), [0..2, 2..3]);
        assert!(parts(0..100, 1, 3).eq([0..100; 1]));
    }

    #[test]
    fn tiles_are_told_by_their_matrix() {
        let of = |tiles, each| by_matrix(tiles, each).collect::<Vec<_>>();
        assert_eq!(of(3..12, 5), [(0, 3..5), (1, 0..5), (2, 0..2)]);
        assert_eq!(of(5..10, 5), [(1, 0..5)]);
        assert_eq!(of(6..8, 5), [(1, 1..3)]);
        assert_eq!(of(4..4, 5), []);
    }

    #[test]
    fn tiles_are_told_by_parts_of_any_size() {
        let of = |tiles| by_part(tiles, "abcd".chars().zip([2, 0, 3, 4])).collect::<Vec<_>>();
        assert_eq!(of(1..7), [('a', 0, 1..2), ('c', 1, 0..3), ('d', 4, 0..2)]);
        assert_eq!(of(2..5), [('c', 0, 0..3)]);
        assert_eq!(of(6..20), [('d', 0, 1..4)]);
        assert_eq!(of(3..3), []);
    }

    #[test]
    fn one_thread_alone_does_it_all_in_order() {
        assert_eq!(all(&Shares::new(5, 1, 2), 0), [0..2, 2..4, 4..5]);
        assert_eq!(Shares::new(3, 1, 100).claim(0), Some(0..3));
        assert!(all(&Shares::new(0, 1, 1), 0).is_empty());
        // Blocks of nobody: more parts than tiles.
        let mut claimed = all(&Shares::new(2, 4, 1), 3);
        claimed.sort_by_key(|tiles| tiles.start);
        assert_eq!(claimed, [0..1, 1..2]);
    }

    #[test]
    fn large_pieces_become_smaller_towards_the_end() {
        // Three quarters of what is left in odd numbers of groups of four, 28 at most; the block's last two are no whole group.
        let shares = Shares::dwindling(90, 1, 4, 4, 27);
        assert_eq!(all(&shares, 0), [0..28, 28..56, 56..84, 84..90]);
        let shares = Shares::dwindling(60, 2, 4, 4, 100);
        assert_eq!((shares.claim(0), shares.claim(0)), (Some(0..20), Some(20..24)));
        // Less than two groups are left, then the other's block, of whose end three quarters are taken.
        assert_eq!((shares.claim(0), shares.claim(0)), (Some(24..30), Some(40..60)));
    }

    #[test]
    fn what_is_streamed_is_an_odd_number_of_groups_and_no_more_than_a_call() {
        let blocks = Blocks { stream_bytes: 512 << 10, chunk_bytes: 1 };
        // 51 tiles of 10 KiB are twelve groups of four; sums of 16 tokens have room for eight.
        assert_eq!(Shares::streamed(blocks, 1000, 10240, (1, 4), 1).claim(0), Some(0..52));
        assert_eq!(Shares::streamed(blocks, 1000, 10240, (16, 4), 1).claim(0), Some(0..36));
        assert_eq!(Shares::streamed(blocks, 1000, 10240, (16, 4), 2).claim(0), Some(0..36));
        // A tile that is larger than all that.
        assert_eq!(Shares::streamed(blocks, 1000, 1 << 20, (1, 3), 2).claim(0), Some(0..3));
    }

    #[test]
    fn threads_together_get_every_tile_once() {
        for (tiles, parts, chunk) in [(1000, 4, 3), (7, 3, 1), (513, 2, 64), (64, 8, 5)] {
            let shares = Shares::new(tiles, parts, chunk);
            let mut claimed: Vec<usize> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..parts)
                    .map(|own| {
                        scope.spawn({
                            let shares = &shares;
                            move || all(shares, own)
                        })
                    })
                    .collect();
                threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).flatten().collect()
            });
            claimed.sort_unstable();
            assert_eq!(claimed, (0..tiles).collect::<Vec<_>>(), "{tiles} {parts} {chunk}");
        }
    }

    #[test]
    fn rows_of_tiles_are_found() {
        let mut values: Vec<f32> = (0..2 * 35).map(|i| i as f32).collect();
        let shared = SharedRows::new(&mut values, 35);
        let of = |tokens: Range<usize>, tiles: Range<usize>| -> Vec<(usize, Vec<f32>)> {
            // SAFETY: one slice at a time.
            unsafe { shared.each(tokens, &tiles) }.map(|(token, results)| (token, results.to_vec())).collect()
        };
        assert_eq!(of(0..1, 0..1), [(0, (0..16).map(|i| i as f32).collect())]);
        assert_eq!(of(0..2, 2..3), [(0, vec![32.0, 33.0, 34.0]), (1, vec![67.0, 68.0, 69.0])]);
        assert_eq!(of(1..2, 0..3)[0].1.len(), 35);
    }
}
