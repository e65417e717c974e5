//! Matrix products with known results.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use kernelgen::interp::Data;
use tritforge::kernels::abi::Problem;
use tritforge::kernels::layouts::i2a16;

use crate::{Placed, Random, naive_dot};

/// Activation vectors of a case, as many as any operation takes; each uses its share.
const TOKENS: usize = 64;

/// Rows and columns that generic kernels are tried with where one shape has to do: no multiple of anything.
pub const GENERIC_SHAPE: (usize, usize) = (259, 1003);

/// A packed ternary matrix, activations, and their exact products.
#[derive(Debug)]
pub struct Case {
    /// Rows M.
    pub rows: usize,
    /// Columns K.
    pub cols: usize,
    /// The packed matrix, 64-byte aligned.
    pub weights: Placed<u8>,
    /// Activation vectors one after another, each followed by zeros up to a multiple of 16.
    pub acts: Vec<i8>,
    /// Values from one activation vector to the next.
    pub stride: usize,
    /// The sum of each activation vector.
    pub sums: Vec<i32>,
    /// The product of every vector, `rows` values each.
    pub expected: Vec<i32>,
}

impl Case {
    /// Random weights and activations.
    pub fn random(rows: usize, cols: usize, seed: u64) -> Self {
        Self::random_for(TOKENS, rows, cols, seed)
    }

    /// The same with so many activation vectors.
    pub fn random_for(tokens: usize, rows: usize, cols: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let trits = random.trits(rows * cols);
        let vectors: Vec<Vec<i8>> = (0..tokens).map(|_| random.acts(cols)).collect();
        let expected =
            vectors.iter().flat_map(|q| trits.chunks(cols).map(|row| exact(naive_dot(row, q)))).collect();
        Self::with(
            rows,
            cols,
            pack(rows, cols, |row| trits[row * cols..][..cols].to_vec()),
            &vectors,
            expected,
        )
    }

    /// Every weight the trit `weight`, every activation `act`: the sums of the greatest magnitude.
    pub fn uniform(rows: usize, cols: usize, weight: i8, act: i8) -> Self {
        Self::uniform_for(TOKENS, rows, cols, weight, act)
    }

    /// The same with so many activation vectors.
    pub fn uniform_for(tokens: usize, rows: usize, cols: usize, weight: i8, act: i8) -> Self {
        let weights = pack(rows, cols, |_| vec![weight; cols]);
        let sum = exact(cols as i64 * i64::from(weight) * i64::from(act));
        Self::with(rows, cols, weights, &vec![vec![act; cols]; tokens], vec![sum; tokens * rows])
    }

    /// One weight that is not zero in each row that `column` names one for, -1 in odd columns and +1 in even ones.
    pub fn one_hot(rows: usize, cols: usize, seed: u64, column: impl Fn(usize) -> Option<usize>) -> Self {
        let mut random = Random::new(seed);
        let vectors: Vec<Vec<i8>> = (0..TOKENS).map(|_| random.acts(cols)).collect();
        let mut weights = Placed::new(i2a16::packed_bytes(rows, cols), 0);
        weights.fill(i2a16::ZERO_BYTE);
        let mut expected = vec![0; TOKENS * rows];
        for row in 0..rows {
            let Some(col) = column(row) else { continue };
            let sign: i8 = if col % 2 == 0 { 1 } else { -1 };
            let (byte, shift) = i2a16::locate(rows, cols, row, col);
            weights[byte] = weights[byte] & !(3 << shift) | ((sign + 1) as u8) << shift;
            for (token, q) in vectors.iter().enumerate() {
                expected[token * rows + row] = i32::from(sign) * i32::from(q[col]);
            }
        }
        Self::with(rows, cols, weights, &vectors, expected)
    }

    fn with(rows: usize, cols: usize, weights: Placed<u8>, vectors: &[Vec<i8>], expected: Vec<i32>) -> Self {
        let stride = cols.next_multiple_of(i2a16::COL_GRANULE);
        let mut acts = vec![0; vectors.len() * stride];
        for (padded, q) in acts.chunks_mut(stride).zip(vectors) {
            padded[..cols].copy_from_slice(q);
        }
        let sums = vectors.iter().map(|q| q.iter().map(|q| i32::from(*q)).sum()).collect();
        Case { rows, cols, weights, acts, stride, sums, expected }
    }

    /// Row tiles of the matrix.
    pub fn tiles(&self) -> usize {
        self.rows.div_ceil(i2a16::ROW_GRANULE)
    }

    /// Rows of some row tiles, those past the matrix left out.
    pub fn rows_of(&self, tiles: &Range<usize>) -> Range<usize> {
        let row = |tile: usize| (tile * i2a16::ROW_GRANULE).min(self.rows);
        row(tiles.start)..row(tiles.end)
    }

    /// The products of the first `tokens` vectors with the rows of some tiles, vector by vector.
    pub fn expected_of(&self, tokens: usize, tiles: &Range<usize>) -> Vec<i32> {
        let vectors = self.expected.chunks(self.rows).take(tokens);
        vectors.flat_map(|products| &products[self.rows_of(tiles)]).copied().collect()
    }

    /// The operands as an interpreter takes them.
    pub fn data(&self, tiles: &Range<usize>) -> Data<'_> {
        Data {
            rows: self.rows,
            cols: self.cols,
            weights: &self.weights,
            acts: &self.acts,
            act_stride: self.stride,
            act_sums: &self.sums,
            first_tile: tiles.start,
            end_tile: tiles.end,
        }
    }

    /// The operands as a kernel takes them.
    pub fn problem(&self) -> Problem<'_> {
        Problem {
            rows: self.rows,
            cols: self.cols,
            weights: &self.weights,
            acts: &self.acts,
            act_stride: self.stride,
            act_sums: &self.sums,
            interleaved: None,
            expanded: None,
        }
    }
}

/// The random case of a shape, made once for all tests of a process.
pub fn shared((rows, cols): (usize, usize)) -> Arc<Case> {
    type Cases = HashMap<(usize, usize), Arc<OnceLock<Arc<Case>>>>;
    static CASES: LazyLock<Mutex<Cases>> = LazyLock::new(Mutex::default);
    // The map is free again while one thread computes and others that need the same case wait for it.
    let cell = CASES.lock().unwrap().entry((rows, cols)).or_default().clone();
    cell.get_or_init(|| Arc::new(Case::random(rows, cols, (rows * 1_000_003 + cols) as u64))).clone()
}

fn pack(rows: usize, cols: usize, row_trits: impl Fn(usize) -> Vec<i8>) -> Placed<u8> {
    let mut weights = Placed::new(i2a16::packed_bytes(rows, cols), 0);
    weights.fill(i2a16::ZERO_BYTE);
    for row in 0..rows {
        i2a16::pack_row(&mut weights, rows, cols, row, &row_trits(row));
    }
    weights
}

fn exact(sum: i64) -> i32 {
    i32::try_from(sum).expect("the product fits 32 bits")
}
