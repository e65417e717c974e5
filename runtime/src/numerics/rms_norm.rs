//! RMS normalisation of rows.

use super::Numerics;
use super::parallel::for_each_chunk;
use super::reduce::sum_of_squares;
use std::sync::atomic::{AtomicBool, Ordering};

/// A row held an infinite value or a NaN, or values so large that the sum of their squares is infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFinite;

/// See [`super::Numerics::rms_norm`].
#[inline(always)]
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) -> Result<(), NotFinite> {
    assert_eq!(x.len(), weight.len(), "one weight an element");
    assert_eq!(x.len(), out.len(), "one output an element");
    let squares = sum_of_squares(x);
    if !squares.is_finite() {
        return Err(NotFinite);
    }
    let factor = 1.0 / (squares / x.len() as f32 + eps).sqrt();
    for ((o, v), w) in out.iter_mut().zip(x).zip(weight) {
        *o = (*v * factor) * *w;
    }
    Ok(())
}

impl Numerics {
    /// [`Numerics::rms_norm`] of every row of `x` `[rows][weight.len()]`, on the threads of the current pool.
    ///
    /// # Errors
    /// [`NotFinite`] when that is the case of any row.
    ///
    /// # Panics
    /// When `x` and `out` differ in length or are not whole rows.
    pub fn rms_norm_rows(
        &self,
        x: &[f32],
        weight: &[f32],
        eps: f32,
        out: &mut [f32],
    ) -> Result<(), NotFinite> {
        assert_eq!(x.len(), out.len(), "one output an element");
        let cols = weight.len();
        let bad = AtomicBool::new(false);
        for_each_chunk(out, cols, x.len(), |row, out_row| {
            let x_row = &x[row * cols..(row + 1) * cols];
            if self.rms_norm(x_row, weight, eps, out_row).is_err() {
                bad.store(true, Ordering::Relaxed);
            }
        });
        if bad.into_inner() { Err(NotFinite) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Mean square of (3, -4, 0, 5) is 12.5; with eps 3.5 the root is 4.
        let mut out = [0.0; 4];
        rms_norm(&[3.0, -4.0, 0.0, 5.0], &[1.0, 2.0, 7.0, -0.5], 3.5, &mut out).unwrap();
        assert_eq!(out, [0.75, -2.0, 0.0, -0.625]);
    }

    #[test]
    fn rows_are_independent() {
        let mut out = [0.0; 4];
        let numerics = Numerics::portable();
        numerics.rms_norm_rows(&[3.0, 3.0, -4.0, -4.0], &[1.0, 2.0], 0.0, &mut out).unwrap();
        assert_eq!(out, [1.0, 2.0, -1.0, -2.0]);
        let bad = numerics.rms_norm_rows(&[3.0, 3.0, f32::NAN, 1.0], &[1.0, 2.0], 0.0, &mut out);
        assert_eq!(bad, Err(NotFinite));
    }

    #[test]
    fn overflow_of_the_squares_is_an_error_not_a_row_of_zeros() {
        assert_eq!(rms_norm(&[1e30, 1.0], &[1.0, 1.0], 1e-5, &mut [0.0; 2]), Err(NotFinite));
    }
}
