//! `tokenizer.json` of Hugging Face.
//!
//! The library reads the file for encoding; what it would accept and then panic on or treat in silence (a
//! merge out of the vocabulary, dropout, truncation) is checked or switched off here.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::error::TokenizerError;
use super::pre::PreTokenizer;
use super::vocabulary::{TokenKind, Vocabulary};
use crate::format::StringArray;

#[derive(Deserialize)]
struct Head {
    model: ModelHead,
}

#[derive(Deserialize)]
struct ModelHead {
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Contents {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    special: bool,
}

#[derive(Deserialize)]
struct Model {
    vocab: HashMap<String, u32>,
    merges: Vec<Merge>,
    dropout: Option<f32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

/// Old files write a merge as one string, new ones as a pair.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Joined(String),
    Pair(String, String),
}

impl Merge {
    fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Merge::Joined(merge) => split_merge(merge),
            Merge::Pair(left, right) => Some((left, right)),
        }
    }
}

/// The two tokens of a merge `left right`: split at the first space after position 0.
pub(super) fn split_merge(merge: &str) -> Option<(&str, &str)> {
    let first = merge.chars().next()?.len_utf8();
    let space = merge[first..].find(' ')? + first;
    let (left, right) = (&merge[..space], &merge[space + 1..]);
    (!right.is_empty()).then_some((left, right))
}

/// A special token as `config.json` (by id) or `tokenizer_config.json` (by text) declares it.
#[derive(Clone, Debug)]
pub(crate) enum DeclaredToken {
    /// By id.
    Id(u32),
    /// By text.
    Text(String),
}

impl DeclaredToken {
    /// The token's id.
    pub(crate) fn resolve(&self, vocabulary: &Vocabulary) -> Result<u32, TokenizerError> {
        match self {
            DeclaredToken::Id(id) if (*id as usize) < vocabulary.len() => Ok(*id),
            DeclaredToken::Id(id) => {
                Err(TokenizerError::TokenId { what: "special", id: *id, count: vocabulary.len() })
            }
            DeclaredToken::Text(text) => vocabulary
                .find(text)
                .ok_or_else(|| TokenizerError::UnknownSpecial { text: text.chars().take(100).collect() }),
        }
    }
}

/// The special tokens that the files beside a `tokenizer.json` declare.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeclaredTokens {
    /// Beginning of text.
    pub(crate) bos: Option<DeclaredToken>,
    /// Ends of text and turn, the model's own end of text first.
    pub(crate) stop: Vec<DeclaredToken>,
}

/// A `tokenizer.json` with a byte-level BPE model.
pub(crate) struct TokenizerFile {
    json: Vec<u8>,
    contents: Contents,
}

impl TokenizerFile {
    /// Reads the file. The inner error says why a sound file cannot be used.
    pub(crate) fn parse(json: Vec<u8>) -> Result<Result<Self, String>, TokenizerError> {
        let fail = |error: serde_json::Error| TokenizerError::Json { reason: error.to_string() };
        let head: Head = serde_json::from_slice(&json).map_err(fail)?;
        if let Some(kind) = head.model.kind
            && kind != "BPE"
        {
            let kind: String = kind.chars().take(100).collect();
            return Ok(Err(format!("its tokenizer.json has a `{kind}` model; supported is byte-level BPE")));
        }
        let contents: Contents = serde_json::from_slice(&json).map_err(fail)?;
        let model = &contents.model;
        if model.byte_fallback || !mentions_byte_level(&contents.pre_tokenizer) {
            return Ok(Err(
                "its tokenizer.json is SentencePiece-like (no ByteLevel pre-tokenizer); supported is byte-level BPE"
                    .into(),
            ));
        }
        if has_type(&contents.normalizer, "Precompiled") {
            // The library panics on a table that it cannot read.
            return Ok(Err("its tokenizer.json normalises text by a SentencePiece table (Precompiled), which is not supported"
                .into()));
        }
        let affixes = [&model.continuing_subword_prefix, &model.end_of_word_suffix];
        if model.dropout.is_some() || affixes.into_iter().flatten().any(|affix| !affix.is_empty()) {
            return Ok(
                Err("its tokenizer.json uses dropout or word affixes, which are not supported".into()),
            );
        }
        for (rank, merge) in model.merges.iter().enumerate() {
            let fail = |reason| TokenizerError::Merge { rank, reason };
            let (left, right) = merge.parts().ok_or_else(|| fail("it does not consist of two tokens"))?;
            if ![left, right, &format!("{left}{right}")].iter().all(|&text| model.vocab.contains_key(text)) {
                return Err(fail("a part or its result is not in the vocabulary"));
            }
        }
        Ok(Ok(Self { json, contents }))
    }

    /// The tokens by id. Ids that no token has are unused.
    pub(crate) fn vocabulary(&self) -> Result<Vocabulary, TokenizerError> {
        let Contents { added_tokens, model, .. } = &self.contents;
        let count = model.vocab.len() + added_tokens.len();
        let ids = model.vocab.values().chain(added_tokens.iter().map(|added| &added.id));
        let highest = ids.copied().max().unwrap_or(0);
        // Ids may have gaps, but not so many that a few bytes of file become a large table.
        if highest as usize > 2 * count + 1024 {
            return Err(TokenizerError::SparseIds { count, highest });
        }
        let mut tokens = vec![("", TokenKind::Unused); if count == 0 { 0 } else { highest as usize + 1 }];
        for (text, &id) in &model.vocab {
            let place = &mut tokens[id as usize];
            if place.1 != TokenKind::Unused {
                return Err(TokenizerError::DuplicateToken { text: text.clone() });
            }
            *place = (text, TokenKind::Normal);
        }
        for added in added_tokens {
            let kind = if added.special { TokenKind::Control } else { TokenKind::UserDefined };
            tokens[added.id as usize] = (&added.content, kind);
        }
        let texts: StringArray = tokens.iter().map(|(text, _)| text).collect();
        Vocabulary::new(texts, tokens.iter().map(|(_, kind)| *kind).collect())
    }

    /// The merges in GGUF's form, `left right`.
    pub(crate) fn merges(&self) -> StringArray {
        let merges = self.contents.model.merges.iter();
        merges.filter_map(|merge| merge.parts()).map(|(left, right)| format!("{left} {right}")).collect()
    }

    /// Whether whole pieces that are tokens are emitted without looking at the merges.
    pub(crate) fn ignores_merges(&self) -> bool {
        self.contents.model.ignore_merges
    }

    /// The library's tokenizer for this file.
    pub(super) fn encoder(&self) -> Result<tokenizers::Tokenizer, TokenizerError> {
        let fail = |reason: String| TokenizerError::Json { reason };
        let mut json: Value = serde_json::from_slice(&self.json).map_err(|error| fail(error.to_string()))?;
        // The library panics on some decoders and post-processors. It need not see them: tokens are decoded by the
        // vocabulary, and `added_around` reads what is put around a text.
        if let Some(object) = json.as_object_mut() {
            object.remove("decoder");
            object.remove("post_processor");
        }
        let mut encoder =
            tokenizers::Tokenizer::from_bytes(json.to_string()).map_err(|error| fail(error.to_string()))?;
        // It gives an added token the next free id where the file says another.
        for added in &self.contents.added_tokens {
            if encoder.token_to_id(&added.content) != Some(added.id) {
                let (content, id) = (added.content.chars().take(100).collect::<String>(), added.id);
                return Err(fail(format!("the added token `{content}` cannot have the id {id}")));
            }
        }
        // A training-time limit must not cut a prompt.
        encoder.with_truncation(None).map_err(|error| fail(error.to_string()))?;
        encoder.with_padding(None);
        Ok(encoder)
    }

    /// The tokens in front of and behind a text when special tokens are asked for.
    pub(super) fn added_around(&self) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
        added_by(&self.contents.post_processor)
    }

    /// The name that GGUF files give to this file's way of splitting.
    pub(crate) fn pre_tokenizer(&self) -> Result<PreTokenizer, TokenizerError> {
        let found = || {
            let rule = format!("{} after {}", self.contents.pre_tokenizer, self.contents.normalizer);
            TokenizerError::SplitRule { found: rule.chars().take(400).collect() }
        };
        if !self.contents.normalizer.is_null() {
            return Err(found());
        }
        let mut steps = Vec::new();
        flatten(&self.contents.pre_tokenizer, &mut steps);
        match steps[..] {
            [bytes] if is_byte_level(bytes, true) => Ok(PreTokenizer::Gpt2),
            [split, bytes] if is_byte_level(bytes, false) => {
                let isolated = split["type"] == "Split"
                    && split["behavior"] == "Isolated"
                    && split["invert"].as_bool() == Some(false);
                let pattern = split["pattern"]["Regex"].as_str().filter(|_| isolated);
                PreTokenizer::ALL.into_iter().find(|pre| Some(pre.pattern()) == pattern).ok_or_else(found)
            }
            _ => Err(found()),
        }
    }
}

/// The steps of a pre-tokenizer, those of nested sequences in order.
fn flatten<'a>(step: &'a Value, steps: &mut Vec<&'a Value>) {
    match step["pretokenizers"].as_array() {
        Some(inner) if step["type"] == "Sequence" => inner.iter().for_each(|step| flatten(step, steps)),
        _ => steps.push(step),
    }
}

/// Whether `value` or anything inside it is an object of this type.
fn has_type(value: &Value, kind: &str) -> bool {
    match value {
        Value::Object(object) => {
            object.get("type").is_some_and(|found| found == kind)
                || object.values().any(|inner| has_type(inner, kind))
        }
        Value::Array(items) => items.iter().any(|inner| has_type(inner, kind)),
        _ => false,
    }
}

fn mentions_byte_level(step: &Value) -> bool {
    let mut steps = Vec::new();
    flatten(step, &mut steps);
    steps.iter().any(|step| step["type"] == "ByteLevel")
}

/// Whether `step` maps bytes to the alphabet and adds no space, with or without splitting like GPT-2 before.
fn is_byte_level(step: &Value, splits: bool) -> bool {
    step["type"] == "ByteLevel"
        && step["add_prefix_space"].as_bool() == Some(false)
        && step["use_regex"].as_bool().unwrap_or(true) == splits
}

/// The tokens that a post-processor puts in front of and behind a text.
fn added_by(processor: &Value) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
    let fail = |reason: &str| TokenizerError::Json { reason: format!("its post_processor {reason}") };
    match (processor, processor["type"].as_str()) {
        (Value::Null, _) | (_, Some("ByteLevel")) => Ok(Default::default()),
        (_, Some("Sequence")) => {
            let steps = processor["processors"].as_array().ok_or_else(|| fail("is a sequence of nothing"))?;
            steps.iter().try_fold((Vec::new(), Vec::new()), |(before, after), step| {
                let (outer_before, outer_after) = added_by(step)?;
                Ok(([outer_before, before].concat(), [after, outer_after].concat()))
            })
        }
        (_, Some("TemplateProcessing")) => {
            let pieces =
                processor["single"].as_array().ok_or_else(|| fail("has no template for one text"))?;
            let is_text = |piece: &Value| piece["Sequence"]["id"] == "A";
            let at = pieces.iter().position(is_text).ok_or_else(|| fail("leaves the text out"))?;
            let ids = |pieces: &[Value]| {
                let known = &processor["special_tokens"];
                let of_piece = |piece: &Value| {
                    let ids = known[piece["SpecialToken"]["id"].as_str()?]["ids"].as_array()?;
                    ids.iter().map(|id| id.as_u64().and_then(|id| u32::try_from(id).ok())).collect()
                };
                let ids: Option<Vec<Vec<u32>>> = pieces.iter().map(of_piece).collect();
                ids.map(|ids| ids.concat())
                    .ok_or_else(|| fail("adds something other than special tokens with ids"))
            };
            Ok((ids(&pieces[..at])?, ids(&pieces[at + 1..])?))
        }
        _ => Err(fail("is not supported; supported are TemplateProcessing, ByteLevel and sequences of them")),
    }
}
