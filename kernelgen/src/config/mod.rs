//! Model shapes from TOML: which matrices a model has, and how large each of them is.
//!
//! One file describes one model. Its format, with units and an example, is documented in `configs/README.md`.
//! A file is read in two steps: the text becomes typed values, unknown keys being refused, and then every
//! figure is checked on its own and against the others, so that a [`ModelShapes`] in hand is free of
//! contradictions. Each fault is reported with file, line and column.
//!
//! ```no_run
//! # fn main() -> Result<(), kernelgen::config::ConfigError> {
//! for model in kernelgen::config::load_all(&["configs/models".into()])? {
//!     println!("{}: {} ternary weights", model.name, model.ternary_parameters());
//! }
//! # Ok(())
//! # }
//! ```

mod error;
mod files;
mod position;
mod schema;
mod shapes;
mod validate;

#[cfg(test)]
mod tests;

pub use error::{ConfigError, Diagnostic};
pub use files::{load, load_all, model_files};
pub use shapes::{Activation, Matrix, ModelShapes, Role};
pub use validate::{MAX_DIMENSION, MAX_LAYERS, SCHEMA_VERSION, parse};
