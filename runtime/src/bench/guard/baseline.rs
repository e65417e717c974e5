//! The file of recorded ratios.

use std::collections::BTreeMap;
use std::path::Path;

use kernelgen::tuned::{CpuId, Kinship};
use serde::{Deserialize, Serialize};

use super::GuardError;
use crate::bench::versioned;
use crate::cpu::identify;

/// The version of [`Baseline`].
pub const VERSION: u32 = 1;

/// Recorded ratios, CPU by CPU: `benches/baseline.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// [`VERSION`].
    pub version: u32,
    /// One entry a CPU.
    pub cpus: Vec<Entry>,
}

/// What was recorded on a CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The CPU.
    pub cpu: CpuId,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// The day.
    pub date: String,
    /// The commit that was measured.
    pub commit: String,
    /// Complete passes.
    pub passes: usize,
    /// Ratios by what they are of: `gemv__avx2@2560x2560@tokens=1@threads=2`.
    pub ratios: BTreeMap<String, Recorded>,
}

/// A ratio to what the machine can do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// The median of the passes.
    pub ratio: f64,
    /// Half the spread of the passes, as a share of the ratio.
    pub noise: f64,
}

impl Recorded {
    /// Of the ratios of some passes, at least one; rounded to what they are good for.
    pub fn of(mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios[ratios.len() / 2];
        let noise = (ratios[ratios.len() - 1] - ratios[0]) / 2.0 / ratio;
        let round = |value: f64| (value * 1e4).round() / 1e4;
        Recorded { ratio: round(ratio), noise: round(noise) }
    }
}

impl Default for Baseline {
    fn default() -> Self {
        Baseline { version: VERSION, cpus: Vec::new() }
    }
}

impl Baseline {
    /// Reads a file.
    ///
    /// # Errors
    /// [`GuardError`] for a file that cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Self, GuardError> {
        let text = std::fs::read(path).map_err(|source| GuardError::Io { path: path.to_owned(), source })?;
        let json = |source| GuardError::Json { path: path.to_owned(), source };
        match versioned::version(&text).map_err(json)? {
            VERSION => serde_json::from_slice(&text).map_err(json),
            found => Err(GuardError::Version { path: path.to_owned(), found }),
        }
    }

    /// Reads a file; an empty baseline where there is none.
    ///
    /// # Errors
    /// As [`Baseline::read`].
    pub fn read_or_new(path: &Path) -> Result<Self, GuardError> {
        if path.exists() { Self::read(path) } else { Ok(Self::default()) }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`GuardError::Io`]
    pub fn write(&self, path: &Path) -> Result<(), GuardError> {
        let io = |source| GuardError::Io { path: path.to_owned(), source };
        let text = serde_json::to_string_pretty(self).map_err(|error| io(error.into()))?;
        std::fs::write(path, text + "\n").map_err(io)
    }

    /// What was recorded on this CPU; `path` is where the baseline was read from.
    ///
    /// # Errors
    /// [`GuardError::NoEntry`] where there is nothing.
    pub fn entry(&self, path: &Path) -> Result<&Entry, GuardError> {
        let this = identify();
        let found = self.cpus.iter().find(|entry| is_same(&entry.cpu, &this));
        found.ok_or_else(|| GuardError::NoEntry { path: path.to_owned(), cpu: this.to_string() })
    }

    /// Puts an entry in the place of that of the same CPU, if there is one.
    pub fn replace(&mut self, entry: Entry) {
        match self.cpus.iter_mut().find(|known| is_same(&known.cpu, &entry.cpu)) {
            Some(known) => *known = entry,
            None => self.cpus.push(entry),
        }
    }
}

fn is_same(a: &CpuId, b: &CpuId) -> bool {
    a.kinship(b) == Kinship::Same
}
