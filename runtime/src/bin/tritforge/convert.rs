//! `tritforge convert`: a Hugging Face checkpoint to GGUF.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use tritforge::convert::{ConvertOptions, StoreAs, convert as convert_checkpoint};
use tritforge::model::Activation;

use crate::{Outcome, one_line};

/// Options of `convert`.
#[derive(clap::Args)]
pub struct Args {
    /// The checkpoint: a directory with config.json and safetensors, and tokenizer.json for text.
    checkpoint: PathBuf,

    /// The file to write.
    out: PathBuf,

    /// Replace the file if it exists.
    #[arg(long)]
    overwrite: bool,

    /// Name of the model in the file; the directory's name if left out.
    #[arg(long)]
    name: Option<String>,

    /// Type of the output head in the file: stored (the checkpoint's), f32, f16, bf16, q8_0, q6_k or q4_0; that of the
    /// embedding if left out. An embedding that serves as the head follows it.
    #[arg(long, value_name = "TYPE")]
    head: Option<StoreAs>,

    /// Type of the embedding in the file, as for --head; f16 if left out.
    #[arg(long, value_name = "TYPE")]
    embedding: Option<StoreAs>,

    /// Activation function, where config.json does not name it: relu2 or silu.
    #[arg(long, value_name = "NAME")]
    act: Option<Activation>,
}

/// Runs the command.
pub fn convert(args: Args) -> Outcome {
    let options = ConvertOptions {
        name: args.name,
        overwrite: args.overwrite,
        head: args.head,
        embedding: args.embedding,
        act: args.act,
    };
    let report = convert_checkpoint(&args.checkpoint, &args.out, &options)?;
    let mut err = io::stderr().lock();
    for warning in &report.warnings {
        writeln!(err, "warning: {}", one_line(warning))?;
    }
    if let Some(reason) = &report.no_tokenizer {
        writeln!(err, "warning: the file has no tokenizer, so `run` will refuse text: {reason}")?;
    }
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{}: {} tensors, {} bytes; largest rounding of a value of embedding or head {:e}",
        args.out.display(),
        report.tensors,
        report.bytes,
        report.largest_rounding
    )?;
    Ok(ExitCode::SUCCESS)
}
