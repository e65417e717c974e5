//! [`RawModel`]: a model as its file holds it, checked but not yet packed for a kernel.

use super::bytes::SharedBytes;
use super::error::FormatError;
use super::float::{FloatTensor, FloatType};
use super::ternary::TernaryTensor;
use super::vocab_matrix::VocabMatrix;
use crate::model::config::{Activation, ModelConfig};
use crate::tokenizer::{PreTokenizer, TokenizerState};

/// What the user says about a file that does not say it itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadOptions {
    /// Activation function of the feed-forward block (`--act`); overrides the file.
    pub act: Option<Activation>,
    /// Pre-tokenizer of a GGUF vocabulary (`--pre`); overrides the file.
    pub pre: Option<PreTokenizer>,
}

/// One layer. Linear weights are `outputs x inputs`; norms are f32.
pub struct RawLayer {
    /// `[heads * head_dim, hidden]`.
    pub q_proj: TernaryTensor,
    /// `[kv_heads * head_dim, hidden]`.
    pub k_proj: TernaryTensor,
    /// `[kv_heads * head_dim, hidden]`.
    pub v_proj: TernaryTensor,
    /// `[hidden, heads * head_dim]`.
    pub o_proj: TernaryTensor,
    /// `[ffn, hidden]`.
    pub gate_proj: TernaryTensor,
    /// `[ffn, hidden]`.
    pub up_proj: TernaryTensor,
    /// `[hidden, ffn]`.
    pub down_proj: TernaryTensor,
    /// Norm before attention, `[hidden]`.
    pub input_layernorm: Vec<f32>,
    /// Norm before the feed-forward block, `[hidden]`.
    pub post_attention_layernorm: Vec<f32>,
    /// Norm of the concatenated heads before `o_proj`, `[heads * head_dim]`; `None` in graphs without
    /// sub-norms.
    pub inner_attn_ln: Option<Vec<f32>>,
    /// Norm of the gated product before `down_proj`, `[ffn]`; `None` in graphs without sub-norms.
    pub ffn_layernorm: Option<Vec<f32>>,
}

/// A whole model. Weights stay in the memory of their file.
pub struct RawModel {
    /// Hyper-parameters, validated and in agreement with every tensor's shape.
    pub config: ModelConfig,
    /// Token embedding, `[vocab, hidden]`.
    pub token_embd: VocabMatrix,
    /// Output head, `[vocab, hidden]`; `None` where it is tied to the embedding.
    pub output: Option<VocabMatrix>,
    /// Norm before the head, `[hidden]`.
    pub output_norm: Vec<f32>,
    /// The layers in order.
    pub layers: Vec<RawLayer>,
    /// The tokenizer, or why there is none.
    pub tokenizer: TokenizerState,
    /// What `inspect` prints.
    pub source: SourceInfo,
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name in the file.
    pub name: String,
    /// Shape as stored, outermost dimension first.
    pub shape: Vec<usize>,
    /// Storage type, e.g. `I2_S`, `F32`, `U8`.
    pub type_name: &'static str,
    /// Bytes in the file, without padding.
    pub bytes: usize,
}

/// Where a model came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceInfo {
    /// `GGUF v3`, `Hugging Face`.
    pub format: String,
    /// Metadata in file order: key and printed value, long values shortened. At most a few hundred entries.
    pub metadata: Vec<(String, String)>,
    /// Tensors in file order.
    pub tensors: Vec<TensorInfo>,
    /// Size of the weight files together, in bytes.
    pub file_bytes: u64,
}

/// Most metadata entries that [`SourceInfo`] lists, so that a file of tiny entries cannot blow it up.
pub(crate) const METADATA_SHOWN: usize = 256;

/// Most characters of a metadata value that [`SourceInfo`] prints.
const VALUE_SHOWN: usize = 100;

/// `text` on one line and of at most a hundred characters.
pub(crate) fn shortened(text: &str) -> String {
    let mut out = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == VALUE_SHOWN {
            out.push_str("...");
            break;
        }
        match c {
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Turns the bytes of a one-dimensional float tensor into a norm, refusing what would poison or erase the
/// layer.
pub(crate) fn norm_from(
    name: &str,
    dtype: FloatType,
    length: usize,
    bytes: SharedBytes,
) -> Result<Vec<f32>, FormatError> {
    let found = bytes.len();
    let tensor = FloatTensor::new(1, length, dtype, bytes).ok_or_else(|| FormatError::TensorBytes {
        tensor: name.to_owned(),
        expected: length.saturating_mul(dtype.size()),
        found,
    })?;
    let norm = tensor.to_f32_vec();
    if norm.iter().any(|v| !v.is_finite()) {
        return Err(FormatError::NotFinite { tensor: name.to_owned() });
    }
    if norm.iter().all(|&v| v == 0.0) {
        return Err(FormatError::ZeroNorm { tensor: name.to_owned() });
    }
    Ok(norm)
}

/// Prints a shape as errors do: `[640, 2560]`.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    format!("{shape:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_short_and_on_one_line() {
        assert_eq!(shortened("a\nb\u{7}"), "a\\nb\u{fffd}");
        assert_eq!(shortened(&"x".repeat(101)), "x".repeat(100) + "...");
        assert_eq!(shortened(&"é".repeat(100)), "é".repeat(100));
    }

    #[test]
    fn norms_must_be_finite_and_not_all_zero() {
        let f32s = |v: &[f32]| SharedBytes::from(v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        assert_eq!(norm_from("n", FloatType::F32, 2, f32s(&[0.0, 2.0])).unwrap(), [0.0, 2.0]);
        let bad = norm_from("n", FloatType::F32, 2, f32s(&[1.0, f32::NAN]));
        assert!(matches!(bad, Err(FormatError::NotFinite { .. })));
        let zero = norm_from("n", FloatType::F32, 2, f32s(&[0.0, -0.0]));
        assert!(matches!(zero, Err(FormatError::ZeroNorm { .. })));
        let short = norm_from("n", FloatType::F32, 3, f32s(&[1.0, 1.0]));
        assert!(matches!(short, Err(FormatError::TensorBytes { expected: 12, found: 8, .. })));
    }
}
