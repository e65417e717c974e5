//! Operands of kernels, and the check that comes before every measurement: a kernel that is wrong has no speed.

use std::ops::Range;

use rand_core::Rng;
use rand_pcg::Pcg32;

use crate::kernels::abi::{InvalidCode, Kernel, KernelError, Problem};
use crate::kernels::layouts::i2a16;
use crate::numerics::quantize::STRIDE_GRANULE;

/// Activation vectors that a matrix of some shape is multiplied with.
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
}

impl Activations {
    /// So many random vectors for a matrix `[rows][cols]`.
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
        Activations { rows, cols, stride, first, values, sums }
    }

    /// Vectors.
    pub fn tokens(&self) -> usize {
        self.sums.len()
    }

    /// The product of a matrix with some of the vectors.
    pub fn problem<'a>(&'a self, weights: &'a [u8], tokens: Range<usize>) -> Problem<'a> {
        Problem {
            rows: self.rows,
            cols: self.cols,
            weights,
            acts: &self.values[self.first..][tokens.start * self.stride..tokens.end * self.stride],
            act_stride: self.stride,
            act_sums: &self.sums[tokens],
        }
    }
}

/// Why a kernel is not timed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A result differs from the naive product.
    #[error(
        "{kernel} is not exact: for {rows}x{cols}, row {row} of vector {token} is {found}, not {expected}; \
         it is not timed"
    )]
    Wrong {
        /// The kernel.
        kernel: &'static str,
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Row of the result.
        row: usize,
        /// Activation vector of the result.
        token: usize,
        /// What the kernel returned.
        found: i32,
        /// What it should have returned.
        expected: i32,
    },
    /// The kernel does not take the operands.
    #[error("{0}; it is not timed")]
    Operands(#[from] KernelError),
}

/// The products of the unpacked weights with the first `tokens` vectors, summed without any thought of speed: `rows`
/// values a vector.
///
/// # Errors
/// [`InvalidCode`] for weights that are no trits.
pub fn naive(problem: &Problem<'_>, tokens: usize) -> Result<Vec<i32>, InvalidCode> {
    let Problem { rows, cols, weights, acts, act_stride, .. } = *problem;
    let mut expected = vec![0; tokens * rows];
    let mut trits = vec![0; cols];
    for row in 0..rows {
        i2a16::unpack_row(weights, rows, cols, row, &mut trits)?;
        for token in 0..tokens {
            let vector = &acts[token * act_stride..][..cols];
            expected[token * rows + row] =
                trits.iter().zip(vector).map(|(w, q)| i32::from(*w) * i32::from(*q)).sum();
        }
    }
    Ok(expected)
}

/// Compares every result of a kernel with the naive products, which must be those of the problem for at least the vectors
/// of a call.
///
/// # Errors
/// [`Refusal`] where one differs, or the kernel does not take the operands.
pub fn check(kernel: &Kernel, problem: &Problem<'_>, expected: &[i32]) -> Result<(), Refusal> {
    let Problem { rows, cols, .. } = *problem;
    // No result of the matrices that are measured is near it.
    let mut out = vec![i32::MIN; kernel.descriptor().tokens * rows];
    kernel.run(problem, 0..rows.div_ceil(i2a16::ROW_GRANULE), &mut out, rows)?;
    let different = out.iter().zip(expected).position(|(found, expected)| found != expected);
    different.map_or(Ok(()), |at| {
        let (kernel, row, token) = (kernel.descriptor().name, at % rows, at / rows);
        Err(Refusal::Wrong { kernel, rows, cols, row, token, found: out[at], expected: expected[at] })
    })
}
