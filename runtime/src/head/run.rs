//! The logits of some hidden states, on all threads.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::activations::{Activations, Arrangement, AtOnce};
use super::blocks::{self, Token};
use super::kernels::{BlockKernels, FloatKernels};
use super::on_tiles;
use super::schedule::{Turn, Walk};
use super::{Head, Weights, floats};
use crate::engine::{Engine, EngineError};
use crate::format::{FloatType, StorageType, VocabMatrix};
use crate::lanes::{LANES, PAIR};
use crate::numerics::Numerics;
use crate::shares::{self, SharedRows, Shares};
use crate::team::Team;

/// Multiply-adds below which handing work to other threads costs more than it saves.
const MIN_SHARED_PRODUCTS: usize = 1 << 16;

/// Weights that all tokens are multiplied with before the next are read: they stay in the second-level cache.
const CHUNK_BYTES: usize = 64 << 10;

/// Pieces that a thread takes on average, where there are few: enough that nobody waits long for the last.
const PIECES_EACH: usize = 4;

/// Working memory of [`Head`], kept for the next call.
#[derive(Debug, Default)]
pub(crate) struct Scratch(Activations);

/// Some tokens, and their turn with the weights.
type Batch = (Range<usize>, Turn);

/// What multiplies tiles with tokens.
trait Multiply: Sync {
    /// Bytes that a tile takes while it is worked on.
    fn tile_bytes(&self) -> usize;

    /// The weights of some tiles, read once for all tokens.
    fn weights(&self, tiles: &Range<usize>) -> Cow<'_, [u8]>;

    /// How many tokens are taken at once.
    fn at_once(&self) -> AtOnce;

    /// Tiles that are worked on in turn, where all tokens are taken at once.
    fn streams(&self) -> usize;

    /// Sets `out` to the results of each of these tokens, a batch, for the rows of the tiles, those past the last row included
    /// or not; asks for its turn's share of what lies behind them.
    fn run(&self, tiles: &Range<usize>, weights: &[u8], batch: Batch, out: &mut Vec<f32>);
}

/// Rows as they are stored.
struct Rows<'a> {
    matrix: &'a VocabMatrix,
    bytes: &'a [u8],
    kernel: unsafe fn(floats::Call<'_>),
    at_once: AtOnce,
    walk: Walk,
    tokens: Vec<&'a [f32]>,
}

impl Rows<'_> {
    fn of(&self, tiles: &Range<usize>) -> Range<usize> {
        tiles.start * LANES..(tiles.end * LANES).min(self.matrix.rows())
    }

    fn row_bytes(&self) -> usize {
        self.bytes.len() / self.matrix.rows()
    }
}

impl Multiply for Rows<'_> {
    fn tile_bytes(&self) -> usize {
        match self.matrix.storage() {
            StorageType::Float(_) => LANES * self.row_bytes(),
            StorageType::Blocks(_) => LANES * 4 * self.matrix.cols(),
        }
    }

    fn weights(&self, tiles: &Range<usize>) -> Cow<'_, [u8]> {
        let rows = self.of(tiles);
        match self.matrix {
            VocabMatrix::Float(_) => {
                let bytes = self.row_bytes();
                Cow::Borrowed(&self.bytes[rows.start * bytes..rows.end * bytes])
            }
            VocabMatrix::Blocks(tensor) => {
                let mut row = vec![0.0f32; tensor.cols()];
                let mut bytes = Vec::with_capacity(rows.len() * 4 * tensor.cols());
                for index in rows {
                    tensor.row_to_f32(index, &mut row);
                    bytes.extend(row.iter().flat_map(|value| value.to_le_bytes()));
                }
                Cow::Owned(bytes)
            }
        }
    }

    fn at_once(&self) -> AtOnce {
        self.at_once
    }

    fn streams(&self) -> usize {
        self.walk.streams()
    }

    fn run(&self, tiles: &Range<usize>, weights: &[u8], (tokens, turn): Batch, out: &mut Vec<f32>) {
        out.resize(tokens.len() * self.of(tiles).len(), 0.0);
        let (cols, tokens, walk) = (self.matrix.cols(), &self.tokens[tokens], self.walk);
        let call = floats::Call { rows: weights, cols, tokens, walk, turn, out };
        // SAFETY: the kernel is that of an instruction set that the CPU has.
        unsafe { (self.kernel)(call) }
    }
}

/// Packed tiles.
struct Tiles<'a> {
    tiles: &'a [u8],
    scales: &'a [f32],
    parts: usize,
    tile_bytes: usize,
    kernel: unsafe fn(blocks::Call<'_>),
    arrangement: Arrangement,
    walk: Walk,
    activations: &'a Activations,
    tokens: Vec<Token<'a>>,
}

impl Multiply for Tiles<'_> {
    fn tile_bytes(&self) -> usize {
        self.tile_bytes
    }

    fn weights(&self, tiles: &Range<usize>) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.tiles[tiles.start * self.tile_bytes..tiles.end * self.tile_bytes])
    }

    fn at_once(&self) -> AtOnce {
        self.arrangement.at_once()
    }

    fn streams(&self) -> usize {
        match self.arrangement {
            Arrangement::Interleaved { .. } => self.walk.streams(),
            Arrangement::Tiles => PAIR,
        }
    }

    fn run(&self, tiles: &Range<usize>, weights: &[u8], (tokens, turn): Batch, out: &mut Vec<f32>) {
        out.resize(tokens.len() * tiles.len() * LANES, 0.0);
        let scales = match self.scales {
            [] => &[],
            scales => &scales[tiles.start * LANES..tiles.end * LANES],
        };
        let words = self.activations.words(tokens.clone());
        let (parts, tokens, walk) = (self.parts, &self.tokens[tokens], self.walk);
        let call = blocks::Call { tiles: weights, scales, parts, words, tokens, walk, turn, out };
        // SAFETY: the kernel is that of an instruction set that the CPU has.
        unsafe { (self.kernel)(call) }
    }
}

impl Head {
    /// The logits of some hidden states: `hidden` is `[tokens][cols]`, `logits` `[tokens][rows]`.
    ///
    /// # Errors
    /// [`EngineError`] for operands whose lengths do not belong together, or a state that is not finite.
    pub fn logits(&self, engine: &Engine, hidden: &[f32], logits: &mut [f32]) -> Result<(), EngineError> {
        self.check_operands(hidden, logits)?;
        engine.region(|team| self.run(team, engine.numerics(), hidden, logits, &mut Scratch::default()));
        Ok(())
    }

    /// [`Head::logits`] on the calling thread alone, with the kernels of the instruction set of `numerics`.
    ///
    /// # Errors
    /// As [`Head::logits`].
    pub fn logits_on(
        &self,
        numerics: &Numerics,
        hidden: &[f32],
        logits: &mut [f32],
    ) -> Result<(), EngineError> {
        self.check_operands(hidden, logits)?;
        self.run(&Team::solo(), numerics, hidden, logits, &mut Scratch::default());
        Ok(())
    }

    fn check_operands(&self, hidden: &[f32], logits: &[f32]) -> Result<(), EngineError> {
        if !hidden.len().is_multiple_of(self.cols) {
            return Err(EngineError::Activations { found: hidden.len(), expected: self.cols });
        }
        let expected = hidden.len() / self.cols * self.rows;
        if logits.len() != expected {
            return Err(EngineError::Output { found: logits.len(), expected });
        }
        match hidden.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(EngineError::NotFinite { index, value: hidden[index] }),
            None => Ok(()),
        }
    }

    /// [`Head::logits`] on a team. A state that is not finite makes its token's logits so. Returns whether all logits are finite.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub(crate) fn run(
        &self,
        team: &Team<'_>,
        numerics: &Numerics,
        hidden: &[f32],
        logits: &mut [f32],
        scratch: &mut Scratch,
    ) -> bool {
        let tokens = hidden.len() / self.cols;
        assert!(hidden.len() == tokens * self.cols && logits.len() == tokens * self.rows, "whole vectors");
        if tokens == 0 {
            return true;
        }
        self.with(numerics, hidden, scratch, |multiply| self.share(team, numerics, multiply, logits, tokens))
    }

    /// The bits of the logits of some states for the rows of the first tile.
    pub(super) fn first_tile(&self, numerics: &Numerics, hidden: &[f32]) -> Vec<u32> {
        let (mut out, mut bits) = (Vec::new(), Vec::new());
        self.with(numerics, hidden, &mut Scratch::default(), |multiply| {
            let weights = multiply.weights(&(0..1));
            for tokens in multiply.at_once().batches(hidden.len() / self.cols) {
                multiply.run(&(0..1), &weights, (tokens, Turn::ALONE), &mut out);
                bits.extend(out.iter().map(|logit| logit.to_bits()));
            }
        });
        bits
    }

    /// Prepares these states for what multiplies them.
    fn with<T>(
        &self,
        numerics: &Numerics,
        hidden: &[f32],
        scratch: &mut Scratch,
        body: impl FnOnce(&dyn Multiply) -> T,
    ) -> T {
        match &self.weights {
            Weights::Stored { matrix, copy } => {
                let kernels = FloatKernels::of(numerics);
                let kernel = match matrix.storage() {
                    StorageType::Float(FloatType::F16) => kernels.f16,
                    StorageType::Float(FloatType::Bf16) => kernels.bf16,
                    StorageType::Float(FloatType::F32) | StorageType::Blocks(_) => kernels.f32,
                };
                let bytes = copy.as_deref().unwrap_or(matrix.bytes());
                let (at_once, walk) = (kernels.at_once, self.walk);
                let tokens = hidden.chunks_exact(self.cols).collect();
                body(&Rows { matrix, bytes, kernel, at_once, walk, tokens })
            }
            Weights::Packed { format, tiles, scales } => {
                let (kernels, parts) = (BlockKernels::of(numerics), format.parts(self.cols));
                let (kernel, arrangement) =
                    on_tiles::kernel(kernels, format, parts, hidden.len() / self.cols);
                scratch.0.quantize(numerics, format, self.cols, hidden, arrangement);
                body(&Tiles {
                    tiles,
                    scales,
                    parts,
                    tile_bytes: parts * format.part_bytes,
                    kernel,
                    arrangement,
                    walk: self.walk,
                    activations: &scratch.0,
                    tokens: scratch.0.tokens().collect(),
                })
            }
        }
    }

    /// Shares tiles out over the team, each for all tokens. Returns whether all logits are finite.
    fn share(
        &self,
        team: &Team<'_>,
        numerics: &Numerics,
        multiply: &dyn Multiply,
        logits: &mut [f32],
        tokens: usize,
    ) -> bool {
        let at_once = multiply.at_once();
        let tiles = self.rows.div_ceil(LANES);
        let products = self.rows.saturating_mul(self.cols).saturating_mul(tokens);
        let parts = if products < MIN_SHARED_PRODUCTS { 1 } else { team.size().clamp(1, tiles) };
        let tile_bytes = multiply.tile_bytes().max(1);
        let shares = if tokens <= at_once.many {
            // As for one token: the results of a call are no sums that wait to be scaled.
            let stream_bytes = match tokens {
                1 => self.walk.piece_bytes(self.blocks.stream_bytes),
                // Several have as many results, which had better stay near until they are copied.
                _ => self.blocks.stream_bytes,
            };
            let blocks = shares::Blocks { stream_bytes, ..self.blocks };
            Shares::streamed(blocks, tiles, tile_bytes, (1, multiply.streams()), parts)
        } else {
            let chunk = (CHUNK_BYTES / tile_bytes).clamp(1, (tiles / (PIECES_EACH * parts)).max(1));
            // Whole pairs, which share activations.
            Shares::new(tiles, parts, chunk.next_multiple_of(PAIR))
        };
        let results = SharedRows::new(logits, self.rows);
        let finite = AtomicBool::new(true);
        let turns = at_once.batches(tokens).count();
        let member = |part: usize| {
            let mut out = Vec::new();
            while let Some(tiles) = shares.claim(part) {
                let weights = multiply.weights(&tiles);
                for (index, some) in at_once.batches(tokens).enumerate() {
                    results.will_write(&some, &tiles);
                    let turn = match weights {
                        Cow::Borrowed(_) => Turn { index, of: turns },
                        // Behind what was made for this call is nothing to ask for.
                        Cow::Owned(_) => Turn::ALONE,
                    };
                    multiply.run(&tiles, &weights, (some.clone(), turn), &mut out);
                    let outs = out.chunks_exact(out.len() / some.len());
                    // SAFETY: the tiles were handed out to this call alone, and one token's slice is gone before the next.
                    for ((_, logits), out) in unsafe { results.each(some, &tiles) }.zip(outs) {
                        let out = &out[..logits.len()];
                        if !numerics.all_finite(out) {
                            finite.store(false, Ordering::Relaxed);
                        }
                        logits.copy_from_slice(out);
                    }
                }
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
        finite.into_inner()
    }
}
