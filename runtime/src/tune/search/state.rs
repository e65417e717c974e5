//! What a search has found so far, in a file: an interrupted one goes on from there.

use std::path::Path;

use kernelgen::tuned::CpuId;
use serde::{Deserialize, Serialize};

use super::SearchError;
use crate::new_file::{NewFileError, write_whole};
use crate::tune::outcome::Outcome;

/// The version of the file.
const VERSION: u32 = 1;

/// The contests that are over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    /// The machine: what was measured on another counts for nothing.
    pub cpu: CpuId,
    /// The shapes.
    pub shapes: Vec<(usize, usize)>,
    /// The most threads.
    pub threads: usize,
    /// What the contests found.
    pub outcomes: Vec<Outcome>,
}

impl State {
    /// A search that has found nothing.
    pub fn new(cpu: CpuId, shapes: Vec<(usize, usize)>, threads: usize) -> Self {
        State { version: VERSION, cpu, shapes, threads, outcomes: Vec::new() }
    }

    /// What an earlier search with the same aim left; `None` where there is none.
    ///
    /// # Errors
    /// [`SearchError`] where the file is no state, or of another search.
    pub fn load(path: &Path, same: &State) -> Result<Option<Self>, SearchError> {
        let wrong = |reason: String| SearchError::State { path: path.to_owned(), reason };
        let text = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| wrong(error.to_string()))?,
        };
        let state: State = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let differs = if state.version != VERSION {
            "another version of the program"
        } else if state.cpu != same.cpu {
            "another CPU"
        } else if state.shapes != same.shapes {
            "other shapes"
        } else if state.threads != same.threads {
            "another number of threads"
        } else {
            return Ok(Some(state));
        };
        Err(wrong(format!("it is of {differs}")))
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// [`SearchError`] where it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), SearchError> {
        write_whole(path, true, |file| {
            let io = |error: std::io::Error| NewFileError::Io { path: path.to_owned(), source: error };
            serde_json::to_writer_pretty(file, self).map_err(|error| io(error.into()))
        })
        .map_err(|error: NewFileError| SearchError::State {
            path: path.to_owned(),
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_goes_on_where_it_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let state = |cols, threads| State::new(crate::cpu::identify(), vec![(64, cols)], threads);
        assert_eq!(State::load(&path, &state(512, 2)).unwrap(), None);
        state(512, 2).save(&path).unwrap();
        assert_eq!(State::load(&path, &state(512, 2)).unwrap(), Some(state(512, 2)));
        let refusal = |same: &State| State::load(&path, same).unwrap_err().to_string();
        assert!(refusal(&state(768, 2)).contains("other shapes"));
        assert!(refusal(&state(512, 4)).contains("another number of threads"));
        let mut other = state(512, 2);
        other.cpu.model = "another".to_owned();
        assert!(refusal(&other).contains("another CPU"));
        std::fs::write(&path, "{}").unwrap();
        assert!(refusal(&state(512, 2)).contains("missing field"));
    }
}
