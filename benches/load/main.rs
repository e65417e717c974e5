//! What loading a model takes, beside what it takes to read its file and copy it into fresh memory on as many threads.
//!
//! `cargo bench -p tritforge-benches --bench load -- [model.gguf] [threads]`; without a file it is the demo model, without
//! a number there is a thread for each core. The copy is done twice: into memory as the system gives it, and into memory on
//! huge pages, as weights have it. Copies and loads take turns; ratios are of medians. Before them, in rounds that are not
//! timed, the anonymous memory of the process is watched while the model is loaded.

mod copy;
mod peak;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tritforge::demo;
use tritforge::engine::Engine;
use tritforge::format::{LoadOptions, RawModel, load_path};
use tritforge::model::Model;
use tritforge_benches::Arguments;

const ROUNDS: usize = 9;
const MIB: f64 = (1 << 20) as f64;

/// Seconds of each round.
#[derive(Default)]
struct Times {
    copy: Vec<f64>,
    copy_huge: Vec<f64>,
    open: Vec<f64>,
    load: Vec<f64>,
}

fn main() {
    let Arguments { test, words } = Arguments::of_process();
    let mut words = words.iter();
    let file: Option<PathBuf> = words.next().map(PathBuf::from).filter(|_| !test);
    let threads = words.next().map(|number| number.parse::<usize>().expect("a number of threads"));
    let engine = threads.map_or_else(Engine::new, Engine::with_threads).expect("an engine");

    // The demo model is linked into the program; as a file it can be mapped as others are.
    let demo = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(demo.path(), demo::DEMO_GGUF).expect("room for the demo model");
    let path = file.as_deref().unwrap_or(demo.path());

    // First of all: what earlier rounds had freed would be used again unseen.
    let mut packed = 0;
    let peaks: Vec<Option<u64>> = (0..if test { 1 } else { 3 })
        .map(|_| {
            let (model, peak) =
                peak::while_running(|| Model::from_raw(open(path), &engine).expect("a sound model"));
            packed = model.layers.iter().map(|layer| layer.memory().resident_bytes).sum();
            peak
        })
        .collect();
    let mut times = Times::default();
    for _ in 0..if test { 1 } else { ROUNDS } {
        times.copy.push(copy::seconds(path, engine.threads(), false));
        times.copy_huge.push(copy::seconds(path, engine.threads(), true));
        let start = Instant::now();
        let raw = open(path);
        times.open.push(start.elapsed().as_secs_f64());
        let model = Model::from_raw(raw, &engine).expect("a sound model");
        times.load.push(start.elapsed().as_secs_f64());
        drop(model);
    }
    if test {
        return;
    }
    report(path, engine.threads(), times);
    match peaks.into_iter().flatten().max() {
        Some(peak) => println!(
            "anonymous memory at its peak {:.1} MiB; packed weights and norms {:.1} MiB; {:.3} of them",
            peak as f64 / MIB,
            packed as f64 / MIB,
            peak as f64 / packed as f64
        ),
        None => {
            println!("anonymous memory: SKIPPED, this system does not tell (only Linux does, in RssAnon)")
        }
    }
}

fn open(path: &Path) -> RawModel {
    load_path(path, &LoadOptions::default()).expect("a sound file")
}

fn report(path: &Path, threads: usize, times: Times) {
    let bytes = std::fs::metadata(path).map_or(0, |info| info.len());
    println!("\n{:.1} MiB, {threads} threads, medians of {ROUNDS} interleaved rounds", bytes as f64 / MIB);
    let [copy, copy_huge, open, load] =
        [times.copy, times.copy_huge, times.open, times.load].map(|seconds| median(seconds).as_secs_f64());
    println!("read and copied             {:8.1} ms", 1e3 * copy);
    println!("the same, on huge pages     {:8.1} ms", 1e3 * copy_huge);
    println!("loaded                      {:8.1} ms, of which {:.1} until packing", 1e3 * load, 1e3 * open);
    println!("ratio to the copy           {:8.2}", load / copy);
    println!("ratio to that on huge pages {:8.2}", load / copy_huge);
}

fn median(mut seconds: Vec<f64>) -> Duration {
    seconds.sort_by(f64::total_cmp);
    Duration::from_secs_f64(seconds[seconds.len() / 2])
}
