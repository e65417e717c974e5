//! Reference values from a safetensors file.

use crate::format::SharedBytes;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a model must return for some token ids.
///
/// The file's tensors: `input_ids` `[T]` I64, and any of `logits` `[T, vocab]` F32, `hidden.N` `[T, hidden]`
/// F32 (the input of layer N; N equal to the number of layers is after the final norm), `greedy` `[N]` I64
/// (the greedy continuation of `input_ids`), `embedding` (for models with pooling).
#[derive(Clone, Debug)]
pub struct Reference {
    pub(super) input_ids: Vec<i64>,
    pub(super) logits: Option<Matrix>,
    pub(super) hidden: BTreeMap<usize, Matrix>,
    pub(super) greedy: Vec<i64>,
    pub(super) has_embedding: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Matrix {
    pub shape: [usize; 2],
    pub values: Vec<f32>,
}

/// Why a file is no reference.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The file could not be read.
    #[error("cannot read the reference {}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not in the safetensors format, or damaged.
    #[error("the reference is no valid safetensors file: {0}")]
    Container(#[from] SafeTensorError),
    /// There is no `input_ids`.
    #[error("the reference has no `input_ids`, the token ids to feed")]
    NoInput,
    /// There is nothing to compare.
    #[error(
        "the reference has nothing to compare; supported are `logits`, `hidden.N`, `greedy`, `embedding`"
    )]
    NothingToCompare,
    /// A tensor with another name.
    #[error(
        "the reference has a tensor `{name}`; supported are `input_ids`, `logits`, `hidden.N`, `greedy` and \
         `embedding`"
    )]
    UnknownTensor {
        /// The name.
        name: String,
    },
    /// A tensor of the wrong type or number of dimensions.
    #[error("{name} of the reference is {dtype} {shape:?}; expected is {expected}")]
    TensorType {
        /// Name of the tensor.
        name: String,
        /// Its type.
        dtype: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What it should be.
        expected: &'static str,
    },
    /// A value that is infinite or not a number.
    #[error("element {index} of {name} of the reference is {value}; reference values must be finite")]
    NotFinite {
        /// Name of the tensor.
        name: String,
        /// Index of the value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// All values are the same, so that there is no standard deviation to measure differences in.
    #[error("all values of {name} of the reference are equal, so there is no deviation to measure with")]
    Constant {
        /// Name of the tensor.
        name: String,
    },
}

impl Reference {
    /// Reads a reference file.
    ///
    /// # Errors
    /// [`ReferenceError`]: the file cannot be read or is not as described at [`Reference`].
    pub fn load(path: &Path) -> Result<Self, ReferenceError> {
        let bytes = SharedBytes::open(path)
            .map_err(|source| ReferenceError::Io { path: path.to_path_buf(), source })?;
        Self::from_bytes(&bytes)
    }

    /// Reads a reference from the bytes of a safetensors file.
    ///
    /// # Errors
    /// [`ReferenceError`] when it is not as described at [`Reference`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ReferenceError> {
        let file = SafeTensors::deserialize(bytes)?;
        let mut reference = Self {
            input_ids: Vec::new(),
            logits: None,
            hidden: BTreeMap::new(),
            greedy: Vec::new(),
            has_embedding: false,
        };
        // Sorted, so that of several faults the same one is reported each time.
        let tensors: BTreeMap<&str, TensorView<'_>> = file.iter().collect();
        for (name, view) in tensors {
            match name {
                "input_ids" => reference.input_ids = ids(name, &view)?,
                "greedy" => reference.greedy = ids(name, &view)?,
                "logits" => reference.logits = Some(matrix(name, &view)?),
                "embedding" => reference.has_embedding = true,
                _ => {
                    // Another spelling of a number, such as 07, is not the documented name.
                    let index = name.strip_prefix("hidden.").and_then(|index| index.parse().ok());
                    let index = index
                        .filter(|index| name == format!("hidden.{index}"))
                        .ok_or_else(|| ReferenceError::UnknownTensor { name: name.into() })?;
                    reference.hidden.insert(index, matrix(name, &view)?);
                }
            }
        }
        if reference.input_ids.is_empty() {
            return Err(ReferenceError::NoInput);
        }
        let values = reference.logits.is_some() || !reference.hidden.is_empty();
        if !(values || reference.has_embedding || !reference.greedy.is_empty()) {
            return Err(ReferenceError::NothingToCompare);
        }
        Ok(reference)
    }
}

/// Standard deviation of all values (divided by their number, not one less).
pub(super) fn standard_deviation(values: &[f32]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let squares = values.iter().map(|&v| (f64::from(v) - mean) * (f64::from(v) - mean)).sum::<f64>();
    (squares / count).sqrt()
}

fn type_error(name: &str, view: &TensorView<'_>, expected: &'static str) -> ReferenceError {
    ReferenceError::TensorType {
        name: name.into(),
        dtype: format!("{:?}", view.dtype()),
        shape: view.shape().to_vec(),
        expected,
    }
}

fn ids(name: &str, view: &TensorView<'_>) -> Result<Vec<i64>, ReferenceError> {
    if view.dtype() != Dtype::I64 || view.shape().len() != 1 || view.shape()[0] == 0 {
        return Err(type_error(name, view, "I64 [N] with at least one id"));
    }
    let (bytes, _) = view.data().as_chunks::<8>();
    Ok(bytes.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
}

fn matrix(name: &str, view: &TensorView<'_>) -> Result<Matrix, ReferenceError> {
    const EXPECTED: &str = "F32 [tokens, vocabulary or hidden size], not empty";
    let shape = <[usize; 2]>::try_from(view.shape()).map_err(|_| type_error(name, view, EXPECTED))?;
    if view.dtype() != Dtype::F32 || shape.contains(&0) {
        return Err(type_error(name, view, EXPECTED));
    }
    let (bytes, _) = view.data().as_chunks::<4>();
    let values: Vec<f32> = bytes.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if let Some(index) = values.iter().position(|v| !v.is_finite()) {
        return Err(ReferenceError::NotFinite { name: name.into(), index, value: values[index] });
    }
    if values.iter().all(|v| *v == values[0]) {
        return Err(ReferenceError::Constant { name: name.into() });
    }
    Ok(Matrix { shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Result<Reference, ReferenceError> {
        let views = tensors.iter().map(|(name, dtype, shape, data)| {
            (name.to_string(), TensorView::new(*dtype, shape.to_vec(), data).unwrap())
        });
        Reference::from_bytes(&safetensors::serialize(views, None).unwrap())
    }

    fn i64s(values: &[i64]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn a_good_file_is_read() {
        let reference = file(&[
            ("input_ids", Dtype::I64, &[2], i64s(&[5, 6])),
            ("hidden.12", Dtype::F32, &[2, 1], f32s(&[0.5, -0.5])),
            ("greedy", Dtype::I64, &[1], i64s(&[7])),
        ])
        .unwrap();
        assert_eq!((reference.input_ids, reference.greedy), (vec![5, 6], vec![7]));
        assert_eq!(reference.hidden[&12].values, [0.5, -0.5]);
        assert_eq!(reference.hidden[&12].shape, [2, 1]);
        assert!(reference.logits.is_none() && !reference.has_embedding);
    }

    #[test]
    fn every_fault_is_named() {
        let input = ("input_ids", Dtype::I64, &[2][..], i64s(&[5, 6]));
        let logits = |shape: &'static [usize], values: &[f32]| ("logits", Dtype::F32, shape, f32s(values));
        let cases = [
            (vec![input.clone()], "nothing to compare"),
            (vec![logits(&[1, 2], &[1.0, 2.0])], "no `input_ids`"),
            (vec![input.clone(), logits(&[2], &[1.0, 2.0])], "logits of the reference is F32 [2]"),
            (vec![input.clone(), logits(&[0, 2], &[])], "F32 [0, 2]"),
            (vec![input.clone(), logits(&[1, 2], &[1.0, f32::NAN])], "element 1 of logits"),
            (vec![input.clone(), logits(&[1, 2], &[1.0, 1.0])], "all values of logits"),
            (vec![input.clone(), ("logits", Dtype::F16, &[1, 2], vec![0; 4])], "F16 [1, 2]"),
            (vec![input.clone(), ("logit", Dtype::U8, &[1], vec![0])], "tensor `logit`"),
            (vec![input.clone(), ("hidden.x", Dtype::U8, &[1], vec![0])], "tensor `hidden.x`"),
            (vec![input.clone(), ("hidden.07", Dtype::U8, &[1], vec![0])], "tensor `hidden.07`"),
            (vec![("input_ids", Dtype::I32, &[2], vec![0; 8])], "input_ids of the reference is I32"),
            (vec![input, ("greedy", Dtype::I64, &[0], vec![])], "greedy of the reference is I64 [0]"),
        ];
        for (tensors, message) in cases {
            let error = file(&tensors).unwrap_err().to_string();
            assert!(error.contains(message), "{error} does not say {message}");
        }
        assert!(matches!(Reference::from_bytes(b"GGUF"), Err(ReferenceError::Container(_))));
        assert!(matches!(Reference::load(Path::new("no/such/file")), Err(ReferenceError::Io { .. })));
    }

    #[test]
    fn standard_deviation_by_hand() {
        // Mean 5, squares 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32 over 8.
        assert_eq!(standard_deviation(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]), 2.0);
    }
}
