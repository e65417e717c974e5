//! Blocks of small integers with a float scale, the types in which GGUF files quantise embeddings and output heads.
//!
//! A row is a sequence of whole blocks. Reading a weight is exact: scale and integers have 23 significant bits together at
//! most, so that their product is an f32. Quantising follows the rules of ggml's reference quantisers.

mod q4_0;
mod q6_k;
mod q8_0;

use half::f16;

use super::bytes::SharedBytes;
use q4_0::Q4_0;
use q6_k::Q6K;
use q8_0::Q8_0;

/// A type made of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockType {
    /// Four bits a weight, -8 to 7, in blocks of 32 with an f16 scale.
    Q4_0,
    /// Six bits a weight, -32 to 31, in blocks of 256: an f16 scale, and an int8 factor for each 16 weights.
    Q6K,
    /// Eight bits a weight, -128 to 127, in blocks of 32 with an f16 scale.
    Q8_0,
}

/// The code of one type.
trait Block {
    /// Weights of a block.
    const WEIGHTS: usize;
    /// Bytes of a block.
    const BYTES: usize;

    /// Writes the [`Self::WEIGHTS`] weights of the [`Self::BYTES`] bytes `block`.
    fn dequantize(block: &[u8], weights: &mut [f32]);

    /// Writes the block that stands for `weights` best, by the rule of the type. The weights are finite.
    fn quantize(weights: &[f32], block: &mut [u8]);
}

/// What a function of one type is called with.
struct Codec {
    weights: usize,
    bytes: usize,
    dequantize: fn(&[u8], &mut [f32]),
    quantize: fn(&[f32], &mut [u8]),
}

impl Codec {
    const fn of<B: Block>() -> Self {
        Codec { weights: B::WEIGHTS, bytes: B::BYTES, dequantize: B::dequantize, quantize: B::quantize }
    }
}

impl BlockType {
    /// Every type.
    pub const ALL: [BlockType; 3] = [BlockType::Q4_0, BlockType::Q6K, BlockType::Q8_0];

    const fn codec(self) -> Codec {
        match self {
            BlockType::Q4_0 => Codec::of::<Q4_0>(),
            BlockType::Q6K => Codec::of::<Q6K>(),
            BlockType::Q8_0 => Codec::of::<Q8_0>(),
        }
    }

    /// Weights of a block, of which a row has a multiple.
    pub const fn weights(self) -> usize {
        self.codec().weights
    }

    /// Bytes of a block.
    pub const fn bytes(self) -> usize {
        self.codec().bytes
    }

    /// Name as formats print it: `Q4_0`, `Q6_K`, `Q8_0`.
    pub const fn name(self) -> &'static str {
        match self {
            BlockType::Q4_0 => "Q4_0",
            BlockType::Q6K => "Q6_K",
            BlockType::Q8_0 => "Q8_0",
        }
    }

    /// Bytes of a row of `cols` weights, or `None` where they do not fill whole blocks.
    pub const fn row_bytes(self, cols: usize) -> Option<usize> {
        match cols % self.weights() {
            0 => (cols / self.weights()).checked_mul(self.bytes()),
            _ => None,
        }
    }

    /// Writes the weights of `blocks`, exactly. A scale that is not finite gives weights that are not.
    ///
    /// # Panics
    /// If `blocks` are not whole, or `weights` are not as many as theirs.
    pub fn dequantize(self, blocks: &[u8], weights: &mut [f32]) {
        let codec = self.codec();
        assert_eq!(self.row_bytes(weights.len()), Some(blocks.len()), "whole blocks");
        for (block, weights) in blocks.chunks_exact(codec.bytes).zip(weights.chunks_exact_mut(codec.weights))
        {
            (codec.dequantize)(block, weights);
        }
    }

    /// Appends the blocks of `weights`, which are finite. Weights beyond what an f16 scale reaches give a scale that is
    /// not finite.
    ///
    /// # Panics
    /// If the weights do not fill whole blocks.
    pub fn quantize(self, weights: &[f32], blocks: &mut Vec<u8>) {
        let codec = self.codec();
        let start = blocks.len();
        let added = self.row_bytes(weights.len()).expect("whole blocks");
        blocks.resize(start + added, 0);
        let places = blocks[start..].chunks_exact_mut(codec.bytes);
        for (weights, block) in weights.chunks_exact(codec.weights).zip(places) {
            (codec.quantize)(weights, block);
        }
    }
}

/// The f16 at the start of `bytes`.
fn read_f16(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// The weight of the largest magnitude, the first of several, with its sign; 0 where there is none.
fn largest(weights: &[f32]) -> f32 {
    weights.iter().fold(0.0, |largest: f32, weight| match weight.abs() > largest.abs() {
        true => *weight,
        false => largest,
    })
}

/// One over `scale`, and 0 for 0.
fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// A row-major matrix of blocks that stays in the file's own memory.
#[derive(Clone, Debug)]
pub struct BlockTensor {
    rows: usize,
    cols: usize,
    kind: BlockType,
    bytes: SharedBytes,
}

impl BlockTensor {
    /// `rows` x `cols` weights of type `kind` in `bytes`, or `None` where a row does not fill whole blocks or the length
    /// is not exactly theirs.
    pub fn new(rows: usize, cols: usize, kind: BlockType, bytes: SharedBytes) -> Option<Self> {
        let needed = rows.checked_mul(kind.row_bytes(cols)?)?;
        (bytes.len() == needed).then_some(Self { rows, cols, kind, bytes })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns, a multiple of [`BlockType::weights`].
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The type.
    pub fn kind(&self) -> BlockType {
        self.kind
    }

    /// The stored blocks, row after row.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Converts one row to f32, exactly.
    ///
    /// # Panics
    /// If `row` is not below [`Self::rows`] or `out` is not [`Self::cols`] long.
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.cols, "row {row} into {} of {self:?}", out.len());
        let length = self.bytes.len() / self.rows;
        self.kind.dequantize(&self.bytes[row * length..(row + 1) * length], out);
    }
}

#[cfg(test)]
mod tests;
