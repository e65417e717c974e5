//! Trials: whether an instruction set does on this CPU what it should, and activations to try kernels with.

use crate::fault::{Fault, Finding};
use crate::kernels::abi::{ATOM_COLS, Kernel, Problem, TILE_ROWS};
use crate::kernels::layouts::i2a16;
use crate::numerics::{Numerics, NumericsTrial};
use crate::os::{self, AlignedBytes, Trial};

/// Rows and columns of the matrix on which kernels are tried: two tiles, one of them cut off, and 47 atoms, which leave a
/// rest for every unroll.
const SHAPE: (usize, usize) = (21, 739);

/// Activation vectors that run through all of int8, each from another place.
pub(crate) struct Activations {
    cols: usize,
    stride: usize,
    acts: Vec<i8>,
    sums: Vec<i32>,
}

impl Activations {
    /// Vectors of so many values.
    pub fn new(tokens: usize, cols: usize) -> Self {
        let stride = cols.next_multiple_of(ATOM_COLS);
        let mut acts = vec![0i8; tokens * stride];
        for (token, vector) in acts.chunks_exact_mut(stride).enumerate() {
            // 128 is -128: the first value of the first vector.
            vector[..cols]
                .iter_mut()
                .enumerate()
                .for_each(|(i, q)| *q = (128 + token * 31 + i * 89) as u8 as i8);
        }
        let sums = acts.chunks(stride).map(|x| x.iter().map(|q| i32::from(*q)).sum()).collect();
        Activations { cols, stride, acts, sums }
    }

    /// One vector.
    fn vector(&self, token: usize) -> &[i8] {
        &self.acts[token * self.stride..][..self.cols]
    }

    /// The product of a packed matrix of so many rows with the vectors from `token` on.
    pub fn problem<'a>(&'a self, weights: &'a [u8], rows: usize, token: usize) -> Problem<'a> {
        Problem {
            rows,
            cols: self.cols,
            weights,
            acts: &self.acts[token * self.stride..],
            act_stride: self.stride,
            interleaved: None,
            expanded: None,
            act_sums: &self.sums[token..],
        }
    }
}

/// Runs the generic kernels and the float parts of an instruction set on small operands, in a copy of this process.
/// Sums are compared with plain arithmetic, floats with the portable version.
pub(crate) fn try_level(id: &'static str, kernels: &[Kernel], numerics: Option<&Numerics>) -> Option<Fault> {
    let (rows, cols) = SHAPE;
    let trit = |row: usize, col: usize| ((row * 7 + col * 5 + row * col) % 3) as i8 - 1;
    let mut weights = AlignedBytes::filled(i2a16::packed_bytes(rows, cols), i2a16::ZERO_BYTE);
    for row in 0..rows {
        let trits: Vec<i8> = (0..cols).map(|col| trit(row, col)).collect();
        i2a16::pack_row(&mut weights, rows, cols, row, &trits);
    }
    let generic = kernels.iter().filter(|kernel| kernel.descriptor().shape.is_none());
    let generic: Vec<Kernel> = generic.copied().collect();
    let tokens = generic.iter().map(|kernel| kernel.descriptor().tokens).max().unwrap_or(1);
    let acts = Activations::new(tokens, cols);
    let product = |token: usize, row: usize| -> i32 {
        let q = acts.vector(token).iter().enumerate();
        q.map(|(col, q)| i32::from(trit(row, col)) * i32::from(*q)).sum()
    };
    let each_row = |token: usize| (0..rows).map(move |row| (token, row));
    let expected: Vec<i32> = (0..tokens).flat_map(each_row).map(|(token, row)| product(token, row)).collect();
    let mut found = vec![0; tokens * rows];
    let mut floats = NumericsTrial::new();
    let problem = acts.problem(&weights, rows, 0);
    let trial = || {
        let sums = generic.iter().all(|kernel| {
            let len = kernel.descriptor().tokens * rows;
            found.fill(i32::MIN);
            kernel.run(&problem, 0..rows.div_ceil(TILE_ROWS), &mut found, rows).is_ok()
                && found[..len] == expected[..len]
        });
        sums && numerics.is_none_or(|numerics| floats.run(numerics))
    };
    // SAFETY: everything that the trial needs is there; kernels and float parts are pure functions.
    let finding = match unsafe { os::try_out(trial) } {
        Trial::Passed => return None,
        Trial::Failed => Finding::Wrong,
        Trial::Died { signal } => Finding::Died { signal },
        Trial::TimedOut => Finding::TimedOut,
    };
    Some(Fault { subject: id, finding })
}
