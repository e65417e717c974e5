//! Files that appear under their name only when they are complete.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::os;

/// Why a new file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum NewFileError {
    /// The file exists and was not to be replaced.
    #[error("{} exists already; choose another name, or allow overwriting", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Writes the file `path` with `write`: to a temporary file beside it, which is renamed at the end. An
/// existing file is replaced only with `overwrite`.
///
/// # Errors
/// Those of `write`, and [`NewFileError`]. Nothing is left behind then.
pub(crate) fn create<T, E: From<NewFileError>>(
    path: &Path,
    overwrite: bool,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
) -> Result<T, E> {
    let exists = || NewFileError::Exists { path: path.to_owned() };
    let in_file = |source| NewFileError::Io { path: path.to_owned(), source };
    if !overwrite && path.exists() {
        return Err(exists().into());
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = os::temporary_file(folder).map_err(in_file)?;
    let mut buffered = BufWriter::new(file.as_file_mut());
    let result = write(&mut buffered)?;
    buffered.flush().map_err(in_file)?;
    drop(buffered);
    file.as_file().sync_all().map_err(in_file)?;
    let kept = if overwrite { file.persist(path) } else { file.persist_noclobber(path) };
    match kept {
        Ok(_) => Ok(result),
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => Err(exists().into()),
        Err(failed) => Err(in_file(failed.error).into()),
    }
}
