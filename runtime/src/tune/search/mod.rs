//! Tuning with every schedule that the kernel compiler can make.
//!
//! For each contest: structures (unroll, chains, unpacking, row split, streams) are compiled by kernelgen, pruned by their
//! static cost, compiled by rustc, checked and timed; the best go on with all prefetch distances; what is left is timed anew
//! beside the default and the linked ones, so that a lucky sample does not decide. What each contest found is kept in the
//! folder of the search at once.

mod build;
mod space;
mod state;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use self::space::Aim;
use self::state::State;
use super::arena::Ground;
use super::events::{Event, events};
use super::outcome::Outcome;
use super::quick::{Stage, hold};
use super::{Control, Options, Progress, TuneError, Tuned};
use crate::cpu;
use crate::kernels::abi::Kernel;

/// Structures that go on to the prefetch distances.
const STRUCTURES: usize = 3;
/// Kernels that go on to the last contest.
const FINALISTS: usize = 3;
/// The shares of a contest's time for its first two stages; the last has what is left.
const STAGES: [f64; 2] = [0.3, 0.3];

/// Why a search cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// There is no rustc.
    #[error(
        "cannot start {program}: {error}; a search compiles kernels with rustc (plain `tritforge tune` does not)"
    )]
    NoRustc {
        /// What was to be started.
        program: String,
        /// What the system says.
        error: String,
    },
    /// rustc refuses a source.
    #[error("rustc refuses {path}: {complaint}")]
    Rustc {
        /// The source.
        path: PathBuf,
        /// What it says.
        complaint: String,
    },
    /// A library cannot be loaded.
    #[error("cannot load {path}: {error}")]
    Load {
        /// The library.
        path: PathBuf,
        /// What the system says.
        error: String,
    },
    /// The schedule table is wrong.
    #[error("{0}")]
    Table(String),
    /// What an earlier search left cannot be used.
    #[error("{path}: {reason}; leave out --resume to start anew, or choose another folder with --work")]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file cannot be written.
    #[error("{path}: {error}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: String,
    },
}

/// Searches in a folder of its own, in which sources, libraries and what was found are kept. With `resume` it goes on with
/// what an interrupted search with the same options left there.
///
/// # Errors
/// [`TuneError`]; [`TuneError::Interrupted`] where the caller wants it to end: what was found is in the folder then.
pub fn search(
    options: &Options,
    folder: &Path,
    resume: bool,
    control: Control<'_>,
) -> Result<Tuned, TuneError> {
    let start = Instant::now();
    let events = events(options)?;
    std::fs::create_dir_all(folder)
        .map_err(|error| SearchError::Io { path: folder.to_owned(), error: error.to_string() })?;
    let path = folder.join("measured.json");
    let mut state = State::new(cpu::identify(), options.shapes.clone(), options.threads);
    if resume && let Some(earlier) = State::load(&path, &state)? {
        state = earlier;
    }
    let is_over = |state: &State, event: &Event| {
        let same = |outcome: &&Outcome| {
            (&*outcome.isa, &*outcome.operation, outcome.class)
                == (event.isa.id, event.operation, event.class)
        };
        state.outcomes.iter().any(|outcome| same(&outcome))
    };
    let left: Vec<&Event> = events.iter().filter(|event| !is_over(&state, event)).collect();
    let progress = |done: usize, now: String| {
        (control.progress)(Progress { done: events.len() - left.len() + done, all: events.len(), now });
    };
    progress(0, "compiling candidates".to_owned());
    // Nothing is timed meanwhile, so that all cores may compile.
    let candidates =
        left.par_iter().map(|event| structures(event, folder, control)).collect::<Result<Vec<_>, _>>()?;
    let stage = Stage::new(options)?;
    let ground = stage.ground();
    for (index, (event, candidates)) in left.iter().zip(candidates).enumerate() {
        progress(index, event.name());
        let rest = options.seconds - start.elapsed().as_secs_f64();
        let time = Duration::from_secs_f64((rest / (left.len() - index) as f64).max(0.0));
        if let Some(outcome) = contest(&ground, event, candidates, folder, time, control)? {
            state.outcomes.push(outcome);
            state.save(&path)?;
        }
    }
    let mut tuned = stage.finish(options, state.outcomes, control)?;
    // A profile for all machines with this CPU, whatever the number of their cores.
    tuned.profile.settings.threads = None;
    Ok(tuned)
}

/// How many schedules there are for what the options ask for, legal or not.
///
/// # Errors
/// As [`search`].
pub fn space(options: &Options) -> Result<usize, TuneError> {
    let aims = events(options)?;
    Ok(aims.iter().filter_map(|event| Aim::new(event.isa.id, event.operation)).map(Aim::size).sum())
}

/// A file's name for an event.
fn stem(event: &Event, stage: &str) -> String {
    format!("{}_{}_{}_{stage}", event.isa.id, event.operation, event.class.name())
}

/// The candidates of the first stage, without those that are linked.
fn structures(event: &Event, folder: &Path, control: Control<'_>) -> Result<Vec<Kernel>, TuneError> {
    if control.stop.load(Ordering::Relaxed) {
        return Err(TuneError::Interrupted);
    }
    let Some(aim) = Aim::new(event.isa.id, event.operation) else { return Ok(Vec::new()) };
    let mut promising = aim.promising();
    promising.retain(|kernel| !is_linked(event, &kernel.name));
    Ok(build::build(folder, &stem(event, "structures"), &promising, event.isa)?)
}

fn is_linked(event: &Event, name: &str) -> bool {
    event.kernels.iter().any(|kernel| kernel.descriptor().name == name)
}

/// One contest, in three stages; `None` where the default kernel is not exact.
fn contest(
    ground: &Ground<'_>,
    event: &Event,
    candidates: Vec<Kernel>,
    folder: &Path,
    time: Duration,
    control: Control<'_>,
) -> Result<Option<Outcome>, TuneError> {
    let start = Instant::now();
    let linked = event.kernels.len();
    let round = |kernels: &[Kernel], time: Duration| hold(ground, event, kernels, time, control);
    let mut kernels = event.kernels.clone();
    kernels.extend(candidates);
    let Some(first) = round(&kernels, time.mul_f64(STAGES[0]))? else { return Ok(None) };
    let mut refused = first.refused().to_vec();
    let best = first.best(STRUCTURES, 0);

    let mut nearby = Vec::new();
    if let Some(aim) = Aim::new(event.isa.id, event.operation) {
        for kernel in &best {
            let schedule = kernel.descriptor().schedule.parse();
            nearby.extend(schedule.ok().into_iter().flat_map(|schedule| aim.prefetches(schedule)));
        }
    }
    let known =
        |name: &str| is_linked(event, name) || best.iter().any(|kernel| kernel.descriptor().name == name);
    nearby.retain(|kernel| !known(&kernel.name));
    nearby.sort_by(|a, b| a.name.cmp(&b.name));
    nearby.dedup_by(|a, b| a.name == b.name);
    let nearby = build::build(folder, &stem(event, "prefetches"), &nearby, event.isa)?;
    let mut kernels = event.kernels.clone();
    let not_linked = |kernel: &&Kernel| !is_linked(event, kernel.descriptor().name);
    kernels.extend(best.iter().filter(not_linked));
    kernels.extend(nearby);
    let Some(second) = round(&kernels, time.mul_f64(STAGES[1]))? else { return Ok(None) };
    refused.extend_from_slice(second.refused());

    let mut kernels = event.kernels.clone();
    kernels.extend(second.best(FINALISTS, linked));
    let rest = time.saturating_sub(start.elapsed());
    let Some(last) = round(&kernels, rest)? else { return Ok(None) };
    let mut outcome = last.outcome();
    refused.extend(outcome.refused);
    refused.sort_by(|a, b| a.name.cmp(&b.name));
    refused.dedup();
    outcome.refused = refused;
    Ok(Some(outcome))
}
