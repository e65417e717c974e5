//! The schedule table: which schedule each ISA uses for each operation.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::abi::Gain;
use crate::isa;
use crate::schedule::{Schedule, Unpack};
use crate::spec::Operation;

/// The table that is built in.
pub const BUILT_IN: &str = include_str!("schedules.toml");

/// One operation on one ISA.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// How its kernels are arranged.
    pub schedule: Schedule,
    /// Other schedules that may be faster on some CPU: see [`Builder::variants`](crate::Builder::variants).
    pub variants: Vec<Schedule>,
    /// One with [expanded](crate::schedule::Unpack::Expanded) weights for many calls with the same ones, if that is faster.
    pub expanded: Option<Schedule>,
    /// What kernels of fixed shapes gain.
    pub gain: Gain,
}

/// Schedules by ISA id and operation.
#[derive(Debug, Clone, PartialEq)]
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
    schedule: String,
    #[serde(default)]
    variants: Vec<String>,
    expanded: Option<String>,
    #[serde(default)]
    gain: RawGain,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawGain {
    short: Option<f64>,
    long: Option<f64>,
}

impl ScheduleTable {
    /// Reads a table from TOML: `[<isa>.<operation>]` with `schedule`, and perhaps `variants`, a list of more, `expanded`, one
    /// for many calls with the same weights, and `gain = { short, long }`.
    ///
    /// # Errors
    /// An unknown ISA, operation or key, a text that is no schedule, a schedule that is there twice, one with expanded weights
    /// elsewhere than in `expanded` or another there, or a gain that is no number.
    pub fn parse(text: &str) -> Result<Self, TableError> {
        let raw: BTreeMap<String, BTreeMap<String, RawEntry>> =
            toml::from_str(text).map_err(|e| TableError(e.to_string()))?;
        let mut entries = BTreeMap::new();
        for (id, operations) in raw {
            let known = isa::by_id(&id).ok_or_else(|| {
                TableError(format!("unknown ISA '{id}', known are {}", isa::ids().join(", ")))
            })?;
            for (operation, RawEntry { schedule, variants, expanded, gain }) in operations {
                let place = |e: String| TableError(format!("[{id}.{operation}]: {e}"));
                let parsed = operation
                    .parse()
                    .map_err(|()| place("unknown operation, known are gemv and gemm<tokens>".to_owned()))?;
                let RawGain { short, long } = gain;
                let gain = Gain { short, long };
                if [short, long].into_iter().flatten().any(|gain| !gain.is_finite()) {
                    return Err(place("gains are finite numbers, in per cent".to_owned()));
                }
                let parse = |text: &String| text.parse::<Schedule>().map_err(|e| place(e.to_string()));
                let schedule = parse(&schedule)?;
                let variants: Vec<Schedule> = variants.iter().map(parse).collect::<Result<_, _>>()?;
                let mut all = vec![schedule];
                for variant in &variants {
                    if all.contains(variant) {
                        return Err(place(format!("{variant} is there twice")));
                    }
                    all.push(*variant);
                }
                let expanded = expanded.as_ref().map(parse).transpose()?;
                let misplaced = |one: &&Schedule| one.unpack == Unpack::Expanded;
                if let Some(one) = all.iter().find(misplaced) {
                    return Err(place(format!("{one} is one for 'expanded'")));
                }
                if let Some(one) = expanded.filter(|one| one.unpack != Unpack::Expanded) {
                    return Err(place(format!("{one} has no expanded weights")));
                }
                let entry = Entry { schedule, variants, expanded, gain };
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
    pub fn get(&self, isa: &str, operation: Operation) -> Option<&Entry> {
        self.entries.iter().find(|((id, op), _)| *id == isa && *op == operation).map(|(_, entry)| entry)
    }

    /// All ISAs and operations with their schedules.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Operation, &Entry)> {
        self.entries.iter().map(|((isa, operation), entry)| (*isa, *operation, entry))
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
            ("[sse9.gemv]\nschedule = \"u1c1sr1p0\"", "unknown ISA 'sse9'"),
            ("[avx2.gem]\nschedule = \"u1c1sr1p0\"", "[avx2.gem]: unknown operation"),
            ("[avx2.gemv]\nschedule = \"fast\"", "[avx2.gemv]: 'fast' is no schedule"),
            ("[avx2.gemv]\ngain = { short = 4.0 }", "missing field `schedule`"),
            ("[avx2.gemv]\nschedule = \"u1c1sr1p0\"\nspeed = 1", "unknown field `speed`"),
            ("[avx2.gemv]\nschedule = \"u1c1sr1p0\"\ngain = { wide = 4.0 }", "unknown field `wide`"),
            (
                "[avx2.gemv]\nschedule = \"u1c1sr1p0\"\nvariants = [\"u1c1mr1p0\", \"u1c1sr1p0\"]",
                "[avx2.gemv]: u1c1sr1p0 is there twice",
            ),
            ("[avx2.gemv]\nschedule = \"u1c1er1p0\"", "[avx2.gemv]: u1c1er1p0 is one for 'expanded'"),
            (
                "[avx2.gemv]\nschedule = \"u1c1sr1p0\"\nexpanded = \"u1c1sr1p0\"",
                "[avx2.gemv]: u1c1sr1p0 has no expanded weights",
            ),
            (
                "[avx2.gemv]\nschedule = \"u1c1sr1p0\"\ngain = { short = inf }",
                "[avx2.gemv]: gains are finite",
            ),
        ] {
            let error = ScheduleTable::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn kernels_of_fixed_shapes_are_made_from_three_per_cent_on() {
        let table = "[avx2.gemv]\nschedule = \"u1c1sr1p0\"\ngain = { short = 3.0, long = 2.9 }";
        let gain = ScheduleTable::parse(table).unwrap().get("avx2", Operation::Gemv).unwrap().gain;
        assert!([1, 256].into_iter().all(|cols| gain.is_worthwhile(cols)));
        assert!([257, 6912].into_iter().all(|cols| !gain.is_worthwhile(cols)));
        // What nobody has measured is not made.
        assert!(!Gain::default().is_worthwhile(256));
    }
}
