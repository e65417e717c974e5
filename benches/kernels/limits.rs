//! What the machine can do, probed close to each measurement: a shared machine changes from second to second.

use tritforge::kernels::abi::IsaInfo;
use tritforge::probe::MIB;
use tritforge::probe::bandwidth::ReadProbe;
use tritforge::probe::memory::WeightMemory;
use tritforge::probe::peak::PeakProbe;
use tritforge::team::Team;

use crate::report::Bound;

/// Bytes of a sample of the bandwidth: about what a kernel reads in one.
const WINDOW: usize = 16 * MIB;
/// Samples right before a measurement, and as many right after.
const ROUNDS: usize = 6;

/// The probes beside one measurement.
pub struct Limit<'m> {
    bound: Bound,
    isa: &'static IsaInfo,
    read: ReadProbe<'m>,
    peak: PeakProbe,
}

impl<'m> Limit<'m> {
    /// Probes of what bounds a kernel of an instruction set.
    pub fn new(bound: Bound, isa: &'static IsaInfo, memory: &'m WeightMemory) -> Self {
        let window = WINDOW.min(memory.bytes().len());
        Limit { bound, isa, read: ReadProbe::new(memory.bytes(), window), peak: PeakProbe::new(&[isa.id]) }
    }

    /// Samples, before or after the measurement.
    pub fn probe(&mut self) {
        for _ in 0..ROUNDS {
            match self.bound {
                Bound::Bandwidth => self.read.sample(&Team::solo()),
                Bound::Peak => self.peak.sample(&Team::solo()),
                Bound::Cache => {}
            }
        }
    }

    /// What bounds the kernel, and the bytes or multiply-adds a second of it.
    pub fn found(self) -> (Bound, f64) {
        let limit = match self.bound {
            Bound::Bandwidth => self.read.bandwidth().rate.median,
            Bound::Peak => self.peak.peak(self.isa.id).map_or(f64::NAN, |peak| peak.rate.median),
            Bound::Cache => f64::NAN,
        };
        (self.bound, limit)
    }
}
