//! The compiler's promises: what it refuses and how it says so, how far it folds, what a schedule changes, what its
//! kernels cost, what it emits, where its layouts put every weight, and that its middle knows no instruction set.

mod builder;
mod costs;
mod folds;
mod foreign_isa;
mod generated_layouts;
mod layouts;
mod refusals;
mod regions;
mod schedules;
mod sources;
mod streams;

use kernelgen::compile::{CompileError, compile};
use kernelgen::spec::KernelSpec;
use tritforge_tests::{compiled, source};

#[track_caller]
fn spec(name: &str) -> KernelSpec {
    name.parse().expect("the name of a kernel")
}

#[track_caller]
fn refusal(name: &str) -> CompileError {
    match compile(&spec(name)) {
        Ok(_) => panic!("{name} must be refused"),
        Err(error) => error,
    }
}
