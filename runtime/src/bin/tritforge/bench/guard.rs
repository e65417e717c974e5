//! `tritforge bench --check` and `--record`: ratios held against recorded ones.

use std::io::{self, Write};
use std::process::ExitCode;

use tritforge::bench::guard::{self, Baseline, Gauge, GuardError, PASSES};
use tritforge::bench::{Options, Progress};
use tritforge::engine::Engine;
use tritforge::model::Profile;
use tritforge::probe::MIB;
use tritforge::probe::memory::WeightMemory;

use super::Args;
use crate::{Outcome, progress};

/// Holds this machine's ratios against the recorded ones.
pub fn check(args: &Args) -> Outcome {
    let baseline = Baseline::read(&args.baseline)?;
    let entry = baseline.entry(&args.baseline)?;
    let engines: Result<Vec<Engine>, _> =
        entry.threads.iter().map(|&threads| Engine::with_threads(threads)).collect();
    let verdict = with_gauge(args, engines?, |gauge, show| guard::check(gauge, &entry.ratios, show))?;
    let mut out = io::stdout().lock();
    write!(out, "{verdict}")?;
    out.flush()?;
    verdict.result()?;
    Ok(ExitCode::SUCCESS)
}

/// Writes this machine's ratios to the baseline.
pub fn record(args: &Args) -> Outcome {
    let mut baseline = Baseline::read_or_new(&args.baseline)?;
    let engines = args.engines(|_| vec![1])?;
    let passes = if args.quick { 1 } else { PASSES };
    let entry = with_gauge(args, engines, |gauge, show| guard::record(gauge, passes, show))?;
    let mut out = io::stdout().lock();
    for (key, recorded) in &entry.ratios {
        writeln!(out, "{:.3} (noise {:.3})  {key}", recorded.ratio, recorded.noise)?;
    }
    let count = entry.ratios.len();
    baseline.replace(entry);
    baseline.write(&args.baseline)?;
    writeln!(out, "{count} ratios recorded in {}", args.baseline.display())?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn with_gauge<T>(
    args: &Args,
    engines: Vec<Engine>,
    run: impl FnOnce(&mut Gauge<'_>, &mut dyn FnMut(Progress)) -> Result<T, GuardError>,
) -> Result<T, Box<dyn std::error::Error>> {
    let packer = engines.last().ok_or("no number of threads")?;
    let model = args.model.pack(packer, &args.numerics, Profile::Fast)?;
    let options = args.survey_options();
    let Options { probe_mib, .. } = options.speed;
    let memory = WeightMemory::new(probe_mib * MIB);
    let cases = guard::selected(packer, options.effort.prompt)?;
    let (bar, mut show) = progress::steps("measuring");
    let found = run(&mut Gauge::new(&model, &engines, cases, &memory, &options), &mut show)?;
    bar.finish_and_clear();
    Ok(found)
}
