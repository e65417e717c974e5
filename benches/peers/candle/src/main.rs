//! Times candle on a GGUF file that convert.py wrote: one prefill and one run of decoded tokens.
//!
//!     candle-lane FILE PROMPT DECODE DEPTH
//!
//! prints `{"prefill": tokens/s, "decode": tokens/s}`. The number of threads is that of RAYON_NUM_THREADS.
//!
//!     candle-lane FILE --logits OUT.safetensors
//!
//! writes the logits of a few tokens, as `tritforge verify --reference` reads them.

mod model;

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use candle_core::{Device, Error, Result, Tensor};

use model::Model;

/// Tokens of the untimed prompt that comes first.
const WARM_UP: usize = 16;
/// Tokens whose logits are written.
const COMPARED: usize = 8;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("candle-lane: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [file, "--logits", out] => write_logits(Path::new(file), Path::new(out)),
        [file, prompt, decode, depth] => {
            let number = |text: &str| text.parse::<usize>().map_err(Error::wrap);
            time(Path::new(file), number(prompt)?, number(decode)?, number(depth)?)
        }
        _ => Err(Error::msg("usage: candle-lane FILE (PROMPT DECODE DEPTH | --logits OUT)")),
    }
}

/// Prints the tokens a second of both tests.
fn time(file: &Path, prompt: usize, decode: usize, depth: usize) -> Result<()> {
    let mut model = Model::load(file, prompt.max(depth + decode).max(WARM_UP + 1))?;
    let next = model.feed(&tokens(WARM_UP, model.vocab()))?;
    model.feed(&[next])?;

    model.forget();
    let start = Instant::now();
    let mut next = model.feed(&tokens(prompt, model.vocab()))?;
    let prefill = prompt as f64 / start.elapsed().as_secs_f64();

    model.forget();
    if depth > 0 {
        next = model.feed(&tokens(depth, model.vocab()))?;
    }
    let start = Instant::now();
    for _ in 0..decode {
        next = model.feed(&[next])?;
    }
    let decode = decode as f64 / start.elapsed().as_secs_f64();
    println!("{{\"prefill\": {prefill}, \"decode\": {decode}}}");
    Ok(())
}

/// Writes the logits of a few tokens to the safetensors file `out`.
fn write_logits(file: &Path, out: &Path) -> Result<()> {
    let mut model = Model::load(file, COMPARED)?;
    let ids = tokens(COMPARED, model.vocab());
    let rows = ids.iter().map(|&id| model.logits(&[id])).collect::<Result<Vec<_>>>()?;
    let ids = Tensor::from_iter(ids.into_iter().map(i64::from), &Device::Cpu)?;
    let tensors = HashMap::from([("input_ids", ids), ("logits", Tensor::stack(&rows, 0)?)]);
    candle_core::safetensors::save(&tensors, out)
}

/// Token ids that look random, the same in every run.
fn tokens(count: usize, vocab: usize) -> Vec<u32> {
    let next = |state: &u32| Some(state.wrapping_mul(1_103_515_245).wrapping_add(12345) % (1 << 31));
    std::iter::successors(Some(1u32), next)
        .skip(1)
        .take(count)
        .map(|state| (state >> 8) % vocab as u32)
        .collect()
}
