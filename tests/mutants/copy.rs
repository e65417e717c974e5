//! A copy of the tracked files, in which faults can be planted while the sources stay as they are.

use std::collections::HashSet;
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
        let root = root.canonicalize()?;
        remove_others(&root, &root, &names.split('\0').collect())?;
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

/// Removes files that are not tracked any more, and leaves what cargo has built.
fn remove_others(root: &Path, folder: &Path, tracked: &HashSet<&str>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.strip_prefix(root).ok().and_then(Path::to_str).unwrap_or_default();
        if path.is_dir() {
            if name != "target" {
                remove_others(root, &path, tracked)?;
            }
        } else if !tracked.contains(name) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}
