//! Continuing a text: prefill of the prompt, then one token at a time until something says stop.

use crate::model::{ForwardError, Session, Want};
use crate::sampling::Sampler;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// When a generation ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerateOptions {
    /// Greatest number of tokens to generate.
    pub max_tokens: usize,
    /// Ids that end the text. Such a token is neither reported nor counted. Empty: nothing ends it.
    pub stop_tokens: Vec<u32>,
}

/// Why a generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The model chose this token, which ends the text.
    StopToken(u32),
    /// As many tokens as asked for were generated.
    MaxTokens,
    /// The last position of the model's context is used; there is no room to go on.
    ContextFull,
    /// The callback asked to stop.
    Callback,
}

/// How many tokens were evaluated in what time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Time of the prefill.
    pub prompt_time: Duration,
    /// Tokens evaluated one by one after it.
    pub decode_tokens: usize,
    /// Time of evaluating and choosing these, without the callback.
    pub decode_time: Duration,
}

impl Timing {
    /// Prompt tokens per second; 0 when no time was measured.
    pub fn prompt_rate(&self) -> f64 {
        rate(self.prompt_tokens, self.prompt_time)
    }

    /// Decoded tokens per second; 0 when no time was measured.
    pub fn decode_rate(&self) -> f64 {
        rate(self.decode_tokens, self.decode_time)
    }
}

fn rate(tokens: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { tokens as f64 / time.as_secs_f64() }
}

/// What a generation produced.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The generated ids, without the prompt and without the stop token.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub stop: StopReason,
    /// What it took.
    pub timing: Timing,
}

/// Feeds `prompt` to `session` and generates tokens after it. `on_token` is called with each one as soon as
/// it is chosen and can end the generation.
///
/// The session may already hold an earlier part of the text, but only `prompt` and the generated tokens count
/// for the repetition penalty. The last generated token is not fed to the session.
///
/// # Errors
/// [`ForwardError`]: an empty prompt, an id outside of the vocabulary, a prompt that does not fit into the
/// context, a value that is not finite. A context that fills up later is no error but
/// [`StopReason::ContextFull`].
pub fn generate(
    session: &mut Session<'_>,
    sampler: &mut Sampler,
    prompt: &[u32],
    options: &GenerateOptions,
    mut on_token: impl FnMut(u32) -> ControlFlow<()>,
) -> Result<Generation, ForwardError> {
    let mut timing = Timing { prompt_tokens: prompt.len(), ..Timing::default() };
    let started = Instant::now();
    let mut logits = session.forward(prompt, Want::LastLogits)?;
    timing.prompt_time = started.elapsed();

    let mut history = prompt.to_vec();
    let stop = loop {
        if options.max_tokens == 0 {
            break StopReason::MaxTokens;
        }
        let started = Instant::now();
        let token = sampler.sample(logits, &history);
        let sampling_time = started.elapsed();
        if options.stop_tokens.contains(&token) {
            break StopReason::StopToken(token);
        }
        history.push(token);
        if on_token(token).is_break() {
            break StopReason::Callback;
        }
        if history.len() - prompt.len() == options.max_tokens {
            break StopReason::MaxTokens;
        }
        if session.remaining() == 0 {
            break StopReason::ContextFull;
        }
        let started = Instant::now();
        logits = session.forward(&[token], Want::LastLogits)?;
        timing.decode_tokens += 1;
        timing.decode_time += sampling_time + started.elapsed();
    };
    Ok(Generation { tokens: history.split_off(prompt.len()), stop, timing })
}
