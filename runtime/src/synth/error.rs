//! [`SynthError`].

use kernelgen::config::ConfigError as ShapesError;

use crate::model::config::ConfigError;
use crate::new_file::NewFileError;

/// Why there is no model of random weights.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// The new file cannot be put in place.
    #[error("{0}")]
    File(#[from] NewFileError),
    /// Writing failed on the way.
    #[error("cannot write: {0}")]
    Write(#[from] std::io::Error),
    /// The model config cannot be read.
    #[error("{0}")]
    Shapes(#[from] ShapesError),
    /// The model is not one that could be run.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// An activation function that the runtime does not compute.
    #[error("{model} has the activation function {found}, which cannot be run; supported are relu2 and silu")]
    Activation {
        /// The model.
        model: String,
        /// Its activation function.
        found: &'static str,
    },
    /// A vocabulary that has no room for the tokens that every text needs.
    #[error("a vocabulary of {found} tokens is too small: the bytes and two marks need {needed}")]
    Vocabulary {
        /// Tokens of the model.
        found: usize,
        /// The least that would do.
        needed: usize,
    },
    /// A matrix that its type cannot hold.
    #[error("tensor `{tensor}` of shape {shape:?} cannot be stored: {reason}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape, outermost dimension first.
        shape: Vec<usize>,
        /// Why not.
        reason: &'static str,
    },
    /// A random value that the type cannot hold.
    #[error("the random value {value} cannot be stored")]
    Value {
        /// The value.
        value: f32,
    },
}
