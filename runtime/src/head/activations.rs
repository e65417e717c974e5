//! Hidden states as integers: finer than those of the ternary matrices, for the head's weights are not coarse.
//!
//! `s = A / max(max|x|, 1e-5)`, `q = round_half_even(x * s)` over one token's states, A the format's amplitude
//! ([`Format::amplitude`]): 32767 for the formats of blocks, less for an 8-bit row, whose products are all added up in i32.
//!
//! The tokens that a kernel takes at once lie together: one stream to read, however many they are.

use std::ops::Range;

use super::blocks::Token;
use super::layout::Format;
use super::on_tiles::{self, STEP_COLS, STEP_WORDS};
use crate::numerics::Numerics;
use crate::numerics::exp::nearest_integer;
use crate::room::Room;

/// Columns that are multiplied together.
const PAIR: usize = 2;

/// How the integers of the tokens that a kernel takes at once lie.
#[derive(Clone, Copy, Debug, Default)]
pub enum Arrangement {
    /// `[columns / 2][tokens][2]`, two columns of each in turn.
    Interleaved {
        /// How many tokens.
        at_once: AtOnce,
    },
    /// For [`on_tiles`]: `[step][half][token][64]`, the lower bytes of a step's columns and then the upper ones, in the order of an
    /// atom. What a step takes again of the one before is zero.
    #[default]
    Tiles,
}

impl Arrangement {
    /// How many tokens are taken at once.
    pub fn at_once(self) -> AtOnce {
        match self {
            Arrangement::Interleaved { at_once } => at_once,
            Arrangement::Tiles => AtOnce { many: on_tiles::TOKENS, few: on_tiles::TOKENS },
        }
    }

    /// Words of the first tokens, whole batches of them, of `stride` columns each.
    fn words(self, tokens: usize, stride: usize) -> usize {
        match self {
            Arrangement::Interleaved { .. } => tokens * stride,
            Arrangement::Tiles => tokens.div_ceil(on_tiles::TOKENS) * on_tiles::steps(stride) * STEP_WORDS,
        }
    }

    /// Puts the integers of one token to those of the others.
    fn put(self, row: &[i16], token: usize, tokens: usize, words: &mut [i16]) {
        match self {
            Arrangement::Interleaved { .. } => {
                let pairs = words.chunks_exact_mut(PAIR * tokens).zip(row.chunks_exact(PAIR));
                pairs.for_each(|(to, from)| to[PAIR * token..][..PAIR].copy_from_slice(from));
            }
            Arrangement::Tiles => {
                let steps = bytemuck::cast_slice_mut::<i16, u8>(words).chunks_exact_mut(2 * STEP_WORDS);
                for (index, step) in steps.enumerate() {
                    let (done, first) = (index * STEP_COLS, (index * STEP_COLS).min(row.len() - STEP_COLS));
                    let (lower, upper) = step.split_at_mut(STEP_WORDS);
                    let [lower, upper] = [lower, upper]
                        .map(|half| half[token * STEP_COLS..][..STEP_COLS].as_chunks_mut::<4>().0);
                    let columns = row[first..].as_chunks::<4>().0.iter().enumerate();
                    for ((lower, upper), (quad, q)) in lower.iter_mut().zip(upper).zip(columns) {
                        let q = if first + 4 * quad < done { [0; 4] } else { [q[0], q[2], q[1], q[3]] };
                        *lower = q.map(|q| q as u8);
                        *upper = q.map(|q| (q >> 8) as u8);
                    }
                }
            }
        }
    }
}

/// How many tokens a kernel takes at once.
#[derive(Clone, Copy, Debug)]
pub struct AtOnce {
    /// As many, as long as there are as many.
    pub many: usize,
    /// Of what is left, up to so many.
    pub few: usize,
}

impl AtOnce {
    /// The batches in which so many tokens are taken.
    pub fn batches(self, tokens: usize) -> impl Iterator<Item = Range<usize>> {
        let mut first = 0;
        std::iter::from_fn(move || {
            let left = tokens - first;
            let count = if left >= self.many { self.many } else { left.min(self.few) };
            let batch = first..first + count;
            first += count;
            (count > 0).then_some(batch)
        })
    }
}

/// The integers of some tokens, and what kernels need beside them. Its memory serves again and again.
#[derive(Debug, Default)]
pub struct Activations {
    arrangement: Arrangement,
    /// Batch after batch, each from a cache line's start on where it is arranged in tiles.
    words: Room<i16>,
    /// Columns of a token.
    stride: usize,
    offsets: Vec<i32>,
    inverses: Vec<f32>,
    /// The token that is made.
    row: Vec<i16>,
}

impl Activations {
    /// Quantises `hidden`, `[tokens][cols]`, for weights of a format. A token with a state that is not finite has NaN for its
    /// results.
    ///
    /// # Panics
    /// When `cols` is 0 or `hidden` is not whole tokens.
    pub fn quantize(
        &mut self,
        numerics: &Numerics,
        format: &Format,
        cols: usize,
        hidden: &[f32],
        arrangement: Arrangement,
    ) {
        assert!(cols > 0 && hidden.len().is_multiple_of(cols), "whole tokens");
        let (tokens, stride, groups) =
            (hidden.len() / cols, format.parts(cols) * format.part_cols, format.groups(cols));
        let amplitude = format.amplitude(cols);
        self.stride = stride;
        self.arrangement = arrangement;
        self.row.clear();
        self.row.resize(stride, 0);
        self.offsets.clear();
        self.inverses.clear();
        let words = |tokens: usize| arrangement.words(tokens, stride);
        let all = self.words.sized(words(tokens));
        for batch in arrangement.at_once().batches(tokens) {
            let words = &mut all[words(batch.start)..words(batch.end)];
            for (place, token) in batch.clone().enumerate() {
                let x = &hidden[token * cols..][..cols];
                let scale = quantize(x, amplitude, &mut self.row[..cols]);
                self.inverses.push(if numerics.all_finite(x) { 1.0 / scale } else { f32::NAN });
                self.offsets.extend(self.row.chunks(stride / groups).map(|group| {
                    // The offset of a whole row is taken off modulo 2^32, as it came in.
                    group
                        .iter()
                        .fold(0i32, |sum, q| sum.wrapping_add(i32::from(*q)))
                        .wrapping_mul(-format.zero)
                }));
                arrangement.put(&self.row, place, batch.len(), words);
            }
        }
    }

    /// The words of a batch.
    pub fn words(&self, batch: Range<usize>) -> &[i16] {
        let words = |tokens: usize| self.arrangement.words(tokens, self.stride);
        &self.words[words(batch.start)..words(batch.end)]
    }

    /// The tokens, in order.
    pub fn tokens(&self) -> impl Iterator<Item = Token<'_>> {
        let count = self.inverses.len().max(1);
        let offsets = self.offsets.chunks_exact((self.offsets.len() / count).max(1));
        offsets.zip(&self.inverses).map(|(offsets, inverse)| Token { offsets, inverse: *inverse })
    }
}

/// Integers of at most the amplitude; returns the scale.
fn quantize(x: &[f32], amplitude: i32, q: &mut [i16]) -> f32 {
    let max = x.iter().fold(1e-5f32, |max, v| if v.abs() > max { v.abs() } else { max });
    let scale = amplitude as f32 / max;
    for (q, v) in q.iter_mut().zip(x) {
        // |v * scale| is at most the amplitude and a rounding error, inside the range of the rounding trick.
        *q = nearest_integer(*v * scale).clamp(-amplitude, amplitude) as i16;
    }
    scale
}
