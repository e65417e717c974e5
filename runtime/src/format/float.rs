//! [`FloatTensor`]: a matrix of f32, f16 or bf16 that is read in place.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::bytes::SharedBytes;

/// Storage type of a [`FloatTensor`], little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
}

impl FloatType {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            FloatType::F32 => 4,
            FloatType::F16 | FloatType::Bf16 => 2,
        }
    }

    /// Name as formats print it: `F32`, `F16`, `BF16`.
    pub fn name(self) -> &'static str {
        match self {
            FloatType::F32 => "F32",
            FloatType::F16 => "F16",
            FloatType::Bf16 => "BF16",
        }
    }

    /// Converts the elements in `bytes`, as many as `out` holds.
    pub(super) fn to_f32(self, bytes: &[u8], out: &mut [f32]) {
        match self {
            FloatType::F32 => {
                for (value, b) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                    *value = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                }
            }
            FloatType::Bf16 => {
                for (value, b) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16);
                }
            }
            FloatType::F16 => {
                // The vectorised conversion wants aligned values, which the file does not promise.
                let mut aligned = [f16::ZERO; BLOCK];
                for (values, chunk) in out.chunks_mut(BLOCK).zip(bytes.chunks(2 * BLOCK)) {
                    let aligned = &mut aligned[..values.len()];
                    for (value, b) in aligned.iter_mut().zip(chunk.chunks_exact(2)) {
                        *value = f16::from_le_bytes([b[0], b[1]]);
                    }
                    aligned.convert_to_f32_slice(values);
                }
            }
        }
    }
}

/// Elements converted at a time.
const BLOCK: usize = 128;

/// A row-major matrix of floats, of any alignment, that stays in the file's own memory.
#[derive(Clone, Debug)]
pub struct FloatTensor {
    rows: usize,
    cols: usize,
    dtype: FloatType,
    bytes: SharedBytes,
}

impl FloatTensor {
    /// `rows` x `cols` elements of `dtype` in `bytes`, or `None` where the length is not exactly theirs.
    pub fn new(rows: usize, cols: usize, dtype: FloatType, bytes: SharedBytes) -> Option<Self> {
        let needed = rows.checked_mul(cols)?.checked_mul(dtype.size())?;
        (bytes.len() == needed).then_some(Self { rows, cols, dtype, bytes })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Storage type.
    pub fn dtype(&self) -> FloatType {
        self.dtype
    }

    /// The stored bytes, row-major, little endian.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Converts one row to f32, which is exact for every storage type.
    ///
    /// # Panics
    /// If `row` is not below [`Self::rows`] or `out` is not [`Self::cols`] long.
    pub fn row_to_f32(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows && out.len() == self.cols, "row {row} into {} of {self:?}", out.len());
        self.span_to_f32(row * self.cols, out);
    }

    /// The whole matrix as f32, row-major.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.cols];
        self.span_to_f32(0, &mut out);
        out
    }

    /// All elements in row-major order.
    pub(crate) fn values(&self) -> impl Iterator<Item = f32> {
        self.values_from(0)
    }

    /// The elements from flat index `start` on.
    pub(crate) fn values_from(&self, start: usize) -> impl Iterator<Item = f32> {
        let count = self.rows * self.cols;
        (start..count).step_by(BLOCK).flat_map(move |at| {
            let mut block = [0.0; BLOCK];
            let length = BLOCK.min(count - at);
            self.span_to_f32(at, &mut block[..length]);
            block.into_iter().take(length)
        })
    }

    /// Converts the elements from flat index `start` on, as many as `out` holds.
    fn span_to_f32(&self, start: usize, out: &mut [f32]) {
        let size = self.dtype.size();
        self.dtype.to_f32(&self.bytes[start * size..(start + out.len()) * size], out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_converts_exactly_at_any_alignment() {
        // 1.0, -2.5 and the largest f16 65504 in each encoding.
        let f32s = [0x3f80_0000u32, 0xc020_0000, 0x477f_e000];
        let f16s = [0x3c00u16, 0xc100, 0x7bff];
        let bf16s = [0x3f80u16, 0xc020, 0x4780]; // 65504 is not a bf16; 65536 is.
        let le32 = f32s.iter().flat_map(|v| v.to_le_bytes());
        let le16 = |v: &[u16]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let cases: [(FloatType, Vec<u8>, f32); 3] = [
            (FloatType::F32, le32.collect(), 65504.0),
            (FloatType::F16, le16(&f16s), 65504.0),
            (FloatType::Bf16, le16(&bf16s), 65536.0),
        ];
        for (dtype, bytes, third) in cases {
            let mut shifted = vec![0xAA];
            shifted.extend(&bytes);
            let view = SharedBytes::from(shifted).slice(1..bytes.len() + 1).unwrap();
            let tensor = FloatTensor::new(1, 3, dtype, view.clone()).unwrap();
            assert_eq!(tensor.to_f32_vec(), [1.0, -2.5, third]);
            let tall = FloatTensor::new(3, 1, dtype, view.clone()).unwrap();
            let mut row = [0.0];
            tall.row_to_f32(1, &mut row);
            assert_eq!(row, [-2.5]);
            assert!(tensor.values_from(1).eq([-2.5, third]));
            assert!(FloatTensor::new(2, 2, dtype, view.clone()).is_none());
            assert!(FloatTensor::new(usize::MAX, 2, dtype, view).is_none());
        }
    }

    #[test]
    fn all_bf16_bit_patterns_convert() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(|v| v.to_le_bytes()).collect();
        let tensor = FloatTensor::new(1, 65536, FloatType::Bf16, bytes.into()).unwrap();
        for (bits, value) in tensor.to_f32_vec().into_iter().enumerate() {
            // Sign, exponent and fraction by the definition of the format.
            let (sign, exponent, fraction) = (bits >> 15, (bits >> 7) as i32 & 255, (bits & 127) as f64);
            let magnitude = match exponent {
                0 => fraction * 2f64.powi(-133),
                255 if fraction > 0.0 => f64::NAN,
                255 => f64::INFINITY,
                _ => (128.0 + fraction) * 2f64.powi(exponent - 134),
            };
            let expected = if sign == 1 { -magnitude } else { magnitude } as f32;
            let same = expected.to_bits() == value.to_bits() || (expected.is_nan() && value.is_nan());
            assert!(same, "{bits:#06x} became {value}, not {expected}");
        }
    }

    #[test]
    fn all_f16_bit_patterns_convert_across_chunks() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(|v| v.to_le_bytes()).collect();
        let tensor = FloatTensor::new(1, 65536, FloatType::F16, bytes.into()).unwrap();
        for (bits, value) in tensor.to_f32_vec().into_iter().enumerate() {
            // Sign, exponent and fraction by the definition of binary16.
            let (sign, exponent, fraction) = (bits >> 15, (bits >> 10) & 31, (bits & 1023) as f32);
            let magnitude = match exponent {
                0 => fraction * 2f32.powi(-24),
                31 if fraction == 0.0 => f32::INFINITY,
                31 => f32::NAN,
                e => (1024.0 + fraction) * 2f32.powi(e as i32 - 25),
            };
            let expected = if sign == 1 { -magnitude } else { magnitude };
            assert!(value == expected || (value.is_nan() && expected.is_nan()), "{bits:#06x}: {value}");
        }
    }
}
