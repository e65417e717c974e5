//! [`FormatError`]: everything that can be wrong with a model file or directory.

use std::path::{Path, PathBuf};

use super::gguf::GgufError;
use crate::model::config::ConfigError;
use crate::tokenizer::TokenizerError;

/// Why a model could not be loaded: what was found, what is supported, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Any other error, with the file it is about.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<FormatError>,
    },
    /// The file cannot be read.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The GGUF container is damaged or of a kind that is not supported.
    #[error("{0}")]
    Gguf(#[from] GgufError),
    /// The safetensors container is damaged.
    #[error("not a valid safetensors file: {0}")]
    Safetensors(String),
    /// A JSON file does not parse, or has a field of the wrong type.
    #[error("not the JSON that is expected here: {0}")]
    Json(#[from] serde_json::Error),
    /// The folder holds no weights in a form that is supported.
    #[error(
        "no model.safetensors and no model.safetensors.index.json here; other forms of weights (pytorch_model.bin, \
         several GGUF files) are not supported"
    )]
    NoWeights,
    /// The model graph is not one that is supported.
    #[error("architecture `{found}` is not supported; supported are {supported}")]
    Architecture {
        /// What the file says.
        found: String,
        /// What is supported in this format.
        supported: &'static str,
    },
    /// A setting that changes the graph in a way that is not supported.
    #[error("`{key}` is {found}, which is not supported; supported is {supported}")]
    Setting {
        /// The key in the metadata or configuration.
        key: String,
        /// Its value.
        found: String,
        /// What is supported.
        supported: &'static str,
    },
    /// A hyper-parameter without which the model is not defined.
    #[error("the metadata key `{key}` is missing")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A metadata value of the wrong type or out of range.
    #[error("the metadata key `{key}` is {found}; expected {expected}")]
    BadKey {
        /// The key.
        key: String,
        /// Its value or type, shortened.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// Two settings that cannot both hold.
    #[error("`{key}` is {value}, but {other}")]
    Contradiction {
        /// The key in the metadata or configuration.
        key: String,
        /// Its value.
        value: String,
        /// What it contradicts.
        other: String,
    },
    /// The configuration as a whole makes no sense.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The file does not say which activation function the feed-forward block uses.
    #[error(
        "the file does not name its activation function (architecture `{architecture}`, {vocab} tokens); give \
         --act relu2 (BitNet b1.58 2B-4T and later) or --act silu (1bitLLM)"
    )]
    NoActivation {
        /// The file's architecture.
        architecture: String,
        /// Its number of tokens.
        vocab: usize,
    },
    /// A pre-tokenizer was chosen for a model whose tokenizer brings its own.
    #[error(
        "--pre applies to GGUF files only: this directory's tokenizer.json defines its own splitting pattern"
    )]
    PreNotApplicable,
    /// The tokenizer is damaged or of a kind that is not supported.
    #[error("{0}")]
    Tokenizer(#[from] TokenizerError),
    /// A tensor that the graph needs is not there.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// Tensors that the graph would have ignored; ignoring them would compute something else than the model.
    #[error("{count} tensors that this graph has no place for: {names}")]
    UnusedTensors {
        /// How many.
        count: usize,
        /// The first few names.
        names: String,
    },
    /// A tensor of another shape than the hyper-parameters say.
    #[error("tensor `{tensor}` is {found}, but the hyper-parameters make it {expected}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape, outermost dimension first.
        found: String,
        /// The shape that is expected.
        expected: String,
    },
    /// A tensor of a type that cannot stand in its place.
    #[error("tensor `{tensor}` has type {found}; expected {expected}")]
    TensorType {
        /// The tensor.
        tensor: String,
        /// Its type.
        found: String,
        /// The types that are supported there.
        expected: &'static str,
    },
    /// A tensor whose bytes are not as many as its shape needs.
    #[error("tensor `{tensor}` has {found} bytes; its shape and type make it {expected}")]
    TensorBytes {
        /// The tensor.
        tensor: String,
        /// Bytes needed.
        expected: usize,
        /// Bytes there.
        found: usize,
    },
    /// A linear layer's scale that is zero, negative or not finite.
    #[error("the scale of tensor `{tensor}` is {value}; a scale is finite and above zero")]
    Scale {
        /// The tensor.
        tensor: String,
        /// The scale.
        value: f32,
    },
    /// A tensor with a NaN or an infinity.
    #[error("tensor `{tensor}` contains a value that is not finite")]
    NotFinite {
        /// The tensor.
        tensor: String,
    },
    /// A norm of zeros alone, which would erase its layer.
    #[error("the norm `{tensor}` is zero throughout")]
    ZeroNorm {
        /// The tensor.
        tensor: String,
    },
    /// The unused one of the four 2-bit codes.
    #[error(
        "tensor `{tensor}` holds the invalid code {code} at row {row}, column {col}; the codes are 0, 1 and 2"
    )]
    InvalidCode {
        /// The tensor.
        tensor: String,
        /// Row (output).
        row: usize,
        /// Column (input).
        col: usize,
        /// The code.
        code: u8,
    },
    /// An I2_S matrix whose rows do not fill whole blocks: writers and readers disagree on where its weights
    /// lie.
    #[error(
        "tensor `{tensor}` has rows of {cols} weights, not a multiple of 128; writers of I2_S place such weights \
         differently and the file does not say how (`{key}` = \"flat\" would). Convert the original directory instead"
    )]
    I2sTail {
        /// The tensor.
        tensor: String,
        /// Its columns.
        cols: usize,
        /// The key that would say it.
        key: &'static str,
    },
}

impl FormatError {
    /// This error with the name of the file it is about, unless it carries one already.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            FormatError::InFile { .. } => self,
            other => FormatError::InFile { path: path.to_owned(), source: Box::new(other) },
        }
    }

    /// The error for tensors that are left over, naming the first few; `None` where there are none.
    pub(crate) fn unused<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        const SHOWN: usize = 5;
        let mut shown = Vec::new();
        let mut count = 0;
        for name in names {
            if count < SHOWN {
                shown.push(name);
            }
            count += 1;
        }
        let more = if count > SHOWN { ", ..." } else { "" };
        (count > 0).then(|| FormatError::UnusedTensors { count, names: shown.join(", ") + more })
    }
}
