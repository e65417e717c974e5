//! How many trials there were for each instruction set, in each way of running its kernels.

use std::collections::BTreeMap;
use std::fmt;

use tritforge::kernels::ISAS;

/// Trials by instruction set (in the order of [`ISAS`]) and way.
#[derive(Debug, Default)]
pub struct Tally {
    counts: BTreeMap<(usize, &'static str), Count>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    run: usize,
    ignored: usize,
}

impl Tally {
    /// Counts the trials that name an instruction set, as in `gemv_..__avx2::extremes` or `demo::avx2::2_threads`: their
    /// names, and whether they are ignored. `way` says by what follows the instruction set how the kernels are run.
    pub fn of<'a>(
        trials: impl IntoIterator<Item = (&'a str, bool)>,
        way: impl Fn(&str) -> &'static str,
    ) -> Self {
        let mut tally = Tally::default();
        for (name, ignored) in trials {
            let Some((index, check)) = ISAS.iter().enumerate().find_map(|(index, isa)| {
                let (before, check) = name.split_once(&format!("{}::", isa.id))?;
                (before.ends_with("__") || before.ends_with("::")).then_some((index, check))
            }) else {
                continue;
            };
            let count = tally.counts.entry((index, way(check))).or_default();
            if ignored { count.ignored += 1 } else { count.run += 1 }
        }
        tally
    }

    /// Prints the counts of a run that passed; of part of a run, or of one with failures, they would say too much.
    pub fn print(&self, passed: u64, failed: bool) {
        let run: usize = self.counts.values().map(|count| count.run).sum();
        if !failed && passed >= run as u64 {
            println!("{self}");
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<14} {:<16} {:>6} {:>8}", "kernels of", "way", "passed", "ignored")?;
        for ((index, way), Count { run, ignored }) in &self.counts {
            write!(f, "\n{:<14} {way:<16} {run:>6} {ignored:>8}", ISAS[*index].id)?;
        }
        Ok(())
    }
}
