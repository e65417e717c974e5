//! What the run says at its end: each kernel beside what bounds it, and what was skipped.

use tritforge::kernels::abi::{Descriptor, IsaInfo};
use tritforge::probe::{PLAUSIBLE, Samples};

/// What a kernel cannot be faster than.
#[derive(Clone, Copy)]
pub enum Bound {
    /// The reading of its weights from memory.
    Bandwidth,
    /// The arithmetic of its instruction set.
    Peak,
    /// Neither: what is read stays in the cache, and the arithmetic is of floats.
    Cache,
}

/// The measurement of one kernel.
pub struct Row {
    /// The kernel.
    pub name: String,
    /// What it cannot be faster than.
    pub bound: Bound,
    /// Bytes of weights, or of keys and values, a call.
    pub bytes: usize,
    /// Multiply-adds a call.
    pub macs: usize,
    /// Calls a second.
    pub calls: Samples,
    /// Bytes or multiply-adds a second that bound it, probed right before and after; of no meaning for [`Bound::Cache`].
    pub limit: f64,
}

/// All measurements of a run.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    skipped: Vec<&'static Descriptor>,
}

impl Report {
    /// Adds a measurement.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Notes a kernel that this CPU cannot run.
    pub fn skip(&mut self, descriptor: &'static Descriptor) {
        self.skipped.push(descriptor);
    }

    /// Prints everything; in a test run only what was run and what was not, for its times say nothing.
    pub fn print(&self, isas: &[&IsaInfo], test: bool) {
        for descriptor in &self.skipped {
            let lacking = descriptor.isa.features.join("+");
            println!("skipped {}: this CPU lacks {lacking}", descriptor.name);
        }
        let other =
            isas.iter().filter(|isa| tritforge::kernels::DESCRIPTORS.iter().all(|d| d.isa.id != isa.id));
        for isa in other {
            println!("skipped all kernels of {}: not of this architecture", isa.id);
        }
        if test || self.rows.is_empty() {
            println!("{} kernels run, {} skipped", self.rows.len(), self.skipped.len());
            return;
        }
        println!(
            "\nmedians, of the bandwidth or of the instruction set's peak that was probed right before and after:"
        );
        println!("    GB/s    GMAC/s  of probe             kernel");
        for row in &self.rows {
            let calls = row.calls.rate().median;
            let (bytes, macs) = (row.bytes as f64 * calls, row.macs as f64 * calls);
            let ratio = match row.bound {
                Bound::Bandwidth => Some((bytes / row.limit, "bandwidth")),
                Bound::Peak => Some((macs / row.limit, "peak")),
                Bound::Cache => None,
            };
            let share = match ratio {
                None => "in cache".to_owned(),
                Some((ratio, of)) if ratio > PLAUSIBLE => format!("{ratio:.2} {of}, a fault of the probe"),
                Some((ratio, of)) => format!("{ratio:.2} {of}"),
            };
            println!("{:>8.2}  {:>8.2}  {share:<19}  {}", bytes / 1e9, macs / 1e9, row.name);
        }
    }
}
