//! How close the output head's kernels come to what memory gives: tokens times 128256 rows of 2560 columns, the head of the
//! 2B-4T model, in each format, on 1 and 2 threads; one token in one stream of weights, three and four, several as an engine
//! has them.
//!
//! The rate from memory stands beside the read bandwidth, probed in turn with it, and beside the kernel's own rate with rows
//! that stay in L2. A kernel's bound is the lower of the two; ratios are of samples that were taken together, and of these
//! the median. A head whose logits differ from those of the portable kernels by a bit is not timed, it ends the run.
//! `cargo bench -p tritforge-benches --bench heads -- [format]`; `-- --test` does little.

use std::time::Instant;

use tritforge::engine::Engine;
use tritforge::head::{Head, Walk};
use tritforge::probe::bandwidth::ReadProbe;
use tritforge::probe::memory::WeightMemory;
use tritforge::probe::{MEMORY, MIB, Samples, WINDOW, marked};
use tritforge_benches::Arguments;
use tritforge_benches::heads::{FORMATS, check, head, operands};

const ROWS: usize = 128_256;
/// Rows of a tile.
const LANES: usize = 16;
/// Bytes of rows that stay in a small L2 cache.
const L2: usize = 256 << 10;
/// Numbers of tokens: of one sequence, of as many as every kernel takes at once, and of more than most do.
const TOKENS: [usize; 3] = [1, 4, 16];

struct Effort {
    rows: usize,
    rounds: usize,
    memory: usize,
    window: usize,
}

const MEASURED: Effort = Effort { rows: ROWS, rounds: 11, memory: MEMORY, window: WINDOW };
const TEST: Effort = Effort { rows: 50, rounds: 1, memory: 2 * MIB, window: MIB };

fn main() {
    let Arguments { test, words: wanted } = Arguments::of_process();
    let effort = if test { TEST } else { MEASURED };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = [1, 2].into_iter().filter(|threads| *threads <= cores);
    let engines: Vec<Engine> = threads.map(|n| Engine::with_threads(n).expect("an engine")).collect();
    let memory = WeightMemory::new(effort.memory);
    println!("format tokens streams threads   GB/s    best   probe ratio     L2   bound of bound");
    for (storage, head_type) in FORMATS {
        let tile = head(storage, head_type, LANES, &engines[0]);
        if wanted.is_empty() || wanted.iter().any(|name| *name == tile.type_name()) {
            let rows = (L2 * LANES / tile.bytes_per_token()).clamp(1, effort.rows);
            let mut cached = head(storage, head_type, rows, &engines[0]);
            let mut head = head(storage, head_type, effort.rows, &engines[0]);
            for tokens in TOKENS {
                let walks = if tokens == 1 { Walk::ALL.to_vec() } else { vec![engines[0].head_walk()] };
                for walk in walks {
                    head.set_walk(walk);
                    cached.set_walk(walk);
                    // All rows for several tokens would take the portable kernels minutes.
                    check(if tokens == 1 { &head } else { &cached }, tokens, engines[0].numerics());
                    for engine in &engines {
                        measure(&head, &cached, (tokens, walk), engine, &memory, &effort);
                    }
                }
            }
        }
    }
}

fn measure(
    head: &Head,
    cached: &Head,
    (tokens, walk): (usize, Walk),
    engine: &Engine,
    memory: &WeightMemory,
    effort: &Effort,
) {
    let (states, mut logits) = operands(head.rows(), tokens);
    let mut read = ReadProbe::new(memory.bytes(), effort.window);
    let (mut from_memory, mut from_l2) = (Samples::default(), Samples::default());
    let mut few = vec![0.0; tokens * cached.rows()];
    for _ in 0..effort.rounds {
        engine.region(|team| read.sample(team));
        let start = Instant::now();
        head.logits(engine, &states, &mut logits).expect("operands that fit");
        from_memory.push(head.bytes_per_token() as f64 / start.elapsed().as_secs_f64());
        // Each thread has an L2 cache of its own: the rate of one times their number.
        let times = effort.window.div_ceil(tokens * cached.bytes_per_token());
        let start = Instant::now();
        for _ in 0..times {
            cached.logits_on(engine.numerics(), &states, &mut few).expect("operands that fit");
        }
        let bytes = times * cached.bytes_per_token() * engine.threads();
        from_l2.push(bytes as f64 / start.elapsed().as_secs_f64());
    }
    let (rate, l2) = (from_memory.rate(), from_l2.rate().median);
    let probe = read.samples().rate().median;
    let of_probe = from_memory.of(read.samples());
    println!(
        "{:>6} {tokens:>6} {:>7} {:>7} {:>6.2} {:>7.2} {:>7.2} {:>5} {:>6.1} {:>7.2} {:>8}",
        head.type_name(),
        walk.streams(),
        engine.threads(),
        rate.median / 1e9,
        rate.best / 1e9,
        probe / 1e9,
        marked(of_probe),
        l2 / 1e9,
        probe.min(l2) / 1e9,
        marked(of_probe.max(from_memory.of(&from_l2))),
    );
}
