//! `tritforge synth`: a model of real shapes and random weights.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tritforge::synth::synth as write_model;

use crate::Outcome;

/// Options of `synth`.
#[derive(clap::Args)]
pub struct Args {
    /// The shapes: a model config in TOML, such as configs/models/bitnet-b1.58-2b-4t.toml.
    config: PathBuf,

    /// The GGUF file to write.
    out: PathBuf,

    /// Chooses the random weights.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Replace the file if it exists.
    #[arg(long)]
    overwrite: bool,
}

/// Runs the command.
pub fn synth(args: Args) -> Outcome {
    let shapes = kernelgen::config::load(&args.config)?;
    let report = write_model(&shapes, &args.out, args.seed, args.overwrite)?;
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}: synthetic {}, {} tensors, {} bytes",
        args.out.display(),
        shapes.name,
        report.tensors,
        report.bytes
    )?;
    Ok(ExitCode::SUCCESS)
}
