//! Hidden states as integers: finer than those of the ternary matrices, for the head's weights are not coarse.
//!
//! `s = A / max(max|x|, 1e-5)`, `q = round_half_even(x * s)` over one token's states, A the format's amplitude
//! ([`Format::amplitude`]): 32767 for the formats of blocks, less for an 8-bit row, whose products are all added up in i32.
//!
//! The tokens that a kernel takes at once lie interleaved, two columns of each in turn: one stream to read, however many they are.

use std::ops::Range;

use super::blocks::Token;
use super::layout::Format;
use crate::lanes::FEW;
use crate::numerics::Numerics;
use crate::numerics::exp::nearest_integer;

/// Columns that are multiplied together.
const PAIR: usize = 2;

/// The integers of some tokens, and what kernels need beside them. Its memory serves again and again.
#[derive(Debug, Default)]
pub struct Activations {
    /// Batch after batch, `[columns / 2][tokens][2]`.
    words: Vec<i16>,
    /// Words of a token.
    stride: usize,
    offsets: Vec<i32>,
    inverses: Vec<f32>,
    /// The token that is made.
    row: Vec<i16>,
}

/// Tokens as kernels take them: `at_once`, as long as there are as many, then up to [`FEW`].
pub fn batches(tokens: usize, at_once: usize) -> impl Iterator<Item = Range<usize>> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = tokens - first;
        let count = if left >= at_once { at_once } else { left.min(FEW) };
        let batch = first..first + count;
        first += count;
        (count > 0).then_some(batch)
    })
}

impl Activations {
    /// Quantises `hidden`, `[tokens][cols]`, for weights of a format, in [`batches`] of `at_once`. A token with a state that is not
    /// finite has NaN for its results.
    ///
    /// # Panics
    /// When `cols` is 0 or `hidden` is not whole tokens.
    pub fn quantize(
        &mut self,
        numerics: &Numerics,
        format: &Format,
        cols: usize,
        hidden: &[f32],
        at_once: usize,
    ) {
        assert!(cols > 0 && hidden.len().is_multiple_of(cols), "whole tokens");
        let (tokens, stride, groups) =
            (hidden.len() / cols, format.parts(cols) * format.part_cols, format.groups(cols));
        let amplitude = format.amplitude(cols);
        self.stride = stride;
        self.words.resize(tokens * stride, 0);
        self.row.clear();
        self.row.resize(stride, 0);
        self.offsets.clear();
        self.inverses.clear();
        for batch in batches(tokens, at_once) {
            let interleaved = &mut self.words[batch.start * stride..batch.end * stride];
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
                let pairs = interleaved.chunks_exact_mut(PAIR * batch.len()).zip(self.row.chunks_exact(PAIR));
                pairs.for_each(|(to, from)| to[PAIR * place..][..PAIR].copy_from_slice(from));
            }
        }
    }

    /// The words of a batch, interleaved.
    pub fn words(&self, batch: Range<usize>) -> &[i16] {
        &self.words[batch.start * self.stride..batch.end * self.stride]
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
