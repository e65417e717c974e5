//! A parallel region: threads that stay together for a whole forward pass and hand work to each other without going to
//! sleep.
//!
//! A layer of a model takes some hundred microseconds and consists of half a dozen steps that depend on each other, so
//! what counts is the time from the end of one step to the start of the next on all threads. Inside of a region the
//! threads wait for the next step by watching a counter, not asleep. One thread, the leader, runs the region's code from
//! top to bottom, as if alone; where there is something to share it calls [`Team::run`] or [`Team::chunks`], which return
//! when every member is done.
//!
//! The threads are those of a rayon pool, which lends them for the time of the region.

mod ahead;

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ahead::{Ahead, Reader};

/// Looks at the counter before a waiting thread lets others have the CPU at every further look: some tens of
/// microseconds, more than the leader's own steps between two shared ones take.
const LOOKS: u32 = 1 << 12;

/// Elementary operations (multiply-adds, conversions) below which sharing costs more than it saves.
const MIN_SHARED_WORK: usize = 1 << 14;

/// Pieces that a member takes on average: enough that nobody waits long for the last.
const PIECES_EACH: usize = 8;

/// The members of a region, in the hands of its leader.
#[derive(Clone, Copy)]
pub struct Team<'a> {
    /// None where the leader is alone.
    hub: Option<&'a Hub>,
}

impl Team<'_> {
    /// A team of the calling thread alone.
    pub fn solo() -> Team<'static> {
        Team { hub: None }
    }

    /// Members, the leader among them.
    pub fn size(&self) -> usize {
        self.hub.map_or(1, |hub| hub.size)
    }

    /// Calls `body(member)` once on every member, members counting from 0, and returns when all are done.
    ///
    /// # Panics
    /// When `body` does on any member, or starts another step while this one is under way.
    pub fn run(&self, body: impl Fn(usize) + Sync) {
        match self.hub {
            Some(hub) => hub.run(&body),
            None => body(0),
        }
    }

    /// Says what a later step will read, each member a part of the same size: members that wait ask memory for the
    /// beginnings of their parts meanwhile. Changes no result, whatever the address.
    pub fn will_read(&self, start: *const u8, len: usize) {
        if let Some(hub) = self.hub {
            hub.ahead.announce(start, len);
        }
    }

    /// Calls `body(index, chunk)` for each `chunk_len` elements of `data` (the last chunk may be shorter), on all members
    /// where `work` (elementary operations in all) is worth it. A chunk is computed by one member from start to end, so
    /// who does it changes no bit.
    ///
    /// # Panics
    /// When `chunk_len` is 0, or `body` panics.
    pub fn chunks<T: Send>(
        &self,
        data: &mut [T],
        chunk_len: usize,
        work: usize,
        body: impl Fn(usize, &mut [T]) + Sync,
    ) {
        self.chunks_with(data, chunk_len, work, || (), |(), index, chunk| body(index, chunk));
    }

    /// The same with working memory, which each member that takes part makes for itself.
    ///
    /// # Panics
    /// When `chunk_len` is 0, or `memory` or `body` panics.
    pub fn chunks_with<T: Send, M>(
        &self,
        data: &mut [T],
        chunk_len: usize,
        work: usize,
        memory: impl Fn() -> M + Sync,
        body: impl Fn(&mut M, usize, &mut [T]) + Sync,
    ) {
        if self.size() == 1 || work < MIN_SHARED_WORK || data.len() <= chunk_len {
            let mut memory = memory();
            let chunks = data.chunks_mut(chunk_len).enumerate();
            chunks.for_each(|(index, chunk)| body(&mut memory, index, chunk));
            return;
        }
        let chunks = data.len().div_ceil(chunk_len);
        let grain = (chunks / (PIECES_EACH * self.size())).max(1);
        let (next, data) = (AtomicUsize::new(0), Whole { start: data.as_mut_ptr(), len: data.len() });
        self.run(|_| {
            let mut memory = memory();
            loop {
                // The index is nothing but a number; what is written is joined by the end of `run`.
                let first = next.fetch_add(grain, Ordering::Relaxed);
                if first >= chunks {
                    return;
                }
                for index in first..(first + grain).min(chunks) {
                    // SAFETY: the counter hands out every index once.
                    body(&mut memory, index, unsafe { data.chunk(index, chunk_len) });
                }
            }
        });
    }
}

/// A mutable slice whose chunks go to different threads.
struct Whole<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: it is a mutable slice, whose chunks go to threads as `chunk` demands.
unsafe impl<T: Send> Sync for Whole<T> {}

impl<T> Whole<T> {
    /// # Safety
    /// No index may be asked for twice, and the slice must outlive what is returned.
    #[allow(clippy::mut_from_ref, reason = "the caller promises that no chunk is handed out twice")]
    unsafe fn chunk(&self, index: usize, chunk_len: usize) -> &mut [T] {
        let from = index * chunk_len;
        let len = chunk_len.min(self.len - from);
        // SAFETY: the chunk lies inside of the slice, and no other overlaps it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

/// Threads that regions run on, one region at a time.
#[derive(Debug)]
pub(crate) struct Threads {
    pool: rayon::ThreadPool,
    /// Held by whoever has the threads.
    turn: Mutex<()>,
}

impl Threads {
    /// The threads of a pool that has no other regions.
    pub fn new(pool: rayon::ThreadPool) -> Self {
        Threads { pool, turn: Mutex::new(()) }
    }

    /// The pool.
    pub fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }

    /// Runs `leader` on one of the threads with all of them as its team. Callers on several threads take turns. On a thread
    /// of the pool itself, and in a pool of one, the leader is alone, on the calling thread.
    ///
    /// # Panics
    /// When the leader does, or a member in a step of it.
    pub fn region<R: Send>(&self, leader: impl FnOnce(&Team<'_>) -> R + Send) -> R {
        let size = self.pool.current_num_threads();
        // A thread of the pool must not wait for a turn: whoever has it needs that thread.
        if size == 1 || self.pool.current_thread_index().is_some() {
            return leader(&Team::solo());
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let hub = Hub::new(size);
        let leader = Mutex::new(Some(leader));
        let results = self.pool.broadcast(|context| {
            if context.index() > 0 {
                hub.follow(context.index());
                return None;
            }
            // However the leader ends, the others are sent home.
            let _end = End(&hub);
            let leader = leader.lock().unwrap_or_else(PoisonError::into_inner).take();
            leader.map(|leader| leader(&Team { hub: Some(&hub) }))
        });
        results.into_iter().flatten().next().expect("the leader has run")
    }
}

/// A step: what every member calls with its number.
type Step = *const (dyn Fn(usize) + Sync);

/// Keeps what one thread writes often out of the cache line of its neighbours.
#[repr(align(128))]
struct Padded<T>(T);

/// Where the leader hands out steps and members report back.
struct Hub {
    size: usize,
    /// Counts the steps; a change says that there is a new one.
    epoch: Padded<AtomicUsize>,
    /// Members, the leader aside, that are still at the present step.
    busy: Padded<AtomicUsize>,
    /// A step is under way: no other may start, whoever asks for it.
    stepping: AtomicBool,
    /// The present step; `None` ends the region. Written while no member is busy, by whoever has set `stepping` or, at
    /// the end, by the leader.
    step: UnsafeCell<Option<Step>>,
    /// What a later step will read.
    ahead: Ahead,
    /// What the first member that panicked said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `stepping` lets one thread at a time write the step, before it raises the epoch (release); it is read only by
// members that have seen the epoch (acquire) and have not yet said that they are done. The closure behind it is Sync.
unsafe impl Sync for Hub {}

/// Ends the region when the leader leaves it.
struct End<'a>(&'a Hub);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.announce(None);
    }
}

impl Hub {
    fn new(size: usize) -> Self {
        Hub {
            size,
            epoch: Padded(AtomicUsize::new(0)),
            busy: Padded(AtomicUsize::new(0)),
            stepping: AtomicBool::new(false),
            step: UnsafeCell::new(None),
            ahead: Ahead::new(),
            panic: Mutex::new(None),
        }
    }

    fn announce(&self, step: Option<Step>) {
        // SAFETY: one thread at a time comes here, and no member is busy: all have left the last step.
        unsafe { *self.step.get() = step };
        self.busy.0.store(self.size - 1, Ordering::Relaxed);
        self.epoch.0.fetch_add(1, Ordering::Release);
    }

    /// One step on all members; the leader is member 0.
    fn run(&self, body: &(dyn Fn(usize) + Sync)) {
        let under_way = self.stepping.swap(true, Ordering::Acquire);
        assert!(!under_way, "a team starts a step when the one before has ended, not from inside of it");
        let step: *const (dyn Fn(usize) + Sync + '_) = body;
        // SAFETY: only the lifetime changes. The members have left the step before this function returns or unwinds, so
        // that nobody calls it after the end of its life.
        let step = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Step>(step) };
        self.announce(Some(step));
        let own = catch_unwind(AssertUnwindSafe(|| body(0)));
        wait_until(|| self.busy.0.load(Ordering::Acquire) == 0);
        self.stepping.store(false, Ordering::Release);
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        let theirs = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = theirs {
            resume_unwind(panic);
        }
    }

    /// A member's life: every step in turn, until there is none.
    fn follow(&self, member: usize) {
        let mut reader = Reader::new(member, self.size);
        for epoch in 1.. {
            wait_until(|| {
                let is_new = self.epoch.0.load(Ordering::Acquire) >= epoch;
                if !is_new {
                    reader.read_on(&self.ahead);
                }
                is_new
            });
            // SAFETY: the leader writes no other step until this member has said that it is done.
            let Some(step) = (unsafe { *self.step.get() }) else { return };
            // SAFETY: the leader keeps the closure alive until all members are done with it.
            let done = catch_unwind(AssertUnwindSafe(|| unsafe { (*step)(member) }));
            if let Err(panic) = done {
                self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            }
            self.busy.0.fetch_sub(1, Ordering::Release);
        }
    }
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let mut looks = 0;
    while !condition() {
        if looks < LOOKS {
            looks += 1;
            std::hint::spin_loop();
        } else {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(count: usize) -> Threads {
        Threads::new(rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap())
    }

    #[test]
    fn every_member_takes_part_in_every_step_and_steps_follow_each_other() {
        for size in [1, 2, 3, 7] {
            let threads = threads(size);
            let counts: Vec<AtomicUsize> = (0..size).map(|_| AtomicUsize::new(0)).collect();
            let sum = threads.region(|team| {
                assert_eq!(team.size(), size);
                for step in 0..500 {
                    team.run(|member| {
                        // Whoever is late would be seen here.
                        assert_eq!(counts[member].fetch_add(1, Ordering::Relaxed), step);
                    });
                    assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == step + 1));
                }
                counts.iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>()
            });
            assert_eq!(sum, 500 * size);
        }
    }

    #[test]
    fn chunks_cover_everything_once() {
        let threads = threads(3);
        for (len, chunk_len) in [(0, 4), (1, 4), (1000, 7), (1000, 1), (64, 64), (65, 64)] {
            for work in [0, usize::MAX] {
                let mut data = vec![0usize; len];
                threads.region(|team| {
                    team.chunks(&mut data, chunk_len, work, |index, chunk| {
                        for (i, value) in chunk.iter_mut().enumerate() {
                            *value += index * chunk_len + i + 1;
                        }
                    });
                });
                assert!(data.iter().enumerate().all(|(i, value)| *value == i + 1), "{len} {chunk_len}");
            }
        }
    }

    #[test]
    fn a_panic_of_a_member_or_of_the_leader_reaches_the_caller_and_the_pool_lives_on() {
        let threads = threads(3);
        for bad in 0..3 {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                threads.region(|team| team.run(|member| assert_ne!(member, bad, "this one")));
            }));
            assert!(outcome.is_err());
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| threads.region(|_| panic!("between two steps"))));
        assert!(outcome.is_err());
        assert_eq!(threads.region(|team| team.size()), 3);
    }

    #[test]
    fn a_step_inside_of_a_step_is_refused_and_the_threads_live_on() {
        let threads = threads(3);
        for from in 0..3 {
            let nested = |team: &Team<'_>| {
                team.run(|member| {
                    if member == from {
                        team.run(|_| ());
                    }
                });
            };
            assert!(catch_unwind(AssertUnwindSafe(|| threads.region(nested))).is_err());
        }
        assert_eq!(threads.region(|team| team.size()), 3);
    }

    #[test]
    fn inside_of_the_pool_the_leader_is_alone() {
        let two = threads(2);
        assert_eq!(two.pool().install(|| two.region(|team| team.size())), 1);
        assert_eq!(two.region(|_| two.region(|team| team.size())), 1);
        // In a pool of one the leader is the calling thread, which must not wait for itself.
        let one = threads(1);
        assert_eq!(one.region(|_| one.region(|team| team.size())), 1);
    }
}
