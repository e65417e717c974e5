//! Activations as int8 with one scale a token.
//!
//! Source of the formula: the training-time forward pass of BitNet b1.58 (Hugging Face `ActQuant`):
//! `s = 127 / max(max|x|, 1e-5)`, `q = clamp(round_half_even(x * s), -128, 127)` over one token's vector.

use super::Numerics;
use super::exp::nearest_integer;
use super::reduce::{max_abs, max_abs_of};
use super::rms_norm::{NotFinite, factor, normed};
use crate::os::Line;
use crate::room::Room;

/// Rows of the int8 matrix start at multiples of this many bytes, in memory too; the gap is filled with zeros. A cache line:
/// kernels on tiles read 64 columns of sixteen rows at a time, which would else be twice as many lines.
pub const STRIDE_GRANULE: usize = size_of::<Line>();

/// A batch of activation vectors in int8, with what the kernels and their epilogue need beside them.
#[derive(Clone, Debug, Default)]
pub struct QuantizedActivations {
    cols: usize,
    stride: usize,
    /// Room for the vectors, or for more than there are.
    lines: Room<Line>,
    sums: Vec<i32>,
    scales: Vec<f32>,
}

impl QuantizedActivations {
    /// Quantises `x` `[tokens][cols]`, each token by itself. The number of tokens is `x.len() / cols`.
    ///
    /// The values must be finite; the caller checks that (see [`Numerics::all_finite`]), for only it can say where
    /// they came from. This is the portable version; the others give the same.
    ///
    /// # Panics
    /// When `cols` is 0 or `x` is not whole rows.
    pub fn quantize(cols: usize, x: &[f32]) -> Self {
        let mut quantized = Self::default();
        quantized.requantize(&Numerics::portable(), cols, x);
        quantized
    }

    /// [`QuantizedActivations::quantize`] into this value, reusing its memory, on one instruction set.
    ///
    /// # Panics
    /// When `cols` is 0 or `x` is not whole rows.
    pub fn requantize(&mut self, numerics: &Numerics, cols: usize, x: &[f32]) {
        assert!(cols > 0 && x.len().is_multiple_of(cols), "whole rows of at least one column");
        let rows = self.rows_mut(cols, x.len() / cols);
        rows.zip(x.chunks_exact(cols)).for_each(|(mut row, x)| row.quantize(numerics, x));
    }

    /// Makes room for `tokens` vectors of `cols` values, reusing the memory, and returns each vector to be quantised, by
    /// whatever thread.
    ///
    /// # Panics
    /// When `cols` is 0.
    pub fn rows_mut(&mut self, cols: usize, tokens: usize) -> impl Iterator<Item = QuantizedRow<'_>> {
        assert!(cols > 0, "at least one column");
        let stride = cols.next_multiple_of(STRIDE_GRANULE);
        (self.cols, self.stride) = (cols, stride);
        self.sums.resize(tokens, 0);
        self.scales.resize(tokens, 0.0);
        let lines = self.lines.sized(tokens * (stride / STRIDE_GRANULE));
        let data: &mut [i8] = bytemuck::cast_slice_mut(lines);
        let rows = data.chunks_exact_mut(stride).zip(&mut self.sums).zip(&mut self.scales);
        rows.map(move |((row, sum), scale)| {
            let (q, padding) = row.split_at_mut(cols);
            // What is there may be from rows of another length.
            padding.fill(0);
            QuantizedRow { q, sum, scale }
        })
    }

    /// Number of tokens (rows).
    pub fn tokens(&self) -> usize {
        self.scales.len()
    }

    /// Number of values a token, without padding.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes from one token's row to the next: `cols` rounded up to a multiple of [`STRIDE_GRANULE`].
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The quantised values, `[tokens][stride]`, -128 to 127, zero from column `cols` on.
    pub fn data(&self) -> &[i8] {
        &bytemuck::cast_slice(&self.lines)[..self.tokens() * self.stride]
    }

    /// The sum of each token's quantised values.
    pub fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// Each token's scale s: the quantised value is the activation times s.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }
}

impl PartialEq for QuantizedActivations {
    fn eq(&self, other: &Self) -> bool {
        fn parts(x: &QuantizedActivations) -> (usize, &[i8], &[i32], &[f32]) {
            (x.cols, x.data(), x.sums(), x.scales())
        }
        parts(self) == parts(other)
    }
}

/// One token's vector among [`QuantizedActivations`].
#[derive(Debug)]
pub struct QuantizedRow<'a> {
    q: &'a mut [i8],
    sum: &'a mut i32,
    scale: &'a mut f32,
}

impl QuantizedRow<'_> {
    /// Quantises `x`, whose values must be finite: see [`Numerics::quantize_row`].
    ///
    /// # Panics
    /// When `x` has not as many values as the vector.
    pub fn quantize(&mut self, numerics: &Numerics, x: &[f32]) {
        (*self.sum, *self.scale) = numerics.quantize_row(x, self.q);
    }

    /// Quantises the norm of `x`: see [`Numerics::quantize_normed`].
    ///
    /// # Errors
    /// [`NotFinite`] where a value of it is not.
    ///
    /// # Panics
    /// When `x` has not as many values as the vector, or there is not a weight for each.
    pub fn quantize_normed(
        &mut self,
        numerics: &Numerics,
        x: &[f32],
        weight: &[f32],
        eps: f32,
    ) -> Result<(), NotFinite> {
        (*self.sum, *self.scale) = numerics.quantize_normed(x, weight, eps, self.q)?;
        Ok(())
    }
}

/// See [`Numerics::quantize_row`].
#[inline(always)]
pub(super) fn quantize_row(x: &[f32], q: &mut [i8]) -> (i32, f32) {
    assert_eq!(x.len(), q.len(), "one quantised value a value");
    quantize_values(max_abs(x), x.iter().copied(), q)
}

/// See [`Numerics::quantize_normed`].
#[inline(always)]
pub(super) fn quantize_normed(
    x: &[f32],
    weight: &[f32],
    eps: f32,
    q: &mut [i8],
) -> Result<(i32, f32), NotFinite> {
    assert_eq!((x.len(), x.len()), (weight.len(), q.len()), "one weight and one quantised value a value");
    let factor = factor(x, eps)?;
    // Computed twice, and not stored in between.
    let value = |x, weight| normed(x, factor, weight);
    let max = max_abs_of(x, weight, value).ok_or(NotFinite)?;
    Ok(quantize_values(max, x.iter().zip(weight).map(|(x, weight)| value(*x, *weight)), q))
}

/// Quantises values, the largest magnitude of which is `max`.
#[inline(always)]
fn quantize_values(max: f32, values: impl Iterator<Item = f32>, q: &mut [i8]) -> (i32, f32) {
    let scale = 127.0 / if max > 1e-5 { max } else { 1e-5 };
    let mut sum = 0i32;
    for (q, v) in q.iter_mut().zip(values) {
        // |v * scale| is at most 127 and a rounding error, far inside the range of the rounding trick.
        let integer = nearest_integer(v * scale).clamp(-128, 127);
        sum = sum.wrapping_add(integer);
        *q = integer as i8;
    }
    (sum, scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::team::Threads;

    #[test]
    fn worked_example_of_the_formula() {
        // max 1, s = 127; 63.5 ties to the even 64.
        let q = QuantizedActivations::quantize(4, &[0.5, -1.0, 0.25, 0.75]);
        assert_eq!(&q.data()[..4], [64, -127, 32, 95]);
        assert_eq!(q.data()[4..], [0; 60]);
        assert_eq!((q.tokens(), q.cols(), q.stride()), (1, 4, 64));
        assert_eq!((q.sums(), q.scales()), (&[64][..], &[127.0][..]));
    }

    #[test]
    fn ties_go_to_even() {
        // With a maximum of 127 the scale is 1.
        let q = QuantizedActivations::quantize(7, &[0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 127.0]);
        assert_eq!(&q.data()[..7], [0, 2, 2, 0, -2, -2, 127]);
    }

    #[test]
    fn a_tiny_token_uses_the_floor_of_the_scale() {
        let q = QuantizedActivations::quantize(3, &[0.0, 1e-6, -1e-5]);
        assert_eq!(&q.data()[..3], [0, 13, -127]);
        assert_eq!(q.scales(), [127.0 / 1e-5]);
        let zeros = QuantizedActivations::quantize(3, &[0.0; 3]);
        assert_eq!((zeros.sums(), &zeros.data()[..3]), (&[0][..], &[0i8; 3][..]));
    }

    #[test]
    fn agrees_with_the_formula_in_plain_rust_and_tokens_are_independent() {
        let (tokens, cols) = (5, 37);
        let x: Vec<f32> = (0..tokens * cols)
            .map(|i| ((i * 7919 % 1009) as f32 - 500.0) * (i / cols + 1) as f32 * 0.013)
            .collect();
        let q = QuantizedActivations::quantize(cols, &x);
        for t in 0..tokens {
            let row = &x[t * cols..(t + 1) * cols];
            let s = 127.0 / row.iter().fold(1e-5f32, |m, v| m.max(v.abs()));
            let expected: Vec<i8> =
                row.iter().map(|v| (v * s).round_ties_even().clamp(-128.0, 127.0) as i8).collect();
            assert_eq!(q.data()[t * 64..t * 64 + cols], expected);
            assert_eq!(q.sums()[t], expected.iter().map(|&v| i32::from(v)).sum::<i32>());
            assert_eq!(q.scales()[t], s);
            let alone = QuantizedActivations::quantize(cols, row);
            assert_eq!(alone.data(), &q.data()[t * 64..(t + 1) * 64]);
        }
    }

    #[test]
    fn reuse_leaves_no_trace_of_the_last_batch() {
        let mut q = QuantizedActivations::quantize(64, &[1.0; 192]);
        q.requantize(&Numerics::portable(), 3, &[0.25, 0.5, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(q, QuantizedActivations::quantize(3, &[0.25, 0.5, 1.0, 1.0, 1.0, 1.0]));
    }

    #[test]
    fn large_batches_split_over_threads_give_the_same() {
        let cols = 1000;
        let x: Vec<f32> = (0..100 * cols).map(|i| (i * 31 % 977) as f32 - 488.0).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let mut split = QuantizedActivations::default();
        let mut rows: Vec<_> = split.rows_mut(cols, 100).zip(x.chunks(cols)).collect();
        Threads::new(pool).region(|team| {
            team.chunks(&mut rows, 1, x.len(), |_, rows| {
                rows.iter_mut().for_each(|(row, x)| row.quantize(&Numerics::portable(), x));
            });
        });
        for (t, row) in x.chunks(cols).enumerate() {
            let alone = QuantizedActivations::quantize(cols, row);
            assert_eq!(alone.data(), &split.data()[t * 1024..(t + 1) * 1024]);
        }
    }
}
