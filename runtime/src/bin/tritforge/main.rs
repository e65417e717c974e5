//! The `tritforge` command.

mod bench;
mod convert;
mod inspect;
mod kernels;
mod model;
mod progress;
mod run;
mod synth;
mod tokenize;
mod tune;
mod verify;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Run ternary (BitNet b1.58) language models on the CPU.
///
/// Without a model, the embedded demo storyteller is used. TRITFORGE_ISA=<id> overrides the choice of kernels;
/// `tritforge kernels` lists the ids.
#[derive(Parser)]
#[command(name = "tritforge", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Continue a text.
    Run(run::Args),
    /// Show a model's metadata, tensors and memory.
    Inspect(inspect::Args),
    /// List the kernels that are linked, and which ones this CPU selects.
    Kernels(kernels::Args),
    /// Convert a Hugging Face checkpoint to GGUF.
    Convert(convert::Args),
    /// Write a model of real shapes and random weights, for measurements.
    Synth(synth::Args),
    /// Compare a model's outputs with reference outputs.
    Verify(verify::Args),
    /// Turn text into token ids.
    Tokenize(tokenize::Args),
    /// Measure how fast a model runs, and how close that is to what the machine can do.
    Bench(bench::Args),
    /// Find the fastest kernels, threads and block sizes of this machine, for later runs.
    Tune(tune::Args),
}

/// What a command ends with: an error becomes one line and a non-zero exit code.
type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::run(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Kernels(args) => kernels::kernels(args),
        Command::Convert(args) => convert::convert(args),
        Command::Synth(args) => synth::synth(args),
        Command::Verify(args) => verify::verify(args),
        Command::Tokenize(args) => tokenize::tokenize(args),
        Command::Bench(args) => bench::bench(args),
        Command::Tune(args) => tune::tune(args),
    };
    outcome.unwrap_or_else(|error| {
        if is_closed_pipe(error.as_ref()) {
            // Whoever reads our output has seen enough.
            return ExitCode::SUCCESS;
        }
        let _ = writeln!(io::stderr(), "error: {}", one_line(&error.to_string()));
        ExitCode::FAILURE
    })
}

/// A message on one line: names in it come from arguments and files, and may hold line breaks or worse.
fn one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for c in message.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

fn is_closed_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}
