//! [`SharedBytes`]: a cheap-to-clone view into a mapped file, an owned buffer, or bytes linked into the
//! binary.

use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

use memmap2::Mmap;

/// What keeps the bytes alive.
enum Storage {
    Mapped(Mmap),
    Owned(Vec<u8>),
    Linked(&'static [u8]),
}

impl Storage {
    fn as_slice(&self) -> &[u8] {
        match self {
            Storage::Mapped(map) => map,
            Storage::Owned(vec) => vec,
            Storage::Linked(bytes) => bytes,
        }
    }
}

/// A range of bytes whose storage is shared: cloning and slicing copy no data.
///
/// Dereferences to `[u8]`. The bytes have no particular alignment.
#[derive(Clone)]
pub struct SharedBytes {
    storage: Arc<Storage>,
    range: Range<usize>,
}

impl SharedBytes {
    /// Maps a file into memory, or reads it where the system cannot map it.
    ///
    /// The file must not be changed by another program while the view lives; replacing it by a rename is
    /// fine.
    ///
    /// # Errors
    /// Whatever opening or reading the file says; [`io::ErrorKind::InvalidInput`] for what is not a regular
    /// file, since a pipe or a device has no length that could bound the memory it takes.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let info = file.metadata()?;
        if !info.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        // SAFETY: the mapping is private to this process and read-only. The one hazard that remains, another
        // process truncating or rewriting the file meanwhile, is excluded by the contract above, as it is for
        // every program that maps its input.
        if let Ok(map) = unsafe { Mmap::map(&file) } {
            return Ok(Self::new(Storage::Mapped(map)));
        }
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(info.len()).read_to_end(&mut bytes)?;
        Ok(Self::from(bytes))
    }

    fn new(storage: Storage) -> Self {
        let range = 0..storage.as_slice().len();
        Self { storage: Arc::new(storage), range }
    }

    /// Bytes that are linked into the program, such as an embedded model.
    pub fn from_static(bytes: &'static [u8]) -> Self {
        Self::new(Storage::Linked(bytes))
    }

    /// Asks the system to read these bytes from the disk meanwhile, where they are those of a mapped file: a wish, whose
    /// failure changes nothing but the time.
    pub(crate) fn read_ahead(&self) {
        #[cfg(unix)]
        if let Storage::Mapped(map) = &*self.storage {
            let _ = map.advise_range(memmap2::Advice::WillNeed, self.range.start, self.len());
        }
    }

    /// The part `range` of this view, or `None` where it does not lie inside.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let start = self.range.start + range.start;
        let end = self.range.start + range.end;
        Some(Self { storage: Arc::clone(&self.storage), range: start..end })
    }
}

impl From<Vec<u8>> for SharedBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(Storage::Owned(bytes))
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.storage.as_slice()[self.range.clone()]
    }
}

impl std::fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedBytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_stay_inside_their_view() {
        let all = SharedBytes::from(vec![0, 1, 2, 3, 4]);
        let part = all.slice(1..4).unwrap();
        assert_eq!(&*part, [1, 2, 3]);
        assert_eq!(&*part.slice(1..3).unwrap(), [2, 3]);
        assert!(part.slice(0..4).is_none());
        assert!(part.slice(4..4).is_none());
        #[expect(clippy::reversed_empty_ranges)]
        let reversed = part.slice(2..1);
        assert!(reversed.is_none());
    }

    #[test]
    fn files_read_back_even_when_empty() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        assert!(SharedBytes::open(file.path()).unwrap().is_empty());
        io::Write::write_all(&mut file, b"GGUF").unwrap();
        assert_eq!(&*SharedBytes::open(file.path()).unwrap(), b"GGUF");
        let folder = tempfile::tempdir().unwrap();
        assert!(SharedBytes::open(folder.path()).is_err());
    }
}
