//! The compiler's promises: what it refuses and how it says so, how far it folds, what a schedule changes, what its
//! kernels cost, what it emits, where its layouts put every weight, and that its middle knows no instruction set.

mod builder;
mod costs;
mod folds;
mod foreign_isa;
mod generated_layouts;
mod layouts;
mod mca;
mod refusals;
mod regions;
mod schedules;
mod sources;

use kernelgen::compile::{CompileError, Kernel, compile};
use kernelgen::emit::{self, Contents};
use kernelgen::isa;
use kernelgen::spec::KernelSpec;
use kernelgen::table::ScheduleTable;

#[track_caller]
fn spec(name: &str) -> KernelSpec {
    name.parse().expect("the name of a kernel")
}

#[track_caller]
fn compiled(name: &str) -> Kernel {
    compile(&spec(name)).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refusal(name: &str) -> CompileError {
    match compile(&spec(name)) {
        Ok(_) => panic!("{name} must be refused"),
        Err(error) => error,
    }
}

/// The whole source of some kernels.
fn source(kernels: &[Kernel]) -> String {
    let table = ScheduleTable::built_in().expect("the table that is built in");
    emit::source(&Contents { kernels, isas: &isa::ALL, table: &table, models: &[] }, "a test", 0)
}
