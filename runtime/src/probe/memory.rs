//! Memory full of ternary weights, larger than any cache.

use rand_core::Rng;
use rand_pcg::Pcg32;

use crate::kernels::abi::WEIGHT_ALIGNMENT;
use crate::os::AlignedBytes;

/// Random bytes before the contents repeat; more than any predictor learns.
const BLOCK: usize = 1 << 20;

/// Random packed weights, 64-byte aligned, on huge pages where the system gives them, as those of a model are: on small
/// ones it is the translation of addresses that is measured. Every byte holds four codes of trits, so that whatever the
/// resident layout, any part of it is a valid matrix.
#[derive(Debug)]
pub struct WeightMemory {
    bytes: AlignedBytes,
}

impl WeightMemory {
    /// `len` bytes, written once so that every page is there.
    pub fn new(len: usize) -> Self {
        let mut random = Pcg32::new(1, 1);
        let block: Vec<u8> = (0..BLOCK.min(len)).map(|_| trits(&mut random)).collect();
        let mut bytes = AlignedBytes::filled(len, 0);
        for part in bytes.chunks_mut(BLOCK) {
            part.copy_from_slice(&block[..part.len()]);
        }
        WeightMemory { bytes }
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Distinct matrices of `len` bytes, each 64-byte aligned: as many as there is room for, at least one.
    ///
    /// # Panics
    /// If the memory does not hold one, or for a length of 0.
    pub fn matrices(&self, len: usize) -> Vec<&[u8]> {
        let matrices: Vec<&[u8]> =
            self.bytes().chunks_exact(len.next_multiple_of(WEIGHT_ALIGNMENT)).collect();
        assert!(!matrices.is_empty(), "{len} bytes of weights need more memory");
        matrices
    }
}

/// Four random codes, each 0, 1 or 2.
fn trits(random: &mut Pcg32) -> u8 {
    (0..4).fold(0, |byte, field| byte | ((random.next_u32() % 3) as u8) << (2 * field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_matrix_is_aligned_and_holds_trits() {
        let memory = WeightMemory::new(3 * BLOCK / 2);
        assert_eq!(memory.bytes().len(), 3 * BLOCK / 2);
        let matrices = memory.matrices(100_000);
        // 1,572,864 bytes hold fifteen of 100,032.
        assert_eq!(matrices.len(), 15);
        for matrix in matrices {
            assert_eq!(matrix.as_ptr() as usize % WEIGHT_ALIGNMENT, 0);
            assert!(matrix.iter().all(|byte| (0..4).all(|field| byte >> (2 * field) & 3 != 3)));
        }
    }
}
