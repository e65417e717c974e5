//! Measures the ratios that are guarded.

use std::collections::BTreeMap;

use super::GuardError;
use crate::bench::kernels::{Case, KernelBench};
use crate::bench::survey::SurveyOptions;
use crate::bench::{Kind, Options, run_on};
use crate::engine::{Engine, EngineError};
use crate::kernels::MODELS;
use crate::kernels::abi::Kernel;
use crate::model::Model;
use crate::probe::PLAUSIBLE;
use crate::probe::memory::WeightMemory;

/// Tokens of the prompt that a model is measured with, and tokens that it decodes.
const PROMPT: usize = 256;
const DECODED: usize = 256;

/// A ratio as measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The ratio.
    pub ratio: f64,
    /// Whether more than 1 can be: weights that caches hold are read faster than memory.
    pub unbounded: bool,
}

impl Reading {
    /// Whether the ratio says that the probe was too low.
    pub fn is_impossible(&self) -> bool {
        self.ratio > PLAUSIBLE && !self.unbounded
    }
}

/// What is guarded: kernels, and a model from end to end.
pub struct Gauge<'m> {
    model: &'m Model,
    engines: &'m [Engine],
    cases: Vec<Case>,
    memory: &'m WeightMemory,
    bench: KernelBench<'m>,
    speed: Options,
}

impl<'m> Gauge<'m> {
    /// A gauge of these kernels and a model on every engine.
    pub fn new(
        model: &'m Model,
        engines: &'m [Engine],
        cases: Vec<Case>,
        memory: &'m WeightMemory,
        options: &SurveyOptions,
    ) -> Self {
        let prompts = vec![PROMPT.min(model.config.context)];
        let decode = DECODED.min(model.config.context);
        let speed = Options { prompts, decode, depth: 0, sequences: vec![1], ..options.speed.clone() };
        let bench = KernelBench::new(memory, options.effort);
        Gauge { model, engines, cases, memory, bench, speed }
    }

    /// Numbers of threads.
    pub fn threads(&self) -> Vec<usize> {
        self.engines.iter().map(Engine::threads).collect()
    }

    /// Steps of a pass over everything.
    pub fn steps(&self) -> usize {
        self.engines.len() * (self.cases.len() + self.speed.repetitions)
    }

    /// Measures once what `wanted` says of its key; `tick` is called after each step.
    ///
    /// # Errors
    /// [`GuardError`] for a kernel that is not exact, or a model that fails.
    pub fn pass(
        &mut self,
        wanted: &dyn Fn(&str) -> bool,
        tick: &mut dyn FnMut(),
    ) -> Result<BTreeMap<String, Reading>, GuardError> {
        let mut readings = BTreeMap::new();
        for engine in self.engines {
            for case in &self.cases {
                let key = kernel_key(case, engine.threads());
                if wanted(&key) {
                    let ratio = self.bench.measure(case, engine)?.of_roof;
                    readings.insert(key, Reading { ratio, unbounded: false });
                }
                tick();
            }
            let name = &self.model.config.name;
            let keys = [Kind::Prefill, Kind::Decode].map(|kind| model_key(kind, name, engine.threads()));
            if keys.iter().any(|key| wanted(key)) {
                let engine = std::slice::from_ref(engine);
                for test in run_on(self.memory, self.model, engine, &self.speed, tick)?.tests {
                    let reading = match &test.read {
                        Some(read) => Reading { ratio: read.of_bandwidth, unbounded: read.cacheable },
                        None => Reading { ratio: test.of_peak, unbounded: false },
                    };
                    readings.insert(model_key(test.kind, name, test.threads), reading);
                }
                readings.retain(|key, _| wanted(key));
            }
        }
        Ok(readings)
    }
}

/// The products that are guarded: those of the largest matrix of each model that this program was built for, with the kernels
/// that the engine selects for batches and for a prompt.
///
/// # Errors
/// [`EngineError`] where no kernel takes a matrix.
pub fn selected(engine: &Engine, prompt: usize) -> Result<Vec<Case>, EngineError> {
    let largest = MODELS.iter().filter_map(|model| model.matrices.iter().max_by_key(|m| m.rows * m.cols));
    let mut shapes: Vec<_> = largest.map(|matrix| (matrix.rows, matrix.cols)).collect();
    shapes.sort_unstable();
    shapes.dedup();
    let mut cases = Vec::new();
    for (rows, cols) in shapes {
        let counts = engine.token_counts().into_iter();
        let kernels: Vec<Kernel> = counts.filter_map(|tokens| engine.kernel(rows, cols, tokens)).collect();
        let of_prompt = engine.plan(rows, cols, prompt)?;
        let is_of_prompt =
            |case: &Case| of_prompt.iter().any(|k| k.descriptor().name == case.kernel.descriptor().name);
        let all = Case::all(&kernels, &[(rows, cols)], prompt).into_iter();
        cases.extend(all.filter(|case| case.is_streamed() || is_of_prompt(case)));
    }
    Ok(cases)
}

/// Without the schedule: a kernel that is arranged anew is held against what was before.
fn kernel_key(Case { kernel, rows, cols, tokens }: &Case, threads: usize) -> String {
    let descriptor = kernel.descriptor();
    let (operation, isa) = (descriptor.operation, descriptor.isa.id);
    format!("{operation}__{isa}@{rows}x{cols}@tokens={tokens}@threads={threads}")
}

fn model_key(kind: Kind, model: &str, threads: usize) -> String {
    let (kind, tokens) = match kind {
        Kind::Prefill => ("prefill", PROMPT),
        Kind::Decode => ("decode", DECODED),
    };
    format!("{kind}__{model}@tokens={tokens}@threads={threads}")
}
