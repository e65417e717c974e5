//! [`TokenizerError`].

/// Why text could not be turned into tokens, or a tokenizer not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// The model has no tokenizer that could be used.
    #[error("this model takes token ids only: {reason}")]
    Absent {
        /// What was found and what is supported.
        reason: String,
    },
    /// A pre-tokenizer name that is not supported.
    #[error("pre-tokenizer `{found}` is not supported; supported are {supported} (--pre overrides the file)", supported = super::pre::NAMES)]
    PreTokenizer {
        /// The name.
        found: String,
    },
    /// A GGUF file that does not name its pre-tokenizer.
    #[error(
        "the file's `{model}` tokenizer does not name its pre-tokenizer (tokenizer.ggml.pre), without which text would \
         be split wrongly; give --pre with one of {supported}", supported = super::pre::NAMES
    )]
    NoPreTokenizer {
        /// The tokenizer's kind.
        model: String,
    },
    /// A `tokenizer.json` that does not parse.
    #[error("not a valid tokenizer.json: {reason}")]
    Json {
        /// What the parser says.
        reason: String,
    },
    /// A splitting rule that no GGUF pre-tokenizer name stands for.
    #[error(
        "the tokenizer's splitting rule is none that a GGUF file can name ({supported}): {found}", supported = super::pre::NAMES
    )]
    SplitRule {
        /// The rule, shortened.
        found: String,
    },
    /// A special token id beyond the vocabulary.
    #[error("the {what} token is declared as {id}, but there are only {count} tokens")]
    TokenId {
        /// What it stands for.
        what: &'static str,
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        count: usize,
    },
    /// A special token that is declared by a text which is no token.
    #[error("the special token `{text}` is declared but not in the vocabulary")]
    UnknownSpecial {
        /// Its text.
        text: String,
    },
    /// A special token that is to be added around texts but is not declared.
    #[error("the tokenizer adds a token for the {what}, but declares none")]
    MissingSpecial {
        /// What is missing.
        what: &'static str,
    },
    /// A token of a kind that byte-level BPE does not have.
    #[error(
        "token {token} has the kind {found}; known are 1 to 5 (normal, unknown, control, user-defined, unused)"
    )]
    TokenKind {
        /// The token's id.
        token: usize,
        /// Its kind.
        found: i32,
    },
    /// A token that is not UTF-8.
    #[error("token {token} is not UTF-8")]
    TokenText {
        /// The token's id.
        token: usize,
    },
    /// Token ids far beyond the number of tokens.
    #[error("the tokenizer has {count} tokens, but the highest id is {highest}")]
    SparseIds {
        /// Number of tokens.
        count: usize,
        /// Highest id.
        highest: u32,
    },
    /// Two tokens of one spelling.
    #[error("the token `{text}` is in the vocabulary twice")]
    DuplicateToken {
        /// Its text.
        text: String,
    },
    /// A merge that cannot be applied.
    #[error("merge {rank} is invalid: {reason}")]
    Merge {
        /// Its rank.
        rank: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The tokenizer cannot be built.
    #[error("the tokenizer cannot be used: {reason}")]
    Build {
        /// Why.
        reason: String,
    },
    /// A text that cannot be encoded.
    #[error("the text cannot be encoded: {reason}")]
    Encode {
        /// Why.
        reason: String,
    },
    /// A byte that no token spells.
    #[error("the text contains the byte {byte:#04x}, which this vocabulary has no token for")]
    UnspelledByte {
        /// The byte.
        byte: u8,
    },
}
