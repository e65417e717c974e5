//! Kernel calls with guarded results.

use std::ops::Range;

use tritforge::kernels::abi::{Kernel, KernelError, Problem};

use crate::{Case, Placed};

/// What results hold before a call; no product of the tests comes near it.
pub const CANARY: i32 = 0x5a5a_5a5a;
/// Canaries before and behind the results.
const GUARD: usize = 16;

/// Where the results of a call go.
#[derive(Debug, Clone, Copy, Default)]
pub struct Call {
    /// Values from one vector's results to the next one's, less the rows computed.
    pub gap: usize,
    /// Values by which the results start past a multiple of 64 bytes.
    pub offset: usize,
}

/// Runs a kernel on `tiles` of `problem`, which must be `case` in whatever place, and compares all that it wrote
/// with the case's products.
///
/// # Errors
/// What differs: a wrong product, a result that was left out, or a write past the rows of the tiles.
pub fn run(
    kernel: &Kernel,
    case: &Case,
    problem: &Problem<'_>,
    tiles: Range<usize>,
    call: Call,
) -> Result<(), String> {
    let tokens = kernel.descriptor().tokens;
    let covered = case.rows_of(&tiles);
    let (first, rows) = (covered.start, covered.len());
    let stride = rows + call.gap;
    let len = (tokens - 1) * stride + rows;
    let mut out = Placed::new(len + 2 * GUARD, call.offset);
    out.fill(CANARY);
    let mut expected = out.to_vec();
    for token in 0..tokens {
        expected[GUARD + token * stride..][..rows]
            .copy_from_slice(&case.expected[token * case.rows + first..][..rows]);
    }
    kernel
        .run(problem, tiles.clone(), &mut out[GUARD..GUARD + len], stride)
        .map_err(|error: KernelError| error.to_string())?;
    match out.iter().zip(&expected).position(|(found, expected)| found != expected) {
        None => Ok(()),
        Some(at) => Err(format!(
            "{}x{}, tiles {tiles:?}, {call:?}: value {} of the results (vectors {stride} apart) is {}, not {}",
            case.rows,
            case.cols,
            at as isize - GUARD as isize,
            out[at],
            expected[at]
        )),
    }
}
