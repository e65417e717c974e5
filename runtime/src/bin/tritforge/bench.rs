//! `tritforge bench`: how fast a model runs, and how close that is to what the machine can do.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::value_parser;
use tritforge::bench::{LEAST_PROBE_MIB, Options, run};
use tritforge::engine::Engine;
use tritforge::model::Profile;

use crate::Outcome;
use crate::model::{ModelArgs, NumericsArgs};

/// Options of `bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    numerics: NumericsArgs,

    /// Tokens of prompts, each fed at once and measured.
    #[arg(long, short, value_name = "LIST", value_delimiter = ',', default_value = "512", value_parser = value_parser!(u32).range(1..))]
    prompt: Vec<u32>,

    /// Tokens that are decoded one by one.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 128, value_parser = value_parser!(u32).range(1..))]
    decode: u32,

    /// Positions that are filled before the first of these.
    #[arg(long, short, value_name = "N", default_value_t = 0)]
    depth: u32,

    /// Numbers of threads, each measured; as many as there are physical cores if left out.
    #[arg(long, short, value_name = "LIST", value_delimiter = ',', value_parser = value_parser!(u16).range(1..=1024))]
    threads: Vec<u16>,

    /// Numbers of sequences that are decoded together, each measured.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1", value_parser = value_parser!(u16).range(1..=1024))]
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
}

impl Args {
    fn options(&self) -> Options {
        Options {
            prompts: self.prompt.iter().map(|&n| n as usize).collect(),
            decode: self.decode as usize,
            depth: self.depth as usize,
            sequences: self.batch.iter().map(|&n| n.into()).collect(),
            repetitions: self.repetitions as usize,
            profile: self.profile,
            probe_mib: self.probe_mib as usize,
        }
    }

    fn engines(&self) -> Result<Vec<Engine>, tritforge::engine::EngineError> {
        match &self.threads[..] {
            [] => Ok(vec![Engine::new()?]),
            threads => threads.iter().map(|&threads| Engine::with_threads(threads.into())).collect(),
        }
    }
}

/// Runs the command.
pub fn bench(args: Args) -> Outcome {
    let engines = args.engines()?;
    // The last of them is the one of most threads, as a rule: it packs the fastest.
    let packer = engines.last().ok_or("no number of threads")?;
    let model = args.model.pack(packer, &args.numerics, Profile::Fast)?;
    let report = run(&model, &engines, &args.options())?;
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
