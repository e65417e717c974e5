//! `tritforge verify`: compares a model's outputs with a reference.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tritforge::model::Profile;
use tritforge::verify::{Reference, verify as compare};

use crate::Outcome;
use crate::model::{EngineArgs, ModelArgs, NumericsArgs, warn_of_faults};

/// Options of `verify`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    numerics: NumericsArgs,

    /// Reference outputs: safetensors with input_ids and any of logits, embedding, hidden.N, greedy.
    #[arg(long, value_name = "FILE")]
    reference: PathBuf,

    /// Largest difference that passes, in standard deviations of the reference tensor.
    #[arg(long, value_name = "STD", default_value_t = 1e-3, value_parser = tolerance)]
    tolerance: f64,
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("a tolerance is a number of at least 0".to_owned()),
    }
}

/// Runs the command; the exit code is non-zero where a difference is past the tolerance.
pub fn verify(args: Args) -> Outcome {
    let reference = Reference::load(&args.reference)?;
    let engine = args.engine.engine()?;
    let model = args.model.pack(&engine, &args.numerics, Profile::Exact)?;
    warn_of_faults(&engine)?;
    let report = compare(&model, &engine, &reference)?;
    let passes = report.passes(args.tolerance);
    let mut out = io::stdout().lock();
    write!(out, "{report}")?;
    let verdict = if passes { "PASS" } else { "FAIL" };
    writeln!(out, "{verdict}: tolerance {} std, {}", args.tolerance, engine.isa().id)?;
    out.flush()?;
    Ok(if passes { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
