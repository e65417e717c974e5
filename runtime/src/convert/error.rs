//! [`ConvertError`].

use crate::format::FormatError;
use crate::new_file::NewFileError;
use crate::tokenizer::TokenizerError;

/// Why a checkpoint could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// The new file cannot be made.
    #[error(transparent)]
    NewFile(#[from] NewFileError),
    /// Writing failed on the way.
    #[error("cannot write: {0}")]
    Write(#[from] std::io::Error),
    /// The checkpoint cannot be read.
    #[error("{0}")]
    Format(#[from] FormatError),
    /// The tokenizer cannot be carried over.
    #[error("the tokenizer cannot be converted: {0}")]
    Tokenizer(#[from] TokenizerError),
    /// A graph without sub-norms, which the BitNet architectures of GGUF cannot express.
    #[error(
        "{architecture} has no sub-norms; in GGUF that graph is the architecture `llama` with permuted q and k, which is \
         not written yet. The directory itself can be run"
    )]
    NoSubNorms {
        /// The architecture.
        architecture: String,
    },
    /// I2_S has one scale a matrix.
    #[error(
        "tensor `{tensor}` has a scale for each row; I2_S holds one for the whole matrix. Run the directory itself"
    )]
    PerRowScale {
        /// The tensor.
        tensor: String,
    },
    /// A matrix that does not fill the blocks of I2_S.
    #[error("tensor `{tensor}` of shape {shape:?} cannot be stored: {reason}. Run the directory itself")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape, outermost dimension first.
        shape: Vec<usize>,
        /// Why not.
        reason: &'static str,
    },
    /// A value of the embedding that the chosen type cannot hold.
    #[error(
        "row {row} of `{tensor}` contains {value}, which the embedding's type cannot hold; f16 ends at 65504, the \
         embedding type bf16 reaches as far as f32"
    )]
    Embedding {
        /// The tensor.
        tensor: String,
        /// The row.
        row: usize,
        /// The value.
        value: f32,
    },
    /// A tokenizer with more tokens than the embedding has rows.
    #[error("the tokenizer has {tokens} tokens, but the embedding only {rows} rows")]
    TooManyTokens {
        /// Number of tokens.
        tokens: usize,
        /// Rows of the embedding.
        rows: usize,
    },
    /// A tokenizer that adds other tokens around a text than GGUF can say.
    #[error(
        "the tokenizer puts the tokens {before:?} before and {after:?} after a text; a GGUF file can only say whether \
         the beginning-of-text and end-of-text tokens are added"
    )]
    AddedTokens {
        /// Ids in front.
        before: Vec<u32>,
        /// Ids behind.
        after: Vec<u32>,
    },
}
