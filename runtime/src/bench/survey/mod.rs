//! Everything that the bench can say of a machine and a model, in one document: what `tritforge bench --report` writes, as
//! JSON ([`Survey`]), Markdown ([`Survey::markdown`]) and one HTML page with plots ([`Survey::html`]).

mod charts;
mod document;
mod html;
mod markdown;
mod peers;
mod plot;
mod sections;
mod svg;

pub use peers::{PeerRate, PeerRun, Peers, PeersError};

use kernelgen::tuned::CpuId;
use serde::{Deserialize, Serialize};

use super::kernels::{self, Effort, KernelReport};
use super::precisions::{self, PrecisionReport};
use super::{BenchError, Options, Progress, Report, run_on};
use crate::cpu::identify;
use crate::engine::Engine;
use crate::kernels::abi::Kernel;
use crate::made::today;
use crate::model::Model;
use crate::probe::MIB;
use crate::probe::memory::WeightMemory;

/// The version of [`Survey`]: raised when a field changes its meaning or goes; new fields do not raise it.
pub const VERSION: u32 = 1;

/// Prompts of a survey, in tokens.
pub const PROMPTS: [usize; 4] = [16, 64, 256, 512];
/// Sequences that a survey decodes together.
pub const BATCHES: [usize; 5] = [1, 2, 4, 8, 16];
/// Tokens that a survey decodes for each sequence.
pub const DECODED: usize = 64;

/// A machine, a model on it, the kernels, and other programs beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// [`VERSION`].
    pub version: u32,
    /// Version of this program.
    pub tritforge: String,
    /// The day it was taken, as in 2026-01-31.
    pub date: String,
    /// The CPU.
    pub cpu: CpuId,
    /// The model on every number of threads, with prompts of several lengths and batches of several sizes.
    pub speed: Report,
    /// The model in every numerics profile, output head and type of keys and values, on the most threads.
    #[serde(default)]
    pub precisions: PrecisionReport,
    /// Every kernel that this CPU runs, on the fewest and on the most threads.
    pub kernels: KernelReport,
    /// What other programs reach on this machine, where it was measured.
    pub peers: Option<Peers>,
}

/// How much is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurveyOptions {
    /// Of the model.
    pub speed: Options,
    /// Of the kernels.
    pub effort: Effort,
}

impl Default for SurveyOptions {
    fn default() -> Self {
        let (prompts, sequences) = (PROMPTS.to_vec(), BATCHES.to_vec());
        let speed = Options { prompts, sequences, decode: DECODED, ..Options::default() };
        SurveyOptions { speed, effort: Effort::default() }
    }
}

impl SurveyOptions {
    /// Everything once, on little memory: to see that it works, not to measure.
    #[must_use]
    pub fn quick(self) -> Self {
        let speed = Options { repetitions: 1, probe_mib: super::LEAST_PROBE_MIB, ..self.speed };
        SurveyOptions {
            speed,
            effort: Effort { window: 4 * MIB, sample_macs: 1 << 24, rounds: 1, prompt: 64 },
        }
    }
}

/// Numbers of threads of a survey: powers of two up to `most`, and `most`.
pub fn thread_counts(most: usize) -> Vec<usize> {
    let powers = (0..usize::BITS).map(|power| 1 << power).take_while(|threads| *threads < most);
    powers.chain([most]).collect()
}

/// Takes a survey. Kernels that are not exact are reported and not timed.
///
/// # Errors
/// [`BenchError`] as [`run`](super::run).
pub fn survey(
    model: &Model,
    engines: &[Engine],
    kernels: &[Kernel],
    options: &SurveyOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Survey, BenchError> {
    let ends = ends(engines);
    let of_model = options.speed.repetitions * engines.len();
    let of_kernels: usize = ends.iter().map(|end| kernels::steps(kernels, end, options.effort)).sum();
    let longest = options.speed.prompts.iter().copied().max();
    let each =
        Options { prompts: longest.into_iter().collect(), sequences: vec![1], ..options.speed.clone() };
    let mut done = Progress { done: 0, total: of_model + precisions::steps(&each) + of_kernels };
    let mut tick = || {
        done.done += 1;
        progress(done);
    };
    let memory = WeightMemory::new(options.speed.probe_mib * MIB);
    let speed = run_on(&memory, model, engines, &options.speed, &mut tick)?;
    // There is an engine, or there would be no report.
    let most = &engines[engines.len() - 1];
    let precisions = precisions::measure(memory.bytes(), model, most, &each, &mut tick)?;
    let mut found = KernelReport::default();
    for end in ends {
        found.merge(kernels::measure(kernels, end, &memory, options.effort, &mut tick));
    }
    Ok(Survey {
        version: VERSION,
        tritforge: env!("CARGO_PKG_VERSION").to_owned(),
        date: today(),
        cpu: identify(),
        speed,
        precisions,
        kernels: found,
        peers: None,
    })
}

/// The first engine and the last.
fn ends(engines: &[Engine]) -> Vec<&[Engine]> {
    match engines {
        [] | [_] => vec![engines],
        [first, .., last] => vec![std::slice::from_ref(first), std::slice::from_ref(last)],
    }
}

#[cfg(test)]
mod tests;
