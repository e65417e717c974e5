//! What other programs reach, as `benches/peers/compare.py` writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bench::versioned;

/// The version of the file that is read.
const VERSION: u32 = 1;

/// A comparison with other programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peers {
    /// The version of the file.
    pub version: u32,
    /// The CPU that it was made on, as whoever made it names it.
    #[serde(default)]
    pub cpu: serde_json::Value,
    /// Program by program, this one among them.
    pub runs: Vec<PeerRun>,
}

/// One program on one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PeerRun {
    /// The model.
    pub model: String,
    /// Threads.
    pub threads: usize,
    /// The program.
    pub engine: String,
    /// The type that it keeps ternary weights in.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub weight_type: Option<String>,
    /// Bits that it keeps a ternary weight in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bits_per_weight: Option<f64>,
    /// Tokens a second of a prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill: Option<PeerRate>,
    /// Tokens a second, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode: Option<PeerRate>,
    /// Why there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Tokens a second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PeerRate {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// A file that holds no comparison.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeersError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{}: no comparison as benches/peers/compare.py writes it: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It is of another version.
    #[error("{}: version {found} of the comparison, version {VERSION} is supported", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl Peers {
    /// Reads a file.
    ///
    /// # Errors
    /// [`PeersError`]
    pub fn read(path: &Path) -> Result<Self, PeersError> {
        let text = std::fs::read(path).map_err(|source| PeersError::Io { path: path.to_owned(), source })?;
        let json = |source| PeersError::Json { path: path.to_owned(), source };
        let version = versioned::version(&text).map_err(json)?;
        if version != VERSION {
            return Err(PeersError::Version { path: path.to_owned(), found: version });
        }
        let File { cpu, cells } = serde_json::from_slice(&text).map_err(json)?;
        let runs = cells.into_iter().flat_map(|Cell { model, threads, engines }| {
            engines.into_iter().map(move |(engine, reached)| {
                let Reached { weight_type, bits_per_weight, prefill, decode, error } = reached;
                let model = model.clone();
                PeerRun { model, threads, engine, weight_type, bits_per_weight, prefill, decode, error }
            })
        });
        Ok(Peers { version, cpu, runs: runs.collect() })
    }
}

/// The file, described at the top of `benches/peers/compare.py`.
#[derive(Deserialize)]
struct File {
    #[serde(default)]
    cpu: serde_json::Value,
    cells: Vec<Cell>,
}

/// What all programs reached with a model on some number of threads.
#[derive(Deserialize)]
struct Cell {
    model: String,
    threads: usize,
    engines: BTreeMap<String, Reached>,
}

#[derive(Deserialize)]
struct Reached {
    #[serde(rename = "type")]
    weight_type: Option<String>,
    bits_per_weight: Option<f64>,
    prefill: Option<PeerRate>,
    decode: Option<PeerRate>,
    error: Option<String>,
}

impl PeerRun {
    /// What it is called in a plot.
    pub(super) fn title(&self) -> String {
        match &self.weight_type {
            Some(weight_type) => format!("{}, {weight_type}", self.engine),
            None => self.engine.clone(),
        }
    }

    /// Whether it is this program.
    pub(super) fn is_own(&self) -> bool {
        self.engine.starts_with("tritforge")
    }
}
