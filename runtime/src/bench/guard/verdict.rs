//! What a check found.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use super::{GuardError, Reading, Recorded, allowed_fall};
use crate::probe::PLAUSIBLE;

/// Ratios beside recorded ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What was recorded and measured.
    pub rows: Vec<Row>,
    /// Recorded and not measured.
    pub gone: Vec<String>,
    /// Measured and not recorded.
    pub new: Vec<String>,
}

/// A ratio then and now.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it is of.
    pub key: String,
    /// Then.
    pub recorded: Recorded,
    /// Now.
    pub now: Reading,
}

impl Row {
    /// What it may fall to.
    pub fn least(&self) -> f64 {
        self.recorded.ratio * (1.0 - allowed_fall(self.recorded.noise))
    }

    /// Whether it is below that.
    pub fn has_fallen(&self) -> bool {
        self.now.ratio < self.least() || self.now.ratio.is_nan()
    }
}

impl Verdict {
    /// Holds readings against recorded ratios.
    pub fn new(recorded: &BTreeMap<String, Recorded>, now: &BTreeMap<String, Reading>) -> Self {
        let row = |(key, recorded): (&String, &Recorded)| {
            now.get(key).map(|now| Row { key: key.clone(), recorded: *recorded, now: *now })
        };
        Verdict {
            rows: recorded.iter().filter_map(row).collect(),
            gone: recorded.keys().filter(|key| !now.contains_key(*key)).cloned().collect(),
            new: now.keys().filter(|key| !recorded.contains_key(*key)).cloned().collect(),
        }
    }

    /// Whether a ratio should be measured again: it has fallen, or is impossible.
    pub(super) fn is_unsettled(&self, key: &str) -> bool {
        let row = self.rows.iter().find(|row| row.key == key);
        row.is_some_and(|row| row.has_fallen() || row.now.is_impossible())
    }

    /// The ratios that fell.
    pub fn fallen(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.has_fallen())
    }

    /// Faults of the probe.
    pub fn probe_faults(&self) -> Vec<String> {
        let impossible = self.rows.iter().filter(|row| row.now.is_impossible());
        impossible.map(|row| format!("{}: {:.2} of what was probed", row.key, row.now.ratio)).collect()
    }

    /// Nothing fell, and everything was measured.
    ///
    /// # Errors
    /// [`GuardError::Fallen`] or [`GuardError::Gone`].
    pub fn result(&self) -> Result<(), GuardError> {
        let fallen: Vec<String> = self
            .fallen()
            .map(|row| {
                let (then, now, least) = (row.recorded.ratio, row.now.ratio, row.least());
                format!("{} was {then:.2}, is {now:.2}, may be {least:.2}", row.key)
            })
            .collect();
        if !fallen.is_empty() {
            let (count, of) = (fallen.len(), self.rows.len());
            return Err(GuardError::Fallen { count, of, which: fallen.join("; ") });
        }
        match self.gone.first() {
            Some(first) => Err(GuardError::Gone { count: self.gone.len(), which: first.clone() }),
            None => Ok(()),
        }
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.key.len()).max().unwrap_or(0);
        writeln!(
            f,
            "{:<width$} {:>8} {:>7} {:>7}",
            "ratio to what was probed", "recorded", "now", "at least"
        )?;
        for row in &self.rows {
            let (then, now) = (row.recorded.ratio, row.now.ratio);
            let mark = match (row.has_fallen(), row.now.is_impossible()) {
                (true, _) => "  fell",
                (false, true) => "!",
                (false, false) => "",
            };
            writeln!(f, "{:<width$} {then:>8.3} {now:>7.3} {:>8.3}{mark}", row.key, row.least())?;
        }
        for key in &self.new {
            writeln!(f, "{key:<width$} is not recorded")?;
        }
        for fault in self.probe_faults() {
            writeln!(f, "fault of the probe: {fault}, more than the {PLAUSIBLE} that can be; measure again")?;
        }
        Ok(())
    }
}
