//! From a Hugging Face directory to a GGUF file that other engines load as well.
//!
//! The file is GGUF v3 with the names and keys of the published BitNet files: I2_S weights in the canonical
//! 128-element blocks with the scale behind them, f32 norms, an embedding in f16 unless asked otherwise, the tokenizer. Two keys are
//! our own: `<arch>.hidden_act` names the activation function, and `tritforge.i2_s.tail` is there where rows
//! do not fill whole blocks. The same directory and options always give the same bytes.

mod error;
mod tokenizer;

use std::io::Write;
use std::path::Path;

pub use error::ConvertError;

use crate::format::gguf::{
    GgufWriter, TAIL_FLAT, TAIL_KEY, TensorType, activation_key, layer_tensor, write_i2_s,
};
use crate::format::{
    FloatType, HfDirectory, LoadOptions, RawModel, StorageType, TernaryTensor, UnknownStorageType,
    VocabMatrix,
};
use crate::model::config::{Activation, ModelConfig};
use crate::new_file::write_whole;
use crate::packed::Scales;

/// `general.file_type` of files whose weights are mostly I2_S.
const FILE_TYPE_I2_S: u32 = 40;

/// Storage type of the embedding or the output head in the new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAs {
    /// The one that the checkpoint has.
    Stored,
    /// This one.
    Type(StorageType),
}

impl StoreAs {
    /// IEEE half, as in the published files.
    pub const F16: StoreAs = StoreAs::Type(StorageType::Float(FloatType::F16));

    fn of(self, matrix: &VocabMatrix) -> StorageType {
        match self {
            StoreAs::Stored => matrix.storage(),
            StoreAs::Type(storage) => storage,
        }
    }
}

/// As on the command line: `stored`, or a type such as `f16`.
impl std::fmt::Display for StoreAs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreAs::Stored => f.write_str("stored"),
            StoreAs::Type(storage) => storage.fmt(f),
        }
    }
}

impl std::str::FromStr for StoreAs {
    type Err = UnknownStorageType;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "stored" => Ok(StoreAs::Stored),
            _ => name.parse().map(StoreAs::Type),
        }
    }
}

/// How to convert.
#[derive(Clone, Debug, Default)]
pub struct ConvertOptions {
    /// Name of the model in the file; the directory's own where absent.
    pub name: Option<String>,
    /// Whether an existing file may be replaced.
    pub overwrite: bool,
    /// Storage type of the output head, and so of an embedding that is the head as well (tied). Where absent, that of the
    /// embedding.
    pub head: Option<StoreAs>,
    /// Storage type of the embedding, f16 where absent. That of a tied embedding is the head's: both may be given only if
    /// they are the same.
    pub embedding: Option<StoreAs>,
    /// Activation function, for a `config.json` that does not name it.
    pub act: Option<Activation>,
}

/// What a conversion did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConvertReport {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Number of tensors.
    pub tensors: usize,
    /// Why the file has no tokenizer, if it has none.
    pub no_tokenizer: Option<String>,
    /// Largest absolute difference that rounding made to a value of the embedding or the head.
    pub largest_rounding: f32,
    /// What a user of the file should know.
    pub warnings: Vec<String>,
}

/// Converts the checkpoint in `directory` into the file `out`, which appears under its name only when it is
/// complete.
///
/// # Errors
/// [`ConvertError`]: the directory cannot be read, the model cannot be held by the format, `out` exists
/// (without `overwrite`) or cannot be written. Nothing is left behind then.
pub fn convert(
    directory: &Path,
    out: &Path,
    options: &ConvertOptions,
) -> Result<ConvertReport, ConvertError> {
    write_whole(out, options.overwrite, |file| convert_to(directory, file, options))
}

/// Converts the checkpoint in `directory`, writing the file to `out`.
///
/// # Errors
/// As [`convert`].
pub fn convert_to(
    directory: &Path,
    out: &mut dyn Write,
    options: &ConvertOptions,
) -> Result<ConvertReport, ConvertError> {
    let directory = HfDirectory::open(directory)?;
    let model = directory.load(&LoadOptions { act: options.act, pre: None })?;
    if !model.config.sub_norms {
        return Err(ConvertError::NoSubNorms { architecture: model.config.architecture });
    }
    let mut report = ConvertReport::default();
    let mut writer = GgufWriter::default();
    let name = options.name.as_deref().unwrap_or(&model.config.name);
    put_hyper_parameters(&mut writer, &model.config, name);
    let tensors = plan(&model, options)?;
    let tails: Vec<&TernaryTensor> = tensors
        .iter()
        .filter_map(|(_, tensor)| match tensor {
            Tensor::Ternary(tensor) if !tensor.cols().is_multiple_of(128) => Some(*tensor),
            _ => None,
        })
        .collect();
    if let Some(first) = tails.first() {
        writer.put_str(TAIL_KEY, TAIL_FLAT);
        report.warnings.push(format!(
            "{} matrices (the first is {}) have rows of {} weights, not a multiple of 128: this file keeps them all, \
             but other engines drop or misplace the rest of each row",
            tails.len(),
            first.name(),
            first.cols(),
        ));
    }
    report.no_tokenizer = tokenizer::put(&mut writer, &directory, &model, &mut report.warnings)?;

    for (name, tensor) in &tensors {
        let (shape, kind) = tensor.shape_and_kind();
        writer.announce(name.clone(), &shape, kind).map_err(|reason| ConvertError::Shape {
            tensor: name.clone(),
            shape,
            reason,
        })?;
    }
    report.tensors = writer.tensor_count();
    report.bytes = writer.write(out, |index, out| {
        let (name, tensor) = &tensors[index];
        let rounding = tensor.write(name, out)?;
        report.largest_rounding = report.largest_rounding.max(rounding);
        Ok::<(), ConvertError>(())
    })?;
    Ok(report)
}

/// Writes everything about the graph.
///
/// Other engines tell the activation function by the architecture: `bitnet` means SiLU to all of them, and
/// `bitnet-b1.58` squared ReLU to those that do it right.
pub(crate) fn put_hyper_parameters(writer: &mut GgufWriter, config: &ModelConfig, name: &str) {
    let architecture = match config.activation {
        Activation::Relu2 => "bitnet-b1.58",
        Activation::Silu => "bitnet",
    };
    let key = |suffix: &str| format!("{architecture}.{suffix}");
    writer.put_str("general.architecture", architecture);
    writer.put_str("general.name", name);
    writer.put_u32("general.file_type", FILE_TYPE_I2_S);
    // The configuration has been validated: no dimension exceeds 2^24.
    for (suffix, value) in [
        ("vocab_size", config.vocab),
        ("context_length", config.context),
        ("embedding_length", config.hidden),
        ("block_count", config.layers),
        ("feed_forward_length", config.ffn),
        ("rope.dimension_count", config.head_dim),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
    ] {
        writer.put_u32(&key(suffix), value as u32);
    }
    if config.heads * config.head_dim != config.hidden {
        writer.put_u32(&key("attention.key_length"), config.head_dim as u32);
        writer.put_u32(&key("attention.value_length"), config.head_dim as u32);
    }
    writer.put_f32(&key("attention.layer_norm_rms_epsilon"), config.rms_norm_eps);
    writer.put_f32(&key("rope.freq_base"), config.rope_theta as f32);
    writer.put_str(&activation_key(architecture), config.activation.name());
}

/// A tensor of the new file and where its values come from.
enum Tensor<'a> {
    Vocab(&'a VocabMatrix, StorageType),
    Norm(&'a [f32]),
    Ternary(&'a TernaryTensor),
}

/// The tensors in file order.
fn plan<'a>(
    model: &'a RawModel,
    options: &ConvertOptions,
) -> Result<Vec<(String, Tensor<'a>)>, ConvertError> {
    let (embedding, head) = match (options.embedding, options.head) {
        (Some(embedding), Some(head)) if model.output.is_none() && embedding != head => {
            return Err(ConvertError::TiedTypes { embedding, head });
        }
        (None, Some(head)) if model.output.is_none() => (head, head),
        (embedding, head) => {
            let embedding = embedding.unwrap_or(StoreAs::F16);
            (embedding, head.unwrap_or(embedding))
        }
    };
    let vocab = |matrix, kind: StoreAs| Tensor::Vocab(matrix, kind.of(matrix));
    let mut tensors = vec![("token_embd.weight".to_owned(), vocab(&model.token_embd, embedding))];
    for (index, layer) in model.layers.iter().enumerate() {
        let norms = [
            ("attn_norm", Some(&layer.input_layernorm)),
            ("attn_sub_norm", layer.inner_attn_ln.as_ref()),
            ("ffn_norm", Some(&layer.post_attention_layernorm)),
            ("ffn_sub_norm", layer.ffn_layernorm.as_ref()),
        ];
        let linears = [
            ("attn_q", &layer.q_proj),
            ("attn_k", &layer.k_proj),
            ("attn_v", &layer.v_proj),
            ("attn_output", &layer.o_proj),
            ("ffn_gate", &layer.gate_proj),
            ("ffn_up", &layer.up_proj),
            ("ffn_down", &layer.down_proj),
        ];
        let norms = norms.into_iter().filter_map(|(name, norm)| Some((name, Tensor::Norm(norm?))));
        let linears = linears.into_iter().map(|(name, tensor)| (name, Tensor::Ternary(tensor)));
        tensors.extend(norms.chain(linears).map(|(name, tensor)| (layer_tensor(index, name), tensor)));
    }
    tensors.push(("output_norm.weight".to_owned(), Tensor::Norm(&model.output_norm)));
    if let Some(output) = &model.output {
        tensors.push(("output.weight".to_owned(), vocab(output, head)));
    }
    Ok(tensors)
}

impl Tensor<'_> {
    /// Shape, outermost dimension first, and storage type in the new file.
    fn shape_and_kind(&self) -> (Vec<usize>, TensorType) {
        match self {
            Tensor::Vocab(matrix, storage) => (vec![matrix.rows(), matrix.cols()], (*storage).into()),
            Tensor::Norm(norm) => (vec![norm.len()], TensorType::Float(FloatType::F32)),
            Tensor::Ternary(tensor) => (vec![tensor.rows(), tensor.cols()], TensorType::I2S),
        }
    }

    /// Writes the values and returns the largest rounding.
    fn write(&self, name: &str, out: &mut dyn Write) -> Result<f32, ConvertError> {
        match self {
            Tensor::Vocab(matrix, storage) => write_vocab_matrix(name, matrix, *storage, out),
            Tensor::Norm(norm) => {
                for value in *norm {
                    out.write_all(&value.to_le_bytes())?;
                }
                Ok(0.0)
            }
            Tensor::Ternary(tensor) => write_ternary(tensor, out).map(|()| 0.0),
        }
    }
}

fn write_vocab_matrix(
    name: &str,
    matrix: &VocabMatrix,
    storage: StorageType,
    out: &mut dyn Write,
) -> Result<f32, ConvertError> {
    let mut values = vec![0.0f32; matrix.cols()];
    let mut bytes = Vec::new();
    let mut largest = 0.0f32;
    for row in 0..matrix.rows() {
        matrix.row_to_f32(row, &mut values);
        bytes.clear();
        let rounding = storage.encode_row(&values, &mut bytes);
        let unfit = |value| ConvertError::Unfit { tensor: name.to_owned(), row, value, storage };
        largest = largest.max(rounding.map_err(unfit)?);
        out.write_all(&bytes)?;
    }
    Ok(largest)
}

fn write_ternary(tensor: &TernaryTensor, out: &mut dyn Write) -> Result<(), ConvertError> {
    let Scales::PerTensor(scale) = *tensor.scales() else {
        return Err(ConvertError::PerRowScale { tensor: tensor.name().to_owned() });
    };
    write_i2_s((tensor.rows(), tensor.cols()), scale, out, |row, trits| Ok(tensor.unpack_row(row, trits)?))
}

#[cfg(test)]
mod tests;
