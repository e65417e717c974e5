//! A GEMM is so many GEMVs: each of its columns equals the product of that vector alone.

use tritforge::kernels::DESCRIPTORS;
use tritforge::kernels::abi::{Kernel, Problem};
use tritforge_tests::shared;

use crate::shape;

/// Compares every column with a GEMV kernel of the same instruction set, or a portable one where it has none; for a
/// GEMV, with itself on one vector after another.
pub fn equal_gemv(kernel: &Kernel) -> Result<(), String> {
    let own = kernel.descriptor();
    let gemv = DESCRIPTORS
        .iter()
        .filter(|d| d.tokens == 1 && d.layout == own.layout && (d.shape.is_none() || d.shape == own.shape))
        .filter(|d| d.isa.rank == 0 || d.isa.id == own.isa.id)
        .max_by_key(|d| (d.isa.rank, d.shape))
        .and_then(Kernel::new)
        .ok_or("there is no GEMV for the shape")?;
    let case = shared(shape(kernel));
    let mut columns = vec![0; own.tokens * case.rows];
    let run = |kernel: &Kernel, problem: &Problem<'_>, out: &mut [i32]| {
        kernel.run(problem, 0..case.tiles(), out, case.rows).map_err(|e| e.to_string())
    };
    run(kernel, &case.problem(), &mut columns)?;
    for (token, column) in columns.chunks(case.rows).enumerate() {
        let problem = Problem {
            acts: &case.acts[token * case.stride..],
            act_sums: &case.sums[token..],
            ..case.problem()
        };
        let mut alone = vec![0; case.rows];
        run(&gemv, &problem, &mut alone)?;
        if column != alone {
            return Err(format!("column {token} is not what {} returns", gemv.descriptor().name));
        }
    }
    Ok(())
}
