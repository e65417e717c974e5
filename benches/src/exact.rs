//! The check that comes before every measurement.

pub use tritforge::bench::exact::Activations;

use tritforge::bench::exact;
use tritforge::kernels::abi::{Kernel, Problem};

/// Compares every result of a kernel with the naive product of the unpacked weights.
///
/// # Panics
/// If one differs: a kernel that is wrong has no speed.
pub fn check(kernel: &Kernel, problem: &Problem<'_>) {
    let expected = exact::naive(problem, kernel.descriptor().tokens).expect("weights that are trits");
    exact::check(kernel, problem, &expected).unwrap_or_else(|refusal| panic!("{refusal}"));
}
