//! `tritforge tokenize`: text to token ids.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::Outcome;
use crate::model::ModelArgs;

/// Options of `tokenize`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// The text, after a model; standard input if neither a text nor a file is given.
    #[arg(conflicts_with = "file")]
    text: Option<String>,

    /// Read the text from a file.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Add no special tokens, such as the one that begins a text.
    #[arg(long)]
    no_special: bool,
}

/// Runs the command.
pub fn tokenize(args: Args) -> Outcome {
    let text = match (&args.text, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => {
            std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?
        }
        (None, None) => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            text
        }
    };
    let state = args.model.load_tokenizer()?;
    let tokenizer = state.loaded()?;
    let ids = tokenizer.encode(&text, !args.no_special)?;
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    let mut out = io::stdout().lock();
    writeln!(out, "{}", ids.join(" "))?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
