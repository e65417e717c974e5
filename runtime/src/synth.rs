//! Synthetic models: the shapes of a config with random weights, for measuring what nobody has to download.
//!
//! The file is one that [`crate::convert`] could have written and says that it is synthetic. Its weights are -1, 0 and +1
//! in the proportions of BitNet b1.58 2B-4T, its scales keep activations near one, and its vocabulary spells every byte by
//! a token of its own. The same config and seed give the same bytes on every machine.

mod error;
mod random;

use std::io::Write;
use std::path::Path;

use half::f16;
use kernelgen::config::{self, Matrix, ModelShapes, Role};

pub use error::SynthError;
use random::Random;

use crate::convert::put_hyper_parameters;
use crate::format::gguf::{
    GgufWriter, I2_S_TRAILER, SUB_NORMS_KEY, TAIL_FLAT, TAIL_KEY, TensorType, layer_tensor,
};
use crate::format::{FloatType, StringArray};
use crate::kernels::layouts::i2_s;
use crate::model::config::{Activation, ModelConfig};
use crate::new_file::write_whole;
use crate::tokenizer::{PreTokenizer, TokenKind, byte_alphabet};

/// Positions of a model whose config names no context, as that of the 2B-4T model.
pub const DEFAULT_CONTEXT: usize = 4096;
/// Base of the rotary embedding, which configs do not hold: that of the 2B-4T model.
const ROPE_THETA: f64 = 5e5;
/// Added in norms, likewise.
const RMS_NORM_EPS: f32 = 1e-5;
/// Share of the weights that are not zero.
const NOT_ZERO: f32 = 0.578;

/// What a synthetic file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SynthReport {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Number of tensors.
    pub tensors: usize,
}

/// Writes a synthetic model of `shapes` to the file `out`, which appears under its name only when it is complete. `seed`
/// chooses the weights.
///
/// # Errors
/// [`SynthError`]: a model that this crate cannot run, a matrix that I2_S cannot hold, `out` exists (without `overwrite`)
/// or cannot be written. Nothing is left behind then.
pub fn synth(
    shapes: &ModelShapes,
    out: &Path,
    seed: u64,
    overwrite: bool,
) -> Result<SynthReport, SynthError> {
    write_whole(out, overwrite, |file| synth_to(shapes, file, seed))
}

/// Writes a synthetic model of `shapes` to `out`, a matrix at a time.
///
/// # Errors
/// As [`synth`].
pub fn synth_to(shapes: &ModelShapes, out: &mut dyn Write, seed: u64) -> Result<SynthReport, SynthError> {
    let config = model_config(shapes)?;
    let tensors = plan(shapes);
    let mut writer = GgufWriter::default();
    put_hyper_parameters(&mut writer, &config, &config.name);
    let description = format!("synthetic: random weights (seed {seed}) in the shapes of {}", shapes.name);
    writer.put_str("general.description", &description);
    if !config.sub_norms {
        writer.put_bool(SUB_NORMS_KEY, false);
    }
    let has_tail = |(_, tensor): &(String, Tensor)| match tensor {
        Tensor::Ternary { cols, .. } => !cols.is_multiple_of(128),
        Tensor::Embedding { .. } | Tensor::Norm { .. } => false,
    };
    if tensors.iter().any(has_tail) {
        writer.put_str(TAIL_KEY, TAIL_FLAT);
    }
    put_vocabulary(&mut writer, config.vocab);
    for (name, tensor) in &tensors {
        let (shape, kind) = tensor.shape_and_kind();
        writer.announce(name.clone(), &shape, kind).map_err(|reason| SynthError::Shape {
            tensor: name.clone(),
            shape,
            reason,
        })?;
    }
    let bytes =
        writer.write(out, |index, out| tensors[index].1.write(Random::new(seed, index as u64), out))?;
    Ok(SynthReport { bytes, tensors: writer.tensor_count() })
}

/// The graph that a config describes, as far as this crate can compute it.
fn model_config(shapes: &ModelShapes) -> Result<ModelConfig, SynthError> {
    let activation = match shapes.activation {
        config::Activation::Relu2 => Activation::Relu2,
        config::Activation::Silu => Activation::Silu,
        other @ config::Activation::GeluTanh => {
            return Err(SynthError::Activation { name: shapes.name.clone(), found: other.name() });
        }
    };
    let config = ModelConfig {
        name: format!("synthetic {}", shapes.title.as_deref().unwrap_or(&shapes.name)),
        architecture: String::new(),
        hidden: shapes.hidden,
        ffn: shapes.ffn,
        layers: shapes.layers,
        heads: shapes.heads,
        kv_heads: shapes.kv_heads,
        head_dim: shapes.head_dim,
        vocab: shapes.vocab,
        context: shapes.context.unwrap_or(DEFAULT_CONTEXT),
        rms_norm_eps: RMS_NORM_EPS,
        rope_theta: ROPE_THETA,
        activation,
        sub_norms: shapes.sub_norms,
    };
    config.validate()?;
    Ok(config)
}

/// A vocabulary of one token a byte, and fillers that no text leads to. A vocabulary too small for that is left out.
fn put_vocabulary(writer: &mut GgufWriter, vocab: usize) {
    let bytes: Vec<char> = byte_alphabet().collect();
    if vocab < bytes.len() {
        return;
    }
    writer.put_str("tokenizer.ggml.model", "gpt2");
    writer.put_str("tokenizer.ggml.pre", PreTokenizer::Gpt2.name());
    let spelled = bytes.iter().map(char::to_string);
    let fillers = (bytes.len()..vocab).map(|id| format!("[PAD{id}]"));
    let texts: StringArray = spelled.chain(fillers).collect();
    writer.put_strings("tokenizer.ggml.tokens", &texts);
    let kind = |id: usize| if id < bytes.len() { TokenKind::Normal } else { TokenKind::Unused };
    writer.put_i32s("tokenizer.ggml.token_type", (0..vocab).map(|id| kind(id) as i32));
    writer.put_strings("tokenizer.ggml.merges", &StringArray::from_iter(std::iter::empty::<&str>()));
    writer.put_bool("tokenizer.ggml.add_bos_token", false);
    writer.put_bool("tokenizer.ggml.add_eos_token", false);
}

/// A tensor of the file.
enum Tensor {
    Embedding { rows: usize, cols: usize },
    Norm { len: usize },
    Ternary { rows: usize, cols: usize },
}

/// The tensors in file order.
fn plan(shapes: &ModelShapes) -> Vec<(String, Tensor)> {
    let embedding = |m: &Matrix| Tensor::Embedding { rows: m.rows, cols: m.cols };
    let ternary = |m: &Matrix| Tensor::Ternary { rows: m.rows, cols: m.cols };
    let norm = |len| Some(Tensor::Norm { len });
    let sub_norm = |len| shapes.sub_norms.then_some(Tensor::Norm { len });
    let linear = |role| shapes.matrix(role).map(ternary);
    let mut tensors = Vec::new();
    tensors.extend(shapes.matrix(Role::Embedding).map(|m| ("token_embd.weight".to_owned(), embedding(m))));
    for layer in 0..shapes.layers {
        let of_layer = [
            ("attn_norm", norm(shapes.hidden)),
            ("attn_sub_norm", sub_norm(shapes.heads * shapes.head_dim)),
            ("ffn_norm", norm(shapes.hidden)),
            ("ffn_sub_norm", sub_norm(shapes.ffn)),
            ("attn_q", linear(Role::QProj)),
            ("attn_k", linear(Role::KProj)),
            ("attn_v", linear(Role::VProj)),
            ("attn_output", linear(Role::OProj)),
            ("ffn_gate", linear(Role::GateProj)),
            ("ffn_up", linear(Role::UpProj)),
            ("ffn_down", linear(Role::DownProj)),
        ];
        let there_are = of_layer.into_iter().filter_map(|(name, tensor)| Some((name, tensor?)));
        tensors.extend(there_are.map(|(name, tensor)| (layer_tensor(layer, name), tensor)));
    }
    tensors.push(("output_norm.weight".to_owned(), Tensor::Norm { len: shapes.hidden }));
    tensors.extend(shapes.matrix(Role::LmHead).map(|m| ("output.weight".to_owned(), embedding(m))));
    tensors
}

impl Tensor {
    /// Shape, outermost dimension first, and storage type.
    fn shape_and_kind(&self) -> (Vec<usize>, TensorType) {
        match *self {
            Tensor::Embedding { rows, cols } => (vec![rows, cols], TensorType::Float(FloatType::F16)),
            Tensor::Norm { len } => (vec![len], TensorType::Float(FloatType::F32)),
            Tensor::Ternary { rows, cols } => (vec![rows, cols], TensorType::I2S),
        }
    }

    /// Writes random values: an embedding whose rows have a norm of about one, norms of one, trits with a scale that
    /// leaves a vector's mean square as it is.
    fn write(&self, mut random: Random, out: &mut dyn Write) -> Result<(), SynthError> {
        match *self {
            Tensor::Embedding { rows, cols } => {
                let deviation = 1.0 / (cols as f32).sqrt();
                let mut row = Vec::with_capacity(2 * cols);
                for _ in 0..rows {
                    row.clear();
                    let values = (0..cols).map(|_| f16::from_f32(random.bell() * deviation));
                    row.extend(values.flat_map(f16::to_le_bytes));
                    out.write_all(&row)?;
                }
            }
            Tensor::Norm { len } => {
                for _ in 0..len {
                    out.write_all(&1.0f32.to_le_bytes())?;
                }
            }
            Tensor::Ternary { rows, cols } => {
                let mut data = vec![0u8; i2_s::packed_bytes(rows, cols)];
                let mut trits = vec![0i8; cols];
                for row in 0..rows {
                    random.fill_trits(&mut trits);
                    i2_s::pack_row(&mut data, rows, cols, row, &trits);
                }
                out.write_all(&data)?;
                out.write_all(&(1.0 / (NOT_ZERO * cols as f32).sqrt()).to_le_bytes())?;
                out.write_all(&[0; I2_S_TRAILER - 4])?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
