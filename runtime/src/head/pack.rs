//! From the blocks of a file, row by row, to the tiles of a head ([`super::layout`]).
//!
//! The blocks are ggml's: Q4_0 is a binary16 scale and 16 bytes with element j in the lower and element j + 16 in the upper
//! nibble; Q8_0 a scale and 32 i8; Q6_K the lower nibbles of 256 elements (128 bytes), their upper two bits (64 bytes), 16
//! factors (i8) and a scale.

use super::layout::{ATOM, Format, I8_ROW, Q4_0, Q6_K, Q8_0, SCALES};
use crate::format::BlockType;

/// How blocks of a file become parts of a tile.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    /// The blocks.
    pub kind: BlockType,
    /// The tiles that they become.
    pub format: &'static Format,
    /// Writes a block of a row of a tile to the part of the tile.
    pack: fn(&[u8], usize, &mut [u8]),
    /// Where the block's scale, a binary16 number, lies.
    scale_at: usize,
}

static Q4_0_BLOCKS: Blocks = Blocks { kind: BlockType::Q4_0, format: &Q4_0, pack: pack_q4_0, scale_at: 0 };
static Q8_0_BLOCKS: Blocks = Blocks { kind: BlockType::Q8_0, format: &Q8_0, pack: pack_q8_0, scale_at: 0 };
static Q6_K_BLOCKS: Blocks = Blocks { kind: BlockType::Q6K, format: &Q6_K, pack: pack_q6_k, scale_at: 208 };

impl Blocks {
    /// Those of one type.
    pub fn of(kind: BlockType) -> &'static Blocks {
        match kind {
            BlockType::Q4_0 => &Q4_0_BLOCKS,
            BlockType::Q6K => &Q6_K_BLOCKS,
            BlockType::Q8_0 => &Q8_0_BLOCKS,
        }
    }

    /// Packs one row of blocks as row 0 to 15 of a tile.
    ///
    /// # Errors
    /// The first block whose scale is not finite.
    ///
    /// # Panics
    /// When `blocks` are not those of a row of the tile.
    pub fn pack_row(&self, blocks: &[u8], row: usize, tile: &mut [u8]) -> Result<(), usize> {
        let bytes = self.kind.bytes();
        assert_eq!(blocks.len() / bytes, tile.len() / self.format.part_bytes, "a block a part");
        let parts = tile.chunks_exact_mut(self.format.part_bytes);
        for (index, (block, part)) in blocks.chunks_exact(bytes).zip(parts).enumerate() {
            let exponent = block[self.scale_at + 1] & 0x7c;
            if exponent == 0x7c {
                return Err(index);
            }
            (self.pack)(block, row, part);
        }
        Ok(())
    }
}

/// Packs a row of 8-bit integers, with zeros to whole parts, as row 0 to 15 of a tile.
///
/// # Panics
/// When `q` has not the tile's columns.
pub fn pack_i8_row(q: &[i8], row: usize, tile: &mut [u8]) {
    assert_eq!(q.len() / I8_ROW.part_cols, tile.len() / ATOM, "an atom for four columns");
    for (quad, atom) in q.as_chunks().0.iter().zip(tile.chunks_exact_mut(ATOM)) {
        put(atom, row, bytes_of(quad.map(code8)));
    }
}

/// The unsigned code of an 8-bit integer.
fn code8(q: i8) -> u8 {
    q as u8 ^ 0x80
}

/// The four bytes of a row of an atom.
fn put(atom: &mut [u8], row: usize, bytes: [u8; 4]) {
    atom[4 * row..4 * row + 4].copy_from_slice(&bytes);
}

/// Four columns as the bytes of two words: the first two in the low bytes.
fn bytes_of([a, b, c, d]: [u8; 4]) -> [u8; 4] {
    [a, c, b, d]
}

/// Sixteen scales, of which one is written.
fn put_scale(scales: &mut [u8], row: usize, scale: &[u8]) {
    scales[2 * row..2 * row + 2].copy_from_slice(&scale[..2]);
}

fn pack_q4_0(block: &[u8], row: usize, part: &mut [u8]) {
    let nibbles = &block[2..18];
    let code = |col: usize| if col < 16 { nibbles[col] & 15 } else { nibbles[col - 16] >> 4 };
    for (index, atom) in part.chunks_exact_mut(ATOM).take(4).enumerate() {
        let byte = |word: usize, upper: usize| {
            let col = 8 * index + 4 * upper + word;
            code(col) | code(col + 2) << 4
        };
        put(atom, row, [byte(0, 0), byte(0, 1), byte(1, 0), byte(1, 1)]);
    }
    put_scale(&mut part[4 * ATOM..], row, block);
}

fn pack_q8_0(block: &[u8], row: usize, part: &mut [u8]) {
    for (quad, atom) in block[2..].as_chunks().0.iter().zip(part.chunks_exact_mut(ATOM)) {
        put(atom, row, bytes_of(quad.map(|byte: u8| code8(byte as i8))));
    }
    put_scale(&mut part[8 * ATOM..], row, block);
}

fn pack_q6_k(block: &[u8], row: usize, part: &mut [u8]) {
    let (lower, upper, factors) = (&block[..128], &block[128..192], &block[192..208]);
    let code = |col: usize| {
        let (half, quarter, l) = (col / 128, col % 128 / 32, col % 32);
        let nibble = lower[64 * half + 32 * (quarter % 2) + l] >> (4 * (quarter / 2)) & 15;
        nibble | (upper[32 * half + l] >> (2 * quarter) & 3) << 4
    };
    put_scale(part, row, &block[208..]);
    let (head, groups) = part.split_at_mut(SCALES + 256);
    for (index, group) in groups.chunks_exact_mut(3 * ATOM).enumerate() {
        head[SCALES + 16 * index + row] = factors[index];
        // Four quads of columns, each as four bytes.
        let quad = |quad: usize| {
            let col = 16 * index + 4 * quad;
            bytes_of([code(col), code(col + 1), code(col + 2), code(col + 3)])
        };
        let quads = [quad(0), quad(1), quad(2), quad(3)];
        let bytes = |byte: fn([u8; 4]) -> u8| [0, 1, 2, 3].map(|i| byte(quads.map(|quad| quad[i])));
        let (atom, nibbles) = group.split_at_mut(ATOM);
        put(atom, row, bytes(|q| q[0] >> 4 | q[1] >> 4 << 2 | q[2] >> 4 << 4 | q[3] >> 4 << 6));
        put(nibbles, row, bytes(|q| q[0] & 15 | q[1] << 4));
        put(&mut nibbles[ATOM..], row, bytes(|q| q[2] & 15 | q[3] << 4));
    }
}
