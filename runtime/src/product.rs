//! Matrix products under way: the kernels that they take, and the row tiles that the members of a team share.

mod stack;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::engine::EngineError;
use crate::expanded::Expanded;
use crate::interleaved::{Interleaved, Vectors};
use crate::kernels::abi::{ATOM_BYTES, ATOM_COLS, Descriptor, Kernel, KernelError, Problem, TILE_ROWS};
use crate::numerics::Numerics;
use crate::numerics::quantize::QuantizedActivations;
use crate::os::Line;
use crate::packed::{PackedTernaryWeights, Scales};
use crate::room::Room;
use crate::shares::{self, Blocks, SharedRows, Shares};
use crate::spare::Spare;
use crate::team::Team;
use stack::Stack;

/// Cycles of a kernel, by its static cost, below which handing work to other threads costs more than it saves: some two
/// microseconds.
const MIN_SHARED_CYCLES: f64 = 8000.0;

/// Pieces that a thread takes on average, where that is not for its cache to say: enough that nobody waits long for the
/// last.
const PIECES_EACH: usize = 4;

/// Parts of a piece that are handed out one by one at the end: smaller ones would read activations too often.
const LAST_PIECES: usize = 3;

/// Bytes of weights of such a part at most: a large second-level cache is no reason to wait.
const LAST_BYTES: usize = 64 << 10;

/// y = W x for a batch of tokens.
pub(crate) struct Product<'a> {
    /// Kernels that together take all tokens, each its share in turn.
    plan: Arc<[Kernel]>,
    blocks: Blocks,
    numerics: Numerics,
    weights: &'a PackedTernaryWeights,
    x: &'a QuantizedActivations,
    /// The activations for those kernels that want them so, made when the product is computed.
    interleaved: OnceLock<Arc<Interleaved>>,
    memory: &'a Memory,
    y: SharedRows<'a>,
    /// A result that is not finite was seen: scales may be damaged, though the integers are exact.
    not_finite: AtomicBool,
}

/// What is done with the results of one token for the rows of some tiles of two products: the first's are changed.
pub(crate) type Join<'f> = &'f (dyn Fn(&mut [f32], &[f32]) + Sync);

impl<'a> Product<'a> {
    /// A product of operands that belong together, whose results are not kept: one to be joined with another.
    pub fn unkept(
        plan: Arc<[Kernel]>,
        blocks: Blocks,
        numerics: Numerics,
        memory: &'a Memory,
        weights: &'a PackedTernaryWeights,
        x: &'a QuantizedActivations,
    ) -> Self {
        let y = SharedRows::new(&mut [], weights.rows());
        let (interleaved, not_finite) = (OnceLock::new(), AtomicBool::new(false));
        Product { plan, blocks, numerics, weights, x, interleaved, memory, y, not_finite }
    }

    /// The same with a place for the results, `[tokens][rows]`.
    pub fn into(self, y: &'a mut [f32]) -> Self {
        Product { y: SharedRows::new(y, self.weights.rows()), ..self }
    }

    /// Whether all results that have been computed are finite.
    pub fn is_finite(&self) -> bool {
        !self.not_finite.load(Ordering::Relaxed)
    }

    /// Whether the product is large enough for several threads.
    pub fn is_worth_sharing(&self) -> bool {
        is_worth_sharing(self.cycles())
    }

    fn tiles(&self) -> usize {
        self.weights.rows().div_ceil(TILE_ROWS)
    }

    /// Bytes of the weights of a tile.
    fn tile_bytes(&self) -> usize {
        self.weights.cols().div_ceil(ATOM_COLS) * ATOM_BYTES
    }

    /// What the kernels take for all of it, by their static cost.
    fn cycles(&self) -> f64 {
        let weights = self.weights.rows() as f64 * self.weights.cols() as f64;
        let kernels = self.plan.iter().map(|kernel| kernel.descriptor().cycles_per_256_weights);
        weights / 256.0 * kernels.sum::<f64>()
    }

    /// The calls that want activations interleaved.
    fn interleaved_calls(&self) -> impl Iterator<Item = Vectors> {
        calls(&self.plan).filter_map(|(first, kernel)| Vectors::of(kernel, first))
    }

    /// The calls that some tiles take: first token, kernel, and the part of the tiles.
    fn steps(&self, tiles: &Range<usize>) -> impl Iterator<Item = (usize, &Kernel, Range<usize>)> {
        let tiles = tiles.clone();
        calls(&self.plan).flat_map(move |(token, kernel)| {
            let descriptor = kernel.descriptor();
            let parts = shares::parts(tiles.clone(), descriptor.tokens, descriptor.streams);
            parts.map(move |part| (token, kernel, part))
        })
    }

    /// The matrix, for kernels.
    fn matrix(&self) -> Matrix<'a> {
        Matrix { rows: self.weights.rows(), weights: self.weights.data() }
    }

    /// The integer products of the rows of some tiles, of the product's matrix or of one that it is part of, with the tokens that
    /// a kernel takes from one on.
    fn sums<'s>(
        &self,
        matrix: Matrix<'_>,
        kernel: &Kernel,
        token: usize,
        tiles: &Range<usize>,
        ProductScratch { codes, first_tile, sums }: &'s mut ProductScratch,
    ) -> Result<&'s [i32], KernelError> {
        let (covered, taken) = (matrix.covered(tiles), kernel.descriptor().tokens);
        if sums.len() < covered * taken {
            sums.resize(covered * taken, 0);
        }
        let sums = &mut sums[..covered * taken];
        let made = self.interleaved.get().zip(Vectors::of(kernel, token));
        let interleaved = made.and_then(|(made, vectors)| made.of(vectors));
        // Those of these tiles are there where the plan has a kernel that looks at them.
        let before = (tiles.start - *first_tile) * kernel.descriptor().tile_bytes(self.weights.cols());
        let expanded = codes.codes().get(before..);
        let problem = Problem { interleaved, expanded, ..self.problem(matrix, token..token + taken) };
        kernel.run(&problem, tiles.clone(), sums, covered)?;
        Ok(sums)
    }

    /// The operands of the products of a matrix with some tokens.
    fn problem<'p>(&'p self, Matrix { rows, weights }: Matrix<'p>, tokens: Range<usize>) -> Problem<'p> {
        let stride = self.x.stride();
        Problem {
            rows,
            cols: self.weights.cols(),
            weights,
            acts: &self.x.data()[tokens.start * stride..tokens.end * stride],
            act_stride: stride,
            act_sums: &self.x.sums()[tokens],
            interleaved: None,
            expanded: None,
        }
    }

    /// Brings the codes of some tiles apart, once for all calls, if the product's kernels want them so.
    fn expand(
        &self,
        matrix: Matrix<'_>,
        tiles: &Range<usize>,
        ProductScratch { codes, first_tile, .. }: &mut ProductScratch,
    ) {
        *first_tile = tiles.start;
        let fields = self.plan.iter().find_map(|kernel| kernel.descriptor().expanded);
        let tile_bytes = self.tile_bytes();
        let packed = &matrix.weights[tiles.start * tile_bytes..tiles.end * tile_bytes];
        codes.make(&self.numerics, fields, packed);
    }

    /// The results of one token for the rows of some tiles, from their integer products.
    fn scale(&self, token: usize, tiles: &Range<usize>, sums: &[i32], y: &mut [f32]) {
        let inverse = 1.0 / self.x.scales()[token];
        let finite = match self.weights.scales() {
            Scales::PerTensor(scale) => self.numerics.scale_by_tensor(sums, *scale, inverse, y),
            Scales::PerRow(scales) => {
                let scales = &scales[tiles.start * TILE_ROWS..][..sums.len()];
                self.numerics.scale_by_row(sums, scales, inverse, y)
            }
        };
        if !finite {
            self.not_finite.store(true, Ordering::Relaxed);
        }
    }
}

/// A packed matrix, as kernels take it.
#[derive(Debug, Clone, Copy)]
struct Matrix<'a> {
    /// Rows M.
    rows: usize,
    weights: &'a [u8],
}

impl Matrix<'_> {
    /// The rows of some tiles.
    fn covered(&self, tiles: &Range<usize>) -> usize {
        (tiles.end * TILE_ROWS).min(self.rows) - tiles.start * TILE_ROWS
    }
}

/// The first token of each call of a plan's kernels, and the kernel.
fn calls(plan: &[Kernel]) -> impl Iterator<Item = (usize, &Kernel)> {
    plan.iter().scan(0, |next, kernel| {
        let first = *next;
        *next += kernel.descriptor().tokens;
        Some((first, kernel))
    })
}

/// Working memory that serves product after product.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    interleaved: Arc<Spare<Room<Line>>>,
    scratch: Spare<Scratch>,
}

/// Working memory of a member.
#[derive(Debug, Default)]
struct Scratch {
    own: ProductScratch,
    /// That of a product that is joined with another.
    other: ProductScratch,
    /// The results of one token of that product.
    results: Vec<f32>,
}

/// Working memory for one product.
#[derive(Debug, Default)]
struct ProductScratch {
    /// The codes of the tiles at hand, for the kernels that want them expanded.
    codes: Expanded,
    /// The first of them.
    first_tile: usize,
    /// Integer products of a kernel's call.
    sums: Vec<i32>,
}

/// Computes products of the same activations in one parallel step, as if their matrices stood one below the other.
///
/// # Errors
/// [`EngineError::Kernel`] where a kernel refuses its operands.
pub(crate) fn run_all(team: &Team<'_>, products: &[Product<'_>]) -> Result<(), EngineError> {
    interleave_all(team, products);
    let stacks: Vec<Stack<'_, '_>> = Stack::all(products).collect();
    let parts = || stacks.iter().map(|stack| (stack, stack.tiles()));
    let work = products.iter().map(Product::cycles).sum();
    let tiles = parts().map(|(_, tiles)| tiles).sum();
    share_tiles(team, products, (tiles, 1), work, |tiles, scratch| {
        let mut own = shares::by_part(tiles, parts());
        own.try_for_each(|(stack, _, tiles)| stack.tile_rows(&tiles, &mut scratch.own))
    })
}

/// Computes two products of matrices of the same shape with the same activations in one parallel step, some rows of the first,
/// the same ones of the second, and joins them while they are at hand: the second's own results are not kept.
///
/// # Errors
/// [`EngineError::Kernel`] where a kernel refuses its operands.
///
/// # Panics
/// When the shapes or the activations differ.
pub(crate) fn run_joined(
    team: &Team<'_>,
    first: &Product<'_>,
    second: &Product<'_>,
    join: Join<'_>,
) -> Result<(), EngineError> {
    let shape = |product: &Product<'_>| (product.weights.rows(), product.weights.cols());
    assert_eq!(shape(first), shape(second), "results that are joined one by one");
    assert!(std::ptr::eq(first.x, second.x), "both of the same tokens");
    interleave_all(team, std::slice::from_ref(first));
    let work = 2.0 * first.cycles();
    share_tiles(team, std::slice::from_ref(first), (first.tiles(), 2), work, |tiles, scratch| {
        let Scratch { own, other, results } = scratch;
        // By the same kernels: what serves one of them serves the other.
        let (matrix, other_matrix) = (first.matrix(), second.matrix());
        first.expand(matrix, &tiles, own);
        first.expand(other_matrix, &tiles, other);
        for (token, kernel, part) in first.steps(&tiles) {
            let covered = matrix.covered(&part);
            results.resize(covered, 0.0);
            let tokens = token..token + kernel.descriptor().tokens;
            first.y.will_write(&tokens, &part);
            let sums = first.sums(matrix, kernel, token, &part, own)?.chunks_exact(covered);
            let other_sums = first.sums(other_matrix, kernel, token, &part, other)?.chunks_exact(covered);
            // SAFETY: the tiles were handed out to this call alone, and one token's slice is gone before the next.
            let all = unsafe { first.y.each(tokens, &part) };
            for ((t, y), (sums, other_sums)) in all.zip(sums.zip(other_sums)) {
                first.scale(t, &part, sums, y);
                second.scale(t, &part, other_sums, results);
                join(y, results);
            }
        }
        Ok(())
    })
}

/// Interleaves the activations of products for those kernels that want them so, once where several have the same.
fn interleave_all(team: &Team<'_>, products: &[Product<'_>]) {
    for (index, product) in products.iter().enumerate() {
        let mut calls = product.interleaved_calls().peekable();
        if calls.peek().is_none() {
            continue;
        }
        let is_same = |other: &&Product<'_>| {
            std::ptr::eq(other.x, product.x) && other.interleaved_calls().eq(product.interleaved_calls())
        };
        let known = products[..index].iter().find(is_same).and_then(|other| other.interleaved.get());
        let x = product.x;
        let made = known.cloned().unwrap_or_else(|| {
            Arc::new(Interleaved::new(
                team,
                &product.memory.interleaved,
                x.data(),
                x.stride(),
                x.cols(),
                calls,
            ))
        });
        // Nobody else has set it: a product is computed once, by one caller.
        let _ = product.interleaved.set(made);
    }
}

fn is_worth_sharing(cycles: f64) -> bool {
    cycles >= MIN_SHARED_CYCLES
}

/// Shares tiles out over the team, `each(tiles, scratch)` for some at a time. The products say how large tiles are, of so many
/// matrices beside each other.
fn share_tiles(
    team: &Team<'_>,
    products: &[Product<'_>],
    (tiles, beside): (usize, usize),
    work: f64,
    each: impl Fn(Range<usize>, &mut Scratch) -> Result<(), KernelError> + Sync,
) -> Result<(), EngineError> {
    let tile_bytes = products.iter().map(Product::tile_bytes).max().unwrap_or(1);
    let parts = if is_worth_sharing(work) { team.size().clamp(1, tiles.max(1)) } else { 1 };
    let most = |of: fn(&Descriptor) -> usize| {
        let kernels = products.iter().flat_map(|product| product.plan.iter());
        kernels.map(|kernel| of(kernel.descriptor())).max().unwrap_or(1)
    };
    let (tokens, streams) = (most(|kernel| kernel.tokens), most(|kernel| kernel.streams));
    // One kernel for all tokens reads the weights once.
    let once = products.iter().all(|product| product.plan.len() == 1);
    let blocks = products.first().map_or_else(Blocks::default, |product| product.blocks);
    let shares = if once {
        Shares::streamed(blocks, tiles, tile_bytes, (tokens, streams), parts)
    } else {
        let strides = products.iter().map(|product| product.x.stride());
        let call_bytes = tokens * strides.max().unwrap_or(0);
        let read = |product: &Product<'_>| {
            let bytes =
                product.plan.iter().map(|kernel| kernel.descriptor().tile_bytes(product.weights.cols()));
            bytes.max()
        };
        let tile_bytes = beside * products.iter().filter_map(read).max().unwrap_or(1);
        let each = if parts == 1 { tiles } else { (tiles / (PIECES_EACH * parts)).max(1) };
        let chunk = blocks.chunk(tile_bytes, streams, call_bytes).min(each.next_multiple_of(streams));
        match parts {
            1 => Shares::new(tiles, 1, chunk),
            // Smaller ones at the end, so that nobody waits long for the last.
            _ => {
                let least = chunk.div_ceil(LAST_PIECES).min(LAST_BYTES / tile_bytes);
                Shares::dwindling(tiles, parts, streams, least, chunk)
            }
        }
    };
    let refusal = Mutex::new(None);
    let memory = products.first().map(|product| product.memory);
    let member = |part: usize| {
        let mut scratch = memory.map(|memory| memory.scratch.take()).unwrap_or_default();
        while let Some(tiles) = shares.claim(part) {
            if let Err(error) = each(tiles, &mut scratch) {
                *refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                break;
            }
        }
        if let Some(memory) = memory {
            memory.scratch.put(scratch);
        }
    };
    if parts == 1 {
        member(0);
    } else {
        team.run(|index| {
            if index < parts {
                member(index);
            }
        });
    }
    let refusal = refusal.into_inner().unwrap_or_else(PoisonError::into_inner);
    refusal.map_or(Ok(()), |error| Err(error.into()))
}
