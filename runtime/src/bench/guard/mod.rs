//! A guard against regressions: ratios to what the machine can do, held against those that were recorded on the same CPU
//! (`tritforge bench --check` and `--record`). Absolute times say nothing about another day or another machine; ratios to
//! probes that took turns with what is measured do.
//!
//! A ratio has fallen when it lies below the recorded one by more than twice its recorded noise ([`allowed_fall`]), and
//! still does when it is measured up to two more times: what is slow stays slow, a disturbance passes.

mod baseline;
mod gauge;
mod verdict;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use baseline::{Baseline, Entry, Recorded, VERSION};
pub use gauge::{Gauge, Reading, selected};
pub use verdict::{Row, Verdict};

use super::{BenchError, Progress};
use crate::cpu::identify;
use crate::exact::Inexact;
use crate::made::{commit, today};

/// Complete passes that a recorded ratio is the median of.
pub const PASSES: usize = 5;
/// Times that what seems to have fallen is measured again.
const AGAIN: usize = 2;
/// Noise that every ratio may have, whatever was recorded.
const LEAST_NOISE: f64 = 0.03;
/// The greatest fall that noise excuses.
const MOST_FALL: f64 = 0.5;

/// Why a check or a recording came to nothing, or what it found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of something else.
    #[error("{}: no baseline: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file of another version.
    #[error("{}: version {found} of the baseline, version {VERSION} is supported", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Nothing was recorded on this CPU.
    #[error("{} has no ratios of this CPU ({cpu}); `tritforge bench --record` records them", path.display())]
    NoEntry {
        /// The file.
        path: PathBuf,
        /// What CPU it is.
        cpu: String,
    },
    /// A kernel that is wrong.
    #[error("a kernel is not exact and is not timed: {0}")]
    Inexact(#[from] Inexact),
    /// The model could not be measured.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// Ratios that are lower than they were.
    #[error("{count} of {of} ratios fell by more than their noise: {which}")]
    Fallen {
        /// How many.
        count: usize,
        /// Of how many.
        of: usize,
        /// Each with what it was, is and may be.
        which: String,
    },
    /// Ratios that are not measured any more.
    #[error(
        "{count} recorded ratios are not of what is selected here ({which}): \
         record again, or see whether TRITFORGE_ISA is set"
    )]
    Gone {
        /// How many.
        count: usize,
        /// The first of them.
        which: String,
    },
}

/// The share of a ratio that it may fall by: twice its noise, for what is recorded is half the spread of a few passes, and
/// another day has the other half; noise of less than 3% is luck. What halves has fallen, however noisy it was.
pub fn allowed_fall(noise: f64) -> f64 {
    (2.0 * noise.max(LEAST_NOISE)).min(MOST_FALL)
}

/// Holds a gauge's ratios against recorded ones.
///
/// # Errors
/// [`GuardError`] where something cannot be measured; what was found is the verdict's to say.
pub fn check(
    gauge: &mut Gauge<'_>,
    recorded: &BTreeMap<String, Recorded>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verdict, GuardError> {
    let mut done = Progress { done: 0, total: gauge.steps() };
    let mut tick = || {
        done.done += 1;
        done.total = done.total.max(done.done);
        progress(done);
    };
    let mut now = gauge.pass(&|_| true, &mut tick)?;
    for _ in 0..AGAIN {
        let verdict = Verdict::new(recorded, &now);
        let unsettled = |key: &str| verdict.is_unsettled(key);
        if !now.keys().any(|key| unsettled(key)) {
            break;
        }
        for (key, again) in gauge.pass(&unsettled, &mut tick)? {
            let before = now.entry(key).or_insert(again);
            // An impossible ratio is replaced, a low one raised.
            if before.is_impossible() || again.ratio > before.ratio {
                *before = again;
            }
        }
    }
    Ok(Verdict::new(recorded, &now))
}

/// Records a gauge's ratios on this CPU: medians of so many complete passes, and half their spread.
///
/// # Errors
/// [`GuardError`] where something cannot be measured.
pub fn record(
    gauge: &mut Gauge<'_>,
    passes: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<Entry, GuardError> {
    let mut done = Progress { done: 0, total: gauge.steps() * passes };
    let mut tick = || {
        done.done += 1;
        progress(done);
    };
    let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for _ in 0..passes {
        for (key, reading) in gauge.pass(&|_| true, &mut tick)? {
            ratios.entry(key).or_default().push(reading.ratio);
        }
    }
    let ratios = ratios.into_iter().map(|(key, ratios)| (key, Recorded::of(ratios))).collect();
    Ok(Entry { cpu: identify(), threads: gauge.threads(), date: today(), commit: commit(), passes, ratios })
}

#[cfg(test)]
mod tests;
