//! Times candle on a GGUF file that convert.py wrote: one prefill and one run of decoded tokens.
//!
//!     candle-lane FILE PROMPT DECODE DEPTH
//!
//! prints `{"prefill": tokens/s, "decode": tokens/s}`. The number of threads is that of RAYON_NUM_THREADS.

mod model;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use candle_core::{Error, Result};

use model::Model;

/// Tokens of the untimed prompt that comes first.
const WARM_UP: usize = 16;

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
    let [file, prompt, decode, depth] = &arguments[..] else {
        return Err(Error::msg("usage: candle-lane FILE PROMPT DECODE DEPTH"));
    };
    let [prompt, decode, depth] = [prompt, decode, depth].map(|text| text.parse::<usize>().map_err(Error::wrap));
    let (prompt, decode, depth) = (prompt?, decode?, depth?);
    let mut model = Model::load(Path::new(file), prompt.max(depth + decode).max(WARM_UP + 1))?;

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

/// Token ids that look random, the same in every run.
fn tokens(count: usize, vocab: usize) -> Vec<u32> {
    let next = |state: &u32| Some(state.wrapping_mul(1_103_515_245).wrapping_add(12345) % (1 << 31));
    std::iter::successors(Some(1u32), next).skip(1).take(count).map(|state| (state >> 8) % vocab as u32).collect()
}
