//! The measure of loading: a file that is mapped and copied into memory that was never touched before.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use memmap2::{Mmap, MmapMut};

/// Seconds that it takes to map a file and copy it on so many threads, each a contiguous part, into fresh memory, on huge
/// pages if that is asked for and the system has them.
#[cfg_attr(
    not(target_os = "linux"),
    allow(unused_variables, unused_mut, reason = "only Linux is asked for huge pages")
)]
pub fn seconds(path: &Path, threads: usize, huge: bool) -> f64 {
    let file = File::open(path).expect("the file");
    let start = Instant::now();
    // SAFETY: nobody changes the file while it is mapped; the bench has been told to read it.
    let source = unsafe { Mmap::map(&file) }.expect("a file that can be mapped");
    let mut target = MmapMut::map_anon(source.len()).expect("memory for a copy");
    #[cfg(target_os = "linux")]
    if huge {
        let _ = target.advise(memmap2::Advice::HugePage);
    }
    let part = source.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for (from, to) in source.chunks(part).zip(target.chunks_mut(part)) {
            scope.spawn(move || to.copy_from_slice(from));
        }
    });
    let seconds = start.elapsed().as_secs_f64();
    assert_eq!(target.last(), source.last());
    seconds
}
