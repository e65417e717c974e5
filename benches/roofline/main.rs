//! How close kernels come to what the machine can do, at the shapes of the 2B-4T, 3B and 2.4B models. For tuning them.
//!
//! GEMV: the rate with weights from memory (distinct matrices, more than a GiB in all) beside the read bandwidth, and the
//! rate with the weights in L2, on 1 and 2 threads. A kernel's bound is the lower of the bandwidth and its own rate from L2.
//! GEMM: 512 tokens, or the next multiple of the kernel's, on one thread beside the arithmetic peak of the kernel's
//! instruction set. Probes and kernels take turns; ratios are of samples that were taken together, and of these the median.
//! A kernel that is not bit-exact is not timed, it ends the run.
//!
//! `cargo bench -p tritforge-benches --bench roofline -- [part of a name]...`: of the rows `<kernel> <M>x<K> <threads>t`
//! those are measured that hold all the parts, `gemv avx2 2560x2560 1t` for example.

mod gemm;
mod gemv;

use tritforge::engine::Engine;
use tritforge::kernels::DESCRIPTORS;
use tritforge::kernels::abi::Kernel;
use tritforge::probe::memory::WeightMemory;
use tritforge::probe::{MEMORY, MIB, WINDOW};
use tritforge_benches::Arguments;

/// How much is measured.
pub struct Effort {
    /// Bytes of distinct weights.
    pub memory: usize,
    /// Bytes of a sample, of the kernel as of the probe.
    pub window: usize,
    /// Samples.
    pub rounds: usize,
    /// Tokens of a GEMM.
    pub tokens: usize,
}

const MEASURED: Effort = Effort { memory: 2 * MEMORY + 64 * MIB, window: WINDOW, rounds: 21, tokens: 512 };
/// Where nothing is measured: room for the largest matrix.
const TEST: Effort = Effort { memory: 8 * MIB, window: MIB, rounds: 1, tokens: 32 };

fn main() {
    let Arguments { test, words } = Arguments::of_process();
    let wanted = |row: &str| words.iter().all(|word| row.contains(word));
    let effort = if test { TEST } else { MEASURED };

    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = [1, 2].into_iter().filter(|threads| *threads <= cores);
    let engines: Vec<Engine> =
        threads.map(|threads| Engine::with_threads(threads).expect("an engine")).collect();
    let memory = WeightMemory::new(effort.memory);
    let mut lines = 0;
    for kernel in DESCRIPTORS.iter().filter_map(Kernel::new) {
        let rows = match kernel.descriptor().tokens {
            1 => gemv::measure(&kernel, &engines, &memory, &effort, &wanted),
            _ => gemm::measure(&kernel, &engines[0], &memory, &effort, &wanted),
        };
        let Some((heading, rows)) = rows else { continue };
        lines += rows.len();
        if !test {
            println!("\n{}\n{heading}", kernel.descriptor().name);
            rows.iter().for_each(|row| println!("{row}"));
        }
    }
    println!("\n{lines} measurements");
}

/// The name of a row.
pub fn row_name(kernel: &Kernel, (rows, cols): (usize, usize), threads: usize) -> String {
    format!("{} {rows}x{cols} {threads}t", kernel.descriptor().name)
}
