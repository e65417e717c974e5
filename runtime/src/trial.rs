//! Trials of kernels before any model is there.

use crate::fault::{Fault, Finding};
use crate::kernels::abi::{ATOM_COLS, Kernel, Problem, TILE_ROWS};
use crate::kernels::layouts::i2a16;
use crate::os::{self, AlignedBytes, Trial};

/// Rows and columns of the matrix on which kernels are tried: two tiles, one of them cut off, and a rest for every unroll.
const SHAPE: (usize, usize) = (21, 723);

/// Runs the generic kernels of an instruction set on a small matrix, in a copy of this process, and compares their sums
/// with plain arithmetic.
pub(crate) fn try_level(id: &'static str, kernels: &[Kernel]) -> Option<Fault> {
    let (rows, cols) = SHAPE;
    let trit = |row: usize, col: usize| ((row * 7 + col * 5 + row * col) % 3) as i8 - 1;
    let mut weights = AlignedBytes::filled(i2a16::packed_bytes(rows, cols), i2a16::ZERO_BYTE);
    for row in 0..rows {
        let trits: Vec<i8> = (0..cols).map(|col| trit(row, col)).collect();
        i2a16::pack_row(&mut weights, rows, cols, row, &trits);
    }
    let generic = kernels.iter().filter(|kernel| kernel.descriptor().shape.is_none());
    let generic: Vec<Kernel> = generic.copied().collect();
    let tokens = generic.iter().map(|kernel| kernel.descriptor().tokens).max()?;
    let stride = cols.next_multiple_of(ATOM_COLS);
    let act = |token: usize, col: usize| ((token * 31 + col * 89) % 256) as u8 as i8;
    let mut acts = vec![0i8; tokens * stride];
    for (token, vector) in acts.chunks_exact_mut(stride).enumerate() {
        vector[..cols].iter_mut().enumerate().for_each(|(col, q)| *q = act(token, col));
    }
    let sums: Vec<i32> = acts.chunks(stride).map(|x| x.iter().map(|q| i32::from(*q)).sum()).collect();
    let product = |token: usize, row: usize| -> i32 {
        (0..cols).map(|col| i32::from(trit(row, col)) * i32::from(act(token, col))).sum()
    };
    let expected: Vec<i32> =
        (0..tokens).flat_map(|token| (0..rows).map(move |row| product(token, row))).collect();
    let mut found = vec![0; tokens * rows];
    let problem = Problem { rows, cols, weights: &weights, acts: &acts, act_stride: stride, act_sums: &sums };
    // Everything that the trial needs is there: it must not allocate.
    let trial = os::try_out(|| {
        generic.iter().all(|kernel| {
            let len = kernel.descriptor().tokens * rows;
            found.fill(i32::MIN);
            kernel.run(&problem, 0..rows.div_ceil(TILE_ROWS), &mut found, rows).is_ok()
                && found[..len] == expected[..len]
        })
    });
    let finding = match trial {
        Trial::Passed => return None,
        Trial::Failed => Finding::Wrong,
        Trial::Died { signal } => Finding::Died { signal },
    };
    Some(Fault { subject: id, finding })
}
