//! The machine and the day that figures are of.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::cpu;

/// A CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuId {
    /// The architecture.
    pub arch: String,
    /// Who made it.
    pub vendor: String,
    /// Family and model.
    pub model: String,
    /// What it calls itself.
    pub name: String,
    /// Instruction sets.
    pub isas: Vec<String>,
}

/// This CPU.
pub(super) fn identify() -> CpuId {
    let isas = cpu::available().iter().map(|isa| isa.id.to_owned()).collect();
    CpuId {
        arch: std::env::consts::ARCH.to_owned(),
        vendor: "AuthenticAMD".into(),
        model: "26/2".into(),
        name: "AMD EPYC".into(),
        isas,
    }
}

/// Today in UTC, as in 2026-01-31.
pub(super) fn today() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 86400);
    date(days)
}

/// The date so many days after the first of January 1970. Years begin in March, so that the day that some years lack is the
/// last.
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..=9 => (year + era * 400, month + 3),
        _ => (year + era * 400 + 1, month - 9),
    };
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_have_dates() {
        let dates = [0, 59, 789, 11_016, 20_512, 47_540].map(date);
        assert_eq!(
            dates,
            ["1970-01-01", "1970-03-01", "1972-02-29", "2000-02-29", "2026-02-28", "2100-02-28"]
        );
        assert_eq!(date(47_541), "2100-03-01");
    }
}
