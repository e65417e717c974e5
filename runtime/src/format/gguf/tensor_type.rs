//! Tensor types of GGUF: those that a ternary model needs, and the names of the others for error messages.

use crate::format::blocks::BlockType;
use crate::format::float::FloatType;
use crate::format::vocab_matrix::StorageType;

/// The supported types, as errors list them.
pub(super) const SUPPORTED: &str = "F32 (0), F16 (1), Q4_0 (2), Q8_0 (8), Q6_K (14), BF16 (30) and I2_S (36)";

/// Bytes that follow the packed weights of an I2_S tensor: its f32 scale and 28 unused bytes.
pub const I2_S_TRAILER: usize = 32;

/// Storage type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    /// A float type.
    Float(FloatType),
    /// Quantised blocks, of embeddings and output heads.
    Blocks(BlockType),
    /// Two bits a weight in blocks of 128 over the flattened matrix, then [`I2_S_TRAILER`] bytes with the
    /// scale.
    I2S,
}

impl From<StorageType> for TensorType {
    fn from(storage: StorageType) -> Self {
        match storage {
            StorageType::Float(float) => TensorType::Float(float),
            StorageType::Blocks(blocks) => TensorType::Blocks(blocks),
        }
    }
}

impl TensorType {
    /// The type of a ggml type id, or `None` where it is not supported.
    pub fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => TensorType::Float(FloatType::F32),
            1 => TensorType::Float(FloatType::F16),
            2 => TensorType::Blocks(BlockType::Q4_0),
            8 => TensorType::Blocks(BlockType::Q8_0),
            14 => TensorType::Blocks(BlockType::Q6K),
            30 => TensorType::Float(FloatType::Bf16),
            36 => TensorType::I2S,
            _ => return None,
        })
    }

    /// The ggml type id.
    pub fn id(self) -> u32 {
        match self {
            TensorType::Float(FloatType::F32) => 0,
            TensorType::Float(FloatType::F16) => 1,
            TensorType::Blocks(BlockType::Q4_0) => 2,
            TensorType::Blocks(BlockType::Q8_0) => 8,
            TensorType::Blocks(BlockType::Q6K) => 14,
            TensorType::Float(FloatType::Bf16) => 30,
            TensorType::I2S => 36,
        }
    }

    /// The name that ggml gives it.
    pub fn name(self) -> &'static str {
        match self {
            TensorType::Float(float) => float.name(),
            TensorType::Blocks(blocks) => blocks.name(),
            TensorType::I2S => "I2_S",
        }
    }

    /// Bytes of a tensor of `elements` in rows of `row`, or why there is no such tensor.
    pub fn bytes(self, row: u64, elements: u64) -> Result<u64, &'static str> {
        match self {
            TensorType::Float(float) => {
                elements.checked_mul(float.size() as u64).ok_or("more bytes than can be counted")
            }
            TensorType::Blocks(blocks) if !row.is_multiple_of(blocks.weights() as u64) => Err(match blocks {
                BlockType::Q4_0 | BlockType::Q8_0 => "its rows do not fill blocks of 32",
                BlockType::Q6K => "its rows do not fill blocks of 256",
            }),
            TensorType::Blocks(blocks) => (elements / blocks.weights() as u64)
                .checked_mul(blocks.bytes() as u64)
                .ok_or("more bytes than can be counted"),
            TensorType::I2S if !elements.is_multiple_of(128) => {
                Err("I2_S holds blocks of 128 elements, and these do not fill their last block")
            }
            TensorType::I2S => Ok(elements / 4 + I2_S_TRAILER as u64),
        }
    }
}

/// What a type id that is not supported stands for. Ids from 36 on mean different things in different
/// programs.
pub(super) fn describe(id: u32) -> &'static str {
    match id {
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        15 => "Q8_K",
        16..=23 | 29 => "an IQ type",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        34 => "TQ1_0",
        35 => "TQ2_0",
        37 => "I8_S of bitnet.cpp",
        38 => "TL1 of bitnet.cpp",
        39 => "MXFP4, or TL2 of an old bitnet.cpp",
        40 => "NVFP4",
        41 => "Q1_0",
        42 => "Q2_0, or TL2 of a new bitnet.cpp",
        134 => "IQ1_BN of ik_llama.cpp",
        135 => "IQ2_BN of ik_llama.cpp",
        335 => "IQ2_BN_R4 of ik_llama.cpp",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_sizes() {
        for id in [0, 1, 2, 8, 14, 30, 36] {
            assert_eq!(TensorType::from_id(id).unwrap().id(), id);
        }
        assert_eq!(TensorType::from_id(31), None);
        assert_eq!(TensorType::I2S.bytes(2560, 2560 * 2560), Ok(1_638_432));
        assert!(TensorType::I2S.bytes(130, 130).is_err());
        assert_eq!(TensorType::Float(FloatType::Bf16).bytes(3, 3), Ok(6));
        assert!(TensorType::Float(FloatType::F32).bytes(2, u64::MAX / 2).is_err());
        // The facts of the format: 18 bytes for 32 weights, 34 for 32, 210 for 256.
        for (blocks, weights, bytes) in
            [(BlockType::Q4_0, 32, 18), (BlockType::Q8_0, 32, 34), (BlockType::Q6K, 256, 210)]
        {
            let kind = TensorType::Blocks(blocks);
            assert_eq!(kind.bytes(3 * weights, 15 * weights), Ok(15 * bytes));
            // Together these would fill blocks, but not each row.
            assert!(kind.bytes(weights / 2, weights).is_err());
            assert!(kind.bytes(weights + 1, weights * (weights + 1)).is_err());
        }
        assert_eq!(describe(12), "Q4_K");
    }
}
