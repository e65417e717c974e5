//! What can go wrong between a file's tensors and a model, and in a forward pass.

use super::config::ConfigError;
use super::profile::Profile;
use crate::engine::EngineError;
use crate::format::FormatError;
use crate::head::{HeadError, HeadType};
use crate::numerics::kv_block::{F16_MAX, KvType};
use crate::packed::PackError;
use std::fmt;

/// A set of tensors that is no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The dimensions or constants are impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A matrix has not the shape that the dimensions ask for.
    #[error("{tensor} is {found_rows}x{found_cols}; the model's dimensions ask for {rows}x{cols}")]
    Shape {
        /// Name of the tensor.
        tensor: String,
        /// Rows found.
        found_rows: usize,
        /// Columns found.
        found_cols: usize,
        /// Rows expected.
        rows: usize,
        /// Columns expected.
        cols: usize,
    },
    /// A norm has not the length that the dimensions ask for.
    #[error("{tensor} has {found} elements; the model's dimensions ask for {expected}")]
    NormLength {
        /// Name of the tensor.
        tensor: String,
        /// Elements found.
        found: usize,
        /// Elements expected.
        expected: usize,
    },
    /// A norm holds an infinite value or a NaN.
    #[error("element {index} of {tensor} is {value}; norms must be finite, so the file is damaged")]
    NormNotFinite {
        /// Name of the tensor.
        tensor: String,
        /// Index of the first bad element.
        index: usize,
        /// The bad element.
        value: f32,
    },
    /// The number of layers differs from the one the dimensions state.
    #[error("the model has tensors of {found} layers; its dimensions say {expected}")]
    LayerCount {
        /// Layers found.
        found: usize,
        /// Layers expected.
        expected: usize,
    },
    /// Sub-norms are there and should not be, or the other way round.
    #[error(
        "{tensor} is {}; the model's graph {} sub-norms",
        if *.found { "present" } else { "missing" },
        if *.found { "has no" } else { "has" }
    )]
    SubNorm {
        /// Name of the tensor.
        tensor: String,
        /// Whether the tensor is there.
        found: bool,
    },
    /// An output head of another profile.
    #[error(
        "the numerics profile {profile} has no output head of type {head}; exact takes the head as it is stored and fast \
         makes stored, int8 or q4_0 of it: choose another profile or leave the type out"
    )]
    ProfileHead {
        /// The profile.
        profile: Profile,
        /// The type of head.
        head: HeadType,
    },
    /// Keys and values of another profile.
    #[error(
        "the numerics profile {profile} keeps keys and values in f32, not {kv_type}; choose the profile fast, or leave the type out"
    )]
    ProfileKvType {
        /// The profile.
        profile: Profile,
        /// The type.
        kv_type: KvType,
    },
    /// The output head could not be made.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The weights could not be packed: a code that is no trit, a scale that is no number.
    #[error("{tensor}: {source}")]
    Pack {
        /// Name of the tensor.
        tensor: String,
        /// What was wrong.
        source: PackError<FormatError>,
    },
}

/// Where in the graph a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The layer, or none outside of the layers.
    pub layer: Option<usize>,
    /// The part of the layer or of the model.
    pub part: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "layer {layer}, {}", self.part),
            None => f.write_str(self.part),
        }
    }
}

/// A forward pass that could not be computed. The session is as it was before the call.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// There were no tokens to feed.
    #[error("no tokens to evaluate; give at least one (an empty text still needs the begin-of-text token)")]
    NoTokens,
    /// A token id is not in the vocabulary.
    #[error("token {index} has id {id}; the model's vocabulary has ids 0 to {}", .vocab - 1)]
    TokenOutOfRange {
        /// Index among the tokens of the call.
        index: usize,
        /// The id.
        id: u32,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The tokens do not fit into the rest of the context.
    #[error(
        "the context is full: {used} of {context} positions are used and {wanted} more were asked for; \
         shorten the prompt or generate fewer tokens"
    )]
    ContextFull {
        /// Positions in use.
        used: usize,
        /// Positions asked for.
        wanted: usize,
        /// Positions of the model's context.
        context: usize,
    },
    /// Sequences that cannot be decoded together.
    #[error(
        "{sessions} sessions and {tokens} tokens to decode together; give one token for each of at least one session, all \
         of the same model and engine"
    )]
    Together {
        /// Sessions given.
        sessions: usize,
        /// Tokens given.
        tokens: usize,
    },
    /// The key/value cache could not grow.
    #[error("no memory for the key/value cache: {bytes} more bytes were refused by the system")]
    OutOfMemory {
        /// Size of the refused allocation.
        bytes: usize,
    },
    /// An infinite value or a NaN came up, or a value too large to square.
    #[error("{place}: a value is infinite, not a number or too large; the weights or norms are damaged")]
    NotFinite {
        /// Where it was found.
        place: Place,
    },
    /// A key or value that the type of the key/value cache cannot hold.
    #[error(
        "{place}: {value} does not fit into a KV cache of type {kv_type}; use f32 (f16 holds magnitudes up to {F16_MAX}, int8 \
         any that are finite)"
    )]
    NotStorable {
        /// `keys` or `values` of a layer.
        place: Place,
        /// The first such element.
        value: f32,
        /// The type of the cache.
        kv_type: KvType,
    },
    /// A kernel refused its operands.
    #[error("{place}: {source}")]
    Kernel {
        /// The projection.
        place: Place,
        /// The refusal.
        source: EngineError,
    },
}
