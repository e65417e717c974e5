//! Operands that lie anywhere: misaligned activations and results, gaps between vectors.

use tritforge::kernels::abi::{Kernel, Problem};
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
        let interleaved = Placed::copy_of(&interleaved(&case, kernel.descriptor().tokens), offset);
        let zeros = vec![0; case.acts.len()];
        let acts = if kernel.descriptor().interleaved { &zeros } else { &case.acts };
        let problem = Problem { acts, interleaved: Some(&interleaved), ..case.problem() };
        run(kernel, &case, &problem, tiles.clone(), call)
            .map_err(|e| format!("interleaved, offset {offset}: {e}"))?;
    }
    Ok(())
}

/// The first vectors of a case, four activations of each in turn.
fn interleaved(case: &Case, tokens: usize) -> Vec<i8> {
    let quad = |quad: usize| {
        (0..tokens)
            .flat_map(move |token| (0..4).map(move |value| case.acts[token * case.stride + 4 * quad + value]))
    };
    (0..case.stride / 4).flat_map(quad).collect()
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
