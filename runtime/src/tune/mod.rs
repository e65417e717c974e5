//! Tuning: which kernels, threads and block sizes are the fastest on the machine at hand.
//!
//! [`quick`] times the kernels that are linked; it needs nothing but the program. [`search`] goes through the schedules that
//! the kernel compiler could make as well, and needs `rustc`. Both hold a [`contest`] for each operation, instruction set and
//! class of shapes, in which the kernels take turns at the same places ([`arena`]), and make a
//! [`TunedProfile`] of what they find ([`outcome`]). A schedule takes the default one's place
//! only if it is faster by more than noise, and nowhere slower. Results never depend on it.
//!
//! Decoding is timed with weights from memory, on one thread and on all that are used, for there it is memory that has to be
//! kept busy; the products of a prompt with weights in the cache. What a kernel costs in comparison with those of other
//! operations and instruction sets is its time with weights in the cache.

pub mod arena;
pub mod contest;
mod costs;
mod events;
mod heads;
pub mod outcome;
pub mod quick;
pub mod search;
mod settings;

use std::sync::atomic::AtomicBool;

use kernelgen::tuned::{ProfileError, TunedProfile};

use crate::cpu::CpuError;
use crate::engine::EngineError;
use crate::head::HeadError;
pub use heads::HeadCost;
use outcome::Outcome;

/// What is tuned, and for what.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The ternary matrices' rows and columns.
    pub shapes: Vec<(usize, usize)>,
    /// The most threads that are tried; at least one.
    pub threads: usize,
    /// Ids of instruction sets; all that the CPU has, but for the portable one, where there are none.
    pub isas: Vec<String>,
    /// Seconds that it may take.
    pub seconds: f64,
    /// The command, for the profile.
    pub command: String,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Contests that are over.
    pub done: usize,
    /// All contests.
    pub all: usize,
    /// What is under way.
    pub now: String,
}

/// What the caller has to say while it goes on, and to hear.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Set to end it.
    pub stop: &'a AtomicBool,
    /// Called at every step.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Tuned {
    /// The profile.
    pub profile: TunedProfile,
    /// The contests that it is made of.
    pub outcomes: Vec<Outcome>,
    /// GB/s that one thread read at best.
    pub probe: f64,
    /// What output heads cost on all threads.
    pub heads: Vec<HeadCost>,
}

/// Why a machine cannot be tuned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// The caller set [`Control::stop`].
    #[error("interrupted")]
    Interrupted,
    /// An instruction set cannot be had.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The threads cannot be had.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A linked profile is damaged.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Nothing is left to tune.
    #[error("nothing to tune: {0}")]
    Nothing(&'static str),
    /// A matrix does not fit the memory that is read in turn.
    #[error("a matrix of {rows}x{cols} is {bytes} bytes packed; at most {most} are timed")]
    Matrix {
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
        /// Its bytes.
        bytes: usize,
        /// The bytes there are.
        most: usize,
    },
    /// A head cannot be made.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The search cannot go on.
    #[error(transparent)]
    Search(#[from] search::SearchError),
}
