//! Output heads of random weights, in every format.

use rand_core::Rng;
use rand_pcg::Pcg32;
use tritforge::engine::Engine;
use tritforge::format::{BlockType, FloatType, StorageType, VocabMatrix};
use tritforge::head::{Head, HeadType};
use tritforge::numerics::Numerics;

/// Columns of the 2B-4T model's head.
pub const COLS: usize = 2560;

/// The formats: as the file has the weights, and what is made of them.
pub const FORMATS: [(StorageType, HeadType); 7] = [
    (StorageType::Float(FloatType::F16), HeadType::Stored),
    (StorageType::Float(FloatType::Bf16), HeadType::Stored),
    (StorageType::Float(FloatType::F16), HeadType::Int8),
    (StorageType::Float(FloatType::F16), HeadType::Q4_0),
    (StorageType::Blocks(BlockType::Q8_0), HeadType::Stored),
    (StorageType::Blocks(BlockType::Q6K), HeadType::Stored),
    (StorageType::Blocks(BlockType::Q4_0), HeadType::Stored),
];

/// A head of so many rows of random weights.
///
/// # Panics
/// If there is no memory for it.
pub fn head(storage: StorageType, head_type: HeadType, rows: usize, engine: &Engine) -> Head {
    let mut random = Pcg32::new(9, 9);
    let (block, scale_at) = match storage {
        StorageType::Float(_) => (2, 0),
        StorageType::Blocks(BlockType::Q6K) => (BlockType::Q6K.bytes(), BlockType::Q6K.bytes() - 2),
        StorageType::Blocks(kind) => (kind.bytes(), 0),
    };
    let row_bytes = match storage {
        StorageType::Float(float) => COLS * float.size(),
        StorageType::Blocks(kind) => kind.row_bytes(COLS).expect("whole blocks"),
    };
    let mut bytes = vec![0u8; rows * row_bytes];
    bytes.chunks_mut(8).for_each(|chunk| {
        let word = random.next_u64().to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    });
    // Floats and scales far below 1.
    bytes.chunks_exact_mut(block).for_each(|block| block[scale_at + 1] = block[scale_at + 1] & 0x83 | 0x20);
    let matrix = VocabMatrix::new(rows, COLS, storage, bytes.into()).expect("the bytes of all rows");
    Head::new(&matrix, head_type, engine).expect("a head")
}

/// States of so many tokens, and room for their logits.
pub fn operands(rows: usize, tokens: usize) -> (Vec<f32>, Vec<f32>) {
    let mut random = Pcg32::new(3, 3);
    let states = (0..tokens * COLS).map(|_| random.next_u32() as i32 as f32 / (1u32 << 31) as f32).collect();
    (states, vec![0.0; tokens * rows])
}

/// Compares the logits of a head for so many tokens with those of the portable version.
///
/// # Panics
/// If a bit differs: a head that is wrong has no speed, and the bench ends.
pub fn check(head: &Head, tokens: usize, numerics: &Numerics) {
    let (state, mut logits) = operands(head.rows(), tokens);
    let mut expected = logits.clone();
    head.logits_on(&Numerics::portable(), &state, &mut expected).expect("operands that fit");
    head.logits_on(numerics, &state, &mut logits).expect("operands that fit");
    let same = logits.iter().zip(&expected).all(|(found, expected)| found.to_bits() == expected.to_bits());
    assert!(same, "{head:?} on {} is not exact", numerics.isa().id);
}
