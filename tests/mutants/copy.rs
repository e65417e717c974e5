//! A copy of the tracked files, in which faults can be planted while the sources stay as they are.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The copy, below the target directory: what is built there is used again by the next run.
pub struct Copy {
    root: PathBuf,
}

impl Copy {
    /// Copies every tracked file that exists; those that have not changed keep their times.
    pub fn of(source: &Path) -> io::Result<Self> {
        let root = source.join("target/mutants");
        let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(source).output()?;
        if !listed.status.success() {
            return Err(io::Error::other("the tracked files cannot be listed: is this a git checkout?"));
        }
        let names = String::from_utf8(listed.stdout).map_err(io::Error::other)?;
        for name in names.split('\0').filter(|name| !name.is_empty()) {
            let (from, to) = (source.join(name), root.join(name));
            if !from.is_file() {
                continue;
            }
            let contents = std::fs::read(&from)?;
            if std::fs::read(&to).ok().as_ref() != Some(&contents) {
                to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                std::fs::write(&to, contents)?;
            }
        }
        Ok(Copy { root })
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The text of a file.
    pub fn read(&self, file: &Path) -> io::Result<String> {
        std::fs::read_to_string(self.root.join(file))
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", file.display())))
    }

    /// Replaces a file.
    pub fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        std::fs::write(self.root.join(file), text)
    }
}
