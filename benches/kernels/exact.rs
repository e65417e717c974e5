//! The check that comes before every measurement.

use rand_core::Rng;
use rand_pcg::Pcg32;
use tritforge::kernels::abi::{Kernel, Problem};
use tritforge::kernels::layouts::i2a16;

/// Random activation vectors, zero padded.
pub fn activations(tokens: usize, cols: usize, stride: usize) -> Vec<i8> {
    let mut random = Pcg32::new(2, 2);
    let mut acts = vec![0; tokens * stride];
    for vector in acts.chunks_mut(stride) {
        vector[..cols].fill_with(|| random.next_u32() as i8);
    }
    acts
}

/// Compares every result of a kernel with the naive product of the unpacked weights.
///
/// # Panics
/// If one differs: a kernel that is wrong has no speed.
pub fn check(kernel: &Kernel, problem: &Problem<'_>) {
    let Problem { rows, cols, weights, acts, act_stride, .. } = *problem;
    let descriptor = kernel.descriptor();
    let mut out = vec![0; descriptor.tokens * rows];
    let tiles = rows.div_ceil(i2a16::ROW_GRANULE);
    kernel.run(problem, 0..tiles, &mut out, rows).expect("operands that fit the kernel");
    let mut trits = vec![0; cols];
    for row in 0..rows {
        i2a16::unpack_row(weights, rows, cols, row, &mut trits).expect("weights that are trits");
        for token in 0..descriptor.tokens {
            let vector = &acts[token * act_stride..][..cols];
            let expected: i64 = trits.iter().zip(vector).map(|(w, q)| i64::from(*w) * i64::from(*q)).sum();
            let found = i64::from(out[token * rows + row]);
            assert_eq!(found, expected, "{}: row {row} of vector {token}", descriptor.name);
        }
    }
}
