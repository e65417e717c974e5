//! Files that state their version.

use serde::Deserialize;

/// The version that a JSON object states. It is looked at first, for other versions have other fields.
///
/// # Errors
/// What is wrong with a text that is no such object.
pub fn version(text: &[u8]) -> Result<u32, serde_json::Error> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    serde_json::from_slice(text).map(|Versioned { version }| version)
}
