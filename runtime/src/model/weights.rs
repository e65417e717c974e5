//! The weights of a model, packed for the kernels.

use super::config::ModelConfig;
use super::error::ModelError;
use crate::engine::Engine;
use crate::format::{RawLayer, RawModel, SourceInfo, TernaryTensor, VocabMatrix};
use crate::packed::{PackedLayerWeights, PackedTernaryWeights};
use crate::tokenizer::TokenizerState;
use rayon::prelude::*;

/// A model that is ready for a forward pass.
pub struct Model {
    /// Dimensions and constants, validated.
    pub config: ModelConfig,
    /// One set of packed projections and norms a layer.
    pub layers: Vec<PackedLayerWeights>,
    /// Embedding, `[vocab][hidden]`, as stored.
    pub token_embd: VocabMatrix,
    /// Output head, `[vocab][hidden]`, as stored; `None` when the embedding serves (tied).
    pub output: Option<VocabMatrix>,
    /// Weights of the last norm, `[hidden]`.
    pub output_norm: Vec<f32>,
    /// The tokenizer that came with the model, or why there is none.
    pub tokenizer: TokenizerState,
    /// What the model was loaded from.
    pub source: SourceInfo,
}

impl Model {
    /// Checks the tensors against the dimensions and packs every projection in the layout of the kernels, the
    /// layers in parallel on the engine's threads. Compares the chosen kernels with the portable ones on some
    /// rows of every projection ([`Engine::check`]).
    ///
    /// # Errors
    /// [`ModelError`]: impossible dimensions, a tensor of the wrong shape, a norm that is not finite, a code
    /// that is no trit. The message names the tensor.
    pub fn from_raw(raw: RawModel, engine: &Engine) -> Result<Self, ModelError> {
        let RawModel { config, token_embd, output, output_norm, layers, tokenizer, source } = raw;
        config.validate()?;
        check_shape("token_embd", token_embd.rows(), token_embd.cols(), config.vocab, config.hidden)?;
        if let Some(output) = &output {
            check_shape("output", output.rows(), output.cols(), config.vocab, config.hidden)?;
        }
        check_norm("output_norm", &output_norm, config.hidden)?;
        if layers.len() != config.layers {
            return Err(ModelError::LayerCount { found: layers.len(), expected: config.layers });
        }
        let layers = engine.pool().install(|| {
            layers
                .into_par_iter()
                .enumerate()
                .map(|(index, layer)| pack_layer(index, layer, &config))
                .collect::<Result<Vec<_>, _>>()
        })?;
        engine.pool().install(|| {
            layers.par_iter().for_each(|layer| {
                layer.projections().iter().for_each(|(_, weights)| engine.check(weights));
            });
        });
        Ok(Self { config, layers, token_embd, output, output_norm, tokenizer, source })
    }

    /// The matrix of the output head: its own, or the embedding.
    pub fn head(&self) -> &VocabMatrix {
        self.output.as_ref().unwrap_or(&self.token_embd)
    }
}

fn pack_layer(index: usize, raw: RawLayer, config: &ModelConfig) -> Result<PackedLayerWeights, ModelError> {
    let name = |part: &str| format!("layer {index}, {part}");
    let (hidden, ffn) = (config.hidden, config.ffn);
    let (attention, kv) = (config.attention_width(), config.kv_width());
    let norm = |part: &str, values: Vec<f32>, len: usize| {
        check_norm(&name(part), &values, len)?;
        Ok::<_, ModelError>(values)
    };
    let sub_norm = |part: &str, values: Option<Vec<f32>>, len: usize| match values {
        Some(values) if config.sub_norms => norm(part, values, len).map(Some),
        None if !config.sub_norms => Ok(None),
        values => Err(ModelError::SubNorm { tensor: name(part), found: values.is_some() }),
    };
    let pack = |part: &str, tensor: &TernaryTensor, rows, cols| {
        let tensor_name = name(part);
        check_shape(&tensor_name, tensor.rows(), tensor.cols(), rows, cols)?;
        pack_tensor(tensor_name, tensor)
    };
    Ok(PackedLayerWeights {
        input_layernorm: norm("input_layernorm", raw.input_layernorm, hidden)?,
        post_attention_layernorm: norm("post_attention_layernorm", raw.post_attention_layernorm, hidden)?,
        inner_attn_ln: sub_norm("inner_attn_ln", raw.inner_attn_ln, attention)?,
        ffn_layernorm: sub_norm("ffn_layernorm", raw.ffn_layernorm, ffn)?,
        q_proj: pack("q_proj", &raw.q_proj, attention, hidden)?,
        k_proj: pack("k_proj", &raw.k_proj, kv, hidden)?,
        v_proj: pack("v_proj", &raw.v_proj, kv, hidden)?,
        o_proj: pack("o_proj", &raw.o_proj, hidden, attention)?,
        gate_proj: pack("gate_proj", &raw.gate_proj, ffn, hidden)?,
        up_proj: pack("up_proj", &raw.up_proj, ffn, hidden)?,
        down_proj: pack("down_proj", &raw.down_proj, hidden, ffn)?,
    })
}

fn pack_tensor(name: String, tensor: &TernaryTensor) -> Result<PackedTernaryWeights, ModelError> {
    PackedTernaryWeights::from_rows(tensor.rows(), tensor.cols(), tensor.scales().clone(), |row, trits| {
        tensor.unpack_row(row, trits)
    })
    .map_err(|source| ModelError::Pack { tensor: name, source })
}

fn check_shape(
    tensor: &str,
    found_rows: usize,
    found_cols: usize,
    rows: usize,
    cols: usize,
) -> Result<(), ModelError> {
    if (found_rows, found_cols) == (rows, cols) {
        return Ok(());
    }
    Err(ModelError::Shape { tensor: tensor.into(), found_rows, found_cols, rows, cols })
}

fn check_norm(tensor: &str, values: &[f32], expected: usize) -> Result<(), ModelError> {
    if values.len() != expected {
        return Err(ModelError::NormLength { tensor: tensor.into(), found: values.len(), expected });
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(ModelError::NormNotFinite { tensor: tensor.into(), index, value: values[index] }),
        None => Ok(()),
    }
}
