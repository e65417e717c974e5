//! Tuning with the kernels that are linked.

use std::time::{Duration, Instant};

use kernelgen::tuned::{Kinship, Made, Settings, TunedProfile, VERSION};

use super::arena::Ground;
use super::contest::Contest;
use super::costs::compare;
use super::events::{Event, events};
use super::heads::{HeadTuning, heads};
use super::outcome::{Outcome, linked, round};
use super::settings::settings;
use super::{Control, Options, Progress, TuneError, Tuned};
use crate::bench::survey::thread_counts;
use crate::cpu;
use crate::engine::Engine;
use crate::head::Walk;
use crate::kernels::abi::Kernel;
use crate::made::{commit, today};
use crate::probe::MEMORY;
use crate::probe::bandwidth::ReadProbe;
use crate::probe::memory::WeightMemory;
use crate::shares::Blocks;

/// The share of the time that the contests get; the rest is for making memory and for the settings.
const CONTESTS: f64 = 0.8;

/// Times the linked kernels and what can be set.
///
/// # Errors
/// [`TuneError`]; [`TuneError::Interrupted`] where the caller wants it to end.
pub fn tune(options: &Options, control: Control<'_>) -> Result<Tuned, TuneError> {
    let start = Instant::now();
    let events = events(options)?;
    let stage = Stage::new(options)?;
    let ground = stage.ground();
    let mut outcomes = Vec::new();
    for (index, event) in events.iter().enumerate() {
        (control.progress)(Progress { done: index, all: events.len(), now: event.name() });
        let left = options.seconds * CONTESTS - start.elapsed().as_secs_f64();
        let time = Duration::from_secs_f64((left / (events.len() - index) as f64).max(0.0));
        let contest = hold(&ground, event, &event.kernels, time, control)?;
        outcomes.extend(contest.map(|contest| contest.outcome()));
    }
    stage.finish(options, outcomes, control)
}

/// Holds a contest of some kernels, the default one first; `None` where that is not exact.
///
/// # Errors
/// [`TuneError::Interrupted`] where the caller wants it to end.
pub(super) fn hold<'g>(
    ground: &'g Ground<'g>,
    event: &Event,
    kernels: &[Kernel],
    time: Duration,
    control: Control<'_>,
) -> Result<Option<Contest<'g>>, TuneError> {
    let contest = Contest::new(ground, kernels, &event.places, event.class, Blocks::default());
    let Some(mut contest) = contest else { return Ok(None) };
    if contest.run(time, control.stop) { Ok(Some(contest)) } else { Err(TuneError::Interrupted) }
}

/// What contests are held on.
pub(super) struct Stage {
    memory: WeightMemory,
    /// Of 1, 2, 4 and so on up to all threads.
    engines: Vec<Engine>,
}

impl Stage {
    /// Memory and engines.
    pub fn new(options: &Options) -> Result<Self, TuneError> {
        let counts = thread_counts(options.threads.max(1)).into_iter();
        let engines = counts.map(Engine::with_threads).collect::<Result<_, _>>()?;
        Ok(Stage { memory: WeightMemory::new(MEMORY), engines })
    }

    pub fn ground(&self) -> Ground<'_> {
        Ground { memory: &self.memory, engines: &self.engines }
    }

    /// The settings that go with the winners, and the profile of it all.
    pub fn finish(
        &self,
        options: &Options,
        mut outcomes: Vec<Outcome>,
        control: Control<'_>,
    ) -> Result<Tuned, TuneError> {
        let all = outcomes.len();
        (control.progress)(Progress { done: all, all, now: "threads and block sizes".to_owned() });
        if !compare(&self.ground(), &mut outcomes, control.stop) {
            return Err(TuneError::Interrupted);
        }
        let settings = settings(&self.ground(), &outcomes, control.stop);
        let mut settings = settings.ok_or(TuneError::Interrupted)?;
        let mut ends = vec![&self.engines[0]];
        ends.extend(self.engines[1..].last());
        let HeadTuning { walk, costs: heads } = heads(&ends, control.stop)?.ok_or(TuneError::Interrupted)?;
        settings.head_streams = walk.map(Walk::streams);
        let probe = self.probe();
        let profile = profile(options, &outcomes, settings, probe)?;
        Ok(Tuned { profile, outcomes, probe, heads })
    }

    /// GB/s that one thread reads.
    fn probe(&self) -> f64 {
        let mut probe = ReadProbe::new(self.memory.bytes(), crate::probe::WINDOW);
        (0..3).for_each(|_| self.engines[0].region(|team| probe.sample(team)));
        probe.bandwidth().rate.best / 1e9
    }
}

/// The profile that contests make.
fn profile(
    options: &Options,
    outcomes: &[Outcome],
    settings: Settings,
    probe: f64,
) -> Result<TunedProfile, TuneError> {
    let cpu = cpu::identify();
    let mut others = linked()?;
    // A CPU is the same under another name of the market.
    others.retain(|(_, other)| other.cpu.kinship(&cpu) != Kinship::Same);
    let made = Made { date: today(), commit: commit(), by: options.command.clone(), probe: round(probe) };
    let kernels = outcomes.iter().filter_map(|outcome| outcome.tuned(&others)).collect();
    Ok(TunedProfile { version: VERSION, cpu, made, settings, kernels })
}
