//! The engine: kernels chosen for this CPU, and the threads that run them.

use std::collections::HashMap;
use std::sync::Arc;

use kernelgen::tuned::ProfileError;
use rayon::prelude::*;

use crate::cpu::CpuError;
use crate::dispatch::{self, Dispatch};
use crate::fault::Fault;
use crate::head::Walk;
use crate::kernels::abi::{IsaInfo, Kernel, KernelError};
use crate::numerics::Numerics;
use crate::numerics::quantize::QuantizedActivations;
use crate::packed::PackedTernaryWeights;
use crate::product::{Product, run_all};
use crate::shares::Blocks;
use crate::team::{Team, Threads};
use crate::tuned;

/// Why an engine cannot be made or a product not be computed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The instruction set asked for cannot be had.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// The tuned profile that was asked for cannot be followed.
    #[error(transparent)]
    Profile(#[from] ProfileError),
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
}

/// Kernels chosen for this CPU, and a pool of threads.
#[derive(Debug)]
pub struct Engine {
    dispatch: Dispatch,
    threads: Threads,
}

impl Engine {
    /// An engine with the kernels of least cost (or those of the instruction set that `TRITFORGE_ISA` names) and a
    /// thread for each physical core that this process may use: a second thread on a core shares its vector units and its
    /// way to memory. A tuned profile of this CPU may ask for fewer or more of them, up to one for each that the process
    /// may use: see [`tuned`].
    ///
    /// The first engine of a process tries out what the CPU says it has, in copies of the process (`fork`, where there is
    /// one). Where the CPU has AMX, Linux is asked for the permission to use its tiles, which holds for the whole process
    /// and makes the kernel want larger alternate signal stacks.
    ///
    /// # Errors
    /// [`EngineError::Cpu`], [`EngineError::Profile`] or [`EngineError::Threads`].
    pub fn new() -> Result<Self, EngineError> {
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        let tuned = tuned::in_force()?.followed.as_ref().and_then(tuned::Followed::threads);
        Self::with_threads(allowed.min(tuned.unwrap_or_else(num_cpus::get_physical)))
    }

    /// The same with so many threads.
    ///
    /// # Errors
    /// [`EngineError::Cpu`], [`EngineError::Profile`] or [`EngineError::Threads`].
    pub fn with_threads(threads: usize) -> Result<Self, EngineError> {
        Self::with_dispatch(Dispatch::select()?, threads)
    }

    /// An engine for one instruction set and so many threads, at least one. What it has no kernel for is left to those
    /// that rank below it. Instruction sets that fail a trial are left out: see [`Engine::faults`].
    ///
    /// # Errors
    /// [`EngineError::Cpu`] where the CPU lacks it, or [`EngineError::Threads`].
    pub fn with_isa(isa: &'static IsaInfo, threads: usize) -> Result<Self, EngineError> {
        Self::with_dispatch(Dispatch::asked_for(isa)?, threads)
    }

    fn with_dispatch(dispatch: Dispatch, threads: usize) -> Result<Self, EngineError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|index| format!("tritforge-{index}"))
            .build()
            .map_err(|e| EngineError::Threads { threads, reason: e.to_string() })?;
        Ok(Engine { dispatch, threads: Threads::new(pool) })
    }

    /// The highest instruction set in use.
    pub fn isa(&self) -> &'static IsaInfo {
        self.dispatch.isa()
    }

    /// The float parts, compiled for the instruction set in use.
    pub fn numerics(&self) -> &Numerics {
        self.dispatch.numerics()
    }

    /// The number of threads.
    pub fn threads(&self) -> usize {
        self.pool().current_num_threads()
    }

    /// The threads.
    pub fn pool(&self) -> &rayon::ThreadPool {
        self.threads.pool()
    }

    /// The kernel for a matrix `[rows][cols]` and so many tokens at once: of the instruction set that was asked for, else
    /// of that on which the operation costs least, as [`Engine::costs`] has it; there the one made for the shape, else the
    /// generic one that is tuned, else that of the schedule table.
    /// `None` where no kernel takes that number of tokens.
    pub fn kernel(&self, rows: usize, cols: usize, tokens: usize) -> Option<Kernel> {
        self.dispatch.kernel(rows, cols, tokens)
    }

    /// What [`Engine::kernel`] chooses from: one kernel of each instruction set in use, in descending rank.
    pub fn levels(&self, rows: usize, cols: usize, tokens: usize) -> Vec<Kernel> {
        self.dispatch.levels(rows, cols, tokens)
    }

    /// Tokens of a batch, in the hands of kernels that can read expanded weights, from which on weights are expanded.
    pub const EXPANDED_FROM: usize = dispatch::EXPANDED_FROM;

    /// The kernel that is used in the place of another for matrices of so many columns in a batch of
    /// [`Engine::EXPANDED_FROM`] tokens and more: one that reads weights whose codes were brought apart once for all of these.
    /// `None` where there is none.
    pub fn expanded(&self, kernel: &Kernel, cols: usize) -> Option<Kernel> {
        self.dispatch.expanded(kernel, cols)
    }

    /// The kernels that together take `tokens` tokens, each its share in turn.
    pub(crate) fn plan(&self, rows: usize, cols: usize, tokens: usize) -> Result<Arc<[Kernel]>, EngineError> {
        self.dispatch.plan(rows, cols, tokens)
    }

    /// What each of some kernels of [`Engine::levels`] costs for matrices of so many columns: nanoseconds for 256 weights and all
    /// tokens where a tuned profile has them all, else static cycles for the same.
    pub fn costs(&self, kernels: &[Kernel], cols: usize) -> Vec<f64> {
        self.dispatch.costs(kernels, cols)
    }

    /// Whether the tuned profile in force knows what the kernel's operation costs for matrices of so many columns.
    pub fn is_tuned(&self, kernel: &Kernel, cols: usize) -> bool {
        self.dispatch.is_tuned(kernel, cols)
    }

    /// How much of the weights is worked on at a time.
    pub fn blocks(&self) -> Blocks {
        self.dispatch.blocks()
    }

    /// How the output head's kernels go through memory.
    pub fn head_walk(&self) -> Walk {
        self.dispatch.head_walk()
    }

    /// The numbers of tokens that kernels take at once, ascending; a batch is divided among them at the least cost.
    pub fn token_counts(&self) -> Vec<usize> {
        self.dispatch.token_counts()
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
        let product = self.product(weights, x, y)?;
        if product.is_worth_sharing() {
            self.region(|team| run_all(team, &[product]))
        } else {
            run_all(&Team::solo(), &[product])
        }
    }

    /// The same, yet to be computed.
    pub(crate) fn product<'a>(
        &'a self,
        weights: &'a PackedTernaryWeights,
        x: &'a QuantizedActivations,
        y: &'a mut [f32],
    ) -> Result<Product<'a>, EngineError> {
        self.dispatch.product(weights, x, y)
    }

    /// The same without a place for the results: to be joined with another.
    pub(crate) fn unkept_product<'a>(
        &'a self,
        weights: &'a PackedTernaryWeights,
        x: &'a QuantizedActivations,
    ) -> Result<Product<'a>, EngineError> {
        self.dispatch.unkept_product(weights, x)
    }

    /// Runs `leader` on one of the engine's threads, with all of them as its team: see [`crate::team`]. Callers on several
    /// threads take turns. On one of the engine's own threads, and where there is one only, the leader is alone.
    ///
    /// # Panics
    /// When `leader` does.
    pub fn region<R: Send>(&self, leader: impl FnOnce(&Team<'_>) -> R + Send) -> R {
        self.threads.region(leader)
    }

    /// Compares every kernel that may be used for a matrix with the portable one, on its first and last rows and on
    /// activations that run through all of int8. One that disagrees is not used again: see [`Engine::faults`].
    pub fn check(&self, weights: &PackedTernaryWeights) {
        self.check_all(std::slice::from_ref(weights));
    }

    /// [`Engine::check`] for many matrices, on all threads.
    pub(crate) fn check_all(&self, matrices: &[PackedTernaryWeights]) {
        let mut acts = HashMap::new();
        for cols in matrices.iter().map(PackedTernaryWeights::cols) {
            acts.entry(cols).or_insert_with(|| self.dispatch.trial_activations(cols));
        }
        let check = |weights: &PackedTernaryWeights| self.dispatch.check(weights, &acts[&weights.cols()]);
        self.pool().install(|| matrices.par_iter().for_each(check));
    }

    /// What this CPU says it has and does not do, as far as trials have found: kernels and instruction sets that are
    /// not used. Worth a warning; the results are right without them.
    pub fn faults(&self) -> Vec<Fault> {
        self.dispatch.faults()
    }
}
