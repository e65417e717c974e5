//! The output head: `logits[t][v] = hidden[t] . weights[v]`. With a large vocabulary it outweighs all ternary weights
//! together, so what counts is how many bytes a weight takes and that they are read as one linear stream.
//!
//! - As it is stored, in the file's own memory, with f32 arithmetic (`floats`). These are the bits of the numerics profile
//!   `exact`; blocks become floats row by row.
//! - Copied to large pages, which is what reading at the memory's speed takes: floats, with the same bits.
//! - Packed at load in tiles of sixteen rows (`layout`, `pack`), one row a lane (`blocks`); 8-bit ones
//!   for several tokens on the tiles of AMX (`on_tiles`). They come from blocks of the
//!   file (Q4_0, Q8_0, Q6_K), or are made from floats ([`HeadType`], `quantize`). The hidden states become integers of up
//!   to 16 bits (`activations`), so that sums are exact integers.
//!
//! Logits are the same bits on every instruction set (`lanes`), with any number of threads and tokens at once.

mod activations;
mod blocks;
mod error;
mod floats;
mod kernels;
mod layout;
mod make;
mod on_tiles;
mod pack;
mod quantize;
mod run;
mod schedule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use crate::engine::Engine;
use crate::format::{BlockType, FloatType, StorageType, VocabMatrix};
use crate::os::AlignedBytes;
use crate::shares;

pub use error::HeadError;
use layout::Format;
pub(crate) use run::Scratch;
pub use schedule::Walk;

/// What is made of a head at load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeadType {
    /// Nothing: weights as they are stored, in f32 arithmetic. The head of the profile `exact`.
    #[default]
    Exact,
    /// Weights as they are stored, in memory of their own; the integers of blocks are multiplied as integers.
    Stored,
    /// 8-bit integers with a scale a row: `scale = max|w| / 127`.
    Int8,
    /// 4-bit integers with a scale for each 32 of them, ggml's Q4_0.
    Q4_0,
}

impl HeadType {
    /// Every type.
    pub const ALL: [HeadType; 4] = [HeadType::Exact, HeadType::Stored, HeadType::Int8, HeadType::Q4_0];

    /// Its name, as options take it.
    pub fn name(self) -> &'static str {
        match self {
            HeadType::Exact => "exact",
            HeadType::Stored => "stored",
            HeadType::Int8 => "int8",
            HeadType::Q4_0 => "q4_0",
        }
    }
}

impl fmt::Display for HeadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for HeadType {
    type Err = HeadError;

    fn from_str(name: &str) -> Result<Self, HeadError> {
        let found = Self::ALL.into_iter().find(|head_type| head_type.name() == name);
        found.ok_or_else(|| HeadError::UnknownType { found: name.chars().take(64).collect() })
    }
}

/// The weights, where and as the kernels read them.
enum Weights {
    /// In the file's memory, or a copy of it.
    Stored { matrix: VocabMatrix, copy: Option<AlignedBytes> },
    Packed {
        format: &'static Format,
        tiles: AlignedBytes,
        /// One a row of the tiles, for formats that keep them apart; else empty.
        scales: Vec<f32>,
    },
}

/// An output head, `[rows][cols]`, ready for its kernels.
pub struct Head {
    rows: usize,
    cols: usize,
    weights: Weights,
    walk: Walk,
    blocks: shares::Blocks,
}

impl Head {
    /// Number of rows: the vocabulary.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns: the length of a hidden state.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Has its weights gone through in another way than [`Head::new`] took from the engine.
    pub fn set_walk(&mut self, walk: Walk) {
        self.walk = walk;
    }

    /// The format, as kernels' names have it: `f32`, `f16`, `bf16`, `q4_0`, `q8_0`, `q6_k` or `i8row`.
    pub fn type_name(&self) -> &'static str {
        match &self.weights {
            Weights::Packed { format, .. } => format.name,
            Weights::Stored { matrix, .. } => match matrix.storage() {
                StorageType::Float(FloatType::F32) => "f32",
                StorageType::Float(FloatType::F16) => "f16",
                StorageType::Float(FloatType::Bf16) => "bf16",
                StorageType::Blocks(BlockType::Q4_0) => "q4_0",
                StorageType::Blocks(BlockType::Q6K) => "q6_k",
                StorageType::Blocks(BlockType::Q8_0) => "q8_0",
            },
        }
    }

    /// Bytes that one token reads.
    pub fn bytes_per_token(&self) -> usize {
        match &self.weights {
            Weights::Packed { tiles, scales, .. } => tiles.len() + size_of_val(&scales[..]),
            Weights::Stored { matrix, .. } => matrix.bytes().len(),
        }
    }

    /// Bytes of memory that it takes for itself: none where it is read from the file's.
    pub fn resident_bytes(&self) -> usize {
        match &self.weights {
            Weights::Packed { .. } | Weights::Stored { copy: Some(_), .. } => self.bytes_per_token(),
            Weights::Stored { copy: None, .. } => 0,
        }
    }

    /// The name of the kernel that an engine runs it with. Stored blocks become rows of f32 for theirs.
    pub fn kernel_name(&self, engine: &Engine) -> String {
        let (format, swift) = match &self.weights {
            Weights::Stored { matrix, .. } if matches!(matrix.storage(), StorageType::Blocks(_)) => {
                ("f32", true)
            }
            Weights::Stored { .. } => (self.type_name(), true),
            Weights::Packed { format, .. } => (format.name, format.is_swift()),
        };
        kernels::name(engine.numerics().isa(), format, self.walk.ahead(swift), self.walk)
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({} x {}, {})", self.rows, self.cols, self.type_name())
    }
}
