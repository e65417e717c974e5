//! A report for people.

use std::fmt::{self, Display, Formatter};

use super::report::{Breakdown, Probed, Report, Test};
use crate::probe::marked;

/// Units that the table counts in.
const GIGA: f64 = 1e9;
const MEGA: f64 = 1e6;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.model(f)?;
        self.probes.iter().try_for_each(|probed| probes(f, probed))?;
        self.rates(f)?;
        self.kernels(f)?;
        self.breakdowns(f)?;
        for fault in &self.probe_faults {
            writeln!(f, "fault of the probe: {fault}, which no machine reaches; measure again")?;
        }
        Ok(())
    }
}

impl Report {
    fn model(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (model, precision) = (&self.model, &self.model.precision);
        writeln!(f, "{}, {}, {}, profile {}", model.name, self.platform, self.isa, precision.profile)?;
        writeln!(
            f,
            "  {:.1} M ternary multiply-adds a token; {:.1} MB ternary, {:.1} MB head ({}), {:.1} kB of keys and values \
             a position ({})",
            model.ternary_macs as f64 / MEGA,
            model.ternary_bytes as f64 / MEGA,
            model.head_bytes as f64 / MEGA,
            precision.head,
            model.kv_bytes_per_position as f64 / 1e3,
            precision.kv,
        )
    }

    fn rates(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nMedians of {} repetitions", self.repetitions)?;
        writeln!(
            f,
            "threads  {:<22} {:>9} {:<19} {:>9} {:>8} {:>8} {:>8} {:>7} {:>8} {:>8} {:>7}",
            "test",
            "tokens/s",
            "(worst..best)",
            "MB/token",
            "ternary",
            "head",
            "KV",
            "GB/s",
            "of probe",
            "GMAC/s",
            "of peak"
        )?;
        for test in &self.tests {
            let rate = test.tokens_per_second;
            let spread = format!("({:.1}..{:.1})", rate.worst, rate.best);
            write!(f, "{:>7}  {:<22} {:>9.1} {spread:<19}", test.threads, test.name(), rate.median)?;
            match &test.read {
                Some(read) => write!(
                    f,
                    " {:>9.2} {:>8.2} {:>8.2} {:>8.2} {:>7.2} {:>8}",
                    read.bytes() / MEGA,
                    read.ternary / MEGA,
                    read.head / MEGA,
                    read.kv / MEGA,
                    read.bytes_per_second.median / GIGA,
                    if read.cacheable {
                        format!("{:.2}c", read.of_bandwidth)
                    } else {
                        marked(read.of_bandwidth)
                    },
                )?,
                None => write!(f, " {:>9} {:>8} {:>8} {:>8} {:>7} {:>8}", "-", "-", "-", "-", "-", "-")?,
            }
            writeln!(f, " {:>8.1} {:>7}", test.ternary_macs.median / GIGA, marked(test.of_peak))?;
        }
        if self.tests.iter().filter_map(|test| test.read.as_ref()).any(|read| read.cacheable) {
            writeln!(
                f,
                "c: a pass reads so little that it may come from caches, which are faster than what was probed"
            )?;
        }
        Ok(())
    }

    fn kernels(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nKernels")?;
        let mut told: Vec<String> = Vec::new();
        for test in &self.tests {
            let line = format!("  {:<22} {}", test.name(), test.kernels.join(", "));
            if !told.contains(&line) {
                writeln!(f, "{line}")?;
                told.push(line);
            }
        }
        Ok(())
    }

    /// Milliseconds, and what the ternary products and the head reach while it is their turn.
    fn breakdowns(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.tests.iter().all(|test| test.breakdown.is_none()) {
            return Ok(());
        }
        writeln!(
            f,
            "\nWhere a token's time goes, ms (share; in their own time: reads of the probe, products of the peak)"
        )?;
        for test in &self.tests {
            let Some(parts) = &test.breakdown else { continue };
            let probed = self.probes.iter().find(|probed| probed.threads == test.threads);
            writeln!(f, "{:>7}  {:<22} {}", test.threads, test.name(), self.parts(test, parts, probed))?;
        }
        Ok(())
    }

    fn parts(&self, test: &Test, parts: &Breakdown, probed: Option<&Probed>) -> String {
        let all = parts.ternary + parts.attention + parts.head + parts.rest;
        let bandwidth = probed.map_or(f64::INFINITY, |probed| probed.bandwidth.median);
        let own = |bytes: f64, seconds: f64| format!(", {:.2} of probe", bytes / seconds / bandwidth);
        let (ternary, head, attention) = match &test.read {
            Some(read) => {
                (own(read.ternary, parts.ternary), own(read.head, parts.head), own(read.kv, parts.attention))
            }
            None => {
                // The peak, from the share of it that the whole test has.
                let whole = test.of_peak * all / parts.ternary;
                (format!(", {whole:.2} of peak"), String::new(), String::new())
            }
        };
        [
            ("ternary", parts.ternary, ternary),
            ("head", parts.head, head),
            ("attention", parts.attention, attention),
            ("rest", parts.rest, String::new()),
        ]
        .map(|(part, seconds, own)| {
            format!("{part} {:.3} ({:.0}%{own})", seconds * 1e3, 100.0 * seconds / all)
        })
        .join("  ")
    }
}

fn probes(f: &mut Formatter<'_>, probed: &Probed) -> fmt::Result {
    let (read, variant) = (probed.bandwidth, &probed.variant);
    let (median, best) = (read.median / GIGA, read.best / GIGA);
    let who = if probed.threads == 1 {
        "1 thread reads".to_owned()
    } else {
        format!("{} threads read", probed.threads)
    };
    writeln!(f, "  {who} {median:.2} GB/s, {best:.2} at best ({variant})")?;
    for peak in &probed.peaks {
        let (median, best) = (peak.macs.median / GIGA, peak.macs.best / GIGA);
        let instructions = &peak.instructions;
        writeln!(
            f,
            "    multiply-adds: {median:.0} GMAC/s, {best:.0} at best ({}: {instructions})",
            peak.isa
        )?;
    }
    Ok(())
}
