//! The choice of kernels, and their call on one thread.

use std::ops::Range;

use crate::cpu;
use crate::engine::EngineError;
use crate::kernels::DESCRIPTORS;
use crate::kernels::abi::{self, ATOM_BYTES, ATOM_COLS, IsaInfo, Kernel, KernelError, Problem, TILE_ROWS};
use crate::numerics::quantize::QuantizedActivations;
use crate::packed::PackedTernaryWeights;

/// Packed bytes that are worked on for all tokens before the next ones are read: half of a small L2 cache.
const BLOCK_BYTES: usize = 256 << 10;

/// The kernels of one instruction set that this CPU has.
#[derive(Debug)]
pub(crate) struct Dispatch {
    isa: &'static IsaInfo,
    /// The kernels of the instruction set; those of fixed shape first.
    kernels: Vec<Kernel>,
    /// The portable kernels, which are always right.
    portable: Vec<Kernel>,
}

impl Dispatch {
    /// The kernels of an instruction set.
    ///
    /// # Errors
    /// [`EngineError::Cpu`] where the CPU lacks it.
    pub fn new(isa: &'static IsaInfo) -> Result<Self, EngineError> {
        cpu::by_id(isa.id)?;
        Ok(Dispatch { isa, kernels: kernels_of(isa.id), portable: kernels_of("portable") })
    }

    /// The instruction set.
    pub fn isa(&self) -> &'static IsaInfo {
        self.isa
    }

    /// The kernel for a matrix `[rows][cols]` and so many tokens at once: the one made for the shape, else the generic
    /// one; `None` where no kernel takes that number of tokens.
    pub fn kernel(&self, rows: usize, cols: usize, tokens: usize) -> Option<Kernel> {
        find(&self.kernels, rows, cols, tokens).or_else(|| find(&self.portable, rows, cols, tokens))
    }

    /// The rows of some tiles, for all tokens: `out[t]` takes those of token t.
    pub fn block(
        &self,
        weights: &PackedTernaryWeights,
        x: &QuantizedActivations,
        tiles: Range<usize>,
        out: &mut [&mut [f32]],
    ) -> Result<(), EngineError> {
        let (rows, cols, tokens) = (weights.rows(), weights.cols(), x.tokens());
        let tile_bytes = cols.div_ceil(ATOM_COLS) * ATOM_BYTES;
        let step = if tokens == 1 { tiles.len().max(1) } else { (BLOCK_BYTES / tile_bytes).max(1) };
        let mut sums: Vec<i32> = Vec::new();
        let mut start = tiles.start;
        while start < tiles.end {
            let end = (start + step).min(tiles.end);
            let covered = (end * TILE_ROWS).min(rows) - start * TILE_ROWS;
            let mut token = 0;
            while token < tokens {
                let (kernel, taken) = self.widest(rows, cols, tokens - token)?;
                sums.resize(covered * taken, 0);
                let problem = problem(weights, x, token, taken);
                kernel.run(&problem, start..end, &mut sums, covered)?;
                for (t, sums) in sums.chunks_exact(covered).enumerate() {
                    let first = (start - tiles.start) * TILE_ROWS;
                    let y = &mut out[token + t][first..first + covered];
                    scale(sums, weights, start * TILE_ROWS, 1.0 / x.scales()[token + t], y);
                }
                token += taken;
            }
            start = end;
        }
        Ok(())
    }

    /// The kernel that takes the most tokens at once, but not more than there are.
    fn widest(&self, rows: usize, cols: usize, tokens: usize) -> Result<(Kernel, usize), EngineError> {
        let sizes = self.portable.iter().map(|kernel| kernel.descriptor().tokens);
        let size = sizes.filter(|size| *size <= tokens).max().unwrap_or(1);
        match self.kernel(rows, cols, size) {
            Some(kernel) => Ok((kernel, size)),
            None => Err(KernelError::Shape { kernel: "any", found: (rows, cols), expected: None }.into()),
        }
    }

    /// Compares every kernel that is selected for a matrix with the portable one, on its first and last tile and
    /// activations that reach both ends of int8.
    ///
    /// # Errors
    /// [`EngineError::SelfCheck`] where they disagree.
    pub fn self_check(&self, weights: &PackedTernaryWeights) -> Result<(), EngineError> {
        let (rows, cols) = (weights.rows(), weights.cols());
        let last = rows.div_ceil(TILE_ROWS) - 1;
        for portable in &self.portable {
            let tokens = portable.descriptor().tokens;
            let Some(kernel) = self.kernel(rows, cols, tokens) else { continue };
            // Any activations would do; these are cheap, differ from place to place, and hold -127 and 127.
            let values: Vec<f32> = (0..cols * tokens).map(|i| (i * 89 % 255) as f32 - 127.0).collect();
            let x = QuantizedActivations::quantize(cols, &values);
            let problem = problem(weights, &x, 0, tokens);
            for tile in [0, last] {
                let covered = (rows - tile * TILE_ROWS).min(TILE_ROWS);
                let mut found = vec![0; covered * tokens];
                let mut expected = vec![1; covered * tokens];
                kernel.run(&problem, tile..tile + 1, &mut found, covered)?;
                portable.run(&problem, tile..tile + 1, &mut expected, covered)?;
                if found != expected {
                    let (kernel, reference) = (kernel.descriptor().name, portable.descriptor().name);
                    return Err(EngineError::SelfCheck { kernel, reference });
                }
            }
        }
        Ok(())
    }
}

/// The kernels of an instruction set that this CPU has, those of fixed shape first.
fn kernels_of(isa: &str) -> Vec<Kernel> {
    let of_isa = |d: &&'static abi::Descriptor| d.isa.id == isa;
    let mut kernels: Vec<Kernel> = DESCRIPTORS.iter().filter(of_isa).filter_map(Kernel::new).collect();
    kernels.sort_by_key(|kernel| kernel.descriptor().shape.is_none());
    kernels
}

fn find(kernels: &[Kernel], rows: usize, cols: usize, tokens: usize) -> Option<Kernel> {
    kernels
        .iter()
        .find(|kernel| {
            let d = kernel.descriptor();
            d.tokens == tokens && d.shape.is_none_or(|shape| shape == (rows, cols)) && cols <= d.k_max
        })
        .copied()
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

/// The epilogue: integer sums to f32, times the weights' and the activations' scales.
fn scale(sums: &[i32], weights: &PackedTernaryWeights, first_row: usize, inverse: f32, y: &mut [f32]) {
    match weights.scales() {
        crate::packed::Scales::PerTensor(scale) => {
            for (y, sum) in y.iter_mut().zip(sums) {
                *y = (*sum as f32 * scale) * inverse;
            }
        }
        crate::packed::Scales::PerRow(scales) => {
            for ((y, sum), scale) in y.iter_mut().zip(sums).zip(&scales[first_row..]) {
                *y = (*sum as f32 * scale) * inverse;
            }
        }
    }
}
