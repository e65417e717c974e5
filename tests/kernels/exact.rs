//! Exact products: random data over sub-ranges of tiles, the extremes, single weights, long rows.

use std::ops::Range;

use tritforge::kernels::abi::Kernel;
use tritforge_tests::{Call, Case, run, shared};

use crate::shape;

/// Tiles up to which every sub-range is tried.
const ALL_RANGES: usize = 64;

/// Rows of several steps of every number of streams, columns of 32 atoms.
const WHOLE_RUNS: (usize, usize) = (259, 512);

/// The sub-ranges to try: all of them for small matrices; else single tiles, short runs and the shortest of any
/// unroll from every start, every prefix and every suffix.
fn ranges(tiles: usize) -> Vec<Range<usize>> {
    if tiles <= ALL_RANGES {
        return (0..=tiles).flat_map(|start| (start..=tiles).map(move |end| start..end)).collect();
    }
    let short = (0..tiles).flat_map(|start| [1, 2, 5].map(|len| start..(start + len).min(tiles)));
    let prefixes = (0..=tiles).map(|end| 0..end);
    let suffixes = (0..=tiles).map(|start| start..tiles);
    short.chain(prefixes).chain(suffixes).collect()
}

/// Random weights and activations, over sub-ranges of the row tiles.
pub fn sub_ranges(kernel: &Kernel) -> Result<(), String> {
    sub_ranges_of(kernel, shape(kernel))
}

/// The same where the columns are whole runs of every schedule's loops: kernels on tiles then begin with the next row tiles
/// while they end with these.
pub fn whole_runs(kernel: &Kernel) -> Result<(), String> {
    sub_ranges_of(kernel, WHOLE_RUNS)
}

fn sub_ranges_of(kernel: &Kernel, shape: (usize, usize)) -> Result<(), String> {
    let case = shared(shape);
    ranges(case.tiles())
        .into_iter()
        .try_for_each(|tiles| run(kernel, &case, &case.problem(), tiles, Call::default()))
}

fn whole(kernel: &Kernel, case: &Case) -> Result<(), String> {
    run(kernel, case, &case.problem(), 0..case.tiles(), Call::default())
}

/// Every weight +1 or -1 against activations that are all 127 or all -128.
pub fn extremes(kernel: &Kernel) -> Result<(), String> {
    extremes_of(kernel, shape(kernel))
}

fn extremes_of(kernel: &Kernel, (rows, cols): (usize, usize)) -> Result<(), String> {
    for weight in [1, -1] {
        for act in [127, -128] {
            let case = Case::uniform_for(kernel.descriptor().tokens, rows, cols, weight, act);
            whole(kernel, &case).map_err(|e| format!("all {weight:+} x all {act}: {e}"))?;
        }
    }
    Ok(())
}

/// One weight in each row that is not zero, until every column has had one.
pub fn one_hot(kernel: &Kernel) -> Result<(), String> {
    let (rows, cols) = shape(kernel);
    for round in 0..cols.div_ceil(rows) {
        let case = Case::one_hot(rows, cols, round as u64, |row| Some((round * rows + row) % cols));
        whole(kernel, &case)?;
    }
    Ok(())
}

/// The longest rows of known models that are no multiple of the usual blocks: 5460 and 8640 columns.
pub fn long_rows(kernel: &Kernel) -> Result<(), String> {
    for cols in [5460, 8640] {
        let shape = (35, cols);
        let case = shared(shape);
        for tiles in ranges(case.tiles()) {
            run(kernel, &case, &case.problem(), tiles, Call::default())?;
        }
        extremes_of(kernel, shape)?;
    }
    Ok(())
}

/// The extremes at the greatest K that the range proof covers.
pub fn greatest_k(kernel: &Kernel) -> Result<(), String> {
    extremes_of(kernel, (1, kernel.descriptor().k_max))
}
