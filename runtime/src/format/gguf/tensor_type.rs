//! Tensor types of GGUF: the four that a ternary model needs, and the names of the others for error messages.

use crate::format::float::FloatType;

/// The supported types, as errors list them.
pub(super) const SUPPORTED: &str = "F32 (0), F16 (1), BF16 (30) and I2_S (36)";

/// Bytes that follow the packed weights of an I2_S tensor: its f32 scale and 28 unused bytes.
pub const I2_S_TRAILER: usize = 32;

/// Storage type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    /// A float type.
    Float(FloatType),
    /// Two bits a weight in blocks of 128 over the flattened matrix, then [`I2_S_TRAILER`] bytes with the
    /// scale.
    I2S,
}

impl TensorType {
    /// The type of a ggml type id, or `None` where it is not supported.
    pub fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => TensorType::Float(FloatType::F32),
            1 => TensorType::Float(FloatType::F16),
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
            TensorType::Float(FloatType::Bf16) => 30,
            TensorType::I2S => 36,
        }
    }

    /// The name that ggml gives it.
    pub fn name(self) -> &'static str {
        match self {
            TensorType::Float(float) => float.name(),
            TensorType::I2S => "I2_S",
        }
    }

    /// Bytes of a tensor of `elements`, or why there is no such tensor.
    pub fn bytes(self, elements: u64) -> Result<u64, &'static str> {
        match self {
            TensorType::Float(float) => {
                elements.checked_mul(float.size() as u64).ok_or("more bytes than can be counted")
            }
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
        2 => "Q4_0",
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        8 => "Q8_0",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
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
        for id in [0, 1, 30, 36] {
            assert_eq!(TensorType::from_id(id).unwrap().id(), id);
        }
        assert_eq!(TensorType::from_id(31), None);
        assert_eq!(TensorType::I2S.bytes(2560 * 2560), Ok(1_638_432));
        assert!(TensorType::I2S.bytes(130).is_err());
        assert_eq!(TensorType::Float(FloatType::Bf16).bytes(3), Ok(6));
        assert!(TensorType::Float(FloatType::F32).bytes(u64::MAX / 2).is_err());
        assert_eq!(describe(14), "Q6_K");
    }
}
