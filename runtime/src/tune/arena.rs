//! Where kernels are timed: matrices of a shape, from memory or in the cache, and the threads that multiply with them.

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::exact::{self, Activations, Inexact, STREAMED_TOKENS};
use crate::kernels::abi::{Kernel, Problem, SHORT_COLS, TILE_ROWS};
use crate::kernels::layouts::i2a16;
use crate::os::AlignedBytes;
use crate::probe::memory::WeightMemory;
use crate::probe::stack::Stack;
use crate::shares::{Blocks, Shares, parts};
use crate::team::Team;

/// Bytes of weights of a sample that comes from memory.
const WINDOW: usize = 16 << 20;
/// How long threads work before anything is timed.
const WARM_UP: Duration = Duration::from_millis(12);
/// Tokens of a prompt of which a product is timed that takes more than [`STREAMED_TOKENS`] at once.
const PROMPT: usize = 256;
/// Multiply-adds of a sample whose weights are in the cache, at least.
const MACS: usize = 1 << 28;
/// Bytes of weights that stay in a small second-level cache.
const CACHED: usize = 128 << 10;

/// Rows and columns of the matrix on which kernels are checked: for every K modulo the atoms of an unroll, and rows that end
/// inside of a tile.
const CHECKED: [(usize, usize); 3] = [(35, 1003), (16, 64), (83, 2063)];

/// Where kernels are timed: a matrix shape and a number of threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// Rows M.
    pub rows: usize,
    /// Columns K.
    pub cols: usize,
    /// Threads; 1 where weights stay in the cache.
    pub threads: usize,
}

/// What every contest needs: weights in memory, and engines.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Weights of more bytes than the caches have.
    pub memory: &'a WeightMemory,
    /// Engines of one thread, and of as many as are used.
    pub engines: &'a [Engine],
}

impl Ground<'_> {
    /// The engine of so many threads.
    ///
    /// # Panics
    /// If there is none.
    pub fn engine(&self, threads: usize) -> &Engine {
        self.engines.iter().find(|engine| engine.threads() == threads).expect("an engine for the place")
    }
}

/// Whether a product with so many tokens is timed with weights from memory: what has few columns stays in the cache.
pub fn is_streamed(tokens: usize, cols: usize) -> bool {
    tokens <= STREAMED_TOKENS && cols > SHORT_COLS
}

/// Says whether a kernel's results are exact on shapes of every kind.
///
/// # Errors
/// [`Inexact`] for the first sum that is wrong, or operands that the kernel does not take.
pub fn check(kernel: &Kernel, memory: &WeightMemory) -> Result<(), Inexact> {
    let tokens = kernel.descriptor().tokens;
    for (rows, cols) in CHECKED {
        let acts = Activations::new(tokens, (rows, cols));
        // Codes of weights beyond K are those of zeros.
        let mut weights = AlignedBytes::filled(i2a16::packed_bytes(rows, cols), i2a16::ZERO_BYTE);
        let mut source = memory.bytes().iter().cycle();
        for row in 0..rows {
            let trits: Vec<i8> = source.by_ref().take(cols).map(|byte| (byte & 3) as i8 - 1).collect();
            i2a16::pack_row(&mut weights, rows, cols, row, &trits);
        }
        exact::check(kernel, &acts.problem(kernel, &weights, 0))?;
    }
    Ok(())
}

/// A place, with operands for kernels of so many tokens at once.
#[derive(Debug)]
pub struct Arena<'a> {
    place: Place,
    acts: Activations,
    /// Tokens that the activations are of: a multiple of those of a call.
    all_tokens: usize,
    tokens: usize,
    stack: Stack<'a>,
    blocks: Blocks,
}

impl<'a> Arena<'a> {
    /// Operands for kernels of so many tokens at once, with so much of the weights at a time.
    ///
    /// # Panics
    /// If the memory does not hold a matrix.
    pub fn new(ground: &Ground<'a>, place: Place, tokens: usize, blocks: Blocks) -> Self {
        let shape = (place.rows, place.cols);
        let all_tokens = if tokens <= STREAMED_TOKENS { tokens } else { PROMPT.next_multiple_of(tokens) };
        let (acts, stack) = (Activations::new(all_tokens, shape), Stack::new(ground.memory, shape));
        Arena { place, acts, all_tokens, tokens, stack, blocks }
    }

    /// Has at hand what a kernel wants, so that it is not timed how that is made.
    pub fn prepare(&mut self, kernel: &Kernel) {
        self.acts.prepare(kernel);
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Packed bytes of a weight, padding included.
    pub fn bytes_per_weight(&self) -> f64 {
        let Place { rows, cols, .. } = self.place;
        i2a16::packed_bytes(rows, cols) as f64 / (rows * cols) as f64
    }

    /// Weights a second with the matrices from memory, shared out over the team as an engine does it.
    pub fn stream(&mut self, kernel: &Kernel, team: &Team<'_>) -> f64 {
        let turn = self.stack.next(WINDOW);
        let (tile_bytes, streams) = (self.stack.tile_bytes(), kernel.descriptor().streams);
        let shares =
            Shares::streamed(self.blocks, turn.len(), tile_bytes, (self.tokens, streams), team.size());
        let this = &*self;
        let start = Instant::now();
        team.run(|member| {
            let mut out = Vec::new();
            while let Some(claimed) = shares.claim(member) {
                for part in this.stack.parts(kernel, &turn, claimed) {
                    this.run(kernel, &part.problem(&this.acts, kernel, 0), part.tiles, &mut out);
                }
            }
        });
        let matrices = turn.len() / self.stack.tiles();
        (matrices * self.place.rows * self.place.cols) as f64 / start.elapsed().as_secs_f64().max(1e-9)
    }

    /// Streams for a while: threads that were asleep wake up on one core, and it takes the system some milliseconds to give
    /// each its own. What is timed before that is not what a model sees.
    pub fn warm_up(&mut self, kernel: &Kernel, team: &Team<'_>) {
        let start = Instant::now();
        while start.elapsed() < WARM_UP {
            self.stream(kernel, team);
        }
    }

    /// Weights a second of a few tiles that stay in the cache, each time for as many tokens as the kernel takes, on the
    /// calling thread.
    pub fn repeat(&self, kernel: &Kernel) -> f64 {
        let own = if self.all_tokens == self.tokens {
            self.stack.cached(kernel, CACHED)
        } else {
            // As in the products of a model.
            let streams = kernel.descriptor().streams;
            let tile_bytes = kernel.descriptor().tile_bytes(self.place.cols);
            self.blocks.chunk(tile_bytes, streams, self.tokens * self.place.cols).min(self.stack.tiles())
        };
        let rows = (own * TILE_ROWS).min(self.place.rows);
        let calls = self.all_tokens / self.tokens;
        let times = (MACS / (rows * self.place.cols * self.all_tokens)).max(1);
        let mut out = Vec::new();
        let mut once = || {
            for call in 0..calls {
                let problem = self.acts.problem(kernel, self.stack.matrix(0), call * self.tokens);
                self.run(kernel, &problem, 0..own, &mut out);
            }
        };
        // Once before, so that the weights are there.
        once();
        let start = Instant::now();
        (0..times).for_each(|_| once());
        (times * calls * rows * self.place.cols) as f64 / start.elapsed().as_secs_f64().max(1e-9)
    }

    fn run(&self, kernel: &Kernel, problem: &Problem<'_>, tiles: Range<usize>, out: &mut Vec<i32>) {
        // Few sums at a time, as in the products of a model.
        for part in parts(tiles, self.tokens, kernel.descriptor().streams) {
            let rows = TILE_ROWS * part.len();
            out.resize((rows * self.tokens).max(out.len()), 0);
            kernel.run(problem, part, black_box(out), rows).expect("operands that were checked");
        }
    }
}
