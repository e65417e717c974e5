//! The generic kernels on every shape up to two tiles and two granules of columns.

use tritforge::kernels::abi::Kernel;
use tritforge::kernels::layouts::i2a16;
use tritforge_tests::{Call, Case, run, shared};

const ROWS: usize = 2 * i2a16::ROW_GRANULE;
const COLS: usize = 2 * i2a16::COL_GRANULE;

fn every_range(kernel: &Kernel, case: &Case) -> Result<(), String> {
    for start in 0..=case.tiles() {
        for end in start..=case.tiles() {
            run(kernel, case, &case.problem(), start..end, Call::default())?;
        }
    }
    Ok(())
}

/// Every M and K from one to two tiles and granules: random data and the extremes, every sub-range of tiles.
pub fn shapes(kernel: &Kernel) -> Result<(), String> {
    for rows in 1..=ROWS {
        for cols in 1..=COLS {
            every_range(kernel, &shared((rows, cols)))?;
            for (weight, act) in [(1, 127), (1, -128), (-1, 127), (-1, -128)] {
                every_range(kernel, &Case::uniform(rows, cols, weight, act))?;
            }
        }
    }
    Ok(())
}

/// A matrix with a single weight that is not zero, for every place in it.
pub fn single_weights(kernel: &Kernel) -> Result<(), String> {
    for place in 0..ROWS * COLS {
        let (row, col) = (place / COLS, place % COLS);
        let case = Case::one_hot(ROWS, COLS, place as u64, |r| (r == row).then_some(col));
        every_range(kernel, &case)?;
    }
    Ok(())
}
