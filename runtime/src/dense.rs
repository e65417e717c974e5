//! Packing from dense f32 weights: one transformer layer at a time.

use std::convert::Infallible;

use crate::absmean;
use crate::packed::{PackError, PackedLayerWeights, PackedTernaryWeights, Scales};

/// How f32 weights become trits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ternarize {
    /// BitNet b1.58's rule: m = max(mean|w|, 1e-5) over the whole matrix, code = round(w / m) clamped to -1..1 (ties
    /// to even), scale m.
    AbsMean,
    /// Row by row: |w| < max/2 becomes 0, anything else its sign, scale = the row's max|w|. A row of zeros gets
    /// scale 1.
    RowMax,
}

/// The f32 weights of one layer, each matrix row by row, `[rows][cols]` as in [`PackedLayerWeights`].
#[derive(Debug, Clone, Copy)]
pub struct LayerWeights<'a> {
    /// How the projections become ternary.
    pub rule: Ternarize,
    /// Queries, `[heads * head_dim][hidden]`.
    pub q_proj: &'a [f32],
    /// Keys, `[kv_heads * head_dim][hidden]`.
    pub k_proj: &'a [f32],
    /// Values, `[kv_heads * head_dim][hidden]`.
    pub v_proj: &'a [f32],
    /// Attention output, `[hidden][heads * head_dim]`.
    pub o_proj: &'a [f32],
    /// Feed-forward gate, `[inter][hidden]`.
    pub gate_proj: &'a [f32],
    /// Feed-forward input, `[inter][hidden]`.
    pub up_proj: &'a [f32],
    /// Feed-forward output, `[hidden][inter]`.
    pub down_proj: &'a [f32],
    /// Norm before attention, `[hidden]`.
    pub input_layernorm: &'a [f32],
    /// Norm before the feed-forward part, `[hidden]`.
    pub post_attention_layernorm: &'a [f32],
    /// Norm before `o_proj`, `[heads * head_dim]`.
    pub inner_attn_ln: &'a [f32],
    /// Norm before `down_proj`, `[inter]`.
    pub ffn_layernorm: &'a [f32],
}

/// Dense weights that cannot be packed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DenseError {
    /// A tensor whose length does not fit the dimensions.
    #[error("{tensor} holds {found} values, expected {expected}")]
    Length {
        /// The tensor.
        tensor: &'static str,
        /// Its length.
        found: usize,
        /// What it should be.
        expected: String,
    },
    /// A weight or norm that is not finite.
    #[error("{tensor}: value {index} is {value}; weights must be finite")]
    NotFinite {
        /// The tensor.
        tensor: &'static str,
        /// Which value.
        index: usize,
        /// The value.
        value: f32,
    },
    /// A matrix that cannot be packed.
    #[error("{tensor}: {source}")]
    Pack {
        /// The tensor.
        tensor: &'static str,
        /// Why.
        source: PackError<Infallible>,
    },
}

/// Packs one layer. The widths of attention follow from the lengths of q_proj and k_proj.
///
/// # Errors
/// [`DenseError`]: a tensor whose length does not fit `hidden` and `inter`, or a value that is not finite.
pub fn pack_layer_weights(
    layer: &LayerWeights<'_>,
    hidden: usize,
    inter: usize,
) -> Result<PackedLayerWeights, DenseError> {
    let rows = |tensor, values: &[f32]| {
        if hidden > 0 && !values.is_empty() && values.len().is_multiple_of(hidden) {
            return Ok(values.len() / hidden);
        }
        let expected = format!("a positive multiple of hidden = {hidden}");
        Err(DenseError::Length { tensor, found: values.len(), expected })
    };
    let attention = rows("q_proj", layer.q_proj)?;
    let kv = rows("k_proj", layer.k_proj)?;
    let pack = |tensor, values: &[f32], rows: usize, cols: usize| {
        check(tensor, values, rows.saturating_mul(cols))?;
        pack_matrix(values, rows, cols, layer.rule).map_err(|source| DenseError::Pack { tensor, source })
    };
    let norm = |tensor, values: &[f32], len| {
        check(tensor, values, len)?;
        Ok::<_, DenseError>(values.to_vec())
    };
    Ok(PackedLayerWeights {
        q_proj: pack("q_proj", layer.q_proj, attention, hidden)?,
        k_proj: pack("k_proj", layer.k_proj, kv, hidden)?,
        v_proj: pack("v_proj", layer.v_proj, kv, hidden)?,
        o_proj: pack("o_proj", layer.o_proj, hidden, attention)?,
        gate_proj: pack("gate_proj", layer.gate_proj, inter, hidden)?,
        up_proj: pack("up_proj", layer.up_proj, inter, hidden)?,
        down_proj: pack("down_proj", layer.down_proj, hidden, inter)?,
        input_layernorm: norm("input_layernorm", layer.input_layernorm, hidden)?,
        post_attention_layernorm: norm("post_attention_layernorm", layer.post_attention_layernorm, hidden)?,
        inner_attn_ln: Some(norm("inner_attn_ln", layer.inner_attn_ln, attention)?),
        ffn_layernorm: Some(norm("ffn_layernorm", layer.ffn_layernorm, inter)?),
    })
}

fn check(tensor: &'static str, values: &[f32], expected: usize) -> Result<(), DenseError> {
    if values.len() != expected {
        return Err(DenseError::Length { tensor, found: values.len(), expected: expected.to_string() });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(DenseError::NotFinite { tensor, index, value: values[index] }),
        None => Ok(()),
    }
}

/// Ternarises and packs one matrix `[rows][cols]`.
///
/// # Errors
/// [`PackError`] for an empty matrix.
///
/// # Panics
/// If `values` does not hold `rows * cols` values.
pub fn pack_matrix(
    values: &[f32],
    rows: usize,
    cols: usize,
    rule: Ternarize,
) -> Result<PackedTernaryWeights, PackError<Infallible>> {
    assert_eq!(values.len(), rows * cols, "values of a {rows}x{cols} matrix");
    let row_of = |row: usize| &values[row * cols..(row + 1) * cols];
    match rule {
        Ternarize::AbsMean => {
            let mean = absmean::mean_magnitude(values.iter().copied());
            PackedTernaryWeights::from_rows(rows, cols, Scales::PerTensor(mean as f32), |row, trits| {
                for (trit, w) in trits.iter_mut().zip(row_of(row)) {
                    *trit = absmean::trit(*w, mean);
                }
                Ok(())
            })
        }
        Ternarize::RowMax => {
            let maxima: Vec<f32> =
                (0..rows).map(|row| row_of(row).iter().fold(0.0f32, |max, w| max.max(w.abs()))).collect();
            let scales = maxima.iter().map(|max| if *max > 0.0 { *max } else { 1.0 }).collect();
            PackedTernaryWeights::from_rows(rows, cols, Scales::PerRow(scales), |row, trits| {
                for (trit, w) in trits.iter_mut().zip(row_of(row)) {
                    *trit = if w.abs() < maxima[row] / 2.0 || *w == 0.0 { 0 } else { w.signum() as i8 };
                }
                Ok(())
            })
        }
    }
}
