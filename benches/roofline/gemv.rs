//! Products with one token.

use std::hint::black_box;
use std::ops::Range;
use std::time::Instant;

use tritforge::engine::Engine;
use tritforge::exact::Activations;
use tritforge::kernels::abi::{Kernel, Problem, TILE_ROWS};
use tritforge::probe::bandwidth::ReadProbe;
use tritforge::probe::memory::WeightMemory;
use tritforge::probe::peak::PeakProbe;
use tritforge::probe::stack::Stack;
use tritforge::probe::{Rate, Samples, marked};
use tritforge::shares::{Blocks, Shares};
use tritforge::team::Team;
use tritforge_benches::check;

use crate::{Effort, row_name};

/// Matrices of the models that are common, and their smallest.
const SHAPES: [(usize, usize); 6] =
    [(2560, 2560), (6912, 2560), (2560, 6912), (640, 2560), (1536, 1536), (4096, 1536)];
/// Bytes of weights that stay in a small L2 cache.
const L2: usize = 256 << 10;

const HEADING: &str = "                     from memory, GB/s            from L2                            \n      \
                       shape threads  median    best   probe ratio    GB/s  GMAC/s of peak   bound of bound";

/// The wanted rows of a kernel, under their heading; none where none is wanted.
pub fn measure(
    kernel: &Kernel,
    engines: &[Engine],
    memory: &WeightMemory,
    effort: &Effort,
    wanted: &dyn Fn(&str) -> bool,
) -> Option<(&'static str, Vec<String>)> {
    let mut lines = Vec::new();
    let shapes = kernel.descriptor().shape.map_or(SHAPES.to_vec(), |shape| vec![shape]);
    for shape in shapes {
        let engines = engines.iter().filter(|engine| wanted(&row_name(kernel, shape, engine.threads())));
        let mut bench = None;
        for engine in engines {
            let bench = bench.get_or_insert_with(|| Bench::new(kernel, shape, memory));
            lines.push(bench.row(engine, memory, effort));
        }
    }
    (!lines.is_empty()).then_some((HEADING, lines))
}

/// A kernel at a shape.
struct Bench<'a> {
    kernel: &'a Kernel,
    acts: Activations,
    stack: Stack<'a>,
}

impl<'a> Bench<'a> {
    /// # Panics
    /// If the kernel's results are not exact.
    fn new(kernel: &'a Kernel, shape: (usize, usize), memory: &'a WeightMemory) -> Self {
        let (acts, stack) = (Activations::new(1, shape), Stack::new(memory, shape));
        check(kernel, &acts.problem(kernel, stack.matrix(0), 0));
        Bench { kernel, acts, stack }
    }

    fn row(&mut self, engine: &Engine, memory: &WeightMemory, effort: &Effort) -> String {
        let isa = self.kernel.descriptor().isa.id;
        let mut read = ReadProbe::new(memory.bytes(), effort.window);
        let mut peak = PeakProbe::new(&[isa]);
        let (mut from_memory, mut from_l2) = (Samples::default(), Samples::default());
        for _ in 0..effort.rounds {
            engine.region(|team| {
                read.sample(team);
                from_memory.push(self.stream(team, engine.blocks(), effort.window));
                from_l2.push(self.repeat(team, effort.window));
                peak.sample(team);
            });
        }
        let (Rate { median, best, .. }, l2) = (from_memory.rate(), from_l2.rate().median);
        let probe = read.samples().rate().median;
        let macs_per_byte = (TILE_ROWS * self.acts.cols) as f64 / self.stack.tile_bytes() as f64;
        let of_peak = peak.samples(isa).map_or(f64::NAN, |peak| from_l2.of(peak) * macs_per_byte);
        let of_probe = from_memory.of(read.samples());
        let bound = probe.min(l2);
        let shape = format!("{}x{}", self.acts.rows, self.acts.cols);
        format!(
            "{shape:>11} {:>7} {:>7.2} {:>7.2} {:>7.2} {:>5} {:>7.2} {:>7.1} {:>7} {:>7.2} {:>8}",
            engine.threads(),
            median / 1e9,
            best / 1e9,
            probe / 1e9,
            marked(of_probe),
            l2 / 1e9,
            l2 * macs_per_byte / 1e9,
            marked(of_peak),
            bound / 1e9,
            marked(of_probe.max(from_memory.of(&from_l2))),
        )
    }

    /// Bytes a second over at least a window of matrices that have not been read for long, shared out as the products of the
    /// same activations are.
    fn stream(&mut self, team: &Team<'_>, blocks: Blocks, window: usize) -> f64 {
        let turn = self.stack.next(window);
        let streams = self.kernel.descriptor().streams;
        let shares = Shares::streamed(blocks, turn.len(), self.stack.tile_bytes(), (1, streams), team.size());
        self.run(team, |member, run| {
            while let Some(claimed) = shares.claim(member) {
                for part in self.stack.parts(self.kernel, &turn, claimed) {
                    run(&part.problem(&self.acts, self.kernel, 0), part.tiles);
                }
            }
        })
    }

    /// Bytes a second of each member's own few tiles, again and again.
    fn repeat(&self, team: &Team<'_>, window: usize) -> f64 {
        self.run(team, |member, run| {
            let own = self.stack.cached(self.kernel, L2);
            let problem = self.acts.problem(self.kernel, self.stack.matrix(member), 0);
            (0..window.div_ceil(own * self.stack.tile_bytes())).for_each(|_| run(&problem, 0..own));
        })
    }

    /// Bytes a second of what `body(member, run)` runs on all members.
    fn run(
        &self,
        team: &Team<'_>,
        body: impl Fn(usize, &mut dyn FnMut(&Problem<'_>, Range<usize>)) + Sync,
    ) -> f64 {
        let run_tiles = std::sync::atomic::AtomicUsize::new(0);
        let start = Instant::now();
        team.run(|member| {
            // Few enough that they stay in the first-level cache, as in the products of a model.
            let mut out = Vec::new();
            let mut count = 0;
            body(member, &mut |problem, tiles| {
                count += tiles.len();
                let rows = TILE_ROWS * tiles.len();
                out.resize(rows.max(out.len()), 0);
                self.kernel.run(problem, tiles, black_box(&mut out), rows).expect("checked operands");
            });
            run_tiles.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        });
        (run_tiles.into_inner() * self.stack.tile_bytes()) as f64 / start.elapsed().as_secs_f64().max(1e-9)
    }
}
