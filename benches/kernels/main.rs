//! A bench for every descriptor, named like the kernel, and for the float parts (`numerics`). GEMV reads weights from memory (bytes a second, and the ratio
//! to the bandwidth probed in the same run), GEMM keeps them in the cache (multiply-adds a second). One thread. A
//! kernel that is not bit-exact is not timed, it ends the run.
//!
//! `cargo bench -- --test` runs each once on little memory; `cargo bench -- <part of a name>` runs some of them.

mod numerics;
mod report;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use tritforge::exact::Activations;
use tritforge::kernels::abi::{Descriptor, Kernel};
use tritforge::kernels::layouts::i2a16;
use tritforge::kernels::{DESCRIPTORS, ISAS};
use tritforge::probe::bandwidth::ReadProbe;
use tritforge::probe::memory::WeightMemory;
use tritforge::team::Team;
use tritforge_benches::check;

use report::{Report, Row};

/// The shape that generic kernels are timed at.
const GENERIC_SHAPE: (usize, usize) = (2560, 2560);
/// Weights read one after another, so that none is in a cache when its turn comes again.
const MEMORY: usize = 256 << 20;
/// Bytes of a sample of the probe: about what a kernel reads in one.
const WINDOW: usize = 16 << 20;
/// Samples of the probe.
const PROBE_ROUNDS: usize = 128;
/// The same where nothing is measured: room for the largest shape of the default configs.
const TEST_MEMORY: usize = 8 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo passes `--bench` where it wants a measurement.
    let test = arguments.iter().any(|a| a == "--test") || !arguments.iter().any(|a| a == "--bench");
    let list = arguments.iter().any(|a| a == "--list");
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let memory = WeightMemory::new(if test { TEST_MEMORY } else { MEMORY });
    let mut probe = ReadProbe::new(memory.bytes(), WINDOW.min(memory.bytes().len()));
    (0..if test { 1 } else { PROBE_ROUNDS }).for_each(|_| probe.sample(&Team::solo()));
    let mut report = Report::new(probe.bandwidth());
    if !test && !list {
        report.print_probe();
    }
    for descriptor in DESCRIPTORS {
        match Kernel::new(descriptor) {
            Some(kernel) => bench(&mut criterion, &kernel, &memory, &mut report),
            None => report.skip(descriptor),
        }
    }
    numerics::benches(&mut criterion);
    if !list {
        report.print(ISAS, test);
    }
    criterion.final_summary();
}

/// Rows and columns that a kernel is timed at.
fn shape(descriptor: &Descriptor) -> (usize, usize) {
    descriptor.shape.unwrap_or(GENERIC_SHAPE)
}

fn bench(criterion: &mut Criterion, kernel: &Kernel, memory: &WeightMemory, report: &mut Report) {
    let descriptor = kernel.descriptor();
    let (rows, cols) = shape(descriptor);
    let bytes = i2a16::packed_bytes(rows, cols);
    let acts = Activations::new(descriptor.tokens, (rows, cols));
    let problem = |weights| acts.problem(weights, 0..descriptor.tokens);
    let matrices = memory.matrices(bytes);
    // Decode streams the weights; a prompt is long enough to use each row tile again and again.
    let streaming = descriptor.tokens == 1;
    let matrices = if streaming { &matrices[..] } else { &matrices[..1] };
    let tiles = rows.div_ceil(i2a16::ROW_GRANULE);
    let mut out = vec![0; descriptor.tokens * rows];
    let mut best: Option<Duration> = None;
    let mut next = 0;
    let mut checked = false;
    let mut group = criterion.benchmark_group(descriptor.operation);
    group.throughput(match streaming {
        true => Throughput::BytesDecimal(bytes as u64),
        false => Throughput::Elements((descriptor.tokens * rows * cols) as u64),
    });
    group.bench_function(BenchmarkId::from_parameter(descriptor.name), |bencher| {
        if !checked {
            check(kernel, &problem(matrices[0]));
            checked = true;
        }
        bencher.iter_custom(|iterations| {
            let start = Instant::now();
            for _ in 0..iterations {
                let result = kernel.run(&problem(matrices[next]), 0..tiles, black_box(&mut out), rows);
                result.expect("operands that were checked");
                next = (next + 1) % matrices.len();
            }
            let elapsed = start.elapsed();
            let each = elapsed / u32::try_from(iterations).unwrap_or(u32::MAX);
            best = Some(best.map_or(each, |best| best.min(each)));
            elapsed
        });
    });
    group.finish();
    if let Some(best) = best {
        let macs = descriptor.tokens * rows * cols;
        report.add(Row { name: descriptor.name, streaming, bytes, macs, best });
    }
}
