//! How the attention of a batch is divided among the threads.
//!
//! Query heads that share a key/value head are computed together, and so are tokens at consecutive positions of a
//! sequence. Many tokens go to the threads some at a time, with all of their heads. For few, a piece is a chunk of keys of
//! one key/value head, so that one token after a long text occupies every thread; the chunks are then folded in their
//! order. Either way it is the same arithmetic in the same order.

use super::kv_cache::KvCache;
use super::layer::{LayerPass, Row};
use crate::numerics::attention::{CHUNK, EXTRA, Queries, TOGETHER, Workspace};
use crate::room::Room;

/// Groups of tokens that a thread should find on average, where the tokens alone are divided: enough that nobody waits
/// long for the last.
const GROUPS_EACH: usize = 2;

/// Greatest number of values that the results of chunks may take: 16 MiB.
const MAX_PARTS: usize = 4 << 20;

/// Tokens at consecutive positions of one sequence, and where the results of their chunks are.
#[derive(Clone, Copy, Debug)]
struct Group {
    first: usize,
    tokens: usize,
    /// Index of its first piece.
    piece: usize,
    chunks: usize,
}

/// Working memory, kept from layer to layer.
#[derive(Default)]
pub(super) struct Attending {
    groups: Vec<Group>,
    /// The group of each token.
    group_of: Vec<usize>,
    /// `[piece][token of the group][head of the key/value head][head_dim + EXTRA]`; the pieces of a group are
    /// `[kv_heads][chunks]`.
    parts: Room<f32>,
}

/// The number of rows from the first on that are consecutive positions of one sequence, at most [`TOGETHER`].
fn run(rows: &[Row]) -> usize {
    let follows = |pair: &[Row]| {
        pair[0].sequence == pair[1].sequence && pair[0].position.checked_add(1) == Some(pair[1].position)
    };
    1 + rows.windows(2).take(TOGETHER - 1).take_while(|pair| follows(pair)).count()
}

impl LayerPass<'_> {
    /// Attention of `query` `[tokens][heads][head_dim]`, into `mixed`, which is laid out alike.
    pub(super) fn attend(
        &self,
        caches: &[&mut KvCache],
        query: &[f32],
        mixed: &mut [f32],
        memory: &mut Attending,
    ) {
        let groups = self.rows.len() / TOGETHER;
        if self.team.size() == 1 || groups >= GROUPS_EACH * self.team.size() {
            return self.attend_by_tokens(caches, query, mixed);
        }
        let pieces = memory.divide(self.rows, self.config.kv_heads);
        let tokens = memory.groups.iter().map(|group| group.tokens).max().unwrap_or(0);
        let slot = tokens * self.heads() * (self.config.head_dim + EXTRA);
        if pieces.saturating_mul(slot) > MAX_PARTS {
            return self.attend_by_tokens(caches, query, mixed);
        }
        self.attend_by_pieces(caches, query, mixed, memory, pieces, slot);
    }

    /// Query heads that share a key/value head.
    fn heads(&self) -> usize {
        self.config.heads / self.config.kv_heads
    }

    /// Multiply-adds.
    fn work(&self) -> usize {
        let seen: usize = self.rows.iter().map(|row| row.position + 1).sum();
        2 * self.config.attention_width() * seen
    }

    /// The queries of some tokens, from `first` on, that share a key/value head.
    fn queries<'q>(&self, query: &'q [f32], first: usize, tokens: usize, kv_head: usize) -> Queries<'q> {
        let (heads, head_dim, stride) = (self.heads(), self.config.head_dim, self.config.attention_width());
        let values = &query[first * stride + kv_head * heads * head_dim..];
        Queries { values, stride, tokens, heads, head_dim, visible: self.rows[first].position + 1 }
    }

    fn attend_by_tokens(&self, caches: &[&mut KvCache], query: &[f32], mixed: &mut [f32]) {
        let width = self.config.attention_width();
        let body = |memory: &mut Workspace, index: usize, mixed: &mut [f32]| {
            let (first, end) = (index * TOGETHER, index * TOGETHER + mixed.len() / width);
            let mut token = first;
            while token < end {
                let tokens = run(&self.rows[token..end]);
                for kv_head in 0..self.config.kv_heads {
                    let queries = self.queries(query, token, tokens, kv_head);
                    let head = caches[self.rows[token].sequence].head(self.layer, kv_head);
                    let place = (token - first) * width + kv_head * self.heads() * self.config.head_dim;
                    self.numerics().attend(&queries, &head, memory, &mut mixed[place..]);
                }
                token += tokens;
            }
        };
        self.team.chunks_with(mixed, TOGETHER * width, self.work(), Workspace::default, body);
    }

    fn attend_by_pieces(
        &self,
        caches: &[&mut KvCache],
        query: &[f32],
        mixed: &mut [f32],
        memory: &mut Attending,
        pieces: usize,
        slot: usize,
    ) {
        let (heads, head_dim) = (self.heads(), self.config.head_dim);
        let parts = memory.parts.sized(pieces * slot);
        let (groups, group_of) = (&memory.groups, &memory.group_of);
        let body = |work: &mut Workspace, index: usize, out: &mut [f32]| {
            let group = groups[groups.partition_point(|group| group.piece <= index) - 1];
            let (kv_head, chunk) =
                ((index - group.piece) / group.chunks, (index - group.piece) % group.chunks);
            let queries = self.queries(query, group.first, group.tokens, kv_head);
            let head = caches[self.rows[group.first].sequence].head(self.layer, kv_head);
            self.numerics().attend_chunk(&queries, &head, chunk, work, out);
        };
        self.team.chunks_with(parts, slot, self.work(), Workspace::default, body);

        let parts = &*parts;
        self.team.chunks(mixed, head_dim, parts.len(), |index, out| {
            let (token, head) = (index / self.config.heads, index % self.config.heads);
            let group = groups[group_of[token]];
            let piece = group.piece + head / heads * group.chunks;
            let query = (token - group.first) * heads + head % heads;
            let chunks = self.rows[token].position / CHUNK + 1;
            let parts = &parts[piece * slot + query * (head_dim + EXTRA)..];
            self.numerics().fold_chunks(parts, slot, chunks, out);
        });
    }
}

impl Attending {
    /// Divides a batch into groups of tokens, and returns how many pieces they have.
    fn divide(&mut self, rows: &[Row], kv_heads: usize) -> usize {
        self.groups.clear();
        self.group_of.clear();
        let (mut first, mut piece) = (0, 0);
        while first < rows.len() {
            let tokens = run(&rows[first..]);
            let chunks = rows[first + tokens - 1].position / CHUNK + 1;
            self.group_of.resize(first + tokens, self.groups.len());
            self.groups.push(Group { first, tokens, piece, chunks });
            (first, piece) = (first + tokens, piece + kv_heads * chunks);
        }
        piece
    }
}
