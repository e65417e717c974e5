//! From the tensors of a checkpoint to a [`RawModel`].
//!
//! q and k need no permutation: Hugging Face rotates halves (`rotate_half`), and so do we.

use super::config::{Graph, Weights};
use super::shards::{HfTensor, HfType, Shards};
use crate::format::error::FormatError;
use crate::format::float::FloatTensor;
use crate::format::raw_model::{RawLayer, RawModel, SourceInfo, norm_from};
use crate::format::ternary::TernaryTensor;
use crate::format::vocab_matrix::VocabMatrix;
use crate::tokenizer::TokenizerState;

/// Builds the model and refuses tensors that have no place in it.
pub(super) fn load(
    graph: Graph,
    mut shards: Shards,
    tokenizer: TokenizerState,
    source: SourceInfo,
) -> Result<RawModel, FormatError> {
    let Graph { config, weights, tied } = graph;
    if config.layers > shards.len() / 9 {
        return Err(FormatError::Contradiction {
            key: "num_hidden_layers".into(),
            value: config.layers.to_string(),
            other: format!("there are only {} tensors", shards.len()),
        });
    }
    let token_embd = matrix(&mut shards, "model.embed_tokens.weight", config.vocab, config.hidden)?;
    let output = output_head(&mut shards, &token_embd, tied)?;
    let output_norm = norm(&mut shards, "model.norm.weight", config.hidden)?;
    let (hidden, ffn) = (config.hidden, config.ffn);
    let (q_rows, kv_rows) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let mut layers = Vec::with_capacity(config.layers);
    for layer in 0..config.layers {
        let prefix = format!("model.layers.{layer}");
        let mut linear = |name: &str, rows, cols| {
            ternary(&mut shards, &format!("{prefix}.{name}.weight"), rows, cols, weights)
        };
        let [q_proj, k_proj, v_proj, o_proj] = [
            linear("self_attn.q_proj", q_rows, hidden)?,
            linear("self_attn.k_proj", kv_rows, hidden)?,
            linear("self_attn.v_proj", kv_rows, hidden)?,
            linear("self_attn.o_proj", hidden, q_rows)?,
        ];
        let [gate_proj, up_proj, down_proj] = [
            linear("mlp.gate_proj", ffn, hidden)?,
            linear("mlp.up_proj", ffn, hidden)?,
            linear("mlp.down_proj", hidden, ffn)?,
        ];
        // Microsoft's name, then 1bitLLM's.
        let mut sub_norm = |names: [&str; 2], length| {
            let names = names.map(|name| format!("{prefix}.{name}.weight"));
            let name = if shards.contains(&names[1]) { &names[1] } else { &names[0] };
            config.sub_norms.then(|| norm(&mut shards, name, length)).transpose()
        };
        layers.push(RawLayer {
            q_proj,
            k_proj,
            v_proj,
            o_proj,
            gate_proj,
            up_proj,
            down_proj,
            inner_attn_ln: sub_norm(["self_attn.attn_sub_norm", "self_attn.inner_attn_ln"], q_rows)?,
            ffn_layernorm: sub_norm(["mlp.ffn_sub_norm", "mlp.ffn_layernorm"], ffn)?,
            input_layernorm: norm(&mut shards, &format!("{prefix}.input_layernorm.weight"), hidden)?,
            post_attention_layernorm: norm(
                &mut shards,
                &format!("{prefix}.post_attention_layernorm.weight"),
                hidden,
            )?,
        });
    }
    if let Some(error) = shards.unused() {
        return Err(error);
    }
    Ok(RawModel { config, token_embd, output, output_norm, layers, tokenizer, source })
}

/// The head where it is not the embedding. A tied model may carry the embedding twice, but not something
/// else.
fn output_head(
    shards: &mut Shards,
    token_embd: &VocabMatrix,
    tied: bool,
) -> Result<Option<VocabMatrix>, FormatError> {
    const NAME: &str = "lm_head.weight";
    if tied && !shards.contains(NAME) {
        return Ok(None);
    }
    let head = matrix(shards, NAME, token_embd.rows(), token_embd.cols())?;
    if !tied {
        return Ok(Some(head));
    }
    if head.is_copy_of(token_embd) {
        return Ok(None);
    }
    Err(FormatError::Contradiction {
        key: "tie_word_embeddings".into(),
        value: "true".into(),
        other: format!("`{NAME}` differs from the embedding"),
    })
}

fn matrix(shards: &mut Shards, name: &str, rows: usize, cols: usize) -> Result<VocabMatrix, FormatError> {
    let tensor = shards.take(name, &[rows, cols])?;
    float_matrix(name, tensor, rows, cols, "F32, F16 or BF16").map(VocabMatrix::Float)
}

fn float_matrix(
    name: &str,
    tensor: HfTensor,
    rows: usize,
    cols: usize,
    expected: &'static str,
) -> Result<FloatTensor, FormatError> {
    let HfType::Float(dtype) = tensor.dtype else {
        return Err(FormatError::TensorType { tensor: name.to_owned(), found: "U8".into(), expected });
    };
    let found = tensor.bytes.len();
    FloatTensor::new(rows, cols, dtype, tensor.bytes).ok_or_else(|| FormatError::TensorBytes {
        tensor: name.to_owned(),
        expected: rows.saturating_mul(cols).saturating_mul(dtype.size()),
        found,
    })
}

fn norm(shards: &mut Shards, name: &str, length: usize) -> Result<Vec<f32>, FormatError> {
    let tensor = shards.take(name, &[length])?;
    match tensor.dtype {
        HfType::Float(dtype) => norm_from(name, dtype, length, tensor.bytes),
        HfType::U8 => Err(FormatError::TensorType {
            tensor: name.to_owned(),
            found: "U8".into(),
            expected: "F32, F16 or BF16",
        }),
    }
}

fn ternary(
    shards: &mut Shards,
    name: &str,
    rows: usize,
    cols: usize,
    weights: Weights,
) -> Result<TernaryTensor, FormatError> {
    if weights == Weights::Masters {
        let tensor = shards.take(name, &[rows, cols])?;
        let expected = "F32, F16 or BF16 masters, as the quantization mode is online or absent";
        return TernaryTensor::from_masters(name, float_matrix(name, tensor, rows, cols, expected)?);
    }
    if !rows.is_multiple_of(4) {
        return Err(FormatError::Shape {
            tensor: name.to_owned(),
            found: format!("packed, {rows} outputs"),
            expected: "a multiple of 4 outputs".into(),
        });
    }
    let packed = shards.take(name, &[rows / 4, cols])?;
    if packed.dtype != HfType::U8 {
        return Err(FormatError::TensorType {
            tensor: name.to_owned(),
            found: packed.dtype.name().to_owned(),
            expected: "U8, as the quantization mode is offline (`online` would be masters)",
        });
    }
    let scale_name = format!("{name}_scale");
    let scale = shards.take(&scale_name, &[1])?;
    let scale = float_matrix(&scale_name, scale, 1, 1, "F32, F16 or BF16")?.to_f32_vec()[0];
    let factor = match weights {
        Weights::PackedDivide => 1.0 / scale,
        Weights::PackedMultiply | Weights::Masters => scale,
    };
    TernaryTensor::from_hf_u8(name, rows, cols, packed.bytes, factor)
}

#[cfg(test)]
mod tests;
