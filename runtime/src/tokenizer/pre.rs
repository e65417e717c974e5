//! [`PreTokenizer`]: how text is split into pieces before byte-pair merging.

use std::fmt;
use std::str::FromStr;

use super::error::TokenizerError;

/// The supported names, as errors list them.
pub(super) const NAMES: &str = "llama-bpe, gpt-2, qwen2";

/// A way to split text before merging, by the name that GGUF files give it (`tokenizer.ggml.pre`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreTokenizer {
    /// `llama-bpe`: Llama 3 and BitNet b1.58 2B-4T.
    LlamaBpe,
    /// `gpt-2`.
    Gpt2,
    /// `qwen2`.
    Qwen2,
}

impl PreTokenizer {
    /// All of them.
    pub const ALL: [PreTokenizer; 3] = [PreTokenizer::LlamaBpe, PreTokenizer::Gpt2, PreTokenizer::Qwen2];

    /// The name in GGUF files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            PreTokenizer::LlamaBpe => "llama-bpe",
            PreTokenizer::Gpt2 => "gpt-2",
            PreTokenizer::Qwen2 => "qwen2",
        }
    }

    /// The splitting pattern, as the models' own `tokenizer.json` files have it.
    pub(super) fn pattern(self) -> &'static str {
        match self {
            PreTokenizer::LlamaBpe => {
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            }
            PreTokenizer::Gpt2 => {
                r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
            }
            PreTokenizer::Qwen2 => {
                r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            }
        }
    }

    /// Whether a whole piece that is a token is emitted as that token without looking at the merges.
    pub(crate) fn ignores_merges(self) -> bool {
        self == PreTokenizer::LlamaBpe
    }

    /// Whether a beginning-of-text token is added where the file does not say.
    pub(super) fn adds_bos(self) -> bool {
        self == PreTokenizer::LlamaBpe
    }
}

impl fmt::Display for PreTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PreTokenizer {
    type Err = TokenizerError;

    fn from_str(name: &str) -> Result<Self, TokenizerError> {
        Self::ALL
            .into_iter()
            .find(|pre| pre.name() == name)
            .ok_or_else(|| TokenizerError::PreTokenizer { found: name.chars().take(100).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_others_are_refused_with_the_list() {
        for pre in PreTokenizer::ALL {
            assert_eq!(pre.name().parse(), Ok(pre));
        }
        let error = "falcon_e".parse::<PreTokenizer>().unwrap_err().to_string();
        assert!(error.contains("falcon_e") && error.contains("llama-bpe, gpt-2, qwen2"), "{error}");
    }
}
