//! The engine: kernels chosen for this CPU, and the threads that run them.

use std::ops::Range;

use rayon::prelude::*;

use crate::cpu::{self, CpuError};
use crate::dispatch::Dispatch;
use crate::kernels::abi::{IsaInfo, Kernel, KernelError, TILE_ROWS};
use crate::numerics::Numerics;
use crate::numerics::quantize::QuantizedActivations;
use crate::packed::PackedTernaryWeights;

/// Products (weights times tokens) below which handing work to other threads costs more than it saves.
const MIN_PARALLEL_PRODUCTS: usize = 1 << 17;

/// Why an engine cannot be made or a product not be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The instruction set asked for cannot be had.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The threads could not be started.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// Why.
        reason: String,
    },
    /// A kernel refused its operands.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// An activation vector of the wrong length.
    #[error("activation vectors of {found} values for a matrix of {expected} columns")]
    Activations {
        /// Values found.
        found: usize,
        /// Columns of the matrix.
        expected: usize,
    },
    /// A result buffer of the wrong length.
    #[error("room for {found} results, {expected} needed")]
    Output {
        /// Values there are.
        found: usize,
        /// Tokens times rows.
        expected: usize,
    },
    /// A NaN or an infinity among the activations.
    #[error("activation {index} is {value}; activations must be finite")]
    NotFinite {
        /// Which one.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A kernel disagrees with the portable one.
    #[error(
        "kernel {kernel} disagrees with {reference} on this CPU; set {}=portable and report it",
        cpu::ISA_VARIABLE
    )]
    SelfCheck {
        /// The kernel.
        kernel: &'static str,
        /// The portable one.
        reference: &'static str,
    },
}

/// Kernels chosen for this CPU, and a pool of threads.
#[derive(Debug)]
pub struct Engine {
    dispatch: Dispatch,
    numerics: Numerics,
    pool: rayon::ThreadPool,
}

impl Engine {
    /// An engine with the best instruction set (or the one that `TRITFORGE_ISA` names) and a thread a CPU.
    ///
    /// # Errors
    /// [`EngineError::Cpu`] or [`EngineError::Threads`].
    pub fn new() -> Result<Self, EngineError> {
        Self::with_threads(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// The same with so many threads.
    ///
    /// # Errors
    /// [`EngineError::Cpu`] or [`EngineError::Threads`].
    pub fn with_threads(threads: usize) -> Result<Self, EngineError> {
        Self::with_isa(cpu::select()?, threads)
    }

    /// An engine for one instruction set and so many threads, at least one.
    ///
    /// # Errors
    /// [`EngineError::Cpu`] where the CPU lacks it, or [`EngineError::Threads`].
    pub fn with_isa(isa: &'static IsaInfo, threads: usize) -> Result<Self, EngineError> {
        let dispatch = Dispatch::new(isa)?;
        let numerics = Numerics::new(isa)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|index| format!("tritforge-{index}"))
            .build()
            .map_err(|e| EngineError::Threads { threads, reason: e.to_string() })?;
        Ok(Engine { dispatch, numerics, pool })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> &'static IsaInfo {
        self.dispatch.isa()
    }

    /// The float parts, compiled for the instruction set in use.
    pub fn numerics(&self) -> &Numerics {
        &self.numerics
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The threads.
    pub fn pool(&self) -> &rayon::ThreadPool {
        &self.pool
    }

    /// The kernel for a matrix `[rows][cols]` and so many tokens at once: the one made for the shape, else the generic
    /// one; `None` where no kernel takes that number of tokens.
    pub fn kernel(&self, rows: usize, cols: usize, tokens: usize) -> Option<Kernel> {
        self.dispatch.kernel(rows, cols, tokens)
    }

    /// y[t * rows + m] = (W x_t)`[m]` * scale(m) / s_t, rounded twice: `((dot as f32) * scale(m)) * (1 / s_t)`.
    /// The integer products are exact, so neither the kernels nor the number of threads change a bit.
    ///
    /// # Errors
    /// [`EngineError`] for operands whose lengths do not belong together; `y` must hold tokens * rows values.
    pub fn linear(
        &self,
        weights: &PackedTernaryWeights,
        x: &QuantizedActivations,
        y: &mut [f32],
    ) -> Result<(), EngineError> {
        let (rows, cols, tokens) = (weights.rows(), weights.cols(), x.tokens());
        if x.cols() != cols {
            return Err(EngineError::Activations { found: x.cols(), expected: cols });
        }
        if y.len() != tokens * rows {
            return Err(EngineError::Output { found: y.len(), expected: tokens * rows });
        }
        let tiles = rows.div_ceil(TILE_ROWS);
        let products = rows.saturating_mul(cols).saturating_mul(tokens);
        let parts = if products < MIN_PARALLEL_PRODUCTS { 1 } else { self.threads().min(tiles) };
        if parts == 1 {
            let mut out: Vec<&mut [f32]> = y.chunks_mut(rows).collect();
            return self.dispatch.block(weights, x, 0..tiles, &mut out);
        }
        // Each thread streams one contiguous block of row tiles.
        let bounds: Vec<usize> = (0..=parts).map(|part| part * tiles / parts).collect();
        let mut blocks: Vec<(Range<usize>, Vec<&mut [f32]>)> =
            bounds.windows(2).map(|b| (b[0]..b[1], Vec::with_capacity(tokens))).collect();
        for mut token in y.chunks_mut(rows) {
            for (range, out) in &mut blocks {
                let len = (range.end * TILE_ROWS).min(rows) - range.start * TILE_ROWS;
                let (head, tail) = token.split_at_mut(len);
                out.push(head);
                token = tail;
            }
        }
        self.pool.install(|| {
            blocks
                .into_par_iter()
                .try_for_each(|(range, mut out)| self.dispatch.block(weights, x, range, &mut out))
        })
    }

    /// Compares every kernel that is selected for a matrix with the portable one, on its first and last tile and
    /// activations that reach both ends of int8.
    ///
    /// # Errors
    /// [`EngineError::SelfCheck`] where they disagree.
    pub fn self_check(&self, weights: &PackedTernaryWeights) -> Result<(), EngineError> {
        self.dispatch.self_check(weights)
    }
}
