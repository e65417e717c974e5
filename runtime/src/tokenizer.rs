//! Text to token ids and back: byte-level BPE from `tokenizer.json` or from the metadata of a GGUF file.

mod byte_level;
mod error;
mod json;
mod pre;
mod stream;
mod vocabulary;

use std::sync::OnceLock;

use tokenizers::models::bpe;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior};

use crate::format::StringArray;

pub(crate) use byte_level::byte_alphabet;
pub use error::TokenizerError;
pub(crate) use json::{DeclaredToken, DeclaredTokens, TokenizerFile};
pub use pre::PreTokenizer;
pub use stream::StreamDecoder;
pub use vocabulary::{TokenKind, Vocabulary};

/// Tokens that end a text or a turn, known by their spelling. Files often declare just one of those that a
/// model uses: 2B-4T declares `<|end_of_text|>` and ends its turns with `<|eot_id|>`.
const STOP_TOKENS: [&str; 7] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
];

/// A model's tokenizer, or why it has none that could be used.
pub enum TokenizerState {
    /// Text can be used.
    Loaded(Tokenizer),
    /// Only token ids can be used.
    Absent {
        /// What was found and what is supported.
        reason: String,
    },
}

impl TokenizerState {
    /// The tokenizer, or the error that says why there is none.
    ///
    /// # Errors
    /// [`TokenizerError::Absent`].
    pub fn loaded(&self) -> Result<&Tokenizer, TokenizerError> {
        match self {
            TokenizerState::Loaded(tokenizer) => Ok(tokenizer),
            TokenizerState::Absent { reason } => Err(TokenizerError::Absent { reason: reason.clone() }),
        }
    }
}

/// What a byte-level BPE tokenizer consists of.
pub struct BpeParts {
    /// The tokens by id.
    pub vocabulary: Vocabulary,
    /// Merges `left right` in order of rank.
    pub merges: StringArray,
    /// How text is split before merging.
    pub pre: PreTokenizer,
    /// Token at the beginning of a text.
    pub bos: Option<u32>,
    /// Token at the end of a text.
    pub eos: Option<u32>,
    /// Tokens that the file declares as ends of text, turn or message.
    pub stop: Vec<u32>,
    /// Whether `bos` is put in front of a text; `None`: what models with this pre-tokenizer do.
    pub add_bos: Option<bool>,
    /// Whether `eos` is put behind a text; `None`: no.
    pub add_eos: Option<bool>,
}

enum Encoder {
    Ready(Box<tokenizers::Tokenizer>),
    OnDemand(Box<OnDemand>),
}

/// An encoder that is built when the first text is encoded: its tables are several times the size of the
/// file's own, and printing a model or feeding it token ids needs none of them.
struct OnDemand {
    merges: StringArray,
    pre: PreTokenizer,
    built: OnceLock<Result<tokenizers::Tokenizer, String>>,
}

/// A byte-level BPE tokenizer with its special tokens.
pub struct Tokenizer {
    vocabulary: Vocabulary,
    encoder: Encoder,
    bos: Option<u32>,
    /// Put in front of a text when special tokens are asked for.
    prefix: Vec<u32>,
    /// Put behind it.
    suffix: Vec<u32>,
    stop: Vec<u32>,
    /// Bytes that no token of the vocabulary spells; a text with one of them cannot be encoded.
    unspelled: Vec<u8>,
}

impl Tokenizer {
    /// A tokenizer from the parts that a GGUF file holds.
    ///
    /// # Errors
    /// A declared id beyond the vocabulary, or a beginning of text that is to be added but not declared.
    /// Faults of the merges come to light when the first text is encoded.
    pub fn from_bpe(parts: BpeParts) -> Result<Self, TokenizerError> {
        let BpeParts { mut vocabulary, merges, pre, mut bos, eos, stop, add_bos, add_eos } = parts;
        let declared = [("beginning of text", bos), ("end of text", eos)];
        let declared = declared.into_iter().chain(stop.iter().map(|&id| ("end of turn", Some(id))));
        for (what, id) in declared.filter_map(|(what, id)| Some((what, id?))) {
            if id as usize >= vocabulary.len() {
                return Err(TokenizerError::TokenId { what, id, count: vocabulary.len() });
            }
        }
        let add_bos = add_bos.unwrap_or(pre.adds_bos());
        if add_bos && bos.is_none() {
            bos = vocabulary.find("<|begin_of_text|>");
        }
        let missing = |what| TokenizerError::MissingSpecial { what };
        let prefix = match add_bos {
            true => vec![bos.ok_or_else(|| missing("beginning of text (tokenizer.ggml.bos_token_id)"))?],
            false => Vec::new(),
        };
        let suffix = match add_eos.unwrap_or(false) {
            true => vec![eos.ok_or_else(|| missing("end of text (tokenizer.ggml.eos_token_id)"))?],
            false => Vec::new(),
        };
        let stop = full_stop_set(&vocabulary, stop);
        // A file without token kinds, or with wrong ones, would have these read out as text.
        for &id in stop.iter().chain(&bos) {
            vocabulary.make_control(id);
        }
        let encoder = Encoder::OnDemand(Box::new(OnDemand { merges, pre, built: OnceLock::new() }));
        let unspelled = vocabulary.unspelled_bytes();
        Ok(Self { vocabulary, encoder, bos, prefix, suffix, stop, unspelled })
    }

    /// A tokenizer from a `tokenizer.json` and the special tokens that the files beside it declare.
    ///
    /// # Errors
    /// [`TokenizerError`].
    pub(crate) fn from_file(file: &TokenizerFile, declared: &DeclaredTokens) -> Result<Self, TokenizerError> {
        let mut vocabulary = file.vocabulary()?;
        let encoder = file.encoder()?;
        let (prefix, suffix) = file.added_around()?;
        if let Some(&id) = prefix.iter().chain(&suffix).find(|&&id| id as usize >= vocabulary.len()) {
            return Err(TokenizerError::TokenId { what: "added", id, count: vocabulary.len() });
        }
        let bos = declared.bos.as_ref().map(|token| token.resolve(&vocabulary)).transpose()?;
        let stop = declared.stop.iter().map(|token| token.resolve(&vocabulary)).collect::<Result<_, _>>()?;
        let stop = full_stop_set(&vocabulary, stop);
        for &id in stop.iter().chain(&bos) {
            vocabulary.make_control(id);
        }
        let unspelled = vocabulary.unspelled_bytes();
        let encoder = Encoder::Ready(Box::new(encoder));
        Ok(Self { vocabulary, encoder, bos, prefix, suffix, stop, unspelled })
    }

    /// Token ids of a text. Special tokens that the text spells out (`<|eot_id|>`) become their ids;
    /// `add_special` says whether those that the model wants around a text, such as the beginning of text,
    /// are added.
    ///
    /// # Errors
    /// A damaged vocabulary, or a text with a byte that the vocabulary cannot spell.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        if let Some(byte) = text.bytes().find(|byte| self.unspelled.contains(byte)) {
            return Err(TokenizerError::UnspelledByte { byte });
        }
        let encoding = self
            .encoder()?
            .encode_fast(text, false)
            .map_err(|error| TokenizerError::Encode { reason: error.to_string() })?;
        let body = encoding.get_ids();
        if !add_special {
            return Ok(body.to_vec());
        }
        Ok([&self.prefix[..], body, &self.suffix].concat())
    }

    /// The bytes of one token, which may be part of a UTF-8 character; none for control tokens and unknown
    /// ids.
    pub fn decode_bytes(&self, id: u32) -> Vec<u8> {
        self.vocabulary.decode(id)
    }

    /// The text of some tokens, without control tokens; what is not UTF-8 becomes U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|&id| self.decode_bytes(id)).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The token at the beginning of a text, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Every token after which generation ends, in ascending order: declared ones and those known by their
    /// spelling.
    pub fn stop_tokens(&self) -> &[u32] {
        &self.stop
    }

    /// Number of token ids.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The tokens by id.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The tokens put in front of and behind a text when special tokens are asked for.
    pub fn added_tokens(&self) -> (&[u32], &[u32]) {
        (&self.prefix, &self.suffix)
    }

    fn encoder(&self) -> Result<&tokenizers::Tokenizer, TokenizerError> {
        match &self.encoder {
            Encoder::Ready(encoder) => Ok(encoder),
            Encoder::OnDemand(parts) => parts
                .built
                .get_or_init(|| {
                    let bpe = build_bpe(&self.vocabulary, &parts.merges, parts.pre.ignores_merges());
                    let encoder = bpe.and_then(|bpe| build_encoder(&self.vocabulary, bpe, parts.pre));
                    encoder.map_err(|error| error.to_string())
                })
                .as_ref()
                .map_err(|reason| TokenizerError::Build { reason: reason.clone() }),
        }
    }
}

/// `declared` and the tokens known by their spelling, ascending and each once.
fn full_stop_set(vocabulary: &Vocabulary, declared: Vec<u32>) -> Vec<u32> {
    let mut stop = declared;
    stop.extend(vocabulary.find_all(&STOP_TOKENS));
    stop.sort_unstable();
    stop.dedup();
    stop
}

/// Whether a token is known to end a text or a turn by its spelling alone.
pub(crate) fn is_known_stop_token(vocabulary: &Vocabulary, id: u32) -> bool {
    vocabulary.text(id).is_some_and(|text| STOP_TOKENS.contains(&text))
}

/// Number of normal tokens that merging their own bytes does not lead to.
///
/// # Errors
/// Merges that do not fit the vocabulary.
pub(crate) fn tokens_beyond_merges(
    vocabulary: &Vocabulary,
    merges: &StringArray,
) -> Result<usize, TokenizerError> {
    let bpe = build_bpe(vocabulary, merges, false)?;
    let mut count = 0;
    for (id, text) in vocabulary.texts().filter(|(id, _)| vocabulary.kind(*id) == Some(TokenKind::Normal)) {
        let pieces = tokenizers::Model::tokenize(&bpe, text)
            .map_err(|error| TokenizerError::Build { reason: error.to_string() })?;
        if !matches!(&pieces[..], [piece] if piece.id == id) {
            count += 1;
        }
    }
    Ok(count)
}

/// The merge model. Every merge is checked here: the library would panic on some that lead out of the
/// vocabulary.
fn build_bpe(
    vocabulary: &Vocabulary,
    merges: &StringArray,
    ignore_merges: bool,
) -> Result<bpe::BPE, TokenizerError> {
    let mut ids = bpe::Vocab::default();
    for (id, text) in vocabulary.texts() {
        // Tokens without text are fillers; they have an id but cannot be written.
        if !text.is_empty() && ids.insert(text.to_owned(), id).is_some() {
            return Err(TokenizerError::DuplicateToken { text: text.to_owned() });
        }
    }
    let mut pairs = Vec::with_capacity(merges.len());
    for rank in 0..merges.len() {
        let fail = |reason| TokenizerError::Merge { rank, reason };
        let merge = merges.get(rank).ok_or_else(|| fail("it is not UTF-8"))?;
        let (left, right) =
            json::split_merge(merge).ok_or_else(|| fail("it does not consist of two tokens"))?;
        if ![left, right, &format!("{left}{right}")].iter().all(|&text| ids.contains_key(text)) {
            return Err(fail("a part or its result is not in the vocabulary"));
        }
        pairs.push((left.to_owned(), right.to_owned()));
    }
    bpe::BPE::builder()
        .vocab_and_merges(ids, pairs)
        .ignore_merges(ignore_merges)
        .build()
        .map_err(|error| TokenizerError::Build { reason: error.to_string() })
}

fn build_encoder(
    vocabulary: &Vocabulary,
    bpe: bpe::BPE,
    pre: PreTokenizer,
) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let fail = |error: tokenizers::Error| TokenizerError::Build { reason: error.to_string() };
    let split =
        Split::new(SplitPattern::Regex(pre.pattern().to_owned()), SplitDelimiterBehavior::Isolated, false)
            .map_err(fail)?;
    let bytes = ByteLevel::new(false, false, false);
    let mut encoder = tokenizers::Tokenizer::new(bpe);
    encoder.with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])));
    let (mut control, mut user) = (Vec::new(), Vec::new());
    for (id, text) in vocabulary.texts() {
        match vocabulary.kind(id) {
            Some(TokenKind::Control) => control.push(AddedToken::from(text, true).normalized(false)),
            Some(TokenKind::UserDefined) => user.push(AddedToken::from(text, false).normalized(false)),
            _ => {}
        }
    }
    encoder.add_special_tokens(control).map_err(fail)?;
    encoder.add_tokens(user).map_err(fail)?;
    Ok(encoder)
}

#[cfg(test)]
mod tests;
