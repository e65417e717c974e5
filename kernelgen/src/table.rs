//! The schedule table: which schedule each ISA uses for each operation.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::isa;
use crate::schedule::Schedule;
use crate::spec::Operation;

/// The table that is built in.
pub const BUILT_IN: &str = include_str!("schedules.toml");

/// The schedules of one operation on one ISA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// For the kernel of any shape.
    pub generic: Schedule,
    /// For the kernels of fixed shapes; `None` where there are none.
    pub fixed: Option<Schedule>,
}

/// Schedules by ISA id and operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleTable {
    entries: BTreeMap<(&'static str, Operation), Entry>,
}

/// A text that is no schedule table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("schedule table: {0}")]
pub struct TableError(String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    generic: String,
    fixed: Option<String>,
}

impl ScheduleTable {
    /// Reads a table from TOML: `[<isa>.<operation>]` with `generic` and perhaps `fixed`.
    ///
    /// # Errors
    /// An unknown ISA, operation or key, or a text that is no schedule.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let raw: BTreeMap<String, BTreeMap<String, RawEntry>> =
            toml::from_str(text).map_err(|e| TableError(e.to_string()))?;
        let mut entries = BTreeMap::new();
        for (id, operations) in raw {
            let known = isa::by_id(&id).ok_or_else(|| {
                TableError(format!("unknown ISA '{id}', known are {}", isa::ids().join(", ")))
            })?;
            for (operation, RawEntry { generic, fixed }) in operations {
                let place = |e: String| TableError(format!("[{id}.{operation}]: {e}"));
                let parsed = operation
                    .parse()
                    .map_err(|()| place("unknown operation, known are gemv and gemm<tokens>".to_owned()))?;
                let schedule = |text: String| text.parse::<Schedule>().map_err(|e| place(e.to_string()));
                let entry = Entry { generic: schedule(generic)?, fixed: fixed.map(schedule).transpose()? };
                entries.insert((known.id(), parsed), entry);
            }
        }
        Ok(ScheduleTable { entries })
    }

    /// The table that is built in.
    ///
    /// # Errors
    /// None that a test would not have seen; the type is that of [`ScheduleTable::parse`].
    pub fn built_in() -> Result<Self, TableError> {
        Self::parse(BUILT_IN)
    }

    /// The schedules of an operation on an ISA.
    pub fn get(&self, isa: &str, operation: Operation) -> Option<Entry> {
        self.entries.iter().find(|((id, op), _)| *id == isa && *op == operation).map(|(_, entry)| *entry)
    }

    /// All ISAs and operations with their schedules.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Operation, Entry)> + '_ {
        self.entries.iter().map(|((isa, operation), entry)| (*isa, *operation, *entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Accumulate;

    #[test]
    fn the_built_in_table_serves_every_isa() {
        let table = ScheduleTable::built_in().unwrap();
        for isa in isa::ALL {
            let gemm = |tokens| Operation::Gemm { tokens };
            let operations = match isa.atom().accumulate {
                Accumulate::Tile { tokens } => [gemm(tokens), gemm(2 * tokens)],
                Accumulate::Wide | Accumulate::Narrow { .. } => [Operation::Gemv, gemm(4)],
            };
            for operation in operations {
                assert!(table.get(isa.id(), operation).is_some(), "{} {operation}", isa.id());
            }
        }
    }

    #[test]
    fn a_wrong_table_says_where() {
        for (text, part) in [
            ("[sse9.gemv]\ngeneric = \"u1c1sr1p0\"", "unknown ISA 'sse9'"),
            ("[avx2.gem]\ngeneric = \"u1c1sr1p0\"", "[avx2.gem]: unknown operation"),
            ("[avx2.gemv]\ngeneric = \"fast\"", "[avx2.gemv]: 'fast' is no schedule"),
            ("[avx2.gemv]\nfixed = \"u1c1sr1p0\"", "missing field `generic`"),
            ("[avx2.gemv]\ngeneric = \"u1c1sr1p0\"\nspeed = 1", "unknown field `speed`"),
        ] {
            let error = ScheduleTable::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
