//! [`TernaryTensor`]: a matrix of trits in one of the forms in which files hold it.

use super::bytes::SharedBytes;
use super::error::FormatError;
use super::float::{FloatTensor, FloatType};
use crate::absmean::{self, mean_magnitude};
use crate::kernels::layouts::{hf_u8, i2_s, i2a16};
use crate::packed::{PackError, Scales, pack_tile_by_rows, pack_tile_by_strips};

enum Trits {
    /// GGUF type I2_S, without its 32-byte trailer.
    I2S(SharedBytes),
    /// Hugging Face U8 `[rows / 4, cols]`.
    HfU8(SharedBytes),
    /// Float masters, ternarised by their absmean.
    Masters { weights: FloatTensor, trits: absmean::Trits },
}

/// A matrix of `rows` (outputs) x `cols` (inputs) ternary weights with its scale, read in place.
pub struct TernaryTensor {
    name: String,
    rows: usize,
    cols: usize,
    scales: Scales,
    trits: Trits,
}

impl TernaryTensor {
    /// GGUF's I2_S in its canonical 128-element blocks over the flattened matrix. `data` is the packed part
    /// alone.
    pub(crate) fn from_i2_s(
        name: &str,
        rows: usize,
        cols: usize,
        data: SharedBytes,
        scale: f32,
    ) -> Result<Self, FormatError> {
        check_scale(name, scale)?;
        check_length(name, i2_s::packed_bytes(rows, cols), data.len())?;
        Ok(Self::new(name, rows, cols, Scales::PerTensor(scale), Trits::I2S(data)))
    }

    /// Hugging Face's packed bytes: four row blocks of `rows / 4`, low bits first.
    pub(crate) fn from_hf_u8(
        name: &str,
        rows: usize,
        cols: usize,
        data: SharedBytes,
        scale: f32,
    ) -> Result<Self, FormatError> {
        check_scale(name, scale)?;
        check_length(name, hf_u8::packed_bytes(rows, cols), data.len())?;
        Ok(Self::new(name, rows, cols, Scales::PerTensor(scale), Trits::HfU8(data)))
    }

    /// Float masters, ternarised by the mean of their absolute values over the whole matrix (absmean).
    ///
    /// As in training, the scale is the mean in the type of the masters where
    /// that is bf16; f32 and f16 masters keep an f32 scale.
    pub(crate) fn from_masters(name: &str, weights: FloatTensor) -> Result<Self, FormatError> {
        let mean = mean_magnitude(weights.values());
        if !mean.is_finite() {
            return Err(FormatError::NotFinite { tensor: name.to_owned() });
        }
        let scale = match weights.dtype() {
            FloatType::Bf16 => half::bf16::from_f32(mean as f32).to_f32(),
            FloatType::F32 | FloatType::F16 => mean as f32,
        };
        check_scale(name, scale)?;
        let (rows, cols) = (weights.rows(), weights.cols());
        Ok(Self::new(
            name,
            rows,
            cols,
            Scales::PerTensor(scale),
            Trits::Masters { weights, trits: absmean::Trits::new(mean) },
        ))
    }

    fn new(name: &str, rows: usize, cols: usize, scales: Scales, trits: Trits) -> Self {
        Self { name: name.to_owned(), rows, cols, scales, trits }
    }

    /// The tensor's name in its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of rows (outputs).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns (inputs).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The factor that multiplies the integer product, whichever way round the file writes it.
    pub fn scales(&self) -> &Scales {
        &self.scales
    }

    /// Writes the trits -1, 0, 1 of one row.
    ///
    /// # Errors
    /// [`FormatError::InvalidCode`] where the file holds the unused code 3.
    ///
    /// # Panics
    /// If `row` is not below [`Self::rows`] or `trits` is not [`Self::cols`] long.
    pub fn unpack_row(&self, row: usize, trits: &mut [i8]) -> Result<(), FormatError> {
        assert!(row < self.rows && trits.len() == self.cols, "row {row} of {}", self.name);
        let result = match &self.trits {
            Trits::I2S(data) => i2_s::unpack_row(data, self.rows, self.cols, row, trits),
            Trits::HfU8(data) => hf_u8::unpack_row(data, self.rows, self.cols, row, trits),
            Trits::Masters { weights, trits: rule } => {
                let values = weights.values_from(row * self.cols);
                trits.iter_mut().zip(values).for_each(|(place, weight)| *place = rule.of(weight));
                Ok(())
            }
        };
        result.map_err(|bad| FormatError::InvalidCode {
            tensor: self.name.clone(),
            row: bad.row,
            col: bad.col,
            code: bad.code,
        })
    }
}

impl TernaryTensor {
    /// Packs the 16 rows from `16 * tile` on, as many of them as there are, into `out` in the resident layout. `trits` is
    /// room that is used again.
    pub(crate) fn pack_tile(
        &self,
        tile: usize,
        out: &mut [u8],
        trits: &mut Vec<i8>,
    ) -> Result<(), PackError<FormatError>> {
        let (rows, cols, first) = (self.rows, self.cols, tile * i2a16::ROW_GRANULE);
        let packed = first + i2a16::ROW_GRANULE <= rows
            && match &self.trits {
                Trits::I2S(data) if i2_s::has_strips(cols) => pack_tile_by_strips(out, cols, |row, col| {
                    i2_s::read_strip(data, rows, cols, first + row, col)
                }),
                Trits::HfU8(data) if hf_u8::has_strips(cols) => pack_tile_by_strips(out, cols, |row, col| {
                    hf_u8::read_strip(data, rows, cols, first + row, col)
                }),
                _ => false,
            };
        // Row by row it also comes out where a code is that stands for no trit.
        if packed {
            return Ok(());
        }
        pack_tile_by_rows(out, (rows, cols), tile, trits, |row, trits| self.unpack_row(row, trits))
    }

    /// Has the system read the codes from the disk meanwhile: see [`SharedBytes::read_ahead`]. Masters have been read for
    /// their mean.
    pub(crate) fn read_ahead(&self) {
        if let Trits::I2S(data) | Trits::HfU8(data) = &self.trits {
            data.read_ahead();
        }
    }
}

/// A scale of zero, below zero or without a finite value can only come from damage or from another format.
fn check_scale(tensor: &str, scale: f32) -> Result<(), FormatError> {
    if scale.is_finite() && scale > 0.0 {
        Ok(())
    } else {
        Err(FormatError::Scale { tensor: tensor.to_owned(), value: scale })
    }
}

fn check_length(tensor: &str, expected: usize, found: usize) -> Result<(), FormatError> {
    if expected == found {
        Ok(())
    } else {
        Err(FormatError::TensorBytes { tensor: tensor.to_owned(), expected, found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32_tensor(rows: usize, cols: usize, values: &[f32]) -> FloatTensor {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        FloatTensor::new(rows, cols, FloatType::F32, bytes.into()).unwrap()
    }

    /// The first `count` trits of the facts sheet's generator: r = 1103515245 r + 12345 mod 2^31.
    fn lcg_trits(count: usize) -> Vec<i8> {
        let mut r: u64 = 1;
        (0..count)
            .map(|_| {
                r = (1_103_515_245 * r + 12345) % (1 << 31);
                ((r >> 16) % 3) as i8 - 1
            })
            .collect()
    }

    fn from_hex(hex: &str) -> Vec<u8> {
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn i2_s_decodes_the_worked_example() {
        let data = from_hex("a65022695894040428224682162585a02a01042195658514021a2a9852909586");
        let tensor = TernaryTensor::from_i2_s("w", 1, 128, data.clone().into(), 0.5).unwrap();
        let mut trits = [0i8; 128];
        tensor.unpack_row(0, &mut trits).unwrap();
        assert_eq!(trits[..], lcg_trits(128)[..]);

        let mut damaged = data;
        damaged[5] |= 0b0000_1100; // bits 3:2 hold element 64 + 5
        let tensor = TernaryTensor::from_i2_s("w", 2, 64, damaged.into(), 0.5).unwrap();
        tensor.unpack_row(0, &mut trits[..64]).unwrap();
        let error = tensor.unpack_row(1, &mut trits[..64]).unwrap_err();
        assert!(matches!(error, FormatError::InvalidCode { row: 1, col: 5, code: 3, .. }), "{error}");
    }

    #[test]
    fn hf_u8_decodes_the_worked_example() {
        let data = from_hex("020104896192a888");
        let tensor = TernaryTensor::from_hf_u8("w", 8, 4, data.into(), 1.5).unwrap();
        let expected = lcg_trits(32);
        for row in 0..8 {
            let mut trits = [0i8; 4];
            tensor.unpack_row(row, &mut trits).unwrap();
            assert_eq!(trits, expected[row * 4..row * 4 + 4]);
        }
    }

    #[test]
    fn absmean_matches_the_worked_example() {
        let tensor = TernaryTensor::from_masters("w", f32_tensor(1, 4, &[0.3, -0.05, 0.1, -0.6])).unwrap();
        let mut trits = [9i8; 4];
        tensor.unpack_row(0, &mut trits).unwrap();
        assert_eq!(trits, [1, 0, 0, -1]);
        let Scales::PerTensor(scale) = *tensor.scales() else { panic!("one scale") };
        assert!((scale - 0.2625).abs() < 1e-7);
    }

    #[test]
    fn absmean_rounds_ties_to_even_and_has_a_floor() {
        // Mean exactly 1: 0.5 and 1.5 are ties, which go to 0 and (clamped) to 1.
        let tensor = TernaryTensor::from_masters("w", f32_tensor(2, 2, &[0.5, -0.5, 1.5, -1.5])).unwrap();
        let mut trits = [9i8; 2];
        tensor.unpack_row(0, &mut trits).unwrap();
        assert_eq!(trits, [0, 0]);
        tensor.unpack_row(1, &mut trits).unwrap();
        assert_eq!(trits, [1, -1]);
        let dead = TernaryTensor::from_masters("w", f32_tensor(1, 2, &[1e-34, 0.0])).unwrap();
        dead.unpack_row(0, &mut trits).unwrap();
        assert_eq!(trits, [0, 0]);
        assert_eq!(*dead.scales(), Scales::PerTensor(1e-5));
    }

    #[test]
    fn bad_scales_and_masters_are_refused() {
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let result = TernaryTensor::from_hf_u8("w", 4, 1, vec![0].into(), scale);
            assert!(matches!(result, Err(FormatError::Scale { .. })));
        }
        for bad in [f32::NAN, f32::INFINITY] {
            let result = TernaryTensor::from_masters("w", f32_tensor(1, 2, &[1.0, bad]));
            assert!(matches!(result, Err(FormatError::NotFinite { .. })));
        }
        assert!(TernaryTensor::from_hf_u8("w", 4, 2, vec![0].into(), 1.0).is_err());
    }
}
