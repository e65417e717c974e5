//! What this machine can do, measured: how fast its memory is read ([`bandwidth`]) and how fast its instruction sets
//! multiply ([`peak`]), by one thread or by a whole team. Speed is reported as a ratio to these, probed in the same run.
//!
//! Every probe is called for one sample at a time, so that what is compared with it can take turns with it and both see the
//! same of the machine's other users.
//!
//! ```
//! use tritforge::probe::{MIB, bandwidth::ReadProbe, memory::WeightMemory};
//! use tritforge::team::Team;
//!
//! let memory = WeightMemory::new(8 * MIB); // at least [`MEMORY`] where it is measured
//! let mut probe = ReadProbe::new(memory.bytes(), 2 * MIB);
//! (0..3).for_each(|_| probe.sample(&Team::solo()));
//! let read = probe.bandwidth();
//! println!("{:.1} GB/s by {}, at best {:.1}", read.rate.median / 1e9, read.variant, read.rate.best / 1e9);
//! # assert!(read.rate.median > 0.0);
//! ```

pub mod bandwidth;
pub mod memory;
pub mod peak;
mod readers;
mod samples;
pub mod stack;
mod units;

pub use samples::{Rate, Samples};

/// Bytes.
pub const MIB: usize = 1 << 20;

/// Bytes of memory that a bandwidth probe should go through: more than the caches of a large server hold of it by the time
/// it comes round again.
pub const MEMORY: usize = 512 * MIB;

/// Bytes of one sample of the read bandwidth: as much as a model of some hundred million weights reads for a token, so that
/// the chance of an undisturbed sample is about that of what is compared with it.
pub const WINDOW: usize = 64 * MIB;

/// A ratio to a probed limit above this is a fault of the probe: nothing is faster than the machine.
pub const PLAUSIBLE: f64 = 1.02;

/// A ratio to a probed limit in words, marked where it says that the probe was too low.
pub fn marked(ratio: f64) -> String {
    format!("{ratio:.2}{}", if ratio > PLAUSIBLE { "!" } else { "" })
}
