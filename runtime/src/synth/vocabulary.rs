//! A vocabulary that can spell every text and means nothing: the 256 bytes, fillers, two marks.

use super::SynthError;
use crate::format::StringArray;
use crate::format::gguf::GgufWriter;
use crate::tokenizer::{PreTokenizer, TokenKind, alphabet};

const BYTES: usize = 256;
/// Beginning and end of a text, the last two tokens.
const MARKS: [&str; 2] = ["<|begin_of_text|>", "<|end_of_text|>"];

/// Writes the tokenizer's keys for a model of `vocab` tokens.
///
/// Token `n` below 256 is the byte `n`, so that a prompt takes one token a byte. What no byte and no mark is,
/// reads as ` wn`: a model of random weights says such tokens nearly always, and they should be seen.
pub(super) fn put(writer: &mut GgufWriter, vocab: usize) -> Result<(), SynthError> {
    let needed = BYTES + MARKS.len();
    if vocab < needed {
        return Err(SynthError::Vocabulary { found: vocab, needed });
    }
    let alphabet = alphabet();
    let space = alphabet[usize::from(b' ')];
    let marks = vocab - MARKS.len();
    let text = |id: usize| match id {
        0..BYTES => alphabet[id].to_string(),
        _ if id < marks => format!("{space}w{id}"),
        _ => MARKS[id - marks].to_owned(),
    };
    writer.put_str("tokenizer.ggml.model", "gpt2");
    writer.put_str("tokenizer.ggml.pre", PreTokenizer::LlamaBpe.name());
    writer.put_strings("tokenizer.ggml.tokens", &(0..vocab).map(text).collect::<StringArray>());
    let kind = |id| if id < marks { TokenKind::Normal } else { TokenKind::Control };
    writer.put_i32s("tokenizer.ggml.token_type", (0..vocab).map(|id| kind(id) as i32));
    writer.put_strings("tokenizer.ggml.merges", &[""; 0].into_iter().collect::<StringArray>());
    writer.put_u32("tokenizer.ggml.bos_token_id", marks as u32);
    writer.put_u32("tokenizer.ggml.eos_token_id", marks as u32 + 1);
    writer.put_bool("tokenizer.ggml.add_bos_token", true);
    writer.put_bool("tokenizer.ggml.add_eos_token", false);
    Ok(())
}
