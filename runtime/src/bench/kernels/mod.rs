//! How close each kernel comes to the roof that the machine sets it: what its instruction set multiplies from registers, or
//! what memory delivers times the multiply-adds that a byte is good for, whichever is lower. Both are probed in turn with
//! the kernel.
//!
//! ```
//! use tritforge::bench::kernels::{Case, Effort, KernelBench};
//! use tritforge::engine::Engine;
//! use tritforge::kernels::{DESCRIPTORS, abi::Kernel};
//! use tritforge::probe::{MIB, memory::WeightMemory};
//!
//! let effort = Effort { window: MIB, sample_macs: 1 << 20, rounds: 1, prompt: 8 }; // `Effort::default()` to measure
//! let memory = WeightMemory::new(4 * MIB);
//! let kernels: Vec<Kernel> = DESCRIPTORS.iter().filter_map(Kernel::new).take(1).collect();
//! let (engine, mut bench) = (Engine::with_threads(1)?, KernelBench::new(&memory, effort));
//! for case in Case::all(&kernels, &[(640, 256)], effort.prompt) {
//!     let test = bench.measure(&case, &engine)?; // refused where the kernel is not exact
//!     println!("{}: {:.2} of its roof", test.kernel, test.of_roof);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod case;
mod report;
mod sample;

use std::collections::{HashMap, HashSet};

pub use case::Case;
pub use report::{KernelReport, KernelTest, Refused, Roof};

use crate::engine::Engine;
use crate::exact::{self, Activations, Inexact};
use crate::kernels::abi::Kernel;
use crate::kernels::layouts::i2a16;
use crate::probe::bandwidth::ReadProbe;
use crate::probe::memory::WeightMemory;
use crate::probe::peak::PeakProbe;
use crate::probe::stack::Stack;
use crate::probe::{Samples, WINDOW};
use sample::Sampler;

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Bytes of weights of a sample, of the kernel as of the probe.
    pub window: usize,
    /// Multiply-adds of a sample of a prompt, at least.
    pub sample_macs: usize,
    /// Samples.
    pub rounds: usize,
    /// Tokens of a prompt.
    pub prompt: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Effort { window: WINDOW, sample_macs: 1 << 31, rounds: 7, prompt: 512 }
    }
}

/// A bench of kernels on weights in memory.
pub struct KernelBench<'m> {
    memory: &'m WeightMemory,
    effort: Effort,
    /// Vectors for matrices of some shape, and how many.
    acts: HashMap<(usize, usize), (usize, Activations)>,
    /// Kernels that are exact, at these shapes.
    exact: HashSet<(&'static str, usize, usize)>,
}

impl<'m> KernelBench<'m> {
    /// A bench on memory that is larger than any cache and than each matrix: see [`MEMORY`](crate::probe::MEMORY).
    pub fn new(memory: &'m WeightMemory, effort: Effort) -> Self {
        KernelBench { memory, effort, acts: HashMap::new(), exact: HashSet::new() }
    }

    /// Measures a kernel, if it is exact.
    ///
    /// # Errors
    /// [`Inexact`] where it is not.
    ///
    /// # Panics
    /// If the memory does not hold a matrix.
    pub fn measure(&mut self, case: &Case, engine: &Engine) -> Result<KernelTest, Inexact> {
        let Case { kernel, rows, cols, tokens } = *case;
        let (descriptor, bytes) = (kernel.descriptor(), i2a16::packed_bytes(rows, cols));
        let stack = Stack::new(self.memory, (rows, cols));
        let vectors = |tokens| (tokens, Activations::new(tokens, (rows, cols)));
        let (count, acts) = self.acts.entry((rows, cols)).or_insert_with(|| vectors(tokens));
        if *count < tokens {
            (*count, *acts) = vectors(tokens);
        }
        acts.prepare(&kernel);
        if !self.exact.contains(&(descriptor.name, rows, cols)) {
            exact::check(&kernel, &acts.problem(&kernel, stack.matrix(0), 0))?;
            self.exact.insert((descriptor.name, rows, cols));
        }

        let effort = self.effort;
        let mut read = ReadProbe::new(self.memory.bytes(), effort.window);
        let mut peak = PeakProbe::new(&[descriptor.isa.id]);
        let mut sampler = Sampler::new(case, acts, stack, &effort, engine.blocks());
        let mut samples = Samples::default();
        for _ in 0..effort.rounds {
            engine.region(|team| {
                read.sample(team);
                peak.sample(team);
                samples.push(sampler.sample(team));
            });
        }
        let macs_per_byte = case.macs() as f64 / bytes as f64;
        let bandwidth = read.samples().rate().median;
        let peaks = peak.samples(descriptor.isa.id);
        let peak = peaks.map_or(f64::INFINITY, |peak| peak.rate().median);
        let (roof, of_roof) = match peaks {
            Some(peaks) if peak < bandwidth * macs_per_byte => {
                (Roof::Peak, samples.of(peaks) * case.macs() as f64)
            }
            _ => (Roof::Bandwidth, samples.of(read.samples()) * bytes as f64),
        };
        let products = samples.rate();
        Ok(KernelTest {
            kernel: descriptor.name.to_owned(),
            operation: descriptor.operation.to_owned(),
            isa: descriptor.isa.id.to_owned(),
            schedule: descriptor.schedule.to_owned(),
            is_fixed: descriptor.shape.is_some(),
            rows,
            cols,
            tokens,
            threads: engine.threads(),
            macs_per_byte,
            bytes_per_second: products.scaled(bytes as f64),
            macs: products.scaled(case.macs() as f64),
            noise: samples.spread(),
            bandwidth,
            peak,
            roof,
            of_roof,
        })
    }
}

/// Measures every kernel on every engine; a kernel that is not exact is refused, the others are measured all the same.
/// `tick` is called after each of [`steps`] steps.
pub fn measure(
    kernels: &[Kernel],
    engines: &[Engine],
    memory: &WeightMemory,
    effort: Effort,
    tick: &mut dyn FnMut(),
) -> KernelReport {
    let mut bench = KernelBench::new(memory, effort);
    let mut report = KernelReport::default();
    for case in cases(kernels, effort.prompt) {
        for engine in engines {
            match bench.measure(&case, engine) {
                Ok(test) => report.tests.push(test),
                Err(reason) => report.refuse(case.kernel.descriptor().name, &reason),
            }
            tick();
        }
    }
    report.find_probe_faults();
    report
}

/// Measurements that [`measure`] takes.
pub fn steps(kernels: &[Kernel], engines: &[Engine], effort: Effort) -> usize {
    cases(kernels, effort.prompt).len() * engines.len()
}

/// The products of every kernel; after those of a kernel of fixed shape, the same by the generic one with its schedule.
fn cases(kernels: &[Kernel], prompt: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    for kernel in kernels {
        cases.extend(Case::all(std::slice::from_ref(kernel), &GENERIC_SHAPES, prompt));
        let d = kernel.descriptor();
        let Some(shape) = d.shape else { continue };
        let generic = kernels.iter().find(|generic| {
            let g = generic.descriptor();
            (g.shape, g.isa.id, g.operation, g.schedule) == (None, d.isa.id, d.operation, d.schedule)
        });
        cases.extend(generic.into_iter().flat_map(|&generic| Case::all(&[generic], &[shape], prompt)));
    }
    cases
}

/// The shapes that generic kernels are measured at: the square matrices of the 2B-4T model.
const GENERIC_SHAPES: [(usize, usize); 1] = [(2560, 2560)];

#[cfg(test)]
mod tests;
