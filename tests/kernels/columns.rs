//! A GEMM is so many GEMVs: each of its columns equals the product of that vector alone.

use tritforge::kernels::DESCRIPTORS;
use tritforge::kernels::abi::{Descriptor, Kernel, Problem};
use tritforge_tests::shared;

use crate::shape;

/// Compares every column with the GEMV kernel of the same instruction set and shape, where it has one, else with the
/// portable one; for a GEMV, with itself on one vector after another.
pub fn equal_gemv(kernel: &Kernel) -> Result<(), String> {
    let own = kernel.descriptor();
    let gemv_of = |isa: &str| {
        let same = |d: &&Descriptor| d.shape == own.shape && d.layout == own.layout;
        DESCRIPTORS.iter().filter(same).find(|d| d.tokens == 1 && d.isa.id == isa).and_then(Kernel::new)
    };
    let gemv =
        gemv_of(own.isa.id).or_else(|| gemv_of("portable")).ok_or("there is no GEMV for the same shape")?;
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
