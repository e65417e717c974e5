//! What the cross-crate tests share: random ternary problems, the naive product that every kernel is held against,
//! and buffers whose alignment is known.

mod call;
mod case;
mod placed;
mod random;
mod tally;
pub mod trials;

pub use call::{CANARY, Call, run};
pub use case::{Case, GENERIC_SHAPE, shared};
pub use placed::Placed;
pub use random::Random;
pub use tally::Tally;

use std::path::PathBuf;

use kernelgen::Builder;
use kernelgen::compile::{Kernel, compile};
use kernelgen::emit::{self, Contents};
use kernelgen::isa;
use kernelgen::spec::KernelSpec;
use kernelgen::table::ScheduleTable;

/// The configs that the runtime's kernels are generated from, where `TRITFORGE_CONFIGS` does not name others.
pub const DEFAULT_CONFIGS: [&str; 3] = ["demo.toml", "bitnet-b1.58-large.toml", "bitnet-b1.58-2b-4t.toml"];

/// The directory of all configs.
pub fn configs() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs"))
}

/// A builder for the kernels that the runtime links, for every instruction set on every machine.
pub fn default_builder() -> Builder {
    let all = Builder::new().variants().tuned(configs().join("tuned"));
    if let Some(list) = option_env!("TRITFORGE_CONFIGS") {
        return all.config_list(list, &configs().join(".."));
    }
    let models = configs().join("models");
    DEFAULT_CONFIGS.iter().fold(all, |builder, config| builder.config(models.join(config)))
}

/// The kernel of this name.
///
/// # Panics
/// If it is no name, or no kernel that can be compiled.
#[track_caller]
pub fn compiled(name: &str) -> Kernel {
    let spec: KernelSpec = name.parse().expect("the name of a kernel");
    compile(&spec).unwrap_or_else(|error| panic!("{error}"))
}

/// The whole generated source of some kernels.
///
/// # Panics
/// If the schedule table that is built in is wrong.
pub fn source(kernels: &[Kernel]) -> String {
    let table = ScheduleTable::built_in().expect("the table that is built in");
    emit::source(
        &Contents { kernels, isas: &isa::ALL, table: &table, models: &[], profiles: &[] },
        "a test",
        0,
    )
}

/// Products of trits and activations, summed without any thought of speed: what every kernel must return.
pub fn naive_dot(trits: &[i8], acts: &[i8]) -> i64 {
    trits.iter().zip(acts).map(|(w, q)| i64::from(*w) * i64::from(*q)).sum()
}
