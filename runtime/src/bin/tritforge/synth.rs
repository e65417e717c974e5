//! `tritforge synth`: a model of random weights in the shapes of a config.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tritforge::format::FloatType;
use tritforge::synth::{SynthOptions, synth as synthesise};

use crate::Outcome;

/// Options of `synth`.
#[derive(clap::Args)]
pub struct Args {
    /// The shapes: a model config, such as configs/models/bitnet-b1.58-2b-4t.toml.
    config: PathBuf,

    /// The file to write.
    out: PathBuf,

    /// Seed of the random weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Type of the output head and of the embedding.
    #[arg(long, value_enum, default_value_t = Head::F16)]
    head: Head,

    /// Replace the file if it exists.
    #[arg(long)]
    overwrite: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Head {
    F16,
    Bf16,
    F32,
}

/// Runs the command.
pub fn synth(args: Args) -> Outcome {
    let head = match args.head {
        Head::F16 => FloatType::F16,
        Head::Bf16 => FloatType::Bf16,
        Head::F32 => FloatType::F32,
    };
    let options = SynthOptions { seed: args.seed, head, overwrite: args.overwrite };
    let report = synthesise(&args.config, &args.out, &options)?;
    writeln!(
        io::stdout().lock(),
        "{}: {} tensors, {} random ternary weights, {} bytes",
        args.out.display(),
        report.tensors,
        report.ternary_weights,
        report.bytes
    )?;
    Ok(ExitCode::SUCCESS)
}
