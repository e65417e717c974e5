//! The arithmetic peak of each instruction set: multiply-adds a second of int8 values, from registers.
//!
//! A kernel does more than that, for its weights have to be loaded and unpacked; what share it reaches says how much the rest
//! costs. Which instructions are probed for an instruction set is what its kernels multiply with.

use std::time::Instant;

use super::samples::{Rate, Samples};
use super::units::{self, Unit};
use crate::team::Team;

/// Multiply-adds of one member in a sample of a unit without tiles: some milliseconds.
const SAMPLE: u64 = 1 << 30;
/// The same for AMX's tiles and for what is not vectorised by hand.
const TILES_FASTER: u64 = 8;
const PORTABLE_SLOWER: u64 = 8;

/// What was measured for one instruction set.
#[derive(Debug, Clone, PartialEq)]
pub struct Peak {
    /// The instruction set's id.
    pub isa: &'static str,
    /// What was executed.
    pub instructions: &'static str,
    /// Multiply-adds a second of all members together.
    pub rate: Rate,
}

impl Peak {
    fn of((unit, samples): &(Unit, Samples)) -> Self {
        Peak { isa: unit.isa.id, instructions: unit.instructions, rate: samples.rate() }
    }
}

/// A probe of the peaks that takes one sample after the other.
#[derive(Debug)]
pub struct PeakProbe {
    units: Vec<(Unit, Samples)>,
}

impl PeakProbe {
    /// A probe of what this CPU has among the instruction sets of these ids; of all that it has where there are none.
    pub fn new(isas: &[&str]) -> Self {
        let wanted = |unit: &Unit| isas.is_empty() || isas.contains(&unit.isa.id);
        PeakProbe {
            units: units::available().filter(wanted).map(|unit| (unit, Samples::default())).collect(),
        }
    }

    /// Takes a sample of every unit: all members of the team at once.
    pub fn sample(&mut self, team: &Team<'_>) {
        self.sample_of(team, SAMPLE);
    }

    fn sample_of(&mut self, team: &Team<'_>, sample: u64) {
        for (unit, samples) in &mut self.units {
            let macs = match unit.isa.id {
                "amx" => sample * TILES_FASTER,
                "portable" => sample / PORTABLE_SLOWER,
                _ => sample,
            };
            let rounds = macs.div_ceil(unit.macs_a_round);
            let start = Instant::now();
            team.run(|_| unit.run(rounds));
            let macs = (rounds * unit.macs_a_round) as f64 * team.size() as f64;
            samples.push(macs / start.elapsed().as_secs_f64().max(1e-9));
        }
    }

    /// What the samples so far say, in ascending preference of the instruction sets.
    pub fn peaks(&self) -> Vec<Peak> {
        self.units.iter().map(Peak::of).collect()
    }

    /// The way of an instruction set that has the greatest median.
    fn fastest(&self, isa: &str) -> Option<&(Unit, Samples)> {
        let median = |(_, samples): &&(Unit, Samples)| samples.rate().median;
        let of_isa = self.units.iter().filter(|(unit, _)| unit.isa.id == isa);
        of_isa.max_by(|a, b| median(a).total_cmp(&median(b)))
    }

    /// The peak of an instruction set: where it has several ways, of the fastest.
    pub fn peak(&self, isa: &str) -> Option<Peak> {
        self.fastest(isa).map(Peak::of)
    }

    /// The samples of that way, to hold others against: see [`Samples::of`].
    pub fn samples(&self, isa: &str) -> Option<&Samples> {
        self.fastest(isa).map(|(_, samples)| samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu;
    use crate::engine::Engine;

    #[test]
    fn every_instruction_set_of_this_cpu_has_a_peak() {
        let engine = Engine::with_threads(2).unwrap();
        let mut probe = PeakProbe::new(&[]);
        engine.region(|team| probe.sample_of(team, 1 << 20));
        for isa in cpu::available() {
            let peak = probe.peak(isa.id).unwrap_or_else(|| panic!("{} is not probed", isa.id));
            assert!(peak.rate.median > 0.0, "{peak:?}");
        }
        let mut one = PeakProbe::new(&["portable"]);
        one.sample_of(&Team::solo(), 1 << 20);
        assert_eq!(one.peaks().len(), 1);
    }
}
