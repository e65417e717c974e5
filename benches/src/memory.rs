//! Memory full of ternary weights.

use rand_core::Rng;
use rand_pcg::Pcg32;

/// Bytes of a cache line, and the alignment of weights.
pub const LINE: usize = 64;
/// Random bytes before the contents repeat; more than any predictor learns.
const BLOCK: usize = 1 << 20;

/// Random packed weights, 64-byte aligned. Every byte holds four codes of trits, so that whatever the resident layout,
/// any part of it is a valid matrix.
pub struct WeightMemory {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl WeightMemory {
    /// `len` bytes, written once so that every page is there.
    pub fn new(len: usize) -> Self {
        let mut random = Pcg32::new(1, 1);
        let block: Vec<u8> = (0..BLOCK.min(len)).map(|_| trits(&mut random)).collect();
        let mut bytes = Vec::with_capacity(len + LINE);
        while bytes.len() < len + LINE {
            bytes.extend_from_slice(&block[..block.len().min(len + LINE - bytes.len())]);
        }
        let start = bytes.as_ptr().align_offset(LINE);
        WeightMemory { bytes, start, len }
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    /// Distinct matrices of `len` bytes, each 64-byte aligned: as many as there is room for, at least one.
    ///
    /// # Panics
    /// If the memory does not hold one.
    pub fn matrices(&self, len: usize) -> Vec<&[u8]> {
        let matrices: Vec<&[u8]> = self.bytes().chunks_exact(len.next_multiple_of(LINE)).collect();
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
            assert_eq!(matrix.as_ptr() as usize % LINE, 0);
            assert!(matrix.iter().all(|byte| (0..4).all(|field| byte >> (2 * field) & 3 != 3)));
        }
    }
}
