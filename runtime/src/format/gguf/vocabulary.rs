//! The tokenizer of a GGUF file.

use super::metadata::{Metadata, bad};
use super::reader::GgufFile;
use super::value::{Value, ValueType};
use crate::format::error::FormatError;
use crate::format::raw_model::shortened;
use crate::format::strings::StringArray;
use crate::tokenizer::{
    BpeParts, PreTokenizer, TokenKind, Tokenizer, TokenizerError, TokenizerState, Vocabulary,
};

const MODEL_KEY: &str = "tokenizer.ggml.model";
const PRE_KEY: &str = "tokenizer.ggml.pre";
const TOKENS_KEY: &str = "tokenizer.ggml.tokens";
const KINDS_KEY: &str = "tokenizer.ggml.token_type";
const MERGES_KEY: &str = "tokenizer.ggml.merges";

/// Reads the tokenizer of a model with `vocab` embedding rows.
///
/// `chosen` is the pre-tokenizer that the user named; `known` the one that this kind of model is known to
/// have where its file names none.
pub(super) fn read(
    file: &GgufFile,
    metadata: &Metadata<'_>,
    vocab: usize,
    chosen: Option<PreTokenizer>,
    known: Option<PreTokenizer>,
) -> Result<TokenizerState, FormatError> {
    let model = match metadata.text(MODEL_KEY)? {
        Some("gpt2") => "gpt2",
        Some(other) => {
            let reason = format!(
                "the file's tokenizer is of the kind `{}`; supported is `gpt2` (byte-level BPE)",
                shortened(other)
            );
            return Ok(TokenizerState::Absent { reason });
        }
        None => {
            let reason =
                format!("the file has no tokenizer (no `{MODEL_KEY}`); supported is `gpt2` (byte-level BPE)");
            return Ok(TokenizerState::Absent { reason });
        }
    };
    let pre = match (chosen, metadata.text(PRE_KEY)?) {
        (Some(pre), _) => pre,
        (None, Some(name)) => name.parse::<PreTokenizer>()?,
        (None, None) => known.ok_or_else(|| TokenizerError::NoPreTokenizer { model: model.to_owned() })?,
    };
    let tokens = strings(file, TOKENS_KEY)?;
    if tokens.len() > vocab {
        return Err(FormatError::Contradiction {
            key: TOKENS_KEY.into(),
            value: format!("{} tokens", tokens.len()),
            other: format!("the embedding has only {vocab} rows"),
        });
    }
    let kinds = kinds(file, tokens.len())?;
    let merges = strings(file, MERGES_KEY)?;
    let mut stop = Vec::new();
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
        stop.extend(metadata.token(key)?);
    }
    let parts = BpeParts {
        vocabulary: Vocabulary::new(tokens, kinds)?,
        merges,
        pre,
        bos: metadata.token("tokenizer.ggml.bos_token_id")?,
        eos: metadata.token("tokenizer.ggml.eos_token_id")?,
        stop,
        add_bos: metadata.flag("tokenizer.ggml.add_bos_token")?,
        add_eos: metadata.flag("tokenizer.ggml.add_eos_token")?,
    };
    Ok(TokenizerState::Loaded(Tokenizer::from_bpe(parts)?))
}

/// How many tokens the file's vocabulary has; none where it has no vocabulary.
pub(super) fn token_count(file: &GgufFile) -> Result<usize, FormatError> {
    match file.get(TOKENS_KEY) {
        Some(_) => Ok(strings(file, TOKENS_KEY)?.len()),
        None => Ok(0),
    }
}

fn strings(file: &GgufFile, key: &str) -> Result<StringArray, FormatError> {
    let value = file.get(key).ok_or_else(|| FormatError::MissingKey { key: key.to_owned() })?;
    file.strings(&value).ok_or_else(|| bad(key, &value, "an array of strings"))
}

/// The kind of each token; without the key all are normal.
fn kinds(file: &GgufFile, count: usize) -> Result<Vec<TokenKind>, FormatError> {
    let Some(value) = file.get(KINDS_KEY) else { return Ok(vec![TokenKind::Normal; count]) };
    let array = match value {
        Value::Array(array) if array.element == ValueType::I32 && array.count == count => array,
        _ => return Err(bad(KINDS_KEY, &value, &format!("an array of {count} i32"))),
    };
    array
        .bytes
        .chunks_exact(4)
        .enumerate()
        .map(|(token, b)| {
            let id = i32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            TokenKind::from_gguf(id).ok_or_else(|| TokenizerError::TokenKind { token, found: id }.into())
        })
        .collect()
}
