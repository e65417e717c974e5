//! What the benches share. What they measure against is [`tritforge::probe`], what comes before every measurement
//! [`tritforge::exact`].

pub mod heads;

use tritforge::exact;
use tritforge::kernels::abi::{Kernel, Problem};

/// What a bench is called with.
pub struct Arguments {
    /// It is to do little, to see that it runs: `--test`, or no `--bench`, which Cargo passes where it wants a measurement.
    pub test: bool,
    /// What is no option.
    pub words: Vec<String>,
}

impl Arguments {
    /// Those of this process.
    pub fn of_process() -> Self {
        let (options, words): (Vec<String>, Vec<String>) =
            std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
        let has = |name: &str| options.iter().any(|option| option == name);
        Arguments { test: has("--test") || !has("--bench"), words }
    }
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
