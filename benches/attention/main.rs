//! Attention with the heads of the 2B-4T model, for each type of KV cache: decoding one token at a depth, and the tokens of
//! a prompt, on one thread of the best instruction set that this CPU has.
//!
//! `cargo bench -p tritforge-benches --bench attention`. Each line has the time for all layers, the bytes a second at which
//! keys and values are read (each counted once for the queries that share it) with its share of the read bandwidth, and the
//! floating-point operations a second with their ratio to those of AVX2, one product and one sum in every lane at a time: a
//! fused multiply-add in twice as many lanes does four times as much in as many cycles.
//! The caches of all layers together are larger than the CPU's caches where the depth is. `-- f16 prefill` chooses by what is
//! in a line's beginning, `-- --test` does little.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rand_core::Rng;
use rand_pcg::Pcg32;
use tritforge::engine::Engine;
use tritforge::kernels::ISAS;
use tritforge::model::KvType;
use tritforge::numerics::Numerics;
use tritforge::numerics::attention::{CHUNK, HeadBlocks, Queries, TOGETHER, Workspace};
use tritforge::numerics::kv_block::{KvBlock, KvShape};
use tritforge::probe;
use tritforge::probe::bandwidth::ReadProbe;
use tritforge::probe::memory::WeightMemory;
use tritforge_benches::Arguments;

const HEADS: usize = 20;
const KV_HEADS: usize = 5;
const HEAD_DIM: usize = 128;
const LAYERS: usize = 30;

/// What is computed: tokens `first..end` of a text, in every layer.
struct Case {
    name: &'static str,
    first: usize,
    end: usize,
}

const CASES: [Case; 4] = [
    Case { name: "decode at 128", first: 127, end: 128 },
    Case { name: "decode at 1024", first: 1023, end: 1024 },
    Case { name: "decode at 4096", first: 4095, end: 4096 },
    Case { name: "prefill of 512", first: 0, end: 512 },
];

/// Bytes a second that one thread reads.
fn bandwidth(memory: &WeightMemory, rounds: usize) -> f64 {
    let window = probe::WINDOW.min(memory.bytes().len());
    let mut read = ReadProbe::new(memory.bytes(), window);
    let Ok(engine) = Engine::with_threads(1) else { return f64::NAN };
    engine.region(|team| (0..rounds).for_each(|_| read.sample(team)));
    read.bandwidth().rate.median
}

fn main() {
    let Arguments { test, words } = Arguments::of_process();
    let (layers, rounds) = if test { (1, 1) } else { (LAYERS, 5) };
    let Some(numerics) = ISAS.iter().rev().find_map(|isa| Numerics::new(isa).ok()) else { return };
    let memory = WeightMemory::new(if test { 1 << 20 } else { 256 << 20 });
    let bandwidth = bandwidth(&memory, rounds);
    let peak = flops();
    let of_avx2 = peak.map_or(String::new(), |peak| format!(", {:.0} GFLOP/s by AVX2", peak / 1e9));
    println!("{}, one thread: {:.1} GB/s{of_avx2}", numerics.isa().id, bandwidth / 1e9);
    let mut random = Pcg32::new(5, 5);
    let mut values = |len: usize| -> Vec<f32> {
        (0..len).map(|_| (random.next_u32() as i32 >> 8) as f32 / (1 << 23) as f32).collect()
    };
    for kv_type in KvType::ALL {
        let wanted = |case: &&Case| {
            let line = format!("{kv_type} {}", case.name);
            words.iter().all(|word| line.contains(word))
        };
        for case in CASES.iter().filter(wanted) {
            let shape = KvShape { kv_type, kv_heads: KV_HEADS, head_dim: HEAD_DIM };
            let mut block = KvBlock::new(shape).expect("memory for a block");
            for position in 0..CHUNK {
                let (keys, values) = (values(KV_HEADS * HEAD_DIM), values(KV_HEADS * HEAD_DIM));
                numerics.store_kv(&mut block, position, &keys, &values).expect("values below 1");
            }
            let chunks = case.end.div_ceil(CHUNK);
            let mut blocks = KvBlock::several(shape, layers * chunks).expect("memory for all blocks");
            blocks.iter_mut().for_each(|copy| copy.clone_from(&block));
            let caches: Vec<&[KvBlock]> = blocks.chunks(chunks).collect();
            let query = values((case.end - case.first) * HEADS * HEAD_DIM);
            let mut out = vec![0.0; query.len()];
            let best = (0..rounds).map(|_| run(&numerics, case, &caches, &query, &mut out)).min();
            let Some(best) = best else { continue };
            report(case, shape, layers, best, bandwidth, peak);
        }
    }
}

/// Computes the case once in all layers.
fn run(numerics: &Numerics, case: &Case, caches: &[&[KvBlock]], query: &[f32], out: &mut [f32]) -> Duration {
    let (stride, heads) = (HEADS * HEAD_DIM, HEADS / KV_HEADS);
    let start = Instant::now();
    let mut work = Workspace::default();
    for blocks in caches {
        for first in (case.first..case.end).step_by(TOGETHER) {
            let tokens = (case.end - first).min(TOGETHER);
            for kv_head in 0..KV_HEADS {
                let place = (first - case.first) * stride + kv_head * heads * HEAD_DIM;
                let values = &query[place..];
                let queries =
                    Queries { values, stride, tokens, heads, head_dim: HEAD_DIM, visible: first + 1 };
                numerics.attend(&queries, &HeadBlocks { blocks, kv_head }, &mut work, &mut out[place..]);
            }
        }
    }
    black_box(out);
    start.elapsed()
}

fn report(case: &Case, shape: KvShape, layers: usize, time: Duration, bandwidth: f64, peak: Option<f64>) {
    let seconds = time.as_secs_f64();
    let pairs: usize = (case.first..case.end).map(|position| position + 1).sum();
    let flop = (layers * pairs * HEADS * HEAD_DIM * 4) as f64 / seconds;
    let groups = (case.first..case.end).step_by(TOGETHER);
    let read: usize = groups.map(|first| (first + TOGETHER).min(case.end)).sum();
    let bytes = (layers * read * shape.position_bytes()) as f64 / seconds;
    println!(
        "{:4} {:14} {:10.0} us  {:5.1} GB/s {:3.0}%  {:5.1} GFLOP/s{}",
        shape.kv_type,
        case.name,
        seconds * 1e6,
        bytes / 1e9,
        100.0 * bytes / bandwidth,
        flop / 1e9,
        peak.map_or(String::new(), |peak| format!(" {:.2}", flop / peak))
    );
}

/// Products and sums a second of a loop over registers of AVX2, as many chains of either as hide their latency; none where there
/// is no such instruction set.
fn flops() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has the feature.
        return Some((0..20).map(|_| unsafe { flops_avx2() }).fold(0.0, f64::max));
    }
    None
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn flops_avx2() -> f64 {
    use std::arch::x86_64::*;
    const ROUNDS: usize = 100_000;
    const CHAINS: usize = 6;
    let (factor, term) = (_mm256_set1_ps(black_box(1.000_001)), _mm256_set1_ps(black_box(1e-6)));
    let mut products = [_mm256_set1_ps(black_box(1.0)); CHAINS];
    let mut sums = products;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for (product, sum) in products.iter_mut().zip(&mut sums) {
            *product = _mm256_mul_ps(*product, factor);
            *sum = _mm256_add_ps(*sum, term);
        }
    }
    black_box((products, sums));
    (2 * 8 * CHAINS * ROUNDS) as f64 / start.elapsed().as_secs_f64()
}
