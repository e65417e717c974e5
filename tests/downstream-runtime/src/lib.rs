//! What a program that links the runtime does: load a model, feed a prompt, take the most probable tokens.

use std::error::Error;
use std::ops::ControlFlow;

use tritforge::demo;
use tritforge::engine::Engine;
use tritforge::format::LoadOptions;
use tritforge::generate::{GenerateOptions, generate};
use tritforge::model::{Model, Session};
use tritforge::sampling::{Sampler, SamplerOptions};

/// The `count` most probable tokens after `prompt` by the demo model, and their text.
///
/// # Errors
/// Whatever the runtime reports.
pub fn continuation(prompt: &str, count: usize) -> Result<(Vec<u32>, String), Box<dyn Error>> {
    let engine = Engine::new()?;
    let model = Model::from_raw(demo::load(&LoadOptions::default())?, &engine)?;
    let tokenizer = model.tokenizer.loaded()?;
    let ids = tokenizer.encode(prompt, true)?;
    let mut sampler = Sampler::new(SamplerOptions { temperature: 0.0, ..SamplerOptions::default() })?;
    let options = GenerateOptions { max_tokens: count, stop_tokens: tokenizer.stop_tokens().to_vec() };
    let mut session = Session::new(&model, &engine);
    let generation = generate(&mut session, &mut sampler, &ids, &options, |_| ControlFlow::Continue(()))?;
    let text = tokenizer.decode(&generation.tokens);
    Ok((generation.tokens, text))
}
