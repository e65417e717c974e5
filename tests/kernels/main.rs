//! Every generated kernel against the naive product, and every float part on every instruction set against scalar code,
//! called as they stand, without dispatch: one trial for each with each check. What this CPU lacks the instruction set
//! for is reported as ignored, with the reason as its kind.

mod columns;
mod exact;
mod head;
mod numerics;
mod operands;
mod place;
mod small;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tritforge::kernels::abi::{Descriptor, IsaInfo, Kernel};
use tritforge::kernels::{DESCRIPTORS, ISAS};
use tritforge::numerics::Numerics;
use tritforge_tests::GENERIC_SHAPE;
use tritforge_tests::trials::{conclude, ignored, lacking};

/// What is checked of a kernel.
struct Check {
    name: &'static str,
    /// Whether it needs a kernel of any shape.
    generic_only: bool,
    run: fn(&Kernel) -> Result<(), String>,
}

const fn check(name: &'static str, run: fn(&Kernel) -> Result<(), String>) -> Check {
    Check { name, generic_only: false, run }
}

const fn generic_check(name: &'static str, run: fn(&Kernel) -> Result<(), String>) -> Check {
    Check { name, generic_only: true, run }
}

const CHECKS: [Check; 13] = [
    check("sub_ranges_of_random_data", exact::sub_ranges),
    check("extremes", exact::extremes),
    check("one_hot_weights", exact::one_hot),
    generic_check("whole_runs", exact::whole_runs),
    generic_check("long_rows", exact::long_rows),
    generic_check("greatest_proven_k", exact::greatest_k),
    generic_check("every_small_shape", small::shapes),
    generic_check("every_single_weight", small::single_weights),
    check("misaligned_operands", place::misaligned),
    check("expanded_by_the_caller", place::expanded),
    check("strides", place::strides),
    check("refused_operands", operands::refused),
    check("columns_equal_gemv", columns::equal_gemv),
];

/// A shape that the kernel serves: its own, or one that is no multiple of anything.
fn shape(kernel: &Kernel) -> (usize, usize) {
    kernel.descriptor().shape.unwrap_or(GENERIC_SHAPE)
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = DESCRIPTORS.iter().flat_map(trials).collect();
    // The kernels of another architecture are not even in the table.
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        ISAS.iter().copied().partition(|isa| DESCRIPTORS.iter().any(|d| d.isa.id == isa.id));
    trials.extend(here.into_iter().flat_map(numerics_trials));
    trials.extend(elsewhere.into_iter().map(|isa| {
        let reason = format!("no kernels are compiled for {}", std::env::consts::ARCH);
        ignored(isa.id, "not of this architecture", reason)
    }));
    conclude(&arguments, trials, |_| "natively")
}

fn trials(descriptor: &'static Descriptor) -> impl Iterator<Item = Trial> {
    let checks = CHECKS.iter().filter(|check| !check.generic_only || descriptor.shape.is_none());
    checks.map(move |check| {
        let name = format!("{}::{}", descriptor.name, check.name);
        match Kernel::new(descriptor) {
            Some(kernel) => Trial::test(name, move || (check.run)(&kernel).map_err(Failed::from)),
            None => lacking(name, descriptor.isa),
        }
    })
}

fn numerics_trials(isa: &'static IsaInfo) -> impl Iterator<Item = Trial> {
    let heads = head::CHECKS.into_iter().map(move |check| match cfg!(target_family = "wasm") {
        false => numerics_trial(isa, check),
        true => ignored(
            check_name(isa, check.0),
            "no threads",
            "a head is made by an engine, which needs threads",
        ),
    });
    numerics::CHECKS.into_iter().map(move |check| numerics_trial(isa, check)).chain(heads)
}

fn check_name(isa: &IsaInfo, entry_point: &str) -> String {
    format!("{entry_point}__{}::equals_scalar_code", isa.id)
}

fn numerics_trial(isa: &'static IsaInfo, (entry_point, check): numerics::Check) -> Trial {
    let name = check_name(isa, entry_point);
    match Numerics::new(isa) {
        Ok(numerics) => Trial::test(name, move || check(&numerics).map_err(Failed::from)),
        Err(_) => lacking(name, isa),
    }
}
