//! `tritforge bench`: how fast a model runs, and how close that is to what the machine can do.

mod guard;
mod report;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::value_parser;
use tritforge::bench::survey::SurveyOptions;
use tritforge::bench::{LEAST_PROBE_MIB, Options, run};
use tritforge::engine::{Engine, EngineError};
use tritforge::model::Profile;

use crate::Outcome;
use crate::model::{ModelArgs, NumericsArgs};

/// Options of `bench`.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("mode").multiple(false))]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    numerics: NumericsArgs,

    /// Tokens of prompts, each fed at once and measured; 512 if left out, with --report 16,64,256,512.
    #[arg(long, short, value_name = "LIST", value_delimiter = ',', value_parser = value_parser!(u32).range(1..))]
    prompt: Vec<u32>,

    /// Tokens that are decoded one by one; 128 if left out, with --report 64.
    #[arg(long, short = 'n', value_name = "N", value_parser = value_parser!(u32).range(1..))]
    decode: Option<u32>,

    /// Positions that are filled before the first of these.
    #[arg(long, short, value_name = "N", default_value_t = 0)]
    depth: u32,

    /// Numbers of threads, each measured; as many as there are physical cores if left out, with --report powers of two up to
    /// that.
    #[arg(long, short, value_name = "LIST", value_delimiter = ',', value_parser = value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,

    /// Numbers of sequences that are decoded together, each measured; 1 if left out, with --report 1,2,4,8,16.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = value_parser!(u16).range(1..=1024))]
    batch: Vec<u16>,

    /// Repetitions of everything.
    #[arg(long, short, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    repetitions: u32,

    /// Say where a token's time goes.
    #[arg(long)]
    profile: bool,

    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,

    /// Memory that the probe of the bandwidth goes through: more than the caches hold.
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = value_parser!(u32).range(LEAST_PROBE_MIB as i64..=1 << 20))]
    probe_mib: u32,

    /// Measure the model and every kernel, and write report.json, report.md and report.html, a page with plots, to a folder.
    #[arg(long, value_name = "DIR", group = "mode", conflicts_with_all = ["json", "profile"])]
    report: Option<PathBuf>,

    /// What other programs reach, for the report: a file that benches/peers/compare.py wrote.
    #[arg(long, value_name = "FILE", requires = "report")]
    peers: Option<PathBuf>,

    /// Hold the ratios of the selected kernels and of the model to what the machine can do against those recorded on this
    /// CPU; fail when one fell by more than its noise.
    #[arg(long, group = "mode", conflicts_with_all = ["threads", "prompt", "decode", "depth", "batch", "profile", "json"])]
    check: bool,

    /// Record these ratios for this CPU.
    #[arg(long, group = "mode", conflicts_with_all = ["prompt", "decode", "depth", "batch", "profile", "json"])]
    record: bool,

    /// The file of recorded ratios.
    #[arg(long, value_name = "FILE", default_value = "benches/baseline.json")]
    baseline: PathBuf,

    /// With --report, --check or --record: everything once and on little memory, to see that it works.
    #[arg(long, requires = "mode")]
    quick: bool,
}

impl Args {
    /// What was asked for, and `default` for the rest.
    fn options(&self, default: Options) -> Options {
        fn list<T: Copy + Into<u32>>(asked_for: &[T], default: Vec<usize>) -> Vec<usize> {
            let asked_for: Vec<usize> = asked_for.iter().map(|&n| n.into() as usize).collect();
            if asked_for.is_empty() { default } else { asked_for }
        }
        Options {
            prompts: list(&self.prompt, default.prompts),
            decode: self.decode.map_or(default.decode, |tokens| tokens as usize),
            depth: self.depth as usize,
            sequences: list(&self.batch, default.sequences),
            repetitions: self.repetitions as usize,
            profile: self.profile,
            probe_mib: self.probe_mib as usize,
        }
    }

    /// The same for everything that is measured beside the model.
    fn survey_options(&self) -> SurveyOptions {
        let default = SurveyOptions::default();
        let options = SurveyOptions { speed: self.options(default.speed.clone()), ..default };
        if self.quick { options.quick() } else { options }
    }

    /// An engine for each number of threads that was asked for, else for each of `default`.
    fn engines(&self, default: impl FnOnce(usize) -> Vec<usize>) -> Result<Vec<Engine>, EngineError> {
        match &self.threads[..] {
            [] => {
                let all = Engine::new()?;
                let counts = default(all.threads());
                let mut engines = Vec::new();
                for threads in counts.into_iter().filter(|threads| *threads != all.threads()) {
                    engines.push(Engine::with_threads(threads)?);
                }
                engines.push(all);
                Ok(engines)
            }
            threads => threads.iter().map(|&threads| Engine::with_threads(threads.into())).collect(),
        }
    }
}

/// Runs the command.
pub fn bench(args: Args) -> Outcome {
    match (&args.report, args.check, args.record) {
        (Some(folder), ..) => report::report(&args, folder),
        (None, true, _) => guard::check(&args),
        (None, false, true) => guard::record(&args),
        (None, false, false) => table(&args),
    }
}

fn table(args: &Args) -> Outcome {
    let engines = args.engines(|_| Vec::new())?;
    // The last of them is the one of most threads, as a rule: it packs the fastest.
    let packer = engines.last().ok_or("no number of threads")?;
    let model = args.model.pack(packer, &args.numerics, Profile::Fast)?;
    let report = run(&model, &engines, &args.options(Options::default()))?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
