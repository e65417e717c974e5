//! How many tokens of a prompt go through the layers together. It bounds the working memory of a long prompt and changes no
//! result.

use super::config::ModelConfig;
use crate::cpu;
use crate::engine::Engine;
use crate::kernels::abi::TILE_RUN;

/// Tokens at most: the more, the rarer the weights come from memory and are brought apart.
const MOST: usize = 512;
/// Tokens at least: with fewer, weights come from memory as often as all else together is computed.
const LEAST: usize = 128;
/// Tokens that kernels on tiles take at once.
const WHOLE: usize = 32;

/// Tokens for an engine unless the caller says otherwise. Kernels on tiles multiply so fast that a prompt waits for its
/// activations where they are more than the second-level caches hold, and they bring codes apart for themselves: they get as
/// many tokens as fit. (2B-4T on two cores of an Emerald Rapids: 605 tokens a second by 128, 534 by 512.)
pub(crate) fn prompt_batch(config: &ModelConfig, engine: &Engine) -> usize {
    let plan = engine.plan(config.ffn, config.hidden, MOST);
    let tiles = plan.is_ok_and(|plan| plan.iter().any(|k| k.descriptor().interleaved == Some(TILE_RUN)));
    match cpu::second_level_bytes() {
        Some(bytes) if tiles => fitting(bytes * engine.threads(), config.ffn),
        _ => MOST,
    }
}

/// Tokens whose widest activations fit so many bytes.
fn fitting(bytes: usize, ffn: usize) -> usize {
    let tokens = bytes / (size_of::<f32>() * ffn.max(1));
    (tokens / WHOLE * WHOLE).clamp(LEAST, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_whole_calls_as_fit() {
        // 4 MiB hold 151 vectors of 6912 floats, and 273 of 3840.
        assert_eq!((fitting(4 << 20, 6912), fitting(4 << 20, 3840)), (128, 256));
        assert_eq!((fitting(1 << 20, 6912), fitting(64 << 20, 6912), fitting(4 << 20, 0)), (128, 512, 512));
    }
}
