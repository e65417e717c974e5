//! Operands to try and to time kernels with, and the check that comes before every measurement: a kernel that is not
//! bit-exact has no speed.

use std::sync::Arc;

use rand_core::Rng;
use rand_pcg::Pcg32;

use crate::interleaved::{Interleaved, Vectors};
use crate::kernels::abi::{Kernel, KernelError, Problem};
use crate::kernels::layouts::i2a16;
use crate::numerics::quantize::STRIDE_GRANULE;
use crate::team::Team;

/// The most tokens of a product that is timed with weights from memory, for one call: decoding, of one sequence or some
/// together.
pub const STREAMED_TOKENS: usize = 8;

/// Why a kernel is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Inexact {
    /// It returned a wrong sum.
    #[error("{kernel}: row {row} of activation vector {token} is {found}, the exact product is {expected}")]
    Wrong {
        /// The kernel.
        kernel: &'static str,
        /// Row of the matrix.
        row: usize,
        /// Activation vector.
        token: usize,
        /// What it returned.
        found: i32,
        /// The naive product.
        expected: i64,
    },
    /// It does not take the operands.
    #[error(transparent)]
    Refused(#[from] KernelError),
}

/// Random activation vectors that a matrix of some shape is multiplied with.
#[derive(Debug)]
pub struct Activations {
    /// Rows M of the matrix.
    pub rows: usize,
    /// Columns K of the matrix.
    pub cols: usize,
    stride: usize,
    /// Where the vectors begin: at a cache line, as in the engine.
    first: usize,
    values: Vec<i8>,
    sums: Vec<i32>,
    /// Interleaved for calls of some number of vectors each.
    interleaved: Vec<Interleaved>,
}

impl Activations {
    /// So many vectors for a matrix `[rows][cols]`.
    pub fn new(tokens: usize, (rows, cols): (usize, usize)) -> Self {
        let stride = cols.next_multiple_of(STRIDE_GRANULE);
        let mut random = Pcg32::new(2, 2);
        let mut values = vec![0; STRIDE_GRANULE + tokens * stride];
        let first = values.as_ptr().align_offset(STRIDE_GRANULE);
        let vectors = &mut values[first..][..tokens * stride];
        for vector in vectors.chunks_mut(stride) {
            vector[..cols].fill_with(|| random.next_u32() as i8);
        }
        let sums = vectors.chunks(stride).map(|vector| vector.iter().map(|q| i32::from(*q)).sum()).collect();
        Activations { rows, cols, stride, first, values, sums, interleaved: Vec::new() }
    }

    /// Has what a kernel wants at hand, if it wants the vectors interleaved: what it would make itself in each call otherwise, and
    /// the engine makes once.
    pub fn prepare(&mut self, kernel: &Kernel) {
        let Some(vectors) = Vectors::of(kernel, 0) else { return };
        if self.interleaved.iter().all(|made| made.of(vectors).is_none()) {
            let first = (0..self.sums.len() / vectors.tokens).map(|call| call * vectors.tokens);
            let calls = first.map(|first| Vectors { first, ..vectors });
            let values = &self.values[self.first..];
            let made =
                Interleaved::new(&Team::solo(), &Arc::default(), values, self.stride, self.cols, calls);
            self.interleaved.push(made);
        }
    }

    /// The product of a matrix with as many of the vectors as a kernel takes.
    ///
    /// # Panics
    /// If there are not as many from `first` on.
    pub fn problem<'a>(&'a self, kernel: &Kernel, weights: &'a [u8], first: usize) -> Problem<'a> {
        let tokens = first..first + kernel.descriptor().tokens;
        let interleaved = Vectors::of(kernel, first)
            .and_then(|vectors| self.interleaved.iter().find_map(|made| made.of(vectors)));
        Problem {
            rows: self.rows,
            cols: self.cols,
            weights,
            acts: &self.values[self.first..][tokens.start * self.stride..tokens.end * self.stride],
            act_stride: self.stride,
            act_sums: &self.sums[tokens.clone()],
            interleaved,
            expanded: None,
        }
    }
}

/// Compares every result of a kernel with the naive product of the unpacked weights.
///
/// # Errors
/// [`Inexact`] for the first that differs, or operands that the kernel does not take.
///
/// # Panics
/// If the weights are not packed trits.
pub fn check(kernel: &Kernel, problem: &Problem<'_>) -> Result<(), Inexact> {
    let Problem { rows, cols, weights, acts, act_stride, .. } = *problem;
    let descriptor = kernel.descriptor();
    // What a kernel leaves out must not pass for a sum.
    let mut out = vec![i32::MIN; descriptor.tokens * rows];
    let tiles = rows.div_ceil(i2a16::ROW_GRANULE);
    kernel.run(problem, 0..tiles, &mut out, rows)?;
    let mut trits = vec![0; cols];
    for row in 0..rows {
        i2a16::unpack_row(weights, rows, cols, row, &mut trits).expect("weights that are trits");
        for token in 0..descriptor.tokens {
            let vector = &acts[token * act_stride..][..cols];
            let expected: i64 = trits.iter().zip(vector).map(|(w, q)| i64::from(*w) * i64::from(*q)).sum();
            let found = out[token * rows + row];
            if i64::from(found) != expected {
                return Err(Inexact::Wrong { kernel: descriptor.name, row, token, found, expected });
            }
        }
    }
    Ok(())
}
