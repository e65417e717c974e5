//! How fast a model runs, and how close that is to what the machine can do: what `tritforge bench` measures.
//!
//! Tests and probes take turns: every repetition goes through all numbers of threads and all tests, and the probes run before
//! and after each, so that what is compared has seen the same of the machine's other users. Ratios are of each repetition to
//! the probes around it; what is reported is their median.

pub mod guard;
pub mod kernels;
mod lane;
#[cfg(test)]
pub(crate) mod planted;
pub mod precisions;
mod report;
pub mod survey;
mod table;
mod versioned;

pub use report::{Breakdown, Kind, ModelFacts, Precision, Probed, ProbedPeak, Read, Report, Test, VERSION};

use crate::engine::Engine;
use crate::model::{ForwardError, Model, ModelError};
use crate::probe::memory::WeightMemory;
use crate::probe::{self, MIB};
use lane::Lane;

/// Least memory of the probe, in MiB.
pub const LEAST_PROBE_MIB: usize = probe::WINDOW / MIB;

/// What is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Tokens of prompts, each a test; none leaves the prefill out.
    pub prompts: Vec<usize>,
    /// Tokens that are decoded; 0 leaves decoding out.
    pub decode: usize,
    /// Positions of each sequence before the first of these.
    pub depth: usize,
    /// Numbers of sequences that are decoded together, each a test.
    pub sequences: Vec<usize>,
    /// Repetitions; at least one.
    pub repetitions: usize,
    /// Whether to say where the time goes.
    pub profile: bool,
    /// Memory that the bandwidth probe goes through, in MiB: more than the caches hold, and at least
    /// [`LEAST_PROBE_MIB`].
    pub probe_mib: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            prompts: vec![512],
            decode: 128,
            depth: 0,
            sequences: vec![1],
            repetitions: 5,
            profile: false,
            probe_mib: probe::MEMORY / MIB,
        }
    }
}

/// Why nothing is measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// Kernels that do not work have no speed.
    #[error(
        "{faults}. A machine whose self-check finds faults is not timed; \
         TRITFORGE_ISA=<id> asks for other kernels (`tritforge kernels` lists the ids)"
    )]
    Faults {
        /// What was found.
        faults: String,
    },
    /// More positions than the model has.
    #[error(
        "{what} takes {wanted} positions, and the model's context has {context}; \
         ask for fewer tokens (-p, -n) or less depth (-d)"
    )]
    Context {
        /// Prefill or decoding.
        what: &'static str,
        /// Positions asked for.
        wanted: usize,
        /// Positions there are.
        context: usize,
    },
    /// A number that means nothing.
    #[error("{what} is {found}, it must be at least {least}")]
    TooFew {
        /// The option.
        what: &'static str,
        /// What was asked for.
        found: usize,
        /// The least that is accepted.
        least: usize,
    },
    /// Neither prefill nor decoding, or no threads to do it.
    #[error("nothing to measure: no tokens, no sequences, or no engine")]
    Nothing,
    /// A forward pass failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The model cannot be had in the profile that others are compared with.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// Steps of something that takes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Done.
    pub done: usize,
    /// In all.
    pub total: usize,
}

/// Measures a model with each engine in turn.
///
/// # Errors
/// [`BenchError`]: options out of range, an engine whose kernels do not work on this model's weights, a forward pass that
/// fails.
pub fn run(model: &Model, engines: &[Engine], options: &Options) -> Result<Report, BenchError> {
    check_options(model, engines, options)?;
    run_on(&WeightMemory::new(options.probe_mib * MIB), model, engines, options, &mut || ())
}

/// The same with the probe's memory at hand, whose size then counts, not that of the options. `tick` is called after each
/// repetition on each engine.
///
/// # Errors
/// As [`run`].
pub fn run_on(
    memory: &WeightMemory,
    model: &Model,
    engines: &[Engine],
    options: &Options,
    tick: &mut dyn FnMut(),
) -> Result<Report, BenchError> {
    check_options(model, engines, options)?;
    check_kernels(model, engines)?;
    let mut lanes = Vec::with_capacity(engines.len());
    for engine in engines {
        lanes.push(Lane::new(model, engine, options, memory.bytes())?);
    }
    for _ in 0..options.repetitions {
        for lane in &mut lanes {
            lane.repeat()?;
            tick();
        }
    }
    let mut report = Report {
        version: VERSION,
        tritforge: env!("CARGO_PKG_VERSION").to_owned(),
        platform: format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
        isa: engines[0].isa().id.to_owned(),
        model: facts(model),
        repetitions: options.repetitions,
        probes: lanes.iter().map(Lane::probed).collect(),
        tests: lanes.iter().flat_map(Lane::tests).collect(),
        probe_faults: Vec::new(),
    };
    report.find_probe_faults();
    Ok(report)
}

fn check_options(model: &Model, engines: &[Engine], options: &Options) -> Result<(), BenchError> {
    let Options { ref prompts, decode, depth, ref sequences, repetitions, probe_mib, .. } = *options;
    if engines.is_empty() || (prompts.is_empty() && (decode == 0 || sequences.is_empty())) {
        return Err(BenchError::Nothing);
    }
    for (what, found, least) in [
        ("the number of repetitions", repetitions, 1),
        ("the probe's memory in MiB", probe_mib, LEAST_PROBE_MIB),
        ("the number of tokens of a prompt", prompts.iter().copied().min().unwrap_or(1), 1),
        ("the number of sequences", sequences.iter().copied().min().unwrap_or(1), 1),
    ] {
        if found < least {
            return Err(BenchError::TooFew { what, found, least });
        }
    }
    let context = model.config.context;
    let prompt = prompts.iter().copied().max().unwrap_or(0);
    for (what, wanted) in [("the prompt", prompt), ("decoding", depth.saturating_add(decode))] {
        if wanted > context {
            return Err(BenchError::Context { what, wanted, context });
        }
    }
    Ok(())
}

/// The model was checked with one engine when it was loaded; here with each.
fn check_kernels(model: &Model, engines: &[Engine]) -> Result<(), BenchError> {
    let projections = || model.layers.iter().flat_map(|layer| layer.projections());
    for engine in engines {
        projections().for_each(|(_, weights)| engine.check(weights));
        let faults = engine.faults();
        if !faults.is_empty() {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            return Err(BenchError::Faults { faults: faults.join("; ") });
        }
    }
    Ok(())
}

fn facts(model: &Model) -> ModelFacts {
    ModelFacts {
        name: model.config.name.clone(),
        ternary_macs: model.ternary_macs(),
        ternary_bytes: model.ternary_bytes(),
        head_bytes: model.head_bytes(),
        kv_bytes_per_position: model.kv_bytes_per_position(),
        precision: precision(model),
    }
}

/// What the forward pass computes and keeps.
fn precision(model: &Model) -> Precision {
    let (profile, head) = (model.profile.to_string(), model.head.type_name().to_owned());
    Precision { profile, head, kv: model.kv_type.to_string() }
}

#[cfg(test)]
mod tests;
