//! [`SynthError`].

use crate::model::config::ConfigError;
use crate::new_file::NewFileError;

/// Why there is no synthetic model of a config.
#[derive(Debug, thiserror::Error)]
pub enum SynthError {
    /// The new file cannot be made.
    #[error(transparent)]
    NewFile(#[from] NewFileError),
    /// Writing failed on the way.
    #[error("cannot write: {0}")]
    Write(#[from] std::io::Error),
    /// A function that the forward pass does not have.
    #[error("{name} has the activation function {found}, which cannot be run; supported are relu2 and silu")]
    Activation {
        /// The config.
        name: String,
        /// Its activation function.
        found: &'static str,
    },
    /// Dimensions that cannot be run.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A matrix that does not fill the blocks of I2_S.
    #[error("tensor `{tensor}` of shape {shape:?} cannot be stored: {reason}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its shape, outermost dimension first.
        shape: Vec<usize>,
        /// Why not.
        reason: &'static str,
    },
}
