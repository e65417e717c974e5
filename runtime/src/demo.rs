//! The demo model: a 6.3-million-weight storyteller that every binary carries.

use crate::format::{FormatError, LoadOptions, RawModel, SharedBytes, load_gguf_bytes};

/// The model as the GGUF file that `tritforge convert` makes of the published weights (CC0 1.0).
pub const DEMO_GGUF: &[u8] = include_bytes!("../models/demo.gguf");

/// Loads the demo model.
///
/// # Errors
/// [`FormatError`] only for options that contradict the model.
pub fn load(options: &LoadOptions) -> Result<RawModel, FormatError> {
    load_gguf_bytes(SharedBytes::from_static(DEMO_GGUF), "demo", options)
}
