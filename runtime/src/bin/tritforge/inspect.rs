//! `tritforge inspect`: what a model file holds, and what it takes in memory.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use tritforge::engine::Engine;
use tritforge::format::{RawModel, VocabMatrix};
use tritforge::head::Head;
use tritforge::memory::MatrixMemory;
use tritforge::model::{Model, ProfileOptions};
use tritforge::packed::PackedLayerWeights;

use crate::Outcome;
use crate::model::ModelArgs;
use crate::progress;

/// Options of `inspect`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
}

/// Runs the command.
pub fn inspect(args: Args) -> Outcome {
    let since = Instant::now();
    let raw = args.model.load()?;
    let mut out = io::stdout().lock();
    metadata(&raw, &mut out)?;
    tensors(&raw, &mut out)?;
    // Packing reads every weight, so that a damaged file is found out here as in `run`.
    let model = progress::pack(raw, &Engine::new()?, ProfileOptions::default(), since)?;
    memory(&model, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn metadata(raw: &RawModel, out: &mut impl Write) -> io::Result<()> {
    let (source, c) = (&raw.source, &raw.config);
    writeln!(out, "{} ({}, {} bytes)", c.name, source.format, source.file_bytes)?;
    writeln!(out, "\nMetadata")?;
    for (key, value) in &source.metadata {
        writeln!(out, "  {key} = {value}")?;
    }
    writeln!(out, "\nGraph")?;
    let sub_norms = if c.sub_norms { "with sub-norms" } else { "without sub-norms" };
    let head = if raw.output.is_some() { "untied head" } else { "tied head" };
    writeln!(out, "  {}, {}, {sub_norms}, {head}", c.architecture, c.activation.name())?;
    writeln!(
        out,
        "  {} layers, hidden {}, ffn {}, {} heads of {} ({} kv), vocabulary {}, context {}",
        c.layers, c.hidden, c.ffn, c.heads, c.head_dim, c.kv_heads, c.vocab, c.context
    )?;
    match raw.tokenizer.loaded() {
        Ok(tokenizer) => writeln!(out, "  tokenizer of {} tokens", tokenizer.vocab_size()),
        Err(reason) => writeln!(out, "  no tokenizer: {reason}"),
    }
}

fn tensors(raw: &RawModel, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nTensors")?;
    for tensor in &raw.source.tensors {
        let shape: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
        let shape = shape.join("x");
        writeln!(
            out,
            "  {:<40} {shape:>14} {:<5} {:>12} bytes",
            tensor.name, tensor.type_name, tensor.bytes
        )?;
    }
    Ok(())
}

/// The memory table: f32 bytes, packed bytes without and with padding, and the ratio.
fn memory(model: &Model, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\nMemory                     f32 bytes         packed       resident   ratio")?;
    let mut line = |name: &str, m: MatrixMemory| {
        writeln!(
            out,
            "  {name:<16} {:>17} {:>14} {:>14} {:>6.1}x",
            m.f32_bytes,
            m.logical_bytes,
            m.resident_bytes,
            m.ratio()
        )
    };
    // The same projection of every layer in one line.
    let mut roles: Vec<(&str, MatrixMemory)> = Vec::new();
    for (role, weights) in model.layers.iter().flat_map(PackedLayerWeights::projections) {
        match roles.iter_mut().find(|(name, _)| *name == role) {
            Some((_, sum)) => *sum = *sum + weights.memory(),
            None => roles.push((role, weights.memory())),
        }
    }
    for &(role, of_role) in &roles {
        line(role, of_role)?;
    }
    let ternary = roles.iter().map(|(_, m)| *m).sum();
    line("all ternary", ternary)?;
    let mut total = ternary;
    let mut tables = vec![("token_embd", as_stored(&model.token_embd))];
    if model.output.is_some() {
        tables.push(("output", of_head(&model.head)));
    }
    for (name, m) in tables {
        line(name, m)?;
        total = total + m;
    }
    let values =
        model.layers.iter().map(PackedLayerWeights::norm_values).sum::<usize>() + model.output_norm.len();
    let norms = MatrixMemory { f32_bytes: 4 * values, ..MatrixMemory::default().with_f32_values(values) };
    line("norms", norms)?;
    line("model", total + norms)
}

/// An embedding stays as it is stored.
fn as_stored(tensor: &VocabMatrix) -> MatrixMemory {
    let bytes = tensor.bytes().len();
    MatrixMemory { f32_bytes: 4 * tensor.rows() * tensor.cols(), logical_bytes: bytes, resident_bytes: bytes }
}

/// A head that is a tensor of its own.
fn of_head(head: &Head) -> MatrixMemory {
    let bytes = head.bytes_per_token();
    MatrixMemory { f32_bytes: 4 * head.rows() * head.cols(), logical_bytes: bytes, resident_bytes: bytes }
}
