//! Model files: GGUF and Hugging Face directories, read into one typed [`RawModel`].
//!
//! Nothing that a file says can panic, overflow, hang or allocate without bound; what cannot be read rightly
//! is a [`FormatError`] that says what was found, what is supported and what to do.

use std::path::Path;

use crate::tokenizer::TokenizerState;

mod blocks;
mod bytes;
mod error;
mod float;
pub mod gguf;
mod hf;
mod raw_model;
mod strings;
mod ternary;
mod vocab_matrix;

pub use blocks::{BlockTensor, BlockType};
pub use bytes::SharedBytes;
pub use error::FormatError;
pub use float::{FloatTensor, FloatType};
pub use raw_model::{LoadOptions, RawLayer, RawModel, SourceInfo, TensorInfo};
pub use strings::StringArray;
pub use ternary::TernaryTensor;
pub use vocab_matrix::{StorageType, UnknownStorageType, VocabMatrix};

pub(crate) use hf::HfDirectory;

/// Loads a model: a file is read as GGUF, a directory as a Hugging Face checkpoint.
///
/// # Errors
/// [`FormatError`], with the path of the file in question.
pub fn load_path(path: &Path, options: &LoadOptions) -> Result<RawModel, FormatError> {
    if path.is_dir() {
        return HfDirectory::open(path)?.load(options);
    }
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    SharedBytes::open(path)
        .map_err(FormatError::from)
        .and_then(|bytes| load_gguf_bytes(bytes, &name, options))
        .map_err(|error| error.in_file(path))
}

/// Loads the tokenizer alone: of a model, or of a GGUF file that holds only a vocabulary.
///
/// # Errors
/// [`FormatError`], with the path of the file in question.
pub fn load_tokenizer(path: &Path, options: &LoadOptions) -> Result<TokenizerState, FormatError> {
    if path.is_dir() {
        return HfDirectory::open(path)?.load_tokenizer(options);
    }
    SharedBytes::open(path)
        .map_err(FormatError::from)
        .and_then(|bytes| gguf::load_tokenizer(bytes, options))
        .map_err(|error| error.in_file(path))
}

/// Loads a GGUF model from memory. `name` names the model where its metadata does not.
///
/// # Errors
/// [`FormatError`].
pub fn load_gguf_bytes(
    bytes: SharedBytes,
    name: &str,
    options: &LoadOptions,
) -> Result<RawModel, FormatError> {
    gguf::load(bytes, name, options)
}
