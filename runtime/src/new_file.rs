//! Files that appear under their name only when they are complete.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::os;

/// Why a new file cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NewFileError {
    /// The file exists and was not to be replaced.
    #[error("{} exists already; choose another name, or allow overwriting", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Has `write` fill a temporary file beside `out`, which takes the name once it is whole and on the disk.
///
/// # Errors
/// [`NewFileError`], or what `write` returns. Nothing is left behind then, and a file that was there is as before.
pub(crate) fn write_whole<R, E: From<NewFileError>>(
    out: &Path,
    overwrite: bool,
    write: impl FnOnce(&mut dyn Write) -> Result<R, E>,
) -> Result<R, E> {
    let exists = || NewFileError::Exists { path: out.to_owned() };
    let io = |source| NewFileError::Io { path: out.to_owned(), source };
    if !overwrite && out.exists() {
        return Err(exists().into());
    }
    let folder = match out.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = os::temporary_file(folder).map_err(io)?;
    let mut buffered = BufWriter::new(file.as_file_mut());
    let result = write(&mut buffered)?;
    buffered.flush().map_err(io)?;
    drop(buffered);
    file.as_file().sync_all().map_err(io)?;
    let kept = if overwrite { file.persist(out) } else { file.persist_noclobber(out) };
    match kept {
        Ok(_) => Ok(result),
        Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => Err(exists().into()),
        Err(failed) => Err(io(failed.error).into()),
    }
}
