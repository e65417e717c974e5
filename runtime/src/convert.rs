//! From a Hugging Face directory to a GGUF file that other engines load as well.
//!
//! The file is GGUF v3 with the names and keys of the published BitNet files: I2_S weights in the canonical
//! 128-element blocks with the scale behind them, f32 norms, an f16 embedding, the tokenizer. Two keys are
//! our own: `<arch>.hidden_act` names the activation function, and `tritforge.i2_s.tail` is there where rows
//! do not fill whole blocks. The same directory and options always give the same bytes.

mod error;
mod tokenizer;

use std::io::Write;
use std::path::Path;

use half::{bf16, f16};

pub use error::ConvertError;

use crate::format::gguf::{GgufWriter, TAIL_FLAT, TAIL_KEY, TensorType, activation_key, layer_tensor};
use crate::format::{FloatTensor, FloatType, HfDirectory, LoadOptions, RawModel, TernaryTensor};
use crate::kernels::layouts::i2_s;
use crate::model::config::{Activation, ModelConfig};
use crate::new_file::write_whole;
use crate::packed::Scales;

/// `general.file_type` of files whose weights are mostly I2_S.
const FILE_TYPE_I2_S: u32 = 40;

/// Storage type of the embedding in the new file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmbeddingType {
    /// IEEE half, as in the published files.
    #[default]
    F16,
    /// bfloat16, for an embedding that exceeds the range of f16.
    Bf16,
}

/// How to convert.
#[derive(Clone, Debug, Default)]
pub struct ConvertOptions {
    /// Name of the model in the file; the directory's own where absent.
    pub name: Option<String>,
    /// Whether an existing file may be replaced.
    pub overwrite: bool,
    /// Storage type of the embedding.
    pub embedding: EmbeddingType,
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
    let tensors = plan(&model, options);
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
    Embedding(&'a FloatTensor, EmbeddingType),
    Norm(&'a [f32]),
    Ternary(&'a TernaryTensor),
}

/// The tensors in file order.
fn plan<'a>(model: &'a RawModel, options: &ConvertOptions) -> Vec<(String, Tensor<'a>)> {
    let embedding = |tensor| Tensor::Embedding(tensor, options.embedding);
    let mut tensors = vec![("token_embd.weight".to_owned(), embedding(&model.token_embd))];
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
        tensors.push(("output.weight".to_owned(), embedding(output)));
    }
    tensors
}

impl Tensor<'_> {
    /// Shape, outermost dimension first, and storage type in the new file.
    fn shape_and_kind(&self) -> (Vec<usize>, TensorType) {
        match self {
            Tensor::Embedding(tensor, kind) => {
                let float = match kind {
                    EmbeddingType::F16 => FloatType::F16,
                    EmbeddingType::Bf16 => FloatType::Bf16,
                };
                (vec![tensor.rows(), tensor.cols()], TensorType::Float(float))
            }
            Tensor::Norm(norm) => (vec![norm.len()], TensorType::Float(FloatType::F32)),
            Tensor::Ternary(tensor) => (vec![tensor.rows(), tensor.cols()], TensorType::I2S),
        }
    }

    /// Writes the values and returns the largest rounding.
    fn write(&self, name: &str, out: &mut dyn Write) -> Result<f32, ConvertError> {
        match self {
            Tensor::Embedding(tensor, kind) => write_embedding(name, tensor, *kind, out),
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

fn write_embedding(
    name: &str,
    tensor: &FloatTensor,
    kind: EmbeddingType,
    out: &mut dyn Write,
) -> Result<f32, ConvertError> {
    let mut values = vec![0.0f32; tensor.cols()];
    let mut largest = 0.0f32;
    for row in 0..tensor.rows() {
        tensor.row_to_f32(row, &mut values);
        for &value in &values {
            let (bits, rounded) = match kind {
                EmbeddingType::F16 => {
                    let half = f16::from_f32(value);
                    (half.to_bits(), half.to_f32())
                }
                EmbeddingType::Bf16 => {
                    let half = bf16::from_f32(value);
                    (half.to_bits(), half.to_f32())
                }
            };
            if !rounded.is_finite() {
                return Err(ConvertError::Embedding { tensor: name.to_owned(), row, value });
            }
            largest = largest.max((rounded - value).abs());
            out.write_all(&bits.to_le_bytes())?;
        }
    }
    Ok(largest)
}

fn write_ternary(tensor: &TernaryTensor, out: &mut dyn Write) -> Result<(), ConvertError> {
    let Scales::PerTensor(scale) = *tensor.scales() else {
        return Err(ConvertError::PerRowScale { tensor: tensor.name().to_owned() });
    };
    let (rows, cols) = (tensor.rows(), tensor.cols());
    let mut data = vec![0u8; i2_s::packed_bytes(rows, cols)];
    let mut trits = vec![0i8; cols];
    for row in 0..rows {
        tensor.unpack_row(row, &mut trits)?;
        i2_s::pack_row(&mut data, rows, cols, row, &trits);
    }
    out.write_all(&data)?;
    out.write_all(&scale.to_le_bytes())?;
    out.write_all(&[0; crate::format::gguf::I2_S_TRAILER - 4])?;
    Ok(())
}

#[cfg(test)]
mod tests;
