//! [`VocabMatrix`]: an embedding or an output head, one row a token, in any type in which files store them.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};

use super::blocks::{BlockTensor, BlockType};
use super::bytes::SharedBytes;
use super::float::{FloatTensor, FloatType};

/// Storage type of a [`VocabMatrix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageType {
    /// A float for each value.
    Float(FloatType),
    /// Blocks of integers.
    Blocks(BlockType),
}

impl StorageType {
    /// Every type.
    pub const ALL: [StorageType; 6] = [
        StorageType::Float(FloatType::F32),
        StorageType::Float(FloatType::F16),
        StorageType::Float(FloatType::Bf16),
        StorageType::Blocks(BlockType::Q8_0),
        StorageType::Blocks(BlockType::Q6K),
        StorageType::Blocks(BlockType::Q4_0),
    ];

    /// Name as formats print it: `F16`, `Q6_K`.
    pub fn name(self) -> &'static str {
        match self {
            StorageType::Float(float) => float.name(),
            StorageType::Blocks(blocks) => blocks.name(),
        }
    }

    /// Bytes of a row of `cols` values, or `None` where they do not fill whole blocks.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        match self {
            StorageType::Float(float) => cols.checked_mul(float.size()),
            StorageType::Blocks(blocks) => blocks.row_bytes(cols),
        }
    }

    /// Appends a row of `values` in this type to `bytes` and returns the largest absolute difference that this makes.
    /// Floats are rounded to the nearest, ties to even; blocks are quantised as ggml's reference does.
    ///
    /// # Errors
    /// A value that the type cannot hold, or that is not finite. What was appended is of no use then.
    ///
    /// # Panics
    /// If the values do not fill whole blocks.
    pub(crate) fn encode_row(self, values: &[f32], bytes: &mut Vec<u8>) -> Result<f32, f32> {
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(*value);
        }
        let start = bytes.len();
        match self {
            StorageType::Float(FloatType::F32) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            StorageType::Float(FloatType::F16) => {
                bytes.extend(values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()));
            }
            StorageType::Float(FloatType::Bf16) => {
                bytes.extend(values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()));
            }
            StorageType::Blocks(blocks) => blocks.quantize(values, bytes),
        }
        let mut read = vec![0.0; values.len()];
        self.row_to_f32(&bytes[start..], &mut read);
        let mut largest = 0.0f32;
        for (value, read) in values.iter().zip(&read) {
            if !read.is_finite() {
                return Err(*value);
            }
            largest = largest.max((read - value).abs());
        }
        Ok(largest)
    }

    /// Reads the values of a row.
    fn row_to_f32(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            StorageType::Float(float) => float.to_f32(bytes, out),
            StorageType::Blocks(blocks) => blocks.dequantize(bytes, out),
        }
    }
}

/// As on the command line: `f16`, `q6_k`.
impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name().to_lowercase())
    }
}

impl FromStr for StorageType {
    type Err = UnknownStorageType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|kind| kind.to_string() == name);
        found.ok_or_else(|| UnknownStorageType { found: name.chars().take(64).collect() })
    }
}

/// A name that is no type of an embedding or head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("type \"{found}\" is unknown; supported are f32, f16, bf16, q8_0, q6_k and q4_0")]
pub struct UnknownStorageType {
    /// The name that was given, cut to 64 characters.
    pub found: String,
}

/// A row-major matrix of one row a token that stays in the file's own memory: an embedding or an output head.
#[derive(Clone, Debug)]
pub enum VocabMatrix {
    /// Of floats.
    Float(FloatTensor),
    /// Of quantised blocks.
    Blocks(BlockTensor),
}

impl VocabMatrix {
    /// `rows` x `cols` values of `storage` in `bytes`, or `None` where the length is not exactly theirs or a row does not
    /// fill whole blocks.
    pub fn new(rows: usize, cols: usize, storage: StorageType, bytes: SharedBytes) -> Option<Self> {
        match storage {
            StorageType::Float(float) => FloatTensor::new(rows, cols, float, bytes).map(Self::Float),
            StorageType::Blocks(blocks) => BlockTensor::new(rows, cols, blocks, bytes).map(Self::Blocks),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Float(tensor) => tensor.rows(),
            Self::Blocks(tensor) => tensor.rows(),
        }
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        match self {
            Self::Float(tensor) => tensor.cols(),
            Self::Blocks(tensor) => tensor.cols(),
        }
    }

    /// Storage type.
    pub fn storage(&self) -> StorageType {
        match self {
            Self::Float(tensor) => StorageType::Float(tensor.dtype()),
            Self::Blocks(tensor) => StorageType::Blocks(tensor.kind()),
        }
    }

    /// The stored bytes, row after row.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Float(tensor) => tensor.bytes(),
            Self::Blocks(tensor) => tensor.bytes(),
        }
    }

    /// Converts one row to f32, which is exact for every storage type.
    ///
    /// # Panics
    /// If `row` is not below [`Self::rows`] or `out` is not [`Self::cols`] long.
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) {
        match self {
            Self::Float(tensor) => tensor.row_to_f32(row, out),
            Self::Blocks(tensor) => tensor.row_to_f32(row, out),
        }
    }

    /// The whole matrix as f32, row-major.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows() * self.cols()];
        out.chunks_exact_mut(self.cols()).enumerate().for_each(|(row, out)| self.row_to_f32(row, out));
        out
    }

    /// Whether this is the same matrix in the same type, byte for byte.
    pub(crate) fn is_copy_of(&self, other: &Self) -> bool {
        self.storage() == other.storage() && self.bytes() == other.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways() {
        for storage in StorageType::ALL {
            assert_eq!(storage.to_string().parse(), Ok(storage));
        }
        assert_eq!("q6_k".parse(), Ok(StorageType::Blocks(BlockType::Q6K)));
        let error = "q5_k".parse::<StorageType>().unwrap_err().to_string();
        assert!(error.contains("q5_k") && error.contains("q6_k"), "{error}");
    }

    #[test]
    fn rows_are_encoded_in_every_type_and_read_back() {
        // Integers of one sign that every type holds but for its rounding, 0 to 255.
        let values: Vec<f32> = (0..256).map(|i| i as f32).collect();
        for storage in StorageType::ALL {
            let mut bytes = vec![7];
            let rounding = storage.encode_row(&values, &mut bytes).unwrap();
            let row = SharedBytes::from(bytes).slice(1..1 + storage.row_bytes(256).unwrap()).unwrap();
            assert_eq!(row.len(), storage.row_bytes(256).unwrap());
            let matrix = VocabMatrix::new(1, 256, storage, row.clone()).unwrap();
            assert_eq!((matrix.rows(), matrix.cols(), matrix.storage()), (1, 256, storage));
            let read = matrix.to_f32_vec();
            let largest = read.iter().zip(&values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert_eq!(largest, rounding, "{storage}");
            assert!(matrix.is_copy_of(&matrix.clone()));
            assert!(VocabMatrix::new(2, 256, storage, row.clone()).is_none());
            assert!(VocabMatrix::new(usize::MAX, 256, storage, row).is_none());
        }
    }

    #[test]
    fn what_a_type_cannot_hold_is_told() {
        let encode = |storage: StorageType, value| {
            let mut values = [1.0f32; 256];
            values[200] = value;
            storage.encode_row(&values, &mut Vec::new()).err()
        };
        for storage in StorageType::ALL {
            assert!(encode(storage, f32::NAN).is_some_and(f32::is_nan), "{storage}");
            assert_eq!(encode(storage, f32::NEG_INFINITY), Some(f32::NEG_INFINITY), "{storage}");
            // Beyond the largest f16 scale times the largest code; among floats only f16 is too narrow.
            let wide = matches!(storage, StorageType::Float(FloatType::F32 | FloatType::Bf16));
            for large in [-3e38, 1e30, 1e12] {
                assert_eq!(encode(storage, large).is_none(), wide, "{storage}: {large}");
            }
        }
    }
}
