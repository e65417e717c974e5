//! `tritforge synth`: a model of real shapes and random weights.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tritforge::format::{FloatType, StorageType};
use tritforge::synth::{SynthOptions, synth as write_model};

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

    /// Type of the output head and the embedding: f32, f16, bf16, q8_0, q6_k or q4_0.
    #[arg(long, value_name = "TYPE", default_value_t = StorageType::Float(FloatType::F16))]
    head: StorageType,

    /// Replace the file if it exists.
    #[arg(long)]
    overwrite: bool,
}

/// Runs the command.
pub fn synth(args: Args) -> Outcome {
    let options = SynthOptions { seed: args.seed, head: args.head, overwrite: args.overwrite };
    let shapes = kernelgen::config::load(&args.config)?;
    let report = write_model(&shapes, &args.out, &options)?;
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
