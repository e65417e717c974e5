//! What can be wrong with a config, and where.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// One fault in one file.
///
/// Displays as `file:line:column: message`, the form that editors and terminals turn into a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as it was named by the caller.
    pub file: PathBuf,
    /// Line of the offending value, counted from 1.
    pub line: usize,
    /// Column of the offending value, counted in characters from 1.
    pub column: usize,
    /// What was found and what is expected, on one line.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)
    }
}

/// Why model shapes could not be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is not a valid model config. Holds at least one diagnostic, in the order of the files and of
    /// the places in a file; displays one a line.
    #[error("{}", lines(.0))]
    Invalid(Vec<Diagnostic>),
    /// A file or directory is missing or cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Io {
        /// The file or directory as it was named by the caller or found below such a directory.
        path: PathBuf,
        /// What the operating system says.
        reason: io::Error,
    },
    /// The file is larger than any model config can be.
    #[error("{}: larger than {limit} bytes, the most that a model config may have; is it a model config?", path.display())]
    TooLarge {
        /// The file as it was named by the caller or found below a directory.
        path: PathBuf,
        /// The largest size that is read, in bytes.
        limit: u64,
    },
    /// A directory was given and there is no model config below it.
    #[error("{}: no model config (*.toml outside of hidden folders and folders named `tuned`) in this directory", path.display())]
    NoConfigs {
        /// The directory as it was named by the caller.
        path: PathBuf,
    },
}

impl ConfigError {
    /// The faults with their places; empty unless the error is [`ConfigError::Invalid`].
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            ConfigError::Invalid(diagnostics) => diagnostics,
            _ => &[],
        }
    }
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(Diagnostic::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(line: usize, message: &str) -> Diagnostic {
        Diagnostic { file: "a/b.toml".into(), line, column: 7, message: message.to_owned() }
    }

    #[test]
    fn several_diagnostics_display_one_a_line() {
        let error = ConfigError::Invalid(vec![diagnostic(3, "first"), diagnostic(12, "second")]);
        assert_eq!(error.to_string(), "a/b.toml:3:7: first\na/b.toml:12:7: second");
        assert_eq!(error.diagnostics().len(), 2);
    }

    #[test]
    fn io_errors_name_the_path() {
        let reason = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let error = ConfigError::Io { path: "x.toml".into(), reason };
        assert_eq!(error.to_string(), "x.toml: cannot be read: no such file");
        assert!(error.diagnostics().is_empty());
    }
}
