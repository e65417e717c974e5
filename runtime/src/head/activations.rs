//! Hidden states as integers: finer than those of the ternary matrices, for the head's weights are not coarse.
//!
//! `s = A / max(max|x|, 1e-5)`, `q = round_half_even(x * s)` over one token's states, A the format's amplitude
//! ([`Format::amplitude`]): 32767 for the formats of blocks, less for an 8-bit row, whose products are all added up in i32.

use super::blocks::Token;
use super::layout::Format;
use crate::numerics::Numerics;
use crate::numerics::exp::ROUND_MAGIC;

/// The integers of some tokens, and what kernels need beside them. Its memory serves again and again.
#[derive(Debug, Default)]
pub struct Activations {
    words: Vec<i16>,
    offsets: Vec<i32>,
    inverses: Vec<f32>,
}

impl Activations {
    /// Quantises `hidden`, `[tokens][cols]`, for weights of a format. A token with a state that is not finite has NaN for
    /// its results.
    ///
    /// # Panics
    /// When `cols` is 0 or `hidden` is not whole tokens.
    pub fn quantize(&mut self, numerics: &Numerics, format: &Format, cols: usize, hidden: &[f32]) {
        assert!(cols > 0 && hidden.len().is_multiple_of(cols), "whole tokens");
        let (tokens, stride, groups) =
            (hidden.len() / cols, format.parts(cols) * format.part_cols, format.groups(cols));
        let amplitude = format.amplitude(cols);
        self.words.clear();
        self.words.resize(tokens * stride, 0);
        self.offsets.clear();
        self.inverses.clear();
        for (x, words) in hidden.chunks_exact(cols).zip(self.words.chunks_exact_mut(stride)) {
            let scale = quantize(x, amplitude, &mut words[..cols]);
            self.inverses.push(if numerics.all_finite(x) { 1.0 / scale } else { f32::NAN });
            self.offsets.extend(words.chunks(stride / groups).map(|group| {
                // The offset of a whole row is taken off modulo 2^32, as it came in.
                group.iter().fold(0i32, |sum, q| sum.wrapping_add(i32::from(*q))).wrapping_mul(-format.zero)
            }));
        }
    }

    /// The tokens, in order.
    pub fn tokens(&self) -> impl Iterator<Item = Token<'_>> {
        let count = self.inverses.len().max(1);
        let words = self.words.chunks_exact((self.words.len() / count).max(1));
        let offsets = self.offsets.chunks_exact((self.offsets.len() / count).max(1));
        let tokens = words.zip(offsets).zip(&self.inverses);
        tokens.map(|((words, offsets), inverse)| Token { words, offsets, inverse: *inverse })
    }
}

/// Integers of at most the amplitude; returns the scale.
fn quantize(x: &[f32], amplitude: i32, q: &mut [i16]) -> f32 {
    let max = x.iter().fold(1e-5f32, |max, v| if v.abs() > max { v.abs() } else { max });
    let scale = amplitude as f32 / max;
    for (q, v) in q.iter_mut().zip(x) {
        // |v * scale| is at most the amplitude and a rounding error, inside the range of the rounding trick.
        let shifted = *v * scale + ROUND_MAGIC;
        let integer = (shifted.to_bits() as i32).wrapping_sub(ROUND_MAGIC.to_bits() as i32);
        *q = integer.clamp(-amplitude, amplitude) as i16;
    }
    scale
}
