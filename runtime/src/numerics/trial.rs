//! A trial of the float parts: every entry point once on small operands, compared bit by bit with the portable version.

use super::Numerics;
use super::attention::{CHUNK, EXTRA, HeadBlocks, Queries, Workspace};
use super::kv_block::{KvBlock, KvShape, KvType};
use crate::kernels::abi::{ATOM_BYTES, EXPANSION};

/// Values a vector: four whole sets of lanes and a rest.
const LEN: usize = 70;
/// Length of a head that is rotated.
const HEAD: usize = 16;
/// Heads that attend, their length, tokens, and keys of the last: more than a tile, a set of lanes and a chunk.
const HEADS: usize = 3;
const HEAD_DIM: usize = 20;
const TOKENS: usize = 3;
const KEYS: usize = CHUNK + 5;
const QUERIES: usize = TOKENS * HEADS * HEAD_DIM;
/// Results of a chunk of attention.
const PART: usize = TOKENS * HEADS * (HEAD_DIM + EXTRA);
/// Rows of the matrix.
const ROWS: usize = 5;
/// Results of all entry points together.
const RESULTS: usize = 4 * LEN + 2 * (LEN + 2) + HEAD + 3 * (QUERIES + HEAD_DIM) + ROWS + 1 + 2 * LEN + CODES;
/// Codes of an atom.
const CODES: usize = ATOM_BYTES * EXPANSION;

/// Operands, and what the portable version makes of them. Running it allocates nothing.
pub(crate) struct NumericsTrial {
    x: Vec<f32>,
    y: Vec<f32>,
    rows: Vec<f32>,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Two blocks for each type.
    blocks: Vec<Vec<KvBlock>>,
    work: Workspace,
    parts: Vec<f32>,
    sums: Vec<i32>,
    q: Vec<i8>,
    codes: Vec<u8>,
    found: Vec<f32>,
    expected: Vec<f32>,
}

/// Room for the keys and values.
fn blocks(kv_type: KvType) -> Vec<KvBlock> {
    let block = KvBlock::new(KvShape { kv_type, kv_heads: 1, head_dim: HEAD_DIM });
    vec![block.expect("memory for a few kilobytes"); KEYS.div_ceil(CHUNK)]
}

impl NumericsTrial {
    /// A trial that is ready to run.
    pub fn new() -> Self {
        // Magnitudes from thousandths to tens, both signs, nothing that a float holds exactly by chance.
        let values = |len: usize, seed: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 * 0.0131 - 13.1).collect()
        };
        let mut trial = NumericsTrial {
            x: values(LEN, 1),
            y: values(LEN, 2),
            rows: values(ROWS * LEN, 3),
            queries: values(QUERIES, 4),
            keys: values(KEYS * HEAD_DIM, 5),
            values: values(KEYS * HEAD_DIM, 6),
            blocks: KvType::ALL.map(blocks).to_vec(),
            work: Workspace::default(),
            parts: vec![0.0; KEYS.div_ceil(CHUNK) * PART],
            sums: (0..LEN as i32).map(|i| i * 30_011 - 1_000_003).collect(),
            q: vec![0; LEN],
            codes: vec![0; CODES],
            found: vec![0.0; RESULTS],
            expected: Vec::new(),
        };
        trial.compute(&Numerics::portable());
        trial.expected = trial.found.clone();
        trial
    }

    /// Whether `numerics` returns the bits of the portable version.
    pub fn run(&mut self, numerics: &Numerics) -> bool {
        self.found.fill(f32::NAN);
        self.compute(numerics);
        self.found.iter().zip(&self.expected).all(|(found, expected)| found.to_bits() == expected.to_bits())
    }

    /// Fills `found`, entry point by entry point.
    fn compute(&mut self, numerics: &Numerics) {
        let (x, y) = (&self.x[..], &self.y[..]);
        let mut rest = &mut self.found[..];
        let mut take = |len: usize| rest.split_off_mut(..len).expect("room for every result");
        let norm = numerics.rms_norm(x, y, 1e-5, take(LEN));
        for is_normed in [false, true] {
            let (sum, scale) = match is_normed {
                true => numerics.quantize_normed(x, y, 1e-5, &mut self.q).unwrap_or_default(),
                false => numerics.quantize_row(x, &mut self.q),
            };
            take(LEN).iter_mut().zip(&self.q).for_each(|(out, q)| *out = f32::from(*q));
            take(2).copy_from_slice(&[sum as f32, scale]);
        }
        let out = take(HEAD);
        out.copy_from_slice(&x[..HEAD]);
        numerics.rotate_heads(&y[..HEAD / 2], &y[HEAD / 2..HEAD], out);
        for blocks in &mut self.blocks {
            let vectors = self.keys.chunks_exact(HEAD_DIM).zip(self.values.chunks_exact(HEAD_DIM));
            let stored = vectors.enumerate().all(|(position, (key, value))| {
                let (block, position) = (&mut blocks[position / CHUNK], position % CHUNK);
                numerics.store_kv(block, position, key, value).is_ok()
            });
            let queries = Queries {
                values: &self.queries,
                stride: HEADS * HEAD_DIM,
                tokens: TOKENS,
                heads: HEADS,
                head_dim: HEAD_DIM,
                visible: KEYS + 1 - TOKENS,
            };
            let (head, work) = (HeadBlocks { blocks, kv_head: 0 }, &mut self.work);
            let out = take(QUERIES);
            numerics.attend(&queries, &head, work, out);
            for (chunk, part) in self.parts.chunks_exact_mut(PART).enumerate() {
                numerics.attend_chunk(&queries, &head, chunk, work, part);
            }
            numerics.fold_chunks(&self.parts, PART, KEYS.div_ceil(CHUNK), take(HEAD_DIM));
            if !stored {
                out.fill(f32::NAN);
            }
        }
        for in_place in [Numerics::relu2_gate, Numerics::silu_gate, Numerics::add] {
            let out = take(LEN);
            out.copy_from_slice(x);
            in_place(numerics, out, y);
        }
        numerics.dot_rows(&self.rows, x, take(ROWS));
        let by_tensor = numerics.scale_by_tensor(&self.sums, 0.37, 1.3, take(LEN));
        let by_row = numerics.scale_by_row(&self.sums, y, 0.7, take(LEN));
        let finite = norm.is_ok() && numerics.all_finite(x) && by_tensor && by_row;
        take(1)[0] = f32::from(u8::from(finite && !numerics.all_finite(&[f32::INFINITY])));
        numerics.expand(bytemuck::cast_slice(&self.q[..ATOM_BYTES]), [0, 2, 4, 6], &mut self.codes);
        take(CODES).iter_mut().zip(&self.codes).for_each(|(out, code)| *out = f32::from(*code));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_cpu_has_passes_and_a_wrong_bit_fails() {
        let mut trial = NumericsTrial::new();
        for isa in crate::cpu::available() {
            assert!(trial.run(&Numerics::new(isa).expect("it is there")), "{}", isa.id);
        }
        for place in 0..RESULTS {
            let right = trial.expected[place];
            trial.expected[place] = f32::from_bits(right.to_bits() ^ 1);
            assert!(!trial.run(&Numerics::portable()), "result {place}");
            trial.expected[place] = right;
        }
    }
}
