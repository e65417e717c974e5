//! The choice of kernels.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, RwLock};

use crate::cpu;
use crate::engine::EngineError;
use crate::fault::{Fault, Finding};
use crate::head::Walk;
use crate::kernels::abi::{self, IsaInfo, Kernel, KernelError, TILE_ROWS};
use crate::kernels::{DESCRIPTORS, ISAS};
use crate::numerics::Numerics;
use crate::numerics::quantize::QuantizedActivations;
use crate::packed::PackedTernaryWeights;
use crate::product::{Memory, Product};
use crate::shares::Blocks;
use crate::trial::{Activations, try_level};
use crate::tuned::{self, Choice};

/// Kernels for a product, by rows, columns and tokens.
type Plans = HashMap<(usize, usize, usize), Arc<[Kernel]>>;

/// Tokens that kernels for expanded weights take of a batch from which on it pays to expand them: that costs about as much as
/// ten of these tokens, each of which is a sixth faster.
pub(crate) const EXPANDED_FROM: usize = 48;

/// Plans that are kept at most; more numbers of tokens than that are no model's daily work.
const PLANS_KEPT: usize = 1 << 10;

/// The kernels that may be used: those of one instruction set and of all that rank below it on this CPU.
#[derive(Debug)]
pub(crate) struct Dispatch {
    isa: &'static IsaInfo,
    /// Whether `isa` was asked for: its kernels are then used whatever they cost.
    asked_for: bool,
    /// In descending rank; of each instruction set the kernels of fixed shapes first, then those of the schedule table.
    candidates: Vec<Candidate>,
    /// What the tuned profile in force says of them.
    tuned: Choice,
    blocks: Blocks,
    head_walk: Walk,
    numerics: Numerics,
    memory: Memory,
    faults: Mutex<Vec<Fault>>,
    /// Plans made so far, by rows, columns and tokens: decode asks for the same few many times a token.
    plans: RwLock<Plans>,
}

/// A kernel that this CPU can run.
#[derive(Debug)]
struct Candidate {
    kernel: Kernel,
    /// Found to return wrong sums.
    broken: AtomicBool,
}

impl Candidate {
    fn works(&self) -> bool {
        !self.broken.load(Ordering::Relaxed)
    }
}

impl Dispatch {
    /// What `TRITFORGE_ISA` asks for, else all that this CPU has.
    ///
    /// # Errors
    /// [`EngineError::Cpu`] where the variable names what cannot be had, [`EngineError::Profile`] as [`tuned::in_force`].
    pub fn select() -> Result<Self, EngineError> {
        match cpu::asked_for()? {
            Some(isa) => Self::asked_for(isa),
            None => Self::tried(cpu::highest(), false),
        }
    }

    /// The kernels of an instruction set, and for what it has none those below it.
    ///
    /// # Errors
    /// [`EngineError::Cpu`] where the CPU lacks it, [`EngineError::Profile`] as [`tuned::in_force`].
    pub fn asked_for(isa: &'static IsaInfo) -> Result<Self, EngineError> {
        cpu::by_id(isa.id)?;
        Self::tried(isa, true)
    }

    fn tried(isa: &'static IsaInfo, asked_for: bool) -> Result<Self, EngineError> {
        // Of several levels that do not work, each is tried once a process.
        static TRIED: LazyLock<Mutex<HashMap<&'static str, Option<Fault>>>> = LazyLock::new(Mutex::default);
        let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = |level: &'static IsaInfo, kernels: &[Kernel]| {
            let numerics = Numerics::new(level).ok();
            let found = || try_level(level.id, kernels, numerics.as_ref());
            tried.entry(level.id).or_insert_with(found).clone()
        };
        let mut dispatch = Self::of(isa, asked_for, ISAS, DESCRIPTORS, fault);
        dispatch.numerics = Numerics::new(dispatch.isa)?;
        if let Some(followed) = &tuned::in_force()?.followed {
            dispatch.tuned = Choice::new(&followed.profile, DESCRIPTORS);
            dispatch.blocks = followed.blocks();
            dispatch.head_walk = followed.head_walk();
        }
        Ok(dispatch)
    }

    /// The same from any kernels: those of the levels up to `isa` in which `fault` finds nothing wrong. The numerics are
    /// the portable ones.
    fn of(
        isa: &'static IsaInfo,
        asked_for: bool,
        levels: &[&'static IsaInfo],
        descriptors: &'static [abi::Descriptor],
        mut fault: impl FnMut(&'static IsaInfo, &[Kernel]) -> Option<Fault>,
    ) -> Self {
        let (mut best, mut candidates, mut faults) = (isa, Vec::new(), Vec::new());
        // The portable kernels are what others are compared with.
        for level in levels.iter().copied().filter(|level| level.rank <= isa.rank && (level.available)()) {
            let of_level = |d: &&'static abi::Descriptor| d.isa.id == level.id;
            let kernels: Vec<Kernel> = descriptors.iter().filter(of_level).filter_map(Kernel::new).collect();
            if level.rank > 0
                && let Some(fault) = fault(level, &kernels)
            {
                faults.push(fault);
                continue;
            }
            best = level;
            candidates.extend(
                kernels.into_iter().map(|kernel| Candidate { kernel, broken: AtomicBool::new(false) }),
            );
        }
        candidates.sort_by_key(|Candidate { kernel, .. }| {
            let d = kernel.descriptor();
            (Reverse(d.isa.rank), d.shape.is_none(), !d.standard)
        });
        Dispatch {
            isa: best,
            asked_for: asked_for && best.id == isa.id,
            candidates,
            tuned: Choice::default(),
            blocks: Blocks::default(),
            head_walk: Walk::default(),
            numerics: Numerics::portable(),
            memory: Memory::default(),
            faults: Mutex::new(faults),
            plans: RwLock::default(),
        }
    }

    /// The highest instruction set in use.
    pub fn isa(&self) -> &'static IsaInfo {
        self.isa
    }

    /// The float parts, for the highest instruction set in use.
    pub fn numerics(&self) -> &Numerics {
        &self.numerics
    }

    /// How much of the weights is worked on at a time.
    pub fn blocks(&self) -> Blocks {
        self.blocks
    }

    /// How the output head's kernels go through memory.
    pub fn head_walk(&self) -> Walk {
        self.head_walk
    }

    /// What was found not to work.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One kernel of each instruction set for a matrix `[rows][cols]` and so many tokens at once, in descending rank: the
    /// one made for the shape, else the generic one that the tuned profile names, else that of the schedule table.
    pub fn levels(&self, rows: usize, cols: usize, tokens: usize) -> Vec<Kernel> {
        let serving = self.candidates.iter().filter(|candidate| {
            let d = candidate.kernel.descriptor();
            let shape = d.shape.is_none_or(|shape| shape == (rows, cols));
            let packed = d.expanded.is_none();
            d.tokens == tokens && shape && packed && cols <= d.k_max && candidate.works()
        });
        let mut levels: Vec<Kernel> = Vec::new();
        for kernel in serving.map(|candidate| candidate.kernel) {
            let d = kernel.descriptor();
            match levels.last_mut() {
                // The order of the candidates puts the first choice of each instruction set first, but for what is tuned.
                Some(last) if last.descriptor().isa.id == d.isa.id => {
                    if last.descriptor().shape.is_none() && self.tuned.is_best(d, cols) {
                        *last = kernel;
                    }
                }
                _ => levels.push(kernel),
            }
        }
        levels
    }

    /// What each of some kernels costs for matrices of so many columns: as measured, in nanoseconds, where the tuned profile
    /// knows of all of them, else the static cost, in cycles. The two are not compared with each other.
    pub fn costs(&self, kernels: &[Kernel], cols: usize) -> Vec<f64> {
        let measured: Option<Vec<f64>> =
            kernels.iter().map(|kernel| self.tuned.cost(kernel.descriptor(), cols)).collect();
        let fixed = |kernel: &Kernel| kernel.descriptor().cycles_per_256_weights;
        measured.unwrap_or_else(|| kernels.iter().map(fixed).collect())
    }

    /// Whether the tuned profile knows what the kernel's operation costs for matrices of so many columns.
    pub fn is_tuned(&self, kernel: &Kernel, cols: usize) -> bool {
        self.tuned.cost(kernel.descriptor(), cols).is_some()
    }

    /// The kernel for a matrix `[rows][cols]` and so many tokens at once: of the instruction set that was asked for, else
    /// of that on which the operation costs least. `None` where no kernel takes that number of tokens.
    pub fn kernel(&self, rows: usize, cols: usize, tokens: usize) -> Option<Kernel> {
        let levels = self.levels(rows, cols, tokens);
        let highest = levels.first().copied();
        let asked_for = highest.filter(|kernel| self.asked_for && kernel.descriptor().isa.id == self.isa.id);
        let least = || {
            let costs = self.costs(&levels, cols);
            // Of equal ones the first counts, that of the highest rank.
            let least = (0..levels.len()).min_by(|&a, &b| costs[a].total_cmp(&costs[b]))?;
            Some(levels[least])
        };
        asked_for.or_else(least)
    }

    /// The numbers of tokens that kernels take at once, ascending.
    pub fn token_counts(&self) -> Vec<usize> {
        let mut counts: Vec<usize> = self.candidates.iter().map(|c| c.kernel.descriptor().tokens).collect();
        counts.sort_unstable();
        counts.dedup();
        counts
    }

    /// Kernels that together take `tokens` tokens, each its share in turn, at the least cost.
    pub fn plan(&self, rows: usize, cols: usize, tokens: usize) -> Result<Arc<[Kernel]>, EngineError> {
        let key = (rows, cols, tokens);
        if let Some(plan) = self.plans.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(plan));
        }
        // Made under the lock, so that no plan outlives a kernel that is found wrong meanwhile.
        let mut plans = self.plans.write().unwrap_or_else(PoisonError::into_inner);
        let plan: Arc<[Kernel]> = self.make_plan(rows, cols, tokens)?.into();
        if plans.len() >= PLANS_KEPT {
            plans.clear();
        }
        plans.insert(key, Arc::clone(&plan));
        Ok(plan)
    }

    fn make_plan(&self, rows: usize, cols: usize, tokens: usize) -> Result<Vec<Kernel>, EngineError> {
        let too_wide = || {
            let k_max = self.candidates.iter().map(|c| c.kernel.descriptor().k_max).max().unwrap_or(0);
            KernelError::TooManyColumns { kernel: "every kernel", cols, k_max }
        };
        let kernels: Vec<Kernel> =
            self.token_counts().into_iter().filter_map(|n| self.kernel(rows, cols, n)).collect();
        // What is measured is compared with nothing else: a profile that was made before an operation came does without it.
        let measured: Vec<Kernel> =
            kernels.iter().copied().filter(|kernel| self.is_tuned(kernel, cols)).collect();
        let one = |kernel: &Kernel| kernel.descriptor().tokens == 1;
        let kernels = if measured.iter().any(one) { measured } else { kernels };
        let costs = self.costs(&kernels, cols);
        // From expanded weights a kernel costs as much less as it does by the cost model.
        let expanded: Vec<Option<Kernel>> =
            kernels.iter().map(|kernel| self.expanded(kernel, cols)).collect();
        let less = |index: usize| {
            let cycles = |kernel: &Kernel| kernel.descriptor().cycles_per_256_weights;
            let ratio = expanded[index].as_ref().map_or(1.0, |one| cycles(one) / cycles(&kernels[index]));
            costs[index] * ratio
        };
        let costs_of_many: Vec<f64> = (0..kernels.len()).map(less).collect();
        let mut plan = least_plan(&kernels, &costs_of_many, tokens).ok_or_else(too_wide)?;
        let with_twin = plan.iter().filter(|index| expanded[**index].is_some());
        let is_worthwhile =
            with_twin.map(|index| kernels[*index].descriptor().tokens).sum::<usize>() >= EXPANDED_FROM;
        if !is_worthwhile {
            plan = least_plan(&kernels, &costs, tokens).ok_or_else(too_wide)?;
        }
        // The first kernel reads weights from memory, the others find them in the cache: so the one that has most to do with
        // each goes first, and waits least.
        plan.sort_by_key(|&index| Reverse(kernels[index].descriptor().tokens));
        let kernel = |index: usize| match expanded[index] {
            Some(expanded) if is_worthwhile => expanded,
            _ => kernels[index],
        };
        Ok(plan.iter().map(|&index| kernel(index)).collect())
    }

    /// The kernel that does a kernel's work from expanded weights, if there is one.
    pub fn expanded(&self, kernel: &Kernel, cols: usize) -> Option<Kernel> {
        let of = kernel.descriptor();
        let is_it = |candidate: &&Candidate| {
            let d = candidate.kernel.descriptor();
            let same = (d.isa.id, d.tokens, d.layout) == (of.isa.id, of.tokens, of.layout);
            same && d.expanded.is_some() && cols <= d.k_max && candidate.works()
        };
        self.candidates.iter().find(is_it).map(|candidate| candidate.kernel)
    }

    /// y = W x for every token of `x`: see [`Product`].
    ///
    /// # Errors
    /// [`EngineError`] for operands whose lengths do not belong together.
    pub fn product<'a>(
        &'a self,
        weights: &'a PackedTernaryWeights,
        x: &'a QuantizedActivations,
        y: &'a mut [f32],
    ) -> Result<Product<'a>, EngineError> {
        let product = self.unkept_product(weights, x)?;
        let expected = x.tokens() * weights.rows();
        if y.len() != expected {
            return Err(EngineError::Output { found: y.len(), expected });
        }
        Ok(product.into(y))
    }

    /// The same, without a place for the results: to be joined with another.
    ///
    /// # Errors
    /// As [`Dispatch::product`].
    pub fn unkept_product<'a>(
        &'a self,
        weights: &'a PackedTernaryWeights,
        x: &'a QuantizedActivations,
    ) -> Result<Product<'a>, EngineError> {
        let (rows, cols, tokens) = (weights.rows(), weights.cols(), x.tokens());
        if x.cols() != cols {
            return Err(EngineError::Activations { found: x.cols(), expected: cols });
        }
        let plan = self.plan(rows, cols, tokens)?;
        Ok(Product::unkept(plan, self.blocks, self.numerics, &self.memory, weights, x))
    }

    /// Activations of so many values for [`Dispatch::check`], which many matrices can share.
    pub fn trial_activations(&self, cols: usize) -> Activations {
        Activations::new(self.token_counts().last().copied().unwrap_or(1), cols)
    }

    /// Compares every kernel that may be used for a matrix with the portable one, on the first and the last tile and
    /// activations that run through all of int8 ([`Dispatch::trial_activations`]). One that disagrees is not used again,
    /// and reported by [`Dispatch::faults`].
    pub fn check(&self, weights: &PackedTernaryWeights, acts: &Activations) {
        let (rows, cols) = (weights.rows(), weights.cols());
        let last = rows.div_ceil(TILE_ROWS) - 1;
        let counts = self.token_counts();
        let most = counts.last().copied().unwrap_or(1);
        let Some(portable) = self.portable(rows, cols, most) else { return };
        for tile in if last == 0 { vec![0] } else { vec![0, last] } {
            let products = |kernel: &Kernel, tokens| exact_products(kernel, weights, acts, tokens, tile);
            let expected = products(&portable, most);
            for tokens in &counts {
                // When one is found wrong, the next best takes its place and its trial.
                while let Some(kernel) = self.kernel(rows, cols, *tokens)
                    && products(&kernel, *tokens)[..] != expected[..*tokens]
                {
                    self.disable(kernel);
                }
                let expanded =
                    self.kernel(rows, cols, *tokens).and_then(|kernel| self.expanded(&kernel, cols));
                if let Some(kernel) = expanded
                    && products(&kernel, *tokens)[..] != expected[..*tokens]
                {
                    self.disable(kernel);
                }
            }
        }
    }

    /// The portable kernel that takes the most tokens at once of those by which `tokens` can be divided: from one
    /// unpacking of the weights it gets the furthest.
    fn portable(&self, rows: usize, cols: usize, tokens: usize) -> Option<Kernel> {
        let portable =
            |n| self.levels(rows, cols, n).into_iter().find(|kernel| kernel.descriptor().isa.rank == 0);
        self.token_counts().into_iter().rev().filter(|n| tokens.is_multiple_of(*n)).find_map(portable)
    }

    fn disable(&self, kernel: Kernel) {
        let subject = kernel.descriptor().name;
        let same = |candidate: &&Candidate| candidate.kernel.descriptor().name == subject;
        // Another thread may have found it out before.
        if self.candidates.iter().find(same).is_some_and(|c| !c.broken.swap(true, Ordering::Relaxed)) {
            let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
            faults.push(Fault { subject, finding: Finding::Wrong });
            self.plans.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

/// Indices of kernels that together take so many tokens at the least cost; `None` where they cannot.
fn least_plan(kernels: &[Kernel], costs: &[f64], tokens: usize) -> Option<Vec<usize>> {
    // The least cost of the first n tokens, and the kernel that takes the last of them.
    let mut least: Vec<Option<(f64, usize)>> = vec![None; tokens + 1];
    for n in 1..=tokens {
        for (index, (kernel, own)) in kernels.iter().zip(costs).enumerate() {
            let before = match n.checked_sub(kernel.descriptor().tokens) {
                Some(0) => Some(0.0),
                Some(before) => least[before].map(|(cost, _)| cost),
                None => None,
            };
            let Some(cost) = before.map(|cost| cost + own) else { continue };
            if least[n].is_none_or(|(best, _)| cost < best) {
                least[n] = Some((cost, index));
            }
        }
    }
    let (mut plan, mut left) = (Vec::new(), tokens);
    while left > 0 {
        let (_, index) = least[left]?;
        plan.push(index);
        left -= kernels[index].descriptor().tokens;
    }
    Some(plan)
}

/// The exact products of the first `tokens` activation vectors with the rows of one tile, vector by vector; none where
/// the kernel refuses them.
fn exact_products(
    kernel: &Kernel,
    weights: &PackedTernaryWeights,
    acts: &Activations,
    tokens: usize,
    tile: usize,
) -> Vec<Vec<i32>> {
    let covered = (weights.rows() - tile * TILE_ROWS).min(TILE_ROWS);
    let at_once = kernel.descriptor().tokens;
    let mut all = Vec::new();
    for token in (0..tokens).step_by(at_once) {
        let mut sums = vec![0; covered * at_once];
        let problem = acts.problem(weights.data(), weights.rows(), token);
        if kernel.run(&problem, tile..tile + 1, &mut sums, covered).is_err() {
            return Vec::new();
        }
        all.extend(sums.chunks_exact(covered).map(<[i32]>::to_vec));
    }
    all
}

#[cfg(test)]
mod tests;
