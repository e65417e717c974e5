//! What can be wrong with a profile.

use std::path::PathBuf;

use super::VERSION;

/// Why a profile cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// No TOML, or not the fields of a profile.
    #[error("no tuned profile: {0}")]
    Syntax(String),
    /// Another version of the format.
    #[error(
        "a tuned profile of version {found}, this program reads version {VERSION}: run `tritforge tune` again"
    )]
    Version {
        /// The version found.
        found: u32,
    },
    /// A setting out of its range.
    #[error("setting {name} is {found}, expected {expected}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// Its value.
        found: String,
        /// Its range.
        expected: String,
    },
    /// A kernel's name or figures.
    #[error("kernel '{name}': {reason}")]
    Kernel {
        /// The name found.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The profile of another CPU.
    #[error("made on {found}; this CPU is {here}")]
    Cpu {
        /// The profile's.
        found: String,
        /// The one at hand.
        here: String,
    },
    /// More than any profile has.
    #[error("{found} bytes are no tuned profile, which has at most {most}")]
    TooLarge {
        /// Bytes of the file.
        found: u64,
        /// The most that are read.
        most: u64,
    },
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(String),
    /// One of these, in a file.
    #[error("{path}: {error}")]
    File {
        /// The file, or the folder.
        path: PathBuf,
        /// What is wrong with it.
        error: Box<ProfileError>,
    },
}
