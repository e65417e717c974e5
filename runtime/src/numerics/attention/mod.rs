//! Causal softmax attention of the query heads that share a key/value head, over the keys and values in front of them.
//!
//! The keys are cut into chunks of [`CHUNK`] at absolute positions. Each chunk has its own maximum, sum and
//! weighted sum of values; the chunks are folded left to right from chunk 0. What a token sees is thus
//! computed in an order that depends on its position alone, never on the batch that it arrived in.
//!
//! The arithmetic is that of f32 for every type of cache. Keys and values in f16 or int8 are widened: once for all queries of a
//! call, in memory, where these are several tiles; else where they are multiplied. Queries and softmax weights are then rounded
//! so far that every product is exact ([`round`]). The scales of int8 keys multiply the scores, those of the values the weights.

pub mod round;
pub mod tile;

use std::ops::Range;

use super::exp::{LOG2_E, exp2};
use super::kv_block::{Elements, KvBlock, KvType, Row};
use super::reduce::{all_finite, max, sum};
use crate::lanes::{FEW, Has, LANES, Lanes, MANY, PAIR};
use round::{factor_bits, is_exact, nearest, round_queries, round_weights};
use tile::{Sixteen, Source, Target, dots, flat, flat_mut, weighted};

/// Keys a chunk.
pub const CHUNK: usize = 128;

/// Tokens at consecutive positions that the forward pass has read keys and values together: what is widened, and what comes
/// from beyond the first cache, serves all their queries.
pub const TOGETHER: usize = 16;

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

    /// Where each query begins among the values.
    #[inline(always)]
    fn places(&self) -> impl Iterator<Item = usize> {
        let (heads, head_dim, stride) = (self.heads, self.head_dim, self.stride);
        (0..self.tokens).flat_map(move |token| (0..heads).map(move |head| token * stride + head * head_dim))
    }

    /// Keys of a chunk that each query sees.
    #[inline(always)]
    fn seen(&self, chunk: usize) -> impl Iterator<Item = usize> {
        let (heads, visible) = (self.heads, self.visible);
        let of = move |token: usize| (visible + token).saturating_sub(chunk * CHUNK).min(CHUNK);
        (0..self.tokens).flat_map(move |token| std::iter::repeat_n(of(token), heads))
    }

    /// Chunks that the last token sees.
    fn chunks(&self) -> usize {
        (self.visible + self.tokens - 1).div_ceil(CHUNK)
    }
}

/// What is known of a chunk beside its keys and values.
#[derive(Clone, Copy)]
struct Part<'a> {
    /// The first query that sees any of it.
    first: usize,
    /// Whether nothing is there that it is folded into.
    is_first: bool,
    kv_type: KvType,
    /// Of each key and of each value, where they have scales.
    scales: Option<[&'a [f32]; 2]>,
}

/// Working memory of attention, which a thread keeps from call to call.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The queries as [`dots`] wants them, `[queries][channels]`, filled up to whole tiles.
    queries: Vec<f32>,
    /// `[queries][CHUNK]`
    weights: Vec<Sixteen>,
    /// Sums of weighted values, `[queries][channels]`, of all chunks so far.
    sums: Vec<Sixteen>,
    /// Keys of this chunk that each query sees.
    seen: Vec<usize>,
    /// Groups of keys or strips of values, in f32.
    wide: Vec<Sixteen>,
    /// The greatest score of each query in this chunk.
    greatest: Vec<f32>,
    /// Maximum of the scores and sum of the weights, for each query, in all chunks so far.
    total: Vec<[f32; EXTRA]>,
    /// What each query's sums are multiplied with before they are added: those of all chunks before, and this one's.
    factors: Vec<[f32; 2]>,
}

/// Where the keys and values of a block come from.
trait Cached {
    /// What is multiplied.
    type Row: Row;
    /// Groups of keys, or strips of values, that are worked on beside each other.
    fn beside<L: Lanes>() -> usize;
    /// The keys of some groups, `[groups][channels][16 positions]`.
    fn keys<L: Lanes>(&mut self, has: Has<L>, groups: Range<usize>) -> Source<'_, Self::Row>;
    /// The values of some strips, `[strips][CHUNK positions][16 channels]`, the last strip's at the first positions.
    fn values<L: Lanes>(
        &mut self,
        has: Has<L>,
        strips: Range<usize>,
        positions: usize,
    ) -> Source<'_, Self::Row>;
}

/// In f32, widened for all queries.
struct Widened<'a> {
    block: &'a KvBlock,
    kv_head: usize,
    wide: &'a mut [Sixteen],
}

impl Cached for Widened<'_> {
    type Row = Sixteen;

    #[inline(always)]
    fn beside<L: Lanes>() -> usize {
        L::BESIDE
    }

    #[inline(always)]
    fn keys<L: Lanes>(&mut self, has: Has<L>, groups: Range<usize>) -> Source<'_, Sixteen> {
        Source { rows: self.block.key_groups(has, self.kv_head, groups, self.wide), next: None }
    }

    #[inline(always)]
    fn values<L: Lanes>(
        &mut self,
        has: Has<L>,
        strips: Range<usize>,
        positions: usize,
    ) -> Source<'_, Sixteen> {
        Source { rows: self.block.value_strips(has, self.kv_head, strips, positions, self.wide), next: None }
    }
}

/// As they are in the cache. What is waited for then is memory, so that what comes next is asked for between the products.
struct Stored<'a, R> {
    keys: &'a [R],
    values: &'a [R],
    /// Groups of keys that are seen.
    groups: usize,
    /// The keys of the next chunk.
    next: Option<*const R>,
}

impl<R: Row> Cached for Stored<'_, R> {
    type Row = R;

    #[inline(always)]
    fn beside<L: Lanes>() -> usize {
        L::BESIDE
    }

    #[inline(always)]
    fn keys<L: Lanes>(&mut self, _: Has<L>, groups: Range<usize>) -> Source<'_, R> {
        let len = self.keys.len() / GROUPS;
        let next = match groups.end < self.groups {
            true => &self.keys[groups.end * len..],
            false => self.values,
        };
        Source { rows: &self.keys[groups.start * len..groups.end * len], next: Some(next.as_ptr()) }
    }

    #[inline(always)]
    fn values<L: Lanes>(&mut self, _: Has<L>, strips: Range<usize>, positions: usize) -> Source<'_, R> {
        let rest = &self.values[strips.end * CHUNK..];
        let next = if rest.is_empty() { self.next } else { Some(rest.as_ptr()) };
        Source { rows: &self.values[strips.start * CHUNK..][..(strips.len() - 1) * CHUNK + positions], next }
    }
}

/// Queries of the tile that begins with query `first`, and how many there is room for: a power of two. Tiles begin
/// [`Lanes::AT_ONCE`] queries apart.
#[inline(always)]
fn tile<L: Lanes>(first: usize, queries: usize) -> (usize, usize) {
    let used = (queries - first).min(L::AT_ONCE);
    (used, used.next_power_of_two())
}

/// `body` with the number of queries, a power of two up to [`Lanes::AT_ONCE`], and of vectors beside each other as constants.
macro_rules! for_queries {
    ($lanes:ident, $queries:expr, $beside:expr, |$q:ident, $b:ident| $body:block) => {
        for_queries!(@ $lanes, ($queries, $beside), $q, $b, $body, [1 1] [2 1] [4 1] [MANY 1] [1 PAIR] [2 PAIR] [4 PAIR] [MANY PAIR])
    };
    (@ $lanes:ident, $of:expr, $q:ident, $b:ident, $body:block, $([$queries:tt $beside:tt])*) => {
        match $of {
            $(($queries, $beside) if $queries <= $lanes::AT_ONCE && $beside <= $lanes::BESIDE => {
                const $q: usize = $queries;
                const $b: usize = $beside;
                $body
            })*
            _ => unreachable!("no more than an instruction set takes at once"),
        }
    };
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
        // As much room for every instruction set, so that none asks for more than another.
        self.queries.resize(count.next_multiple_of(MANY) * channels, 0.0);
        self.weights.resize(count * GROUPS, Sixteen::ZERO);
        self.sums.resize(count * steps, Sixteen::ZERO);
        if count > FEW {
            self.wide.resize(PAIR * CHUNK.max(channels), Sixteen::ZERO);
        }
        self.greatest.resize(count, 0.0);
        self.total.resize(count, [0.0; EXTRA]);
        self.factors.resize(count, [0.0; 2]);
        for (row, place) in self.queries.chunks_exact_mut(channels).zip(queries.places()) {
            let (row, padding) = row.split_at_mut(queries.head_dim);
            round_queries(&queries.values[place..][..queries.head_dim], row, shape.kv_type);
            padding.fill(0.0);
        }
    }

    /// Computes `total` and `sums` of every query that sees any of a chunk: of this chunk alone where it `is_first`, else
    /// folded into what there is. `next` is the block that comes after it.
    #[inline(always)]
    fn chunk<L: Lanes>(
        &mut self,
        has: Has<L>,
        queries: &Queries<'_>,
        head: &HeadBlocks<'_>,
        chunk: usize,
        (is_first, next): (bool, Option<&KvBlock>),
    ) {
        let count = queries.len();
        self.seen.clear();
        self.seen.extend(queries.seen(chunk));
        // Those before see nothing.
        let Some(first) = self.seen.iter().position(|seen| *seen > 0) else { return };
        let (block, kv_head) = (&head.blocks[chunk], head.kv_head);
        let part = Part { first, is_first, kv_type: block.shape().kv_type, scales: block.scales(kv_head) };
        if count > L::AT_ONCE {
            let mut wide = std::mem::take(&mut self.wide);
            let cached = Widened { block, kv_head, wide: &mut wide };
            match is_exact(part.kv_type) {
                true => self.fold::<L, _, true>(has, queries, part, cached),
                false => self.fold::<L, _, false>(has, queries, part, cached),
            }
            self.wide = wide;
            return;
        }
        let groups = self.seen[count - 1].div_ceil(LANES);
        macro_rules! stored {
            ($elements:ident, $keys:ident, $values:ident) => {{
                let next = match next.map(|next| next.elements(kv_head)) {
                    Some(Elements::$elements([keys, _])) => Some(keys.as_ptr()),
                    _ => None,
                };
                Stored { keys: $keys, values: $values, groups, next }
            }};
        }
        match block.elements(kv_head) {
            Elements::F32([keys, values]) => {
                self.fold::<L, _, false>(has, queries, part, stored!(F32, keys, values));
            }
            Elements::F16([keys, values]) => {
                self.fold::<L, _, true>(has, queries, part, stored!(F16, keys, values));
            }
            Elements::Int8([keys, values]) => {
                self.fold::<L, _, true>(has, queries, part, stored!(Int8, keys, values));
            }
        }
    }

    /// Folds a part of the keys and values in.
    #[inline(always)]
    fn fold<L: Lanes, C: Cached, const EXACT: bool>(
        &mut self,
        has: Has<L>,
        queries: &Queries<'_>,
        part: Part<'_>,
        mut cached: C,
    ) {
        self.scores::<L, C, EXACT>(has, queries, part, &mut cached);
        self.softmax(part);
        self.weighted_sums::<L, C, EXACT>(has, queries, part, &mut cached);
    }

    /// Scores of the queries that see any of the keys, and of those of their tile, for the keys that any sees and what is left of
    /// their group.
    #[inline(always)]
    fn scores<L: Lanes, C: Cached, const EXACT: bool>(
        &mut self,
        has: Has<L>,
        queries: &Queries<'_>,
        part: Part<'_>,
        cached: &mut C,
    ) {
        let (count, channels) = (queries.len(), queries.head_dim.next_multiple_of(LANES));
        // log2(e) turns the exponential of the softmax into a power of two.
        let scale = (LOG2_E / (queries.head_dim as f64).sqrt()) as f32;
        let key_scales = part.scales.map(|[keys, _]| keys);
        // A tile holds queries from its start on.
        let first_tile = part.first / L::AT_ONCE * L::AT_ONCE;
        let (mut group, groups) = (0, self.seen[count - 1].div_ceil(LANES));
        while group < groups {
            let beside = (groups - group).min(C::beside::<L>());
            let keys = cached.keys(has, group..group + beside);
            let factors = key_scales.map(|scales| &scales[group * LANES..]);
            for first in (first_tile..count).step_by(L::AT_ONCE) {
                let (used, width) = tile::<L>(first, count);
                // Later queries see more.
                if self.seen[first + used - 1] <= group * LANES {
                    continue;
                }
                let tile = (&self.queries[first * channels..], channels);
                let scores = (&mut self.weights[first * GROUPS..][..used * GROUPS][group..], GROUPS);
                for_queries!(L, width, beside, |QUERIES, B| {
                    dots::<L, C::Row, EXACT, QUERIES, B>(has, tile, keys, (factors, scale), scores);
                });
            }
            group += beside;
        }
    }

    /// Turns the scores of the queries that see any into weights, and takes their greatest score and the sum of their weights
    /// into `total`.
    ///
    /// One thing after the other for all queries: what is done for one is a chain of operations that wait for each other,
    /// and those of several overlap.
    #[inline(always)]
    fn softmax(&mut self, Part { first, is_first, kv_type, scales }: Part<'_>) {
        let queries = first..self.seen.len();
        let scales = scales.map(|[_, values]| values);
        let bits = if scales.is_some() { 24 } else { factor_bits(kv_type) };
        let rows = |query: usize, seen: usize| query * GROUPS..query * GROUPS + seen.div_ceil(LANES);
        for query in queries.clone() {
            let seen = self.seen[query];
            self.greatest[query] = greatest(flat_mut(&mut self.weights[rows(query, seen)]), seen);
        }
        for query in queries.clone() {
            let greatest = self.greatest[query];
            for score in flat_mut(&mut self.weights[rows(query, self.seen[query])]) {
                *score = nearest(exp2(*score - greatest), bits);
            }
        }
        for query in queries {
            let weights = flat_mut(&mut self.weights[rows(query, self.seen[query])]);
            let here = [self.greatest[query], sum(weights)];
            if let Some(scales) = scales {
                weights.iter_mut().zip(scales).for_each(|(weight, scale)| *weight *= *scale);
                round_weights(weights, kv_type);
            }
            (self.total[query], self.factors[query]) =
                if is_first { (here, [1.0; 2]) } else { joined(self.total[query], here) };
        }
    }

    /// `sums` of the queries that see any, over the values that each sees.
    #[inline(always)]
    fn weighted_sums<L: Lanes, C: Cached, const EXACT: bool>(
        &mut self,
        has: Has<L>,
        queries: &Queries<'_>,
        Part { first, is_first, .. }: Part<'_>,
        cached: &mut C,
    ) {
        let (count, strips) = (queries.len(), queries.head_dim.div_ceil(LANES));
        let (weights, most) = (flat(&self.weights), self.seen[count - 1]);
        let mut strip = 0;
        while strip < strips {
            let beside = (strips - strip).min(C::beside::<L>());
            let values = cached.values(has, strip..strip + beside, most);
            let mut start = first;
            while start < count {
                let weights = (&weights[start * CHUNK..], CHUNK);
                let together = 1 << (count - start).min(L::AT_ONCE).ilog2();
                let rows = &mut self.sums[start * strips + strip..];
                let factors = (!is_first).then_some(&self.factors[start..]);
                let target = Target { rows, apart: strips, factors };
                for_queries!(L, together, beside, |QUERIES, B| {
                    let seen = self.seen[start..].first_chunk().expect("so many are left");
                    weighted::<L, C::Row, EXACT, QUERIES, B>(has, weights, (values, CHUNK), seen, target);
                });
                start += together;
            }
            strip += beside;
        }
    }
}

/// The greatest of the scores that are `seen`; what is not becomes negative infinity, a weight of 0. NaN where one is not finite,
/// so that all weights become NaN: negative infinity would otherwise pass as a weight of 0.
#[inline(always)]
fn greatest(scores: &mut [f32], seen: usize) -> f32 {
    if !all_finite(&scores[..seen]) {
        return f32::NAN;
    }
    scores[seen..].fill(f32::NEG_INFINITY);
    max(scores)
}

/// The maximum of the scores and the sum of the weights of what has been folded and of a chunk behind it, together; and what
/// the sums of weighted values of either are multiplied with before they are added.
#[inline(always)]
fn joined([old_max, old_sum]: [f32; EXTRA], [here_max, here_sum]: [f32; EXTRA]) -> ([f32; EXTRA], [f32; 2]) {
    let new_max = if here_max > old_max { here_max } else { old_max };
    let (old, new) = (exp2(old_max - new_max), exp2(here_max - new_max));
    ([new_max, old_sum * old + here_sum * new], [old, new])
}

/// See [`super::Numerics::attend`], and for `only` one of the chunks [`super::Numerics::attend_chunk`].
#[inline(always)]
pub(super) fn attend<L: Lanes>(
    has: Has<L>,
    queries: &Queries<'_>,
    head: &HeadBlocks<'_>,
    only: Option<usize>,
    work: &mut Workspace,
    out: &mut [f32],
) {
    let (head_dim, strips) = (queries.head_dim, queries.head_dim.div_ceil(LANES));
    let slot = head_dim + EXTRA;
    assert!(only.is_none() || out.len() >= queries.len() * slot, "room for every query");
    work.prepare(queries, head);
    let chunks = only.map_or(0..queries.chunks(), |chunk| chunk..chunk + 1);
    for chunk in chunks.clone() {
        let next = head.blocks.get(chunk + 1).filter(|_| chunk + 1 < chunks.end);
        work.chunk(has, queries, head, chunk, (chunk == chunks.start, next));
    }
    for (query, place) in queries.places().enumerate() {
        let sums = &flat(&work.sums[query * strips..][..strips])[..head_dim];
        let total = work.total[query];
        if only.is_none() {
            let (out, factor) = (&mut out[place..][..head_dim], 1.0 / total[1]);
            out.iter_mut().zip(sums).for_each(|(out, sum)| *out = *sum * factor);
        } else if work.seen[query] > 0 {
            let (part, here) = out[query * slot..][..slot].split_at_mut(head_dim);
            part.copy_from_slice(sums);
            here.copy_from_slice(&total);
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
        let here = [here[0], here[1]];
        if chunk == 0 {
            total = here;
            out.copy_from_slice(sums);
            continue;
        }
        let (joined, [old_factor, new_factor]) = joined(total, here);
        total = joined;
        for (old, new) in out.iter_mut().zip(sums) {
            *old = *old * old_factor + *new * new_factor;
        }
    }
    // The weights become parts of one.
    let factor = 1.0 / total[1];
    out.iter_mut().for_each(|out| *out *= factor);
}

#[cfg(test)]
mod tests;
