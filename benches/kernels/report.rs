//! What the run says at its end: each kernel beside the probed bandwidth, and what was skipped.

use std::time::Duration;

use tritforge::kernels::abi::{Descriptor, IsaInfo};
use tritforge::probe::PLAUSIBLE;
use tritforge::probe::bandwidth::Bandwidth;

/// The measurement of one kernel.
pub struct Row {
    /// The kernel.
    pub name: &'static str,
    /// Whether its weights come from memory.
    pub streaming: bool,
    /// Bytes of weights a call.
    pub bytes: usize,
    /// Multiply-adds a call.
    pub macs: usize,
    /// The best sample's time a call.
    pub best: Duration,
}

/// All measurements of a run.
pub struct Report {
    bandwidth: Bandwidth,
    rows: Vec<Row>,
    skipped: Vec<&'static Descriptor>,
}

impl Report {
    /// A report without measurements.
    pub fn new(bandwidth: Bandwidth) -> Self {
        Report { bandwidth, rows: Vec::new(), skipped: Vec::new() }
    }

    /// Adds a measurement.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Notes a kernel that this CPU cannot run.
    pub fn skip(&mut self, descriptor: &'static Descriptor) {
        self.skipped.push(descriptor);
    }

    /// Prints what the memory gives, by each way to read it.
    pub fn print_probe(&self) {
        for (name, rate) in &self.bandwidth.all {
            let (best, median) = (rate.best / 1e9, rate.median / 1e9);
            println!("read bandwidth, one thread, {name}: {best:.2} GB/s at best, {median:.2} as a rule");
        }
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
        let best = self.bandwidth.rate.best;
        println!("\nprobed read bandwidth {:.2} GB/s; best samples:", best / 1e9);
        println!("    GB/s    GMAC/s  of bandwidth  kernel");
        for row in &self.rows {
            let seconds = row.best.as_secs_f64().max(1e-9);
            let (bytes, macs) = (row.bytes as f64 / seconds, row.macs as f64 / seconds);
            let ratio = bytes / best;
            let share = match row.streaming {
                false => "in cache".to_owned(),
                true if ratio > PLAUSIBLE => format!("{ratio:.2}, probe too low"),
                true => format!("{ratio:.2}"),
            };
            println!("{:>8.2}  {:>8.2}  {share:>12}  {}", bytes / 1e9, macs / 1e9, row.name);
        }
    }
}
