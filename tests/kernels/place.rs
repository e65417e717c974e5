//! Operands that lie anywhere: misaligned activations and results, gaps between vectors.

use std::ops::Range;

use tritforge::kernels::abi::{Kernel, Problem};
use tritforge::kernels::layouts::i2a16;
use tritforge_tests::{Call, Case, Placed, run, shared};

use crate::shape;

/// Activations at every byte, results at every fourth byte of a cache line are right.
pub fn misaligned(kernel: &Kernel) -> Result<(), String> {
    let case = shared(shape(kernel));
    // The last tiles: with rows that do not exist where the shape has such.
    let tiles = case.tiles().saturating_sub(2)..case.tiles();
    for offset in 0..64 {
        let acts = Placed::copy_of(&case.acts, offset);
        let problem = Problem { acts: &acts, ..case.problem() };
        let call = Call { gap: offset % 5, offset: offset % 16 };
        run(kernel, &case, &problem, tiles.clone(), call).map_err(|e| format!("offset {offset}: {e}"))?;
        // What a caller has interleaved lies anywhere too, and is what such a kernel reads; others do not look at it.
        let run_of = kernel.descriptor().interleaved;
        let interleaved = interleaved(&case, kernel.descriptor().tokens, run_of.unwrap_or(4));
        let interleaved = Placed::copy_of(&interleaved, offset);
        let zeros = vec![0; case.acts.len()];
        let acts = if run_of.is_some() { &zeros } else { &case.acts };
        let problem = Problem { acts, interleaved: Some(&interleaved), ..case.problem() };
        run(kernel, &case, &problem, tiles.clone(), call)
            .map_err(|e| format!("interleaved, offset {offset}: {e}"))?;
    }
    Ok(())
}

/// The first vectors of a case, a run of each in turn; atoms that are no whole run each in one of its own, before zeros.
fn interleaved(case: &Case, tokens: usize, run: usize) -> Vec<i8> {
    let mut all = Vec::new();
    let mut col = 0;
    while col < case.stride {
        let take = if case.stride - col < run { 16 } else { run };
        for token in 0..tokens {
            all.extend(&case.acts[token * case.stride + col..][..take]);
            all.extend(vec![0; run - take]);
        }
        col += take;
    }
    all
}

/// Codes that a caller has expanded, of the tiles of the call alone, are what such a kernel reads; others do not look at them.
pub fn expanded(kernel: &Kernel) -> Result<(), String> {
    let case = shared(shape(kernel));
    for tiles in [0..1, 0..case.tiles(), case.tiles() - 1..case.tiles()] {
        let codes = codes(&case, tiles.clone());
        let zeros = Placed::new(case.weights.len(), 0);
        let weights = if kernel.descriptor().expanded.is_some() { &zeros[..] } else { &case.weights };
        let problem = Problem { weights, expanded: Some(&codes), ..case.problem() };
        run(kernel, &case, &problem, tiles.clone(), Call { gap: 0, offset: 0 })
            .map_err(|e| format!("tiles {tiles:?}: {e}"))?;
    }
    Ok(())
}

/// The codes of some tiles, a trit and one, in the order that the documentation says: atom by atom, four columns of each of
/// sixteen rows, then the next four.
fn codes(case: &Case, tiles: Range<usize>) -> Placed<u8> {
    let atoms = case.cols.div_ceil(16);
    let mut codes = Placed::new(tiles.len() * atoms * 256, 0);
    codes.fill(1);
    for row in case.rows_of(&tiles) {
        let mut trits = vec![0; case.cols];
        i2a16::unpack_row(&case.weights, case.rows, case.cols, row, &mut trits).expect("trits");
        let (tile, row) = (row / 16 - tiles.start, row % 16);
        for (col, trit) in trits.into_iter().enumerate() {
            let (atom, field, col) = (col / 16, col % 16 / 4, col % 4);
            codes[((tile * atoms + atom) * 4 + field) * 64 + 4 * row + col] = (trit + 1) as u8;
        }
    }
    codes
}

/// Any distance between the activation vectors, and between the results, is kept to.
pub fn strides(kernel: &Kernel) -> Result<(), String> {
    let case = shared(shape(kernel));
    let tokens = kernel.descriptor().tokens;
    for extra in [0, 1, 3, 16, 61] {
        let act_stride = case.stride + extra;
        // What lies between the vectors is none of the kernel's business.
        let mut acts = vec![77; (tokens - 1) * act_stride + case.stride];
        for token in 0..tokens {
            acts[token * act_stride..][..case.stride]
                .copy_from_slice(&case.acts[token * case.stride..][..case.stride]);
        }
        let problem = Problem { acts: &acts, act_stride, ..case.problem() };
        for gap in [0, 1, 2, 40] {
            for tiles in [0..1, 0..case.tiles(), case.tiles() - 1..case.tiles()] {
                run(kernel, &case, &problem, tiles, Call { gap, offset: 0 })
                    .map_err(|e| format!("activation stride {act_stride}: {e}"))?;
            }
        }
    }
    Ok(())
}
