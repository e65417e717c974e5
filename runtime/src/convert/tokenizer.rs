//! The tokenizer's part of a GGUF file.

use super::ConvertError;
use crate::format::gguf::GgufWriter;
use crate::format::{HfDirectory, RawModel, StringArray};
use crate::tokenizer::{
    TokenKind, Tokenizer, TokenizerFile, TokenizerState, Vocabulary, is_known_stop_token,
    tokens_beyond_merges,
};

/// Spellings of the token that ends a turn, which GGUF keeps apart from the end of a text.
const END_OF_TURN: [&str; 4] = ["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>"];
/// Spelling of the token that ends a message.
const END_OF_MESSAGE: &str = "<|eom_id|>";

/// Writes the tokenizer's keys, or returns why there is nothing to write.
pub(super) fn put(
    writer: &mut GgufWriter,
    directory: &HfDirectory,
    model: &RawModel,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, ConvertError> {
    let (file, tokenizer) = match (directory.tokenizer_file(), &model.tokenizer) {
        (Ok(file), TokenizerState::Loaded(tokenizer)) => (file, tokenizer),
        (Err(reason), _) => return Ok(Some(reason.to_owned())),
        (_, TokenizerState::Absent { reason }) => return Ok(Some(reason.clone())),
    };
    let pre = file.pre_tokenizer()?;
    let vocabulary = tokenizer.vocabulary();
    if vocabulary.len() > model.config.vocab {
        return Err(ConvertError::TooManyTokens { tokens: vocabulary.len(), rows: model.config.vocab });
    }
    let unreached = unreached_tokens(file, vocabulary, pre.ignores_merges())?;
    if unreached > 0 {
        warnings.push(format!(
            "{unreached} tokens are used differently by engines that read this file: its pre-tokenizer `{pre}` implies \
             another rule for whole pieces than tokenizer.json has"
        ));
    }

    writer.put_str("tokenizer.ggml.model", "gpt2");
    writer.put_str("tokenizer.ggml.pre", pre.name());
    let filler = |id: usize| format!("[PAD{id}]");
    let used = |id: usize| vocabulary.text(id as u32).filter(|text| !text.is_empty());
    let texts: StringArray =
        (0..model.config.vocab).map(|id| used(id).map_or_else(|| filler(id), str::to_owned)).collect();
    writer.put_strings("tokenizer.ggml.tokens", &texts);
    let kinds = (0..model.config.vocab).map(|id| match used(id) {
        Some(_) => vocabulary.kind(id as u32).unwrap_or(TokenKind::Unused) as i32,
        None => TokenKind::Unused as i32,
    });
    writer.put_i32s("tokenizer.ggml.token_type", kinds);
    writer.put_strings("tokenizer.ggml.merges", &file.merges());
    put_special_tokens(writer, directory, tokenizer, warnings)?;
    if let Some(template) = directory.chat_template() {
        writer.put_str("tokenizer.chat_template", template);
    }
    Ok(None)
}

fn put_special_tokens(
    writer: &mut GgufWriter,
    directory: &HfDirectory,
    tokenizer: &Tokenizer,
    warnings: &mut Vec<String>,
) -> Result<(), ConvertError> {
    let vocabulary = tokenizer.vocabulary();
    let bos = tokenizer.bos();
    let eos = directory.declared().stop.first().map(|token| token.resolve(vocabulary)).transpose()?;
    let others: Vec<u32> = tokenizer.stop_tokens().iter().copied().filter(|&id| Some(id) != eos).collect();
    let spelled = |id: u32, texts: &[&str]| vocabulary.text(id).is_some_and(|text| texts.contains(&text));
    let end_of_message = others.iter().copied().find(|&id| spelled(id, &[END_OF_MESSAGE]));
    let end_of_turn = END_OF_TURN
        .iter()
        .find_map(|text| others.iter().copied().find(|&id| spelled(id, &[text])))
        .or_else(|| others.iter().copied().find(|&id| Some(id) != end_of_message));
    for (key, id) in [
        ("tokenizer.ggml.bos_token_id", bos),
        ("tokenizer.ggml.eos_token_id", eos),
        ("tokenizer.ggml.eot_token_id", end_of_turn),
        ("tokenizer.ggml.eom_token_id", end_of_message),
    ] {
        if let Some(id) = id {
            writer.put_u32(key, id);
        }
    }
    let declared = [eos, end_of_turn, end_of_message];
    let lost: Vec<&str> = others
        .iter()
        .filter(|&&id| !declared.contains(&Some(id)) && !is_known_stop_token(vocabulary, id))
        .filter_map(|&id| vocabulary.text(id))
        .collect();
    if !lost.is_empty() {
        warnings.push(format!("the file has no key for these further ends of text: {}", lost.join(", ")));
    }

    let (before, after) = tokenizer.added_tokens();
    let added = |tokens: &[u32], id: Option<u32>| match tokens {
        [] => Some(false),
        [token] if Some(*token) == id => Some(true),
        _ => None,
    };
    let (Some(add_bos), Some(add_eos)) = (added(before, bos), added(after, eos)) else {
        return Err(ConvertError::AddedTokens { before: before.to_vec(), after: after.to_vec() });
    };
    writer.put_bool("tokenizer.ggml.add_bos_token", add_bos);
    writer.put_bool("tokenizer.ggml.add_eos_token", add_eos);
    Ok(())
}

/// Number of normal tokens that merging does not lead to. They are used if and only if whole pieces are
/// looked up first, which a GGUF file cannot say; the pre-tokenizer's name implies it.
fn unreached_tokens(
    file: &TokenizerFile,
    vocabulary: &Vocabulary,
    implied: bool,
) -> Result<usize, ConvertError> {
    if file.ignores_merges() == implied {
        return Ok(0);
    }
    Ok(tokens_beyond_merges(vocabulary, &file.merges())?)
}
