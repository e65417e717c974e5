//! Model files of random weights in the shapes of a model config: to measure and to test what a model of that
//! size takes, without its weights.
//!
//! The file is GGUF as [`crate::convert`](mod@crate::convert) writes it. What a config does not say is chosen:
//! where it gives no context, [`DEFAULT_CONTEXT`]; RoPE's theta and the norms' epsilon are those of
//! BitNet b1.58 2B-4T. `general.name` and `general.description` say that the weights are random.
//!
//! The same config, seed and type give the same bytes on every machine: all draws are integers, and the few
//! float operations on them are exact or correctly rounded.

mod error;
mod random;
mod vocabulary;

use std::io::Write;
use std::path::Path;

use kernelgen::config::{self, ModelShapes, Role};

pub use error::SynthError;

use crate::format::FloatType;
use crate::format::gguf::{
    GgufWriter, TAIL_FLAT, TAIL_KEY, TensorType, layer_tensor, put_hyper_parameters, write_i2_s,
};
use crate::model::config::{Activation, ModelConfig};
use crate::new_file;
use random::{NONZERO_SHARE, Random};

/// Context of a model whose config gives none, in tokens.
pub const DEFAULT_CONTEXT: usize = 2048;

/// Epsilon of the RMS norms.
const RMS_NORM_EPS: f32 = 1e-5;

/// Base of the rotary embedding.
const ROPE_THETA: f64 = 500_000.0;

/// Spread of the norms' weights around 1.
const NORM_DEVIATION: f32 = 0.05;

/// How to make a model.
#[derive(Clone, Copy, Debug)]
pub struct SynthOptions {
    /// Seed of the weights.
    pub seed: u64,
    /// Storage type of the embedding and, where it is not tied, the output head.
    pub head: FloatType,
    /// Whether an existing file may be replaced.
    pub overwrite: bool,
}

impl Default for SynthOptions {
    /// Seed 1, f16; an existing file is left alone.
    fn default() -> Self {
        Self { seed: 1, head: FloatType::F16, overwrite: false }
    }
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynthReport {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of ternary weights.
    pub ternary_weights: u64,
}

/// Writes the file `out` with random weights in the shapes of the model config `config` (TOML, as in
/// `configs/models`). The file appears under its name only when it is complete; no more than a slice of one
/// tensor is in memory at a time.
///
/// # Errors
/// [`SynthError`]: the config cannot be read, this runtime cannot run such a model, or `out` exists (without
/// `overwrite`) or cannot be written. Nothing is left behind then.
pub fn synth(config: &Path, out: &Path, options: &SynthOptions) -> Result<SynthReport, SynthError> {
    let shapes = config::load(config)?;
    new_file::create(out, options.overwrite, |writer| synth_to(&shapes, writer, options))
}

/// Writes a file with random weights in `shapes` to `out`.
///
/// # Errors
/// As [`synth`].
pub fn synth_to(
    shapes: &ModelShapes,
    out: &mut dyn Write,
    options: &SynthOptions,
) -> Result<SynthReport, SynthError> {
    let config = model_config(shapes)?;
    let mut writer = GgufWriter::default();
    put_hyper_parameters(&mut writer, &config, &config.name);
    let description = format!(
        "Synthetic: random weights (seed {}) in the shapes of {}, made by tritforge synth. It has learnt nothing.",
        options.seed,
        shapes.title.as_deref().unwrap_or(&shapes.name),
    );
    writer.put_str("general.description", &description);
    if shapes.matrices.iter().any(|matrix| matrix.role.is_ternary() && !matrix.cols.is_multiple_of(128)) {
        writer.put_str(TAIL_KEY, TAIL_FLAT);
    }
    vocabulary::put(&mut writer, config.vocab)?;
    let tensors = plan(shapes, &config, options.head);
    for (name, tensor) in &tensors {
        let (shape, kind) = tensor.shape_and_kind();
        let refused = |reason| SynthError::Shape { tensor: name.clone(), shape: shape.clone(), reason };
        writer.announce(name.clone(), &shape, kind).map_err(refused)?;
    }
    let bytes = writer.write(out, |index, out| {
        // Every tensor has a stream of its own, so that none depends on what stands before it.
        let mut random = Random::new(options.seed, index as u64);
        tensors[index].1.write(&mut random, out)
    })?;
    let (tensors, ternary_weights) = (writer.tensor_count(), shapes.ternary_parameters());
    Ok(SynthReport { bytes, tensors, ternary_weights })
}

/// The hyper-parameters of a model of these shapes, checked as those of a file are.
fn model_config(shapes: &ModelShapes) -> Result<ModelConfig, SynthError> {
    let activation = match shapes.activation {
        config::Activation::Relu2 => Activation::Relu2,
        config::Activation::Silu => Activation::Silu,
        other @ config::Activation::GeluTanh => {
            return Err(SynthError::Activation { model: shapes.name.clone(), found: other.name() });
        }
    };
    let config = ModelConfig {
        name: format!("synthetic {}", shapes.name),
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

/// A tensor of the file.
#[derive(Clone)]
enum Tensor {
    /// Rows, columns and type.
    Embedding(usize, usize, FloatType),
    /// Its length.
    Norm(usize),
    /// Rows and columns.
    Ternary(usize, usize),
}

/// The tensors in the order in which [`crate::convert`](mod@crate::convert) writes them.
fn plan(shapes: &ModelShapes, config: &ModelConfig, head: FloatType) -> Vec<(String, Tensor)> {
    const LINEARS: [(&str, Role); 7] = [
        ("attn_q", Role::QProj),
        ("attn_k", Role::KProj),
        ("attn_v", Role::VProj),
        ("attn_output", Role::OProj),
        ("ffn_gate", Role::GateProj),
        ("ffn_up", Role::UpProj),
        ("ffn_down", Role::DownProj),
    ];
    let sub_norm = |length| config.sub_norms.then_some(length);
    let norms = [
        ("attn_norm", Some(config.hidden)),
        ("attn_sub_norm", sub_norm(config.attention_width())),
        ("ffn_norm", Some(config.hidden)),
        ("ffn_sub_norm", sub_norm(config.ffn)),
    ];
    let norms: Vec<_> =
        norms.into_iter().filter_map(|(name, length)| Some((name, Tensor::Norm(length?)))).collect();
    let embedding = || Tensor::Embedding(config.vocab, config.hidden, head);
    let mut tensors = vec![("token_embd.weight".to_owned(), embedding())];
    for layer in 0..config.layers {
        let norms = norms.iter().map(|(name, norm)| (*name, norm.clone()));
        let linears = LINEARS.into_iter().filter_map(|(name, role)| {
            shapes.matrix(role).map(|matrix| (name, Tensor::Ternary(matrix.rows, matrix.cols)))
        });
        tensors.extend(norms.chain(linears).map(|(name, tensor)| (layer_tensor(layer, name), tensor)));
    }
    tensors.push(("output_norm.weight".to_owned(), Tensor::Norm(config.hidden)));
    if !shapes.tied {
        tensors.push(("output.weight".to_owned(), embedding()));
    }
    tensors
}

impl Tensor {
    /// Shape, outermost dimension first, and storage type.
    fn shape_and_kind(&self) -> (Vec<usize>, TensorType) {
        match *self {
            Tensor::Embedding(rows, cols, kind) => (vec![rows, cols], TensorType::Float(kind)),
            Tensor::Norm(length) => (vec![length], TensorType::Float(FloatType::F32)),
            Tensor::Ternary(rows, cols) => (vec![rows, cols], TensorType::I2S),
        }
    }

    /// Writes random values.
    fn write(&self, random: &mut Random, out: &mut dyn Write) -> Result<(), SynthError> {
        match *self {
            Tensor::Embedding(rows, cols, kind) => {
                // A normed state gives logits of about unit spread.
                let deviation = (1.0 / cols as f64).sqrt() as f32;
                let mut values = vec![0.0; cols];
                let mut bytes = Vec::new();
                for _ in 0..rows {
                    random.fill_normal(0.0, deviation, &mut values);
                    write_values(kind, &values, &mut bytes, out)?;
                }
                Ok(())
            }
            Tensor::Norm(length) => {
                let mut values = vec![0.0; length];
                random.fill_normal(1.0, NORM_DEVIATION, &mut values);
                write_values(FloatType::F32, &values, &mut Vec::new(), out)
            }
            Tensor::Ternary(rows, cols) => {
                // A row times a normed vector has about unit spread: each layer adds as much to the residual
                // stream as any other, and nothing grows beyond the square root of their number.
                let scale = (1.0 / (NONZERO_SHARE * cols as f64)).sqrt() as f32;
                write_i2_s((rows, cols), scale, out, |_, trits| {
                    random.fill_trits(trits);
                    Ok(())
                })
            }
        }
    }
}

/// Writes `values` as `kind`; `bytes` is working memory.
fn write_values(
    kind: FloatType,
    values: &[f32],
    bytes: &mut Vec<u8>,
    out: &mut dyn Write,
) -> Result<(), SynthError> {
    bytes.clear();
    kind.encode(values, bytes).map_err(|value| SynthError::Value { value })?;
    Ok(out.write_all(bytes)?)
}

#[cfg(test)]
mod tests;
