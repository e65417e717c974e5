//! One matrix product under way: the kernels that it takes, and the row tiles that its threads share.

use std::ops::Range;

use crate::engine::EngineError;
use crate::kernels::abi::{ATOM_BYTES, ATOM_COLS, Kernel, KernelError, Problem, TILE_ROWS};
use crate::numerics::Numerics;
use crate::numerics::quantize::QuantizedActivations;
use crate::packed::{PackedTernaryWeights, Scales};
use crate::shares::{SharedRows, Shares};

/// Products (weights times tokens) below which handing work to other threads costs more than it saves.
const MIN_PARALLEL_PRODUCTS: usize = 1 << 17;

/// Packed bytes that are worked on for all tokens before the next ones are read, and the least that a thread takes at a
/// time: they stay in a small L2 cache together with the activations.
const CHUNK_BYTES: usize = 64 << 10;

/// y = W x for a batch of tokens. Each of [`Product::parts`] threads calls [`Product::run`] with its own number.
pub(crate) struct Product<'a> {
    /// Kernels that together take all tokens, each its share in turn.
    plan: Vec<Kernel>,
    numerics: Numerics,
    weights: &'a PackedTernaryWeights,
    x: &'a QuantizedActivations,
    y: SharedRows<'a>,
    shares: Shares,
    parts: usize,
}

impl<'a> Product<'a> {
    /// A product of operands that belong together, for up to `threads` threads.
    pub fn new(
        plan: Vec<Kernel>,
        numerics: Numerics,
        weights: &'a PackedTernaryWeights,
        x: &'a QuantizedActivations,
        y: &'a mut [f32],
        threads: usize,
    ) -> Self {
        let (rows, cols, tokens) = (weights.rows(), weights.cols(), x.tokens());
        let tiles = rows.div_ceil(TILE_ROWS);
        let products = rows.saturating_mul(cols).saturating_mul(tokens);
        let parts = if products < MIN_PARALLEL_PRODUCTS { 1 } else { threads.clamp(1, tiles) };
        // One token on one thread has nothing to share and nothing to keep in a cache.
        let alone = parts == 1 && tokens == 1;
        let chunk = if alone { tiles } else { CHUNK_BYTES / (cols.div_ceil(ATOM_COLS) * ATOM_BYTES) };
        let (y, shares) = (SharedRows::new(y, rows), Shares::new(tiles, parts, chunk));
        Product { plan, numerics, weights, x, y, shares, parts }
    }

    /// Threads that it is worth.
    pub fn parts(&self) -> usize {
        self.parts
    }

    /// Computes rows until none are left, those of block `part` first.
    ///
    /// # Errors
    /// [`EngineError::Kernel`] where a kernel refuses its operands.
    pub fn run(&self, part: usize) -> Result<(), EngineError> {
        let mut sums = Vec::new();
        while let Some(tiles) = self.shares.claim(part) {
            self.tile_rows(&tiles, &mut sums)?;
        }
        Ok(())
    }

    /// The rows of some tiles, which must have been claimed, for all tokens.
    fn tile_rows(&self, tiles: &Range<usize>, sums: &mut Vec<i32>) -> Result<(), KernelError> {
        let (weights, x) = (self.weights, self.x);
        let (first_row, covered) = rows_of(weights, tiles);
        let mut token = 0;
        for kernel in &self.plan {
            let taken = kernel.descriptor().tokens;
            sums.resize(covered * taken, 0);
            kernel.run(&problem(weights, x, token, taken), tiles.clone(), sums, covered)?;
            for (t, sums) in (token..).zip(sums.chunks_exact(covered)) {
                // SAFETY: the tiles were handed out to this call alone, and one token's slice is gone before the next.
                let y = unsafe { self.y.of(t, tiles) };
                let inverse = 1.0 / x.scales()[t];
                match weights.scales() {
                    Scales::PerTensor(scale) => self.numerics.scale_by_tensor(sums, *scale, inverse, y),
                    Scales::PerRow(scales) => {
                        self.numerics.scale_by_row(sums, &scales[first_row..][..covered], inverse, y);
                    }
                }
            }
            token += taken;
        }
        Ok(())
    }
}

/// The first row of some tiles, and how many there are.
fn rows_of(weights: &PackedTernaryWeights, tiles: &Range<usize>) -> (usize, usize) {
    let first = tiles.start * TILE_ROWS;
    (first, (tiles.end * TILE_ROWS).min(weights.rows()) - first)
}

fn problem<'a>(
    weights: &'a PackedTernaryWeights,
    x: &'a QuantizedActivations,
    token: usize,
    tokens: usize,
) -> Problem<'a> {
    let stride = x.stride();
    Problem {
        rows: weights.rows(),
        cols: weights.cols(),
        weights: weights.data(),
        acts: &x.data()[token * stride..(token + tokens) * stride],
        act_stride: stride,
        act_sums: &x.sums()[token..token + tokens],
    }
}
