//! What the benches share. What they measure against is [`tritforge::probe`], what comes before every measurement
//! [`tritforge::exact`].

pub mod heads;

use tritforge::exact;
use tritforge::kernels::abi::{Kernel, Problem};
use tritforge::probe::marked;

/// A ratio to a probed limit, marked where it says that the probe was too low.
pub fn ratio(value: f64, limit: f64) -> String {
    marked(value / limit)
}

/// Compares every result of a kernel with the naive product.
///
/// # Panics
/// If one differs: a kernel that is wrong has no speed, and the bench ends.
pub fn check(kernel: &Kernel, problem: &Problem<'_>) {
    if let Err(inexact) = exact::check(kernel, problem) {
        panic!("not timed: {inexact}");
    }
}
