//! The safetensors of a directory: one file, or several with an index.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path};

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::format::bytes::SharedBytes;
use crate::format::error::FormatError;
use crate::format::float::FloatType;
use crate::format::raw_model::{TensorInfo, shape_text};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Storage types that a checkpoint of a ternary model uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HfType {
    U8,
    Float(FloatType),
}

impl HfType {
    fn from_dtype(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::U8 => HfType::U8,
            Dtype::F32 => HfType::Float(FloatType::F32),
            Dtype::F16 => HfType::Float(FloatType::F16),
            Dtype::BF16 => HfType::Float(FloatType::Bf16),
            _ => return None,
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            HfType::U8 => "U8",
            HfType::Float(float) => float.name(),
        }
    }
}

/// A tensor of a checkpoint.
#[derive(Debug)]
pub(super) struct HfTensor {
    pub(super) dtype: HfType,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: SharedBytes,
}

/// All tensors of a checkpoint by name, to be taken one by one so that what is left over can be named.
#[derive(Debug)]
pub(super) struct Shards {
    tensors: BTreeMap<String, HfTensor>,
    file_bytes: u64,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Shards {
    /// Maps the weight files of a directory.
    pub(super) fn open(folder: &Path) -> Result<Self, FormatError> {
        let mut shards = Self { tensors: BTreeMap::new(), file_bytes: 0 };
        let single = folder.join(SINGLE);
        if single.exists() {
            shards.add(&single, None)?;
            return Ok(shards);
        }
        let index_path = folder.join(INDEX);
        if !index_path.exists() {
            return Err(FormatError::NoWeights.in_file(folder));
        }
        let index = std::fs::read(&index_path)
            .map_err(FormatError::from)
            .and_then(|bytes| Ok(serde_json::from_slice::<Index>(&bytes)?))
            .map_err(|error| error.in_file(&index_path))?;
        let files: std::collections::BTreeSet<&String> = index.weight_map.values().collect();
        for file in files {
            // An index must not lead out of its directory.
            let plain =
                matches!(Path::new(file).components().collect::<Vec<_>>()[..], [Component::Normal(_)]);
            if !plain {
                let error = FormatError::BadKey {
                    key: "weight_map".into(),
                    found: file.chars().take(100).collect(),
                    expected: "names of files beside the index".into(),
                };
                return Err(error.in_file(&index_path));
            }
            shards.add(&folder.join(file), Some((&index.weight_map, file)))?;
        }
        if let Some(name) = index.weight_map.keys().find(|name| !shards.tensors.contains_key(*name)) {
            return Err(FormatError::MissingTensor { name: name.clone() }.in_file(&index_path));
        }
        Ok(shards)
    }

    /// Adds the tensors of one file, which with an index must all be where it says.
    fn add(
        &mut self,
        path: &Path,
        index: Option<(&HashMap<String, String>, &str)>,
    ) -> Result<(), FormatError> {
        let bytes = SharedBytes::open(path).map_err(|error| FormatError::from(error).in_file(path))?;
        self.file_bytes += bytes.len() as u64;
        self.add_bytes(&bytes, index).map_err(|error| error.in_file(path))
    }

    fn add_bytes(
        &mut self,
        bytes: &SharedBytes,
        index: Option<(&HashMap<String, String>, &str)>,
    ) -> Result<(), FormatError> {
        let bad = |error: &dyn std::fmt::Display| FormatError::Safetensors(error.to_string());
        let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| bad(&error))?;
        let data = header + 8;
        for (name, info) in metadata.tensors() {
            if let Some((map, file)) = index
                && map.get(&name).map(String::as_str) != Some(file)
            {
                return Err(FormatError::unused([name.as_str()]).unwrap_or(FormatError::NoWeights));
            }
            let dtype = HfType::from_dtype(info.dtype).ok_or_else(|| FormatError::TensorType {
                tensor: name.clone(),
                found: format!("{:?}", info.dtype),
                expected: "U8, F32, F16 or BF16",
            })?;
            let (start, end) = info.data_offsets;
            let bytes = bytes
                .slice(data + start..data + end)
                .ok_or_else(|| bad(&format_args!("tensor {name} lies outside the file")))?;
            self.tensors.insert(name, HfTensor { dtype, shape: info.shape.clone(), bytes });
        }
        Ok(())
    }

    /// Size of the files together.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Number of tensors.
    pub(super) fn len(&self) -> usize {
        self.tensors.len()
    }

    /// What `inspect` prints, by name.
    pub(super) fn infos(&self) -> Vec<TensorInfo> {
        let info = |(name, tensor): (&String, &HfTensor)| TensorInfo {
            name: name.clone(),
            shape: tensor.shape.clone(),
            type_name: tensor.dtype.name(),
            bytes: tensor.bytes.len(),
        };
        self.tensors.iter().map(info).collect()
    }

    /// Whether a tensor is there and not taken yet.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Takes a tensor out, checking its shape.
    pub(super) fn take(&mut self, name: &str, expected: &[usize]) -> Result<HfTensor, FormatError> {
        let tensor =
            self.tensors.remove(name).ok_or_else(|| FormatError::MissingTensor { name: name.to_owned() })?;
        if tensor.shape != expected {
            return Err(FormatError::Shape {
                tensor: name.to_owned(),
                found: shape_text(&tensor.shape),
                expected: shape_text(expected),
            });
        }
        Ok(tensor)
    }

    /// The error for tensors that nobody took, if any are left.
    pub(super) fn unused(&self) -> Option<FormatError> {
        FormatError::unused(self.tensors.keys().map(String::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A safetensors file of one F32 tensor of one element, by the format's definition.
    fn file(name: &str, value: f32) -> Vec<u8> {
        let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &value.to_le_bytes()].concat()
    }

    #[test]
    fn shards_are_found_through_their_index() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        assert!(Shards::open(folder.path()).is_err());
        write("model-1.safetensors", &file("a", 1.0));
        write("model-2.safetensors", &file("b", 2.0));
        let index =
            r#"{"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
        write(INDEX, index.as_bytes());
        let mut shards = Shards::open(folder.path()).unwrap();
        assert_eq!(shards.len(), 2);
        assert_eq!(&*shards.take("b", &[1]).unwrap().bytes, 2f32.to_le_bytes());
        assert!(matches!(shards.take("b", &[1]), Err(FormatError::MissingTensor { .. })));
        assert!(shards.unused().unwrap().to_string().contains('a'));
        assert!(matches!(shards.take("a", &[2]), Err(FormatError::Shape { .. })));

        for bad in [
            index.replace("\"a\"", "\"c\""),
            index.replace("model-1.safetensors", "../model-1.safetensors"),
            index.replace("model-1", "model-3"),
            index.replace("model-1", "model-2"),
            index.replace("weight_map", "map"),
        ] {
            write(INDEX, bad.as_bytes());
            let error = Shards::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains("model"), "{error}");
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let whole = file("a", 1.0);
        let mut long = whole.clone();
        long.push(0);
        let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
        let wide = String::from_utf8_lossy(&whole).replace("F32", "F64").into_bytes();
        for bytes in [&whole[..whole.len() - 1], &whole[..20], &[][..], &long, &huge, &wide] {
            fs::write(folder.path().join(SINGLE), bytes).unwrap();
            assert!(Shards::open(folder.path()).is_err());
        }
    }
}
