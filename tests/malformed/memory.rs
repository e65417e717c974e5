//! An allocator that counts what the calling thread holds, so that tests can run side by side.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with the bytes of each thread counted.
pub struct Counting;

thread_local! {
    /// Bytes that this thread has allocated and not freed; negative where it freed what others allocated.
    static HELD: Cell<isize> = const { Cell::new(0) };
    /// The most that it held since the last [`Meter`] was started.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that ends may allocate when its counters are gone already.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is passed on to the system's allocator as it is; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment there may be two of them.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Measures what the current thread holds beyond what it held at the start.
pub struct Meter {
    start: isize,
}

impl Meter {
    /// Starts to measure. One meter a thread at a time.
    pub fn start() -> Self {
        let start = HELD.get();
        PEAK.set(start);
        Meter { start }
    }

    /// The most bytes held at once since the start.
    pub fn peak(&self) -> usize {
        (PEAK.get() - self.start).max(0) as usize
    }
}

#[test]
fn the_meter_sees_peaks_and_huge_requests() {
    let meter = Meter::start();
    let small = vec![1u8; 1000];
    drop(vec![1u8; 10_000]);
    assert_eq!(meter.peak(), 11_000);
    // Untouched zeros cost no memory of the machine, but they were asked for.
    drop(vec![0u8; 1 << 30]);
    assert!(meter.peak() >= 1 << 30);
    drop(small);
}
