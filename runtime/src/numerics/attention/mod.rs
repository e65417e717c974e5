//! Causal softmax attention of the query heads that share a key/value head, over the keys and values in front of them.
//!
//! The keys are cut into chunks of [`CHUNK`] at absolute positions. Each chunk has its own maximum, sum and
//! weighted sum of values; the chunks are folded left to right from chunk 0. What a token sees is thus
//! computed in an order that depends on its position alone, never on the batch that it arrived in.
//!
//! The arithmetic is that of f32 for every type of cache. Keys and values in f16 or int8 are widened, once for all queries
//! of a call; queries and softmax weights are then rounded so far that every product is exact ([`round`]). The scales of
//! int8 keys multiply the scores, those of the values the weights.

pub mod round;
pub mod tile;

use super::exp::{LOG2_E, exp2};
use super::kv_block::{KvBlock, LANE_ORDER};
use super::reduce::{all_finite, max, sum};
use round::{factor_bits, round_all};
use tile::{LANES, Lanes, TILE, add_weighted, dots, flat, flat_mut};

/// Keys a chunk.
pub const CHUNK: usize = 128;

/// Rows of sixteen weights that a query has for a chunk.
const GROUPS: usize = CHUNK / LANES;

/// Values of a [`Numerics::attend_chunk`](super::Numerics::attend_chunk) result beside the weighted sum of the values:
/// the maximum of the scores, and the sum of the weights.
pub const EXTRA: usize = 2;

/// Where the keys and values of one head lie: those of positions `c * CHUNK ..` in block c of a cache.
#[derive(Clone, Copy, Debug)]
pub struct HeadBlocks<'a> {
    /// The blocks, of this head and of others.
    pub blocks: &'a [KvBlock],
    /// Which head it is.
    pub kv_head: usize,
}

/// Queries that share a key/value head: some heads of tokens at consecutive positions of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// The first token's heads, `[heads][head_dim]`; those of each further token `stride` elements on.
    pub values: &'a [f32],
    /// Elements from one token to the next.
    pub stride: usize,
    /// Number of tokens.
    pub tokens: usize,
    /// Query heads a token.
    pub heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
    /// Keys that the first token sees, at least 1; each further token sees one more.
    pub visible: usize,
}

impl Queries<'_> {
    /// Number of queries: heads of the first token, then of the second, ...
    fn len(&self) -> usize {
        self.tokens * self.heads
    }

    /// Where query `index` begins among the values.
    #[inline(always)]
    fn place(&self, index: usize) -> usize {
        index / self.heads * self.stride + index % self.heads * self.head_dim
    }

    /// Keys of a chunk that query `index` sees.
    #[inline(always)]
    fn seen(&self, index: usize, chunk: usize) -> usize {
        (self.visible + index / self.heads).saturating_sub(chunk * CHUNK).min(CHUNK)
    }

    /// Chunks that the last token sees.
    fn chunks(&self) -> usize {
        (self.visible + self.tokens - 1).div_ceil(CHUNK)
    }
}

/// Working memory of attention, which a thread keeps from call to call.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The queries as [`dots`] wants them, tile by tile; `[tiles][channels][queries]`.
    queries: Vec<f32>,
    /// `[queries][CHUNK]`
    weights: Vec<Lanes>,
    /// Sums of weighted values, `[queries][channels]`.
    sums: Vec<Lanes>,
    /// A group of keys or a strip of values, in f32.
    wide: Vec<Lanes>,
    /// Maximum of the scores and sum of the weights, for each query in this chunk and in all before.
    here: Vec<[f32; EXTRA]>,
    total: Vec<[f32; EXTRA]>,
}

/// Queries of the tile that begins with query `first`, and how many there is room for: 1, 2 or [`TILE`].
#[inline(always)]
fn tile(first: usize, queries: usize) -> (usize, usize) {
    let used = (queries - first).min(TILE);
    (used, if used > 2 { TILE } else { used })
}

impl Workspace {
    /// Makes room, and takes over the queries.
    #[inline(always)]
    fn prepare(&mut self, queries: &Queries<'_>, head: &HeadBlocks<'_>) {
        let shape = head.blocks[0].shape();
        assert!(queries.visible > 0 && queries.len() > 0, "a token sees at least itself");
        assert_eq!(queries.head_dim, shape.head_dim, "heads as long as those of the cache");
        let (count, steps) = (queries.len(), queries.head_dim.div_ceil(LANES));
        let channels = steps * LANES;
        self.queries.clear();
        self.queries.resize(count.next_multiple_of(TILE) * channels, 0.0);
        self.weights.resize(count * GROUPS, Lanes::ZERO);
        self.sums.resize(count * steps, Lanes::ZERO);
        self.wide.resize(CHUNK.max(channels), Lanes::ZERO);
        self.here.resize(count, [0.0; EXTRA]);
        self.total.resize(count, [0.0; EXTRA]);
        for first in (0..count).step_by(TILE) {
            let (used, width) = tile(first, count);
            for q in 0..used {
                let query = &queries.values[queries.place(first + q)..][..queries.head_dim];
                let tile = &mut self.queries[first * channels..][..width * channels];
                for (step, query) in query.chunks(LANES).enumerate() {
                    for (place, value) in LANE_ORDER.into_iter().zip(query) {
                        tile[(place * steps + step) * width + q] = *value;
                    }
                }
            }
        }
        round_all(&mut self.queries, factor_bits(shape.kv_type));
    }

    /// Computes `here` and `sums` of every query that sees any of a chunk.
    #[inline(always)]
    fn chunk(&mut self, queries: &Queries<'_>, head: &HeadBlocks<'_>, chunk: usize) {
        let count = queries.len();
        // Those before see nothing.
        let first = (0..queries.tokens).position(|t| queries.seen(t * queries.heads, chunk) > 0);
        let first = first.map_or(count, |token| token * queries.heads);
        if first == count {
            return;
        }
        // A tile holds queries from its start on.
        let first_tile = first / TILE * TILE;
        let most = queries.seen(count - 1, chunk);
        let block = &head.blocks[chunk];
        self.scores(queries, head, block, first_tile, most);
        let scales = block.scales(head.kv_head);
        let bits = factor_bits(block.shape().kv_type);
        for query in first..count {
            let seen = queries.seen(query, chunk);
            let weights = &mut self.weights[query * GROUPS..][..seen.div_ceil(LANES)];
            let weights = flat_mut(weights);
            self.here[query] = softmax(weights, seen, scales.map(|[_, values]| values), bits);
        }
        self.weighted_sums(queries, head, chunk, first, most);
    }

    /// Scores of the queries from tile `first` on, for the first `most` keys of a block and what is left of their group.
    #[inline(always)]
    fn scores(
        &mut self,
        queries: &Queries<'_>,
        head: &HeadBlocks<'_>,
        block: &KvBlock,
        first: usize,
        most: usize,
    ) {
        let (count, channels) = (queries.len(), queries.head_dim.next_multiple_of(LANES));
        // log2(e) turns the exponential of the softmax into a power of two.
        let scale = (LOG2_E / (queries.head_dim as f64).sqrt()) as f32;
        let key_scales = block.scales(head.kv_head).map(|[keys, _]| keys);
        for group in 0..most.div_ceil(LANES) {
            let keys = block.key_group(head.kv_head, group, &mut self.wide);
            let factors = key_scales.map(|scales| &scales[group * LANES..][..LANES]);
            for first in (first..count).step_by(TILE) {
                let (used, width) = tile(first, count);
                let tile = &self.queries[first * channels..][..width * channels];
                let mut scores = [Lanes::ZERO; TILE];
                match width {
                    1 => scores[..1].copy_from_slice(&dots::<1>(tile.as_chunks().0, keys)),
                    2 => scores[..2].copy_from_slice(&dots::<2>(tile.as_chunks().0, keys)),
                    _ => scores = dots::<TILE>(tile.as_chunks().0, keys),
                }
                for (q, scores) in scores.iter_mut().enumerate().take(used) {
                    if let Some(factors) = factors {
                        for (score, factor) in scores.0.iter_mut().zip(factors) {
                            *score *= *factor;
                        }
                    }
                    for score in &mut scores.0 {
                        *score *= scale;
                    }
                    self.weights[(first + q) * GROUPS + group] = *scores;
                }
            }
        }
    }

    /// `sums` of the queries from `first` on, over the first `most` values at most.
    #[inline(always)]
    fn weighted_sums(
        &mut self,
        queries: &Queries<'_>,
        head: &HeadBlocks<'_>,
        chunk: usize,
        first: usize,
        most: usize,
    ) {
        let (count, strips) = (queries.len(), queries.head_dim.div_ceil(LANES));
        let weights = flat(&self.weights);
        for strip in 0..strips {
            let values = head.blocks[chunk].value_strip(head.kv_head, strip, most, &mut self.wide);
            let mut start = first;
            while start < count {
                let (used, _) = tile(start, count);
                let of = |q: usize| &weights[(start + q) * CHUNK..][..CHUNK];
                let seen = |q: usize| queries.seen(start + q, chunk);
                // What all see, the queries side by side; then what the later ones see beyond.
                let common = &values[..seen(0)];
                let mut sums = [Lanes::ZERO; TILE];
                match used {
                    1 => first_of(&mut sums, |sums| add_weighted([of(0)], common, sums)),
                    2 => first_of(&mut sums, |sums| add_weighted([of(0), of(1)], common, sums)),
                    3 => first_of(&mut sums, |sums| add_weighted([of(0), of(1), of(2)], common, sums)),
                    _ => add_weighted([of(0), of(1), of(2), of(3)], common, &mut sums),
                }
                for (q, sums) in sums.into_iter().enumerate().take(used) {
                    let mut sums = [sums];
                    if seen(q) > common.len() {
                        add_weighted([&of(q)[common.len()..]], &values[common.len()..seen(q)], &mut sums);
                    }
                    self.sums[(start + q) * strips + strip] = sums[0];
                }
                start += used;
            }
        }
    }
}

/// Calls `body` with the first elements of an array.
#[inline(always)]
fn first_of<T, const LEN: usize>(array: &mut [T], body: impl FnOnce(&mut [T; LEN])) {
    if let Some(first) = array.first_chunk_mut() {
        body(first);
    }
}

/// Turns scores into weights, the greatest of which is 1, times the scales of the values where there are any; what is not
/// `seen` of them is set to 0. Returns the greatest score and the sum of the weights before they are scaled: NaN, as are
/// the weights, where a score is not finite.
#[inline(always)]
fn softmax(scores: &mut [f32], seen: usize, scales: Option<&[f32]>, bits: u32) -> [f32; EXTRA] {
    if !all_finite(&scores[..seen]) {
        // Negative infinity would otherwise pass as a weight of zero.
        scores.fill(f32::NAN);
        return [f32::NAN; EXTRA];
    }
    scores[seen..].fill(f32::NEG_INFINITY);
    let max = max(scores);
    for score in scores.iter_mut() {
        *score = exp2(*score - max);
    }
    let Some(scales) = scales else {
        round_all(scores, bits);
        return [max, sum(scores)];
    };
    let total = sum(scores);
    for (score, scale) in scores.iter_mut().zip(scales) {
        *score *= *scale;
    }
    round_all(scores, bits);
    [max, total]
}

/// Takes a chunk into what has been folded of those before.
#[inline(always)]
fn fold_in(is_first: bool, total: &mut [f32; EXTRA], out: &mut [f32], here: [f32; EXTRA], sums: &[f32]) {
    if is_first {
        *total = here;
        out.copy_from_slice(sums);
        return;
    }
    let [old_max, old_sum] = *total;
    let [here_max, here_sum] = here;
    let new_max = if here_max > old_max { here_max } else { old_max };
    let (old_factor, new_factor) = (exp2(old_max - new_max), exp2(here_max - new_max));
    for (old, new) in out.iter_mut().zip(sums) {
        *old = *old * old_factor + *new * new_factor;
    }
    *total = [new_max, old_sum * old_factor + here_sum * new_factor];
}

/// Divides by the sum of the weights.
#[inline(always)]
fn normalise([_, sum]: [f32; EXTRA], out: &mut [f32]) {
    let factor = 1.0 / sum;
    for out in out {
        *out *= factor;
    }
}

/// See [`super::Numerics::attend`].
#[inline(always)]
pub(super) fn attend(queries: &Queries<'_>, head: &HeadBlocks<'_>, work: &mut Workspace, out: &mut [f32]) {
    let (head_dim, strips) = (queries.head_dim, queries.head_dim.div_ceil(LANES));
    work.prepare(queries, head);
    for chunk in 0..queries.chunks() {
        work.chunk(queries, head, chunk);
        for query in 0..queries.len() {
            if queries.seen(query, chunk) > 0 {
                let sums = &flat(&work.sums[query * strips..][..strips])[..head_dim];
                let out = &mut out[queries.place(query)..][..head_dim];
                fold_in(chunk == 0, &mut work.total[query], out, work.here[query], sums);
            }
        }
    }
    for (query, total) in work.total.iter().enumerate().take(queries.len()) {
        normalise(*total, &mut out[queries.place(query)..][..head_dim]);
    }
}

/// See [`super::Numerics::attend_chunk`].
#[inline(always)]
pub(super) fn attend_chunk(
    queries: &Queries<'_>,
    head: &HeadBlocks<'_>,
    chunk: usize,
    work: &mut Workspace,
    out: &mut [f32],
) {
    let (head_dim, strips) = (queries.head_dim, queries.head_dim.div_ceil(LANES));
    assert!(out.len() >= queries.len() * (head_dim + EXTRA), "room for every query");
    work.prepare(queries, head);
    work.chunk(queries, head, chunk);
    for (query, out) in out.chunks_exact_mut(head_dim + EXTRA).enumerate().take(queries.len()) {
        if queries.seen(query, chunk) > 0 {
            let (sums, here) = out.split_at_mut(head_dim);
            sums.copy_from_slice(&flat(&work.sums[query * strips..][..strips])[..head_dim]);
            here.copy_from_slice(&work.here[query]);
        }
    }
}

/// See [`super::Numerics::fold_chunks`].
#[inline(always)]
pub(super) fn fold_chunks(parts: &[f32], stride: usize, chunks: usize, out: &mut [f32]) {
    let mut total = [0.0; EXTRA];
    for chunk in 0..chunks {
        let part = &parts[chunk * stride..][..out.len() + EXTRA];
        let (sums, here) = part.split_at(out.len());
        fold_in(chunk == 0, &mut total, out, [here[0], here[1]], sums);
    }
    normalise(total, out);
}

#[cfg(test)]
mod tests;
