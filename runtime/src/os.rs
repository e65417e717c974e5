//! What depends on the operating system, each with a fallback for those that lack it.

use std::collections::TryReserveError;
use std::io;
use std::path::Path;
use std::sync::Arc;

use memmap2::{MmapMut, MmapRaw};

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

/// A huge page of the usual size.
const HUGE_PAGE: usize = 2 << 20;

/// From this size on a buffer is mapped on its own, so that it can lie on huge pages: as much as a near cache holds of what is
/// read over and over.
const MAP_FROM: usize = HUGE_PAGE / 8;

/// One cache line; the alignment that kernels demand of weights.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

enum Memory {
    Lines(Vec<Line>),
    /// The bytes from `start` on, of which no other buffer has any.
    Pages {
        pages: Arc<MmapRaw>,
        start: usize,
    },
}

/// So many zeros on huge pages, where they are many and the system gives them.
fn huge_pages(len: usize) -> Option<Arc<MmapRaw>> {
    if len < MAP_FROM {
        return None;
    }
    // Systems let whole huge pages begin where one can.
    let pages = MmapMut::map_anon(len.checked_next_multiple_of(HUGE_PAGE)?).ok()?;
    // A wish only: without huge pages the program is slower, not wrong.
    #[cfg(target_os = "linux")]
    let _ = pages.advise(memmap2::Advice::HugePage);
    Some(Arc::new(pages.into()))
}

/// A buffer of bytes that starts at a multiple of 64, on huge pages where it is large and the system gives them.
pub struct AlignedBytes {
    memory: Memory,
    len: usize,
}

impl AlignedBytes {
    /// A buffer of `len` zeros. Where it is large, the system gives it no memory before it is written to, and then near
    /// the thread that writes.
    pub fn zeroed(len: usize) -> Self {
        let memory = match huge_pages(len) {
            Some(pages) => Memory::Pages { pages, start: 0 },
            None => Memory::Lines(vec![Line([0; 64]); len.div_ceil(64)]),
        };
        AlignedBytes { memory, len }
    }

    /// `count` buffers of `len` zeros, one behind the other: on huge pages where they are large together.
    ///
    /// # Errors
    /// When the system gives no memory.
    pub fn try_zeroed(len: usize, count: usize) -> Result<Vec<Self>, TryReserveError> {
        let lines = len.div_ceil(64);
        let mut buffers = Vec::new();
        buffers.try_reserve_exact(count)?;
        if let Some(pages) = lines.checked_mul(count * 64).and_then(huge_pages) {
            buffers.extend((0..count).map(|index| {
                let memory = Memory::Pages { pages: Arc::clone(&pages), start: index * lines * 64 };
                AlignedBytes { memory, len }
            }));
            return Ok(buffers);
        }
        for _ in 0..count {
            let mut memory = Vec::new();
            memory.try_reserve_exact(lines)?;
            memory.resize(lines, Line([0; 64]));
            buffers.push(AlignedBytes { memory: Memory::Lines(memory), len });
        }
        Ok(buffers)
    }

    /// A buffer of `len` bytes of this value.
    pub fn filled(len: usize, byte: u8) -> Self {
        let mut bytes = Self::zeroed(len);
        bytes.fill(byte);
        bytes
    }
}

impl std::ops::Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Lines(lines) => &bytemuck::cast_slice(lines)[..self.len],
            // SAFETY: the pages hold as many bytes from there on, which this buffer alone has: whoever made it gave them to
            // no other. They are there as long as any buffer is.
            Memory::Pages { pages, start } => unsafe {
                std::slice::from_raw_parts(pages.as_ptr().add(*start), self.len)
            },
        }
    }
}

impl std::ops::DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Lines(lines) => &mut bytemuck::cast_slice_mut(lines)[..self.len],
            // SAFETY: as above; this buffer is borrowed as mutably as its bytes.
            Memory::Pages { pages, start } => unsafe {
                std::slice::from_raw_parts_mut(pages.as_mut_ptr().add(*start), self.len)
            },
        }
    }
}

impl std::fmt::Debug for AlignedBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBytes({})", self.len)
    }
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(unix), allow(dead_code, reason = "in this process a trial returns or ends it"))]
pub enum Trial {
    /// It returned true.
    Passed,
    /// It returned false.
    Failed,
    /// It never returned: this signal ended it, where it is known.
    Died {
        /// The signal's number.
        signal: Option<i32>,
    },
    /// It was still running when its time was up, and was ended.
    TimedOut,
}

/// Runs `trial` in a copy of this process, so that an illegal instruction in it ends the copy alone. What it writes to
/// memory is lost. A trial that runs for ten seconds is ended.
///
/// Where the system cannot copy a process, the trial runs in this one.
///
/// # Safety
/// The trial must neither allocate nor lock: another thread may have been about to when the copy was made.
pub unsafe fn try_out(trial: impl FnOnce() -> bool) -> Trial {
    #[cfg(unix)]
    {
        // SAFETY: the caller promises what it asks for.
        unsafe { unix::in_copy(trial) }
    }
    #[cfg(not(unix))]
    {
        if trial() { Trial::Passed } else { Trial::Failed }
    }
}

#[cfg(unix)]
mod unix {
    use super::Trial;

    /// Milliseconds that a trial may take.
    const LIMIT: i32 = 10_000;
    /// The byte by which the copy says that the trial has returned, and what.
    const RETURNED: [u8; 2] = [b'n', b'y'];

    /// Ends the copy, however it is left: it must not go on with the program's work.
    struct Exit;

    impl Drop for Exit {
        fn drop(&mut self) {
            // SAFETY: it is async-signal-safe and ends the copy without its destructors.
            unsafe { libc::_exit(0) }
        }
    }

    /// See [`super::try_out`].
    ///
    /// # Safety
    /// As there.
    pub(super) unsafe fn in_copy(trial: impl FnOnce() -> bool) -> Trial {
        let mut ends = [0; 2];
        // SAFETY: `pipe` writes two descriptors to the array.
        if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
            return here(trial);
        }
        let [read, write] = ends;
        for end in ends {
            // SAFETY: the descriptor is ours. Programs that other threads start must not inherit it: as long as anybody
            // holds the end to write to, the other does not see that the copy is gone.
            unsafe { libc::fcntl(end, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
        // SAFETY: the copy runs nothing but async-signal-safe calls and the trial, which neither allocates nor locks, as
        // the caller promises.
        match unsafe { libc::fork() } {
            0 => {
                // Should the trial unwind.
                let _unwound = Exit;
                // SAFETY: each is async-signal-safe and gets values of its own types. Handlers of the program must not
                // see the signals of a trial, and a trial that dies leaves no core file.
                unsafe {
                    for signal in [libc::SIGILL, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE] {
                        libc::signal(signal, libc::SIG_DFL);
                    }
                    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                    libc::setrlimit(libc::RLIMIT_CORE, &none);
                }
                let byte = RETURNED[usize::from(trial())];
                // SAFETY: one byte is read from `byte`, which lives; `_exit` ends the copy without its destructors.
                unsafe {
                    libc::write(write, (&raw const byte).cast(), 1);
                    libc::_exit(0)
                }
            }
            copy => {
                // SAFETY: the descriptor is ours and is closed once.
                unsafe { libc::close(write) };
                let trial = if copy > 0 { outcome(read, copy) } else { here(trial) };
                // SAFETY: as above.
                unsafe { libc::close(read) };
                trial
            }
        }
    }

    fn here(trial: impl FnOnce() -> bool) -> Trial {
        if trial() { Trial::Passed } else { Trial::Failed }
    }

    /// Waits for the copy to say what the trial returned, or to die without a word, and ends it when its time is up.
    fn outcome(read: i32, copy: i32) -> Trial {
        let mut ready = libc::pollfd { fd: read, events: libc::POLLIN, revents: 0 };
        // SAFETY: one descriptor to wait for, which is ours.
        let waited = again(|| i64::from(unsafe { libc::poll(&raw mut ready, 1, LIMIT) }));
        if waited == 0 {
            // SAFETY: the copy is our child and not yet waited for, so that the number is still its own.
            unsafe { libc::kill(copy, libc::SIGKILL) };
        }
        let mut byte = 0u8;
        // SAFETY: at most one byte is written to `byte`.
        let returned = again(|| unsafe { libc::read(read, (&raw mut byte).cast(), 1) } as i64) == 1;
        let mut status = 0;
        // SAFETY: `status` is an integer to write to. Where the program reaps all children itself this fails, and
        // the signal stays unknown.
        let reaped = again(|| i64::from(unsafe { libc::waitpid(copy, &raw mut status, 0) })) > 0;
        match (returned, byte == RETURNED[1]) {
            (true, true) => Trial::Passed,
            (true, false) => Trial::Failed,
            (false, _) if waited == 0 => Trial::TimedOut,
            (false, _) => {
                let known = reaped && libc::WIFSIGNALED(status);
                Trial::Died { signal: known.then(|| libc::WTERMSIG(status)) }
            }
        }
    }

    /// Repeats a system call for as long as signals interrupt it.
    fn again(mut call: impl FnMut() -> i64) -> i64 {
        loop {
            let result = call();
            let interrupted =
                result < 0 && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted;
            if !interrupted {
                return result;
            }
        }
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

    /// The trials of these tests neither allocate nor lock.
    fn tried(trial: impl FnOnce() -> bool) -> Trial {
        // SAFETY: see above.
        unsafe { try_out(trial) }
    }

    #[test]
    fn trials_end_as_they_end() {
        assert_eq!(tried(|| true), Trial::Passed);
        assert_eq!(tried(|| false), Trial::Failed);
    }

    #[cfg(unix)]
    #[test]
    fn a_trial_that_dies_dies_alone() {
        for signal in [libc::SIGILL, libc::SIGSEGV] {
            // SAFETY: the signal ends the copy of the process that raises it.
            let died = tried(|| unsafe { libc::raise(signal) == 0 });
            assert_eq!(died, Trial::Died { signal: Some(signal) });
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_trial_leaves_no_trace() {
        let mut value = 1;
        assert_eq!(
            tried(|| {
                value = 2;
                value == 2
            }),
            Trial::Passed
        );
        assert_eq!(value, 1);
    }
}
