//! Trials that the machine may not be able to run: they are reported as ignored, with the reason as their kind.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tritforge::kernels::abi::IsaInfo;

use crate::Tally;

/// A trial that is ignored, and fails with the reason where it is run all the same.
pub fn ignored(name: impl Into<String>, kind: impl Into<String>, reason: impl Into<String>) -> Trial {
    let reason = reason.into();
    Trial::test(name, move || Err(Failed::from(reason))).with_kind(kind).with_ignored_flag(true)
}

/// A trial of something whose instruction set this CPU lacks.
pub fn lacking(name: impl Into<String>, isa: &IsaInfo) -> Trial {
    let reason = format!("this CPU lacks {}", isa.features.join("+"));
    ignored(name, reason.clone(), reason)
}

/// A trial that needs an instruction set.
pub fn on_cpu<E: Into<Failed>>(
    name: impl Into<String>,
    isa: &IsaInfo,
    run: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> Trial {
    if (isa.available)() { Trial::test(name, move || run().map_err(E::into)) } else { lacking(name, isa) }
}

/// Runs the trials and says at the end how many each instruction set had; `way` is that of [`Tally::of`].
pub fn conclude(arguments: &Arguments, trials: Vec<Trial>, way: impl Fn(&str) -> &'static str) -> ExitCode {
    let tally = Tally::of(trials.iter().map(|trial| (trial.name(), trial.has_ignored_flag())), way);
    let conclusion = libtest_mimic::run(arguments, trials);
    tally.print(conclusion.num_passed, conclusion.has_failed());
    conclusion.exit_code()
}
