//! The tests and probes of one engine.

use std::time::{Duration, Instant};

use rand_core::Rng;
use rand_pcg::Pcg32;

use super::report::{Breakdown, Kind, Probed, ProbedPeak, Read, Test};
use super::{BenchError, Options};
use crate::engine::Engine;
use crate::kernels::abi::Kernel;
use crate::model::batch::prompt_batch;
use crate::model::{ForwardError, Model, Session, Timings, Want, decode_together};
use crate::probe::bandwidth::ReadProbe;
use crate::probe::peak::PeakProbe;
use crate::probe::{Rate, Samples, WINDOW};
use crate::sampling::argmax;

/// Tokens of the untimed pass that comes first.
const WARM_UP: usize = 16;

/// Samples that the probes take in every pause.
const PROBES: usize = 3;

/// One engine on its way through all repetitions.
pub(super) struct Lane<'m> {
    model: &'m Model,
    engine: &'m Engine,
    read: ReadProbe<'m>,
    peak: PeakProbe,
    trials: Vec<Trial<'m>>,
}

/// A test and what was measured so far.
struct Trial<'m> {
    kind: Kind,
    /// What each sequence is fed: the prompt, or what fills its context before the first token is decoded.
    feed: Vec<u32>,
    tokens: usize,
    sessions: Vec<Session<'m>>,
    plan: Vec<Kernel>,
    samples: Samples,
    timings: Timings,
    elapsed: Duration,
}

impl<'m> Lane<'m> {
    /// Makes sequences, fills them to the depth asked for, and runs everything once.
    pub fn new(
        model: &'m Model,
        engine: &'m Engine,
        options: &Options,
        memory: &'m [u8],
    ) -> Result<Self, ForwardError> {
        let mut trials = Vec::new();
        for &prompt in &options.prompts {
            trials.push(Trial::new(model, engine, Kind::Prefill, prompt, prompt, 1));
        }
        for sequences in options.sequences.iter().copied().filter(|_| options.decode > 0) {
            trials.push(Trial::new(model, engine, Kind::Decode, options.depth, options.decode, sequences));
        }
        for trial in &mut trials {
            trial.warm_up()?;
            trial.sessions[0].take_time(options.profile);
        }
        let mut isas: Vec<&str> = trials.iter().map(Trial::isa).collect();
        isas.sort_unstable();
        isas.dedup();
        let (read, peak) = (ReadProbe::new(memory, WINDOW), PeakProbe::new(&isas));
        Ok(Lane { model, engine, read, peak, trials })
    }

    /// Every test once, with the probes before each and after the last.
    pub fn repeat(&mut self) -> Result<(), BenchError> {
        for index in 0..self.trials.len() {
            self.probe();
            self.trials[index].run()?;
        }
        self.probe();
        Ok(())
    }

    fn probe(&mut self) {
        self.engine.region(|team| {
            for _ in 0..PROBES {
                self.read.sample(team);
                self.peak.sample(team);
            }
        });
    }

    /// What the probes found around each repetition of the test of this index: the mean of the pauses before and after it.
    fn around(&self, index: usize, probed: &Samples) -> Samples {
        let pauses = self.trials.len() + 1;
        probed.means(index * PROBES, 2 * PROBES, pauses * PROBES)
    }

    /// What the probes found.
    pub fn probed(&self) -> Probed {
        let bandwidth = self.read.bandwidth();
        let peaks = self.peak.peaks().into_iter().map(|peak| ProbedPeak {
            isa: peak.isa.to_owned(),
            instructions: peak.instructions.to_owned(),
            macs: peak.rate,
        });
        Probed {
            threads: self.engine.threads(),
            bandwidth: bandwidth.rate,
            variant: bandwidth.variant,
            peaks: peaks.collect(),
        }
    }

    /// What the tests found.
    pub fn tests(&self) -> Vec<Test> {
        self.trials.iter().enumerate().map(|(index, trial)| self.test(index, trial)).collect()
    }

    fn test(&self, index: usize, trial: &Trial<'_>) -> Test {
        let (model, rate) = (self.model, trial.samples.rate());
        let sequences = trial.sessions.len();
        let depth = if trial.kind == Kind::Decode { trial.feed.len() } else { 0 };
        let read = (trial.kind == Kind::Decode).then(|| {
            let shared = |bytes: usize| bytes as f64 / sequences as f64;
            let kv = model.kv_bytes_per_position() as f64 * positions_read(depth, trial.tokens);
            let (ternary, head) = (shared(model.ternary_bytes()), shared(model.head_bytes()));
            let bytes = ternary + head + kv;
            let bytes_per_second = rate.scaled(bytes);
            let of_bandwidth = bytes * trial.samples.of(&self.around(index, self.read.samples()));
            let cacheable = bytes * (sequences as f64) < WINDOW as f64;
            Read { ternary, head, kv, bytes_per_second, of_bandwidth, cacheable }
        });
        let macs = model.ternary_macs() as f64;
        let of_peak = self.peak.samples(trial.isa()).map(|peak| trial.samples.of(&self.around(index, peak)));
        Test {
            threads: self.engine.threads(),
            kind: trial.kind,
            sequences,
            tokens: trial.tokens,
            depth,
            kernels: trial.kernel_names(),
            tokens_per_second: rate,
            read,
            ternary_macs: rate.scaled(macs),
            isa: trial.isa().to_owned(),
            of_peak: macs * of_peak.unwrap_or(0.0),
            breakdown: trial.breakdown(),
        }
    }
}

/// Positions that the keys and values of a sequence are read of for a token, on average over `tokens` tokens that are decoded
/// after `depth` positions: each sees itself and all before it.
pub(super) fn positions_read(depth: usize, tokens: usize) -> f64 {
    depth as f64 + (tokens as f64 + 1.0) / 2.0
}

/// So many token ids, the same every time.
pub(super) fn random_tokens(model: &Model, count: usize) -> Vec<u32> {
    let mut random = Pcg32::new(7, 7);
    (0..count).map(|_| random.next_u32() % model.config.vocab as u32).collect()
}

impl<'m> Trial<'m> {
    fn new(
        model: &'m Model,
        engine: &'m Engine,
        kind: Kind,
        feed: usize,
        tokens: usize,
        sequences: usize,
    ) -> Self {
        // A long prompt goes through the layers some tokens at a time.
        let most = prompt_batch(&model.config, engine);
        let at_once = if kind == Kind::Prefill { feed.min(most) } else { sequences };
        let projections = model.layers.iter().flat_map(|layer| layer.projections());
        let mut shapes: Vec<_> = projections.map(|(_, w)| (w.rows(), w.cols())).collect();
        shapes.sort_unstable();
        shapes.dedup();
        // A shape without a plan fails in the first pass, with the reason.
        let plans = shapes.into_iter().filter_map(|(rows, cols)| engine.plan(rows, cols, at_once).ok());
        Trial {
            kind,
            feed: random_tokens(model, feed),
            tokens,
            sessions: (0..sequences).map(|_| Session::new(model, engine)).collect(),
            plan: plans.flat_map(|plan| plan.to_vec()).collect(),
            samples: Samples::default(),
            timings: Timings::default(),
            elapsed: Duration::ZERO,
        }
    }

    /// The instruction set of the kernel that takes the most tokens.
    fn isa(&self) -> &'static str {
        let widest = self.plan.iter().max_by_key(|kernel| kernel.descriptor().tokens);
        widest.map_or("portable", |kernel| kernel.descriptor().isa.id)
    }

    fn kernel_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for kernel in &self.plan {
            let name = kernel.descriptor().name;
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// Fills the sequences and touches what the timed passes will use.
    fn warm_up(&mut self) -> Result<(), ForwardError> {
        match self.kind {
            Kind::Prefill => {
                let tokens = &self.feed[..self.feed.len().min(WARM_UP)];
                self.sessions[0].forward(tokens, Want::LastLogits)?;
            }
            Kind::Decode => {
                for session in self.sessions.iter_mut().filter(|_| !self.feed.is_empty()) {
                    session.forward(&self.feed, Want::LastLogits)?;
                }
                self.decode(self.tokens.min(WARM_UP))?;
            }
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), ForwardError> {
        let start;
        let profile = self.sessions[0].timings().is_some();
        self.sessions[0].take_time(profile);
        match self.kind {
            Kind::Prefill => {
                self.sessions[0].truncate(0);
                start = Instant::now();
                self.sessions[0].forward(&self.feed, Want::LastLogits)?;
            }
            Kind::Decode => {
                let depth = self.feed.len();
                self.sessions.iter_mut().for_each(|session| session.truncate(depth));
                start = Instant::now();
                self.decode(self.tokens)?;
            }
        }
        let elapsed = start.elapsed();
        let tokens = (self.tokens * self.sessions.len()) as f64;
        self.samples.push(tokens / elapsed.as_secs_f64().max(1e-9));
        self.elapsed += elapsed;
        if let Some(timings) = self.sessions[0].timings() {
            self.timings.ternary += timings.ternary;
            self.timings.attention += timings.attention;
            self.timings.head += timings.head;
        }
        Ok(())
    }

    /// Feeds every sequence so many tokens, the most probable one each time.
    fn decode(&mut self, tokens: usize) -> Result<(), ForwardError> {
        let mut next: Vec<u32> = vec![0; self.sessions.len()];
        for _ in 0..tokens {
            match &mut self.sessions[..] {
                [session] => {
                    session.forward(&next, Want::LastLogits)?;
                }
                sessions => decode_together(sessions, &next)?,
            }
            for (next, session) in next.iter_mut().zip(&self.sessions) {
                *next = argmax(session.logits());
            }
        }
        Ok(())
    }

    fn breakdown(&self) -> Option<Breakdown> {
        self.sessions[0].timings()?;
        let Rate { median, .. } = self.samples.rate();
        let Timings { ternary, attention, head, .. } = self.timings;
        // Shares of the time in all, of what a token takes as a rule.
        let share = |part: Duration| part.as_secs_f64() / self.elapsed.as_secs_f64() / median;
        let rest = self.elapsed.saturating_sub(ternary + attention + head);
        Some(Breakdown {
            ternary: share(ternary),
            attention: share(attention),
            head: share(head),
            rest: share(rest),
        })
    }
}
