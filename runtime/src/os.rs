//! What depends on the operating system, each with a fallback for those that lack it.

use std::io;
use std::path::Path;

use memmap2::MmapMut;

/// A temporary file in `folder` with the permissions of an ordinary one, since it will become one.
///
/// # Errors
/// Whatever the system says where the file cannot be made.
pub fn temporary_file(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tritforge-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// From this size on a buffer is mapped on its own, so that it can lie on huge pages: two of the usual size.
const MAP_FROM: usize = 4 << 20;

/// One cache line; the alignment that kernels demand of weights.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

enum Memory {
    Lines(Vec<Line>),
    Pages(MmapMut),
}

/// A buffer of bytes that starts at a multiple of 64, on huge pages where it is large and the system gives them.
pub struct AlignedBytes {
    memory: Memory,
    len: usize,
}

impl AlignedBytes {
    /// A buffer of `len` bytes of this value.
    pub fn filled(len: usize, byte: u8) -> Self {
        if len >= MAP_FROM
            && let Ok(mut pages) = MmapMut::map_anon(len)
        {
            // A wish only: without huge pages the program is slower, not wrong.
            #[cfg(target_os = "linux")]
            let _ = pages.advise(memmap2::Advice::HugePage);
            pages.fill(byte);
            return AlignedBytes { memory: Memory::Pages(pages), len };
        }
        let lines = vec![Line([byte; 64]); len.div_ceil(64)];
        AlignedBytes { memory: Memory::Lines(lines), len }
    }
}

impl std::ops::Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes: &[u8] = match &self.memory {
            Memory::Lines(lines) => bytemuck::cast_slice(lines),
            Memory::Pages(pages) => pages,
        };
        &bytes[..self.len]
    }
}

impl std::ops::DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        let bytes: &mut [u8] = match &mut self.memory {
            Memory::Lines(lines) => bytemuck::cast_slice_mut(lines),
            Memory::Pages(pages) => pages,
        };
        &mut bytes[..self.len]
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBytes({})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_aligned_and_filled() {
        for len in [0, 1, 63, 64, 65, MAP_FROM - 1, MAP_FROM, MAP_FROM + 1] {
            let mut bytes = AlignedBytes::filled(len, 0x55);
            assert_eq!(bytes.len(), len);
            assert_eq!(bytes.as_ptr() as usize % 64, 0);
            assert!(bytes.iter().all(|&b| b == 0x55));
            if let Some(last) = bytes.last_mut() {
                *last = 1;
                assert_eq!(bytes[len - 1], 1);
            }
        }
    }
}
