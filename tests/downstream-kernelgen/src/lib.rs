//! Multiplies ternary matrices with kernels that this crate's build script generated.

/// The generated kernels; they depend on nothing but `std`.
mod kernels {
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

use kernels::abi::{Kernel, KernelError, Problem, WEIGHT_ALIGNMENT};
use kernels::layouts::i2a16;

/// A ternary matrix of `rows` x `cols`, packed for the kernels.
pub struct Matrix {
    rows: usize,
    cols: usize,
    /// The packed weights start at `start`, where the first address is that the kernels accept.
    bytes: Vec<u8>,
    start: usize,
}

impl Matrix {
    /// Packs `rows * cols` trits (-1, 0, +1), row by row.
    pub fn new(rows: usize, cols: usize, trits: &[i8]) -> Self {
        let len = i2a16::packed_bytes(rows, cols);
        let mut bytes = vec![i2a16::ZERO_BYTE; len + WEIGHT_ALIGNMENT];
        let start = bytes.as_ptr().align_offset(WEIGHT_ALIGNMENT);
        for (row, trits) in trits.chunks(cols).enumerate() {
            i2a16::pack_row(&mut bytes[start..start + len], rows, cols, row, trits);
        }
        Matrix { rows, cols, bytes, start }
    }

    /// The product with `cols` activations, by the kernel of this name's instruction set, `None` for the best that
    /// this CPU has: the exact sums and the name of the kernel.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn multiply(&self, isa: Option<&str>, acts: &[i8]) -> Result<(Vec<i32>, &'static str), KernelError> {
        let kernel = kernels::DESCRIPTORS
            .iter()
            .filter(|d| d.tokens == 1 && isa.is_none_or(|id| id == d.isa.id))
            .filter(|d| d.shape.is_none_or(|shape| shape == (self.rows, self.cols)))
            .filter_map(Kernel::new)
            // The best instruction set, and of its kernels the one for this very shape.
            .max_by_key(|kernel| (kernel.descriptor().isa.rank, kernel.descriptor().shape))
            .expect("a portable kernel serves every shape");
        let mut padded = acts.to_vec();
        padded.resize(self.cols.next_multiple_of(i2a16::COL_GRANULE), 0);
        let problem = Problem {
            rows: self.rows,
            cols: self.cols,
            weights: &self.bytes[self.start..],
            acts: &padded,
            act_stride: padded.len(),
            act_sums: &[acts.iter().map(|q| i32::from(*q)).sum()],
            interleaved: None,
            expanded: None,
        };
        let mut out = vec![0; self.rows];
        let tiles = self.rows.div_ceil(i2a16::ROW_GRANULE);
        kernel.run(&problem, 0..tiles, &mut out, self.rows)?;
        Ok((out, kernel.descriptor().name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A multiplicative generator: nothing but variety is asked of it.
    fn sequence(len: usize, seed: u64) -> impl Iterator<Item = u64> {
        let mut state = seed;
        (0..len).map(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 40
        })
    }

    #[track_caller]
    fn check(rows: usize, cols: usize) {
        let trits: Vec<i8> = sequence(rows * cols, 1).map(|r| (r % 3) as i8 - 1).collect();
        let acts: Vec<i8> = sequence(cols, 2).map(|r| r as i8).collect();
        let naive =
            |row: &[i8]| -> i64 { row.iter().zip(&acts).map(|(w, q)| i64::from(*w) * i64::from(*q)).sum() };
        let expected: Vec<i64> = trits.chunks(cols).map(naive).collect();
        let matrix = Matrix::new(rows, cols, &trits);
        for isa in [None, Some("portable")] {
            let (found, kernel) = matrix.multiply(isa, &acts).expect("operands that fit");
            assert_eq!(found.into_iter().map(i64::from).collect::<Vec<i64>>(), expected, "{kernel}");
        }
    }

    #[test]
    fn a_shape_of_the_build_script_is_multiplied() {
        check(777, 1000);
    }

    #[test]
    fn the_shapes_of_the_own_config_are_multiplied() {
        for (rows, cols) in [(90, 90), (30, 90), (123, 90), (90, 123)] {
            check(rows, cols);
        }
    }

    #[test]
    fn any_other_shape_is_multiplied_by_the_generic_kernel() {
        check(5, 7);
        check(100, 2049);
    }

    #[test]
    fn a_shape_of_the_build_script_has_a_kernel_of_its_own() {
        let own = |name: &str| name.contains("_777x1000_");
        assert!(kernels::DESCRIPTORS.iter().any(|d| own(d.name)) || cfg!(not(target_arch = "x86_64")));
        let (_, name) =
            Matrix::new(777, 1000, &vec![1; 777_000]).multiply(None, &[1; 1000]).expect("they fit");
        let specialised = kernels::ISAS.iter().any(|isa| isa.rank > 0 && (isa.available)());
        assert_eq!(own(name), specialised, "{name}");
    }
}
