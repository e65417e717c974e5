//! A bench for every descriptor, named like the kernel, for the output head in every format (`heads`), for attention
//! (`attention`) and for the float parts (`numerics`). Up to eight tokens read their weights from memory, more keep them in
//! the cache. One thread. What is not bit-exact is not timed, it ends the run. At the end stand the bytes and the multiply-adds
//! a second of each, and their ratio to the bandwidth or the peak probed right before and after.
//!
//! `cargo bench -- --test` runs each once on little memory; `cargo bench -- <part of a name>` runs some of them.

mod attention;
mod heads;
mod limits;
mod numerics;
mod report;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use tritforge::exact::{Activations, STREAMED_TOKENS};
use tritforge::kernels::abi::{Descriptor, Kernel};
use tritforge::kernels::layouts::i2a16;
use tritforge::kernels::{DESCRIPTORS, ISAS};
use tritforge::probe::Samples;
use tritforge::probe::memory::WeightMemory;
use tritforge_benches::check;

use limits::Limit;
use report::{Bound, Report, Row};

/// The shape that generic kernels are timed at.
const GENERIC_SHAPE: (usize, usize) = (2560, 2560);
/// Weights read one after another, so that none is in a cache when its turn comes again.
const MEMORY: usize = 256 << 20;
/// The memory where nothing is measured: room for the largest shape of the default configs.
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
    let mut report = Report::default();
    for descriptor in DESCRIPTORS {
        match Kernel::new(descriptor) {
            Some(kernel) => bench(&mut criterion, &kernel, &memory, &mut report),
            None => report.skip(descriptor),
        }
    }
    heads::benches(&mut criterion, &memory, &mut report, test);
    attention::benches(&mut criterion, &mut report);
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
    let mut acts = Activations::new(descriptor.tokens, (rows, cols));
    acts.prepare(kernel);
    let problem = |weights| acts.problem(kernel, weights, 0);
    let matrices = memory.matrices(bytes);
    // Decode streams the weights; a prompt is long enough to use each row tile again and again.
    let streaming = descriptor.tokens <= STREAMED_TOKENS;
    let matrices = if streaming { &matrices[..] } else { &matrices[..1] };
    let tiles = rows.div_ceil(i2a16::ROW_GRANULE);
    let mut out = vec![0; descriptor.tokens * rows];
    let mut calls = Samples::default();
    let bound = if streaming { Bound::Bandwidth } else { Bound::Peak };
    let mut limit = Limit::new(bound, descriptor.isa, memory);
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
            limit.probe();
        }
        bencher.iter_custom(|iterations| {
            time(iterations, &mut calls, || {
                let result = kernel.run(&problem(matrices[next]), 0..tiles, black_box(&mut out), rows);
                result.expect("operands that were checked");
                next = (next + 1) % matrices.len();
            })
        });
    });
    group.finish();
    // Where it was left out, nothing was probed either.
    if checked {
        limit.probe();
        let (macs, (bound, limit)) = (descriptor.tokens * rows * cols, limit.found());
        report.add(Row { name: descriptor.name.to_owned(), bound, bytes, macs, calls, limit });
    }
}

/// The time of so many calls, which is a sample of the calls a second.
fn time(iterations: u64, calls: &mut Samples, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..iterations).for_each(|_| call());
    let elapsed = start.elapsed();
    calls.push(iterations as f64 / elapsed.as_secs_f64().max(1e-9));
    elapsed
}
