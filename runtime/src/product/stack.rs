//! Products whose matrices lie one behind the other in memory, as those of queries, keys and values do: computed as one.

use std::ops::Range;

use super::{Matrix, Product, ProductScratch};
use crate::kernels::abi::{Kernel, KernelError, TILE_ROWS};
use crate::shares::by_part;

/// Products of the same activations by the same kernels, of matrices that a kernel of any shape takes for one: what it reads at
/// a time, and in each of its streams, does not end where a matrix does.
pub(super) struct Stack<'p, 'a> {
    products: &'p [Product<'a>],
    matrix: Matrix<'a>,
}

impl<'p, 'a> Stack<'p, 'a> {
    /// All products, in as few stacks as their places in memory allow.
    pub(super) fn all(products: &'p [Product<'a>]) -> impl Iterator<Item = Self> {
        products.chunk_by(continues).map(|products| {
            let (last, before) = products.split_last().expect("chunks of one product at least");
            let tiles: usize = before.iter().map(Product::tiles).sum();
            let rows = tiles * TILE_ROWS + last.weights.rows();
            let weights = products[0].weights.data_through(last.weights);
            Stack { products, matrix: Matrix { rows, weights } }
        })
    }

    pub(super) fn tiles(&self) -> usize {
        self.matrix.rows.div_ceil(TILE_ROWS)
    }

    /// The rows of some tiles, which must have been claimed, for all tokens.
    pub(super) fn tile_rows(
        &self,
        tiles: &Range<usize>,
        scratch: &mut ProductScratch,
    ) -> Result<(), KernelError> {
        let (first, matrix) = (&self.products[0], self.matrix);
        first.expand(matrix, tiles, scratch);
        for (token, kernel, part) in first.steps(tiles) {
            let tokens = token..token + kernel.descriptor().tokens;
            self.by_product(&part).for_each(|(product, _, own)| product.y.will_write(&tokens, &own));
            let sums = first.sums(matrix, kernel, token, &part, scratch)?;
            for (product, before, own) in self.by_product(&part) {
                // SAFETY: the tiles were handed out to this call alone, and one token's slice is gone before the next.
                let results = unsafe { product.y.each(tokens.clone(), &own) };
                for ((t, y), sums) in results.zip(sums.chunks_exact(matrix.covered(&part))) {
                    // A matrix ends with rows of padding.
                    product.scale(t, &own, &sums[before * TILE_ROWS..][..y.len()], y);
                }
            }
        }
        Ok(())
    }

    /// Some tiles by the products that they belong to: how many are those of others before, and which of its own.
    fn by_product(
        &self,
        tiles: &Range<usize>,
    ) -> impl Iterator<Item = (&'p Product<'a>, usize, Range<usize>)> {
        by_part(tiles.clone(), self.products.iter().map(|product| (product, product.tiles())))
    }
}

/// Whether the second product's matrix can be taken for more rows of the first's.
fn continues(first: &Product<'_>, second: &Product<'_>) -> bool {
    let is_same = |(one, other): (&Kernel, &Kernel)| {
        std::ptr::eq(one.descriptor(), other.descriptor()) && one.descriptor().shape.is_none()
    };
    std::ptr::eq(first.x, second.x)
        && first.weights.is_before(second.weights)
        && first.plan.len() == second.plan.len()
        && first.plan.iter().zip(second.plan.iter()).all(is_same)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::Engine;
    use crate::kernels::DESCRIPTORS;
    use crate::kernels::layouts::i2a16;
    use crate::numerics::quantize::QuantizedActivations;
    use crate::os::AlignedBytes;
    use crate::packed::{PackedTernaryWeights, Scales};
    use crate::product::run_all;

    const COLS: usize = 100;

    fn trit(row: usize, col: usize) -> i8 {
        ((row * 7 + col * 3 + row * col) % 3) as i8 - 1
    }

    /// Matrices of so many rows in one memory, each behind the one before but for the last, which leaves a gap. Their rows are
    /// counted through.
    fn matrices(rows: &[usize]) -> Vec<PackedTernaryWeights> {
        let bytes = |rows: usize| i2a16::packed_bytes(rows, COLS);
        let gap = bytes(1);
        let all: usize = rows.iter().map(|rows| bytes(*rows)).sum();
        let mut memory = AlignedBytes::filled(all + gap, i2a16::ZERO_BYTE);
        let (mut start, mut first, mut placed) = (0, 0, Vec::new());
        for (index, &rows_of) in rows.iter().enumerate() {
            start += if index + 1 == rows.len() { gap } else { 0 };
            let range = start..start + bytes(rows_of);
            for row in 0..rows_of {
                let trits: Vec<i8> = (0..COLS).map(|col| trit(first + row, col)).collect();
                i2a16::pack_row(&mut memory[range.clone()], rows_of, COLS, row, &trits);
            }
            start = range.end;
            placed.push((rows_of, first, range));
            first += rows_of;
        }
        let memory = Arc::new(memory);
        let packed = placed.into_iter().map(|(rows, first, range)| {
            let scales = match first {
                0 => Scales::PerTensor(0.5),
                _ => Scales::PerRow((first..first + rows).map(|row| 1.0 + row as f32).collect()),
            };
            PackedTernaryWeights::in_memory(rows, COLS, scales, Arc::clone(&memory), range)
        });
        packed.collect()
    }

    fn products<'a>(
        engine: &'a Engine,
        matrices: &'a [PackedTernaryWeights],
        x: &'a QuantizedActivations,
        results: &'a mut [Vec<f32>],
    ) -> Vec<Product<'a>> {
        let all = matrices.iter().zip(results);
        all.map(|(weights, y)| engine.product(weights, x, y).expect("operands that fit")).collect()
    }

    #[test]
    fn matrices_beside_each_other_are_one_and_their_results_are_exact() {
        // Two end inside of a tile; the third is large enough to be shared out.
        let matrices = matrices(&[35, 5, 3000, 16]);
        for (tokens, threads) in [(1, 1), (1, 3), (5, 3), (40, 2)] {
            let engine = Engine::with_threads(threads).expect("threads");
            // With 127 as the largest, the step is 1.
            let value = |token: usize, col: usize| if col == 0 { 127 } else { (token * 31 + col * 17) % 120 };
            let values = (0..tokens).flat_map(|token| (0..COLS).map(move |col| value(token, col) as f32));
            let x = QuantizedActivations::quantize(COLS, &values.collect::<Vec<_>>());
            let mut results: Vec<_> = matrices.iter().map(|w| vec![f32::NAN; tokens * w.rows()]).collect();
            let products = products(&engine, &matrices, &x, &mut results);
            let stacks: Vec<_> = Stack::all(&products).map(|stack| stack.products.len()).collect();
            assert_eq!(stacks, [3, 1]);
            engine.region(|team| run_all(team, &products)).expect("kernels that take them");
            drop(products);
            let mut first = 0;
            for (weights, y) in matrices.iter().zip(&results) {
                for (at, y) in y.iter().enumerate() {
                    let (token, row) = (at / weights.rows(), at % weights.rows());
                    let products =
                        (0..COLS).map(|col| i64::from(trit(first + row, col)) * value(token, col) as i64);
                    let expected = products.sum::<i64>() as f32 * weights.scales().row(row);
                    assert_eq!(*y, expected, "{tokens} tokens, row {row} of {}", weights.rows());
                }
                first += weights.rows();
            }
        }
    }

    #[test]
    fn only_products_of_the_same_operands_are_one() {
        let engine = Engine::with_threads(1).expect("a thread");
        let matrices = matrices(&[16, 16, 16]);
        let x = [1.0, 2.0].map(|value| QuantizedActivations::quantize(COLS, &[value; COLS]));
        let mut results = vec![vec![0.0; 16]; 3];
        let mut products = products(&engine, &matrices, &x[0], &mut results);
        assert!(continues(&products[0], &products[1]));
        assert!(!continues(&products[1], &products[0]), "in the wrong order");
        assert!(!continues(&products[1], &products[2]), "a gap between them");
        products[1].x = &x[1];
        assert!(!continues(&products[0], &products[1]), "other activations");
        products[1].x = &x[0];
        products[1].plan = engine.plan(16, COLS, 2).expect("a plan");
        assert!(!continues(&products[0], &products[1]), "other kernels");
        let fixed = DESCRIPTORS.iter().filter(|kernel| kernel.shape.is_some()).find_map(Kernel::new);
        let plan: Arc<[Kernel]> = Arc::new([fixed.expect("those of the demo model")]);
        products[..2].iter_mut().for_each(|product| product.plan = Arc::clone(&plan));
        assert!(!continues(&products[0], &products[1]), "kernels that serve one shape only");
    }
}
