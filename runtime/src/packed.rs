//! Packed ternary weights: two bits a weight in the kernels' resident layout, with their scales.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use crate::dispatch::Dispatch;
use crate::engine::EngineError;
use crate::kernels::layouts::i2a16;
use crate::memory::{MatrixMemory, ScaleKind};
use crate::numerics::quantize::QuantizedActivations;
use crate::os::AlignedBytes;
use crate::product::run_all;
use crate::team::Team;

/// The factors that multiply a matrix's integer products.
#[derive(Debug, Clone, PartialEq)]
pub enum Scales {
    /// One for the whole matrix.
    PerTensor(f32),
    /// One a row.
    PerRow(Vec<f32>),
}

impl Scales {
    /// The factor of a row.
    pub fn row(&self, row: usize) -> f32 {
        match self {
            Scales::PerTensor(scale) => *scale,
            Scales::PerRow(scales) => scales[row],
        }
    }

    /// How many there are.
    pub fn kind(&self) -> ScaleKind {
        match self {
            Scales::PerTensor(_) => ScaleKind::PerTensor,
            Scales::PerRow(_) => ScaleKind::PerRow,
        }
    }
}

/// Weights that cannot be packed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PackError<E: std::error::Error + 'static> {
    /// A matrix without rows or columns, or of more weights than memory has addresses.
    #[error("a matrix of {rows}x{cols} cannot be packed")]
    Shape {
        /// Rows M.
        rows: usize,
        /// Columns K.
        cols: usize,
    },
    /// The number of scales is neither one nor the number of rows.
    #[error("{found} row scales for {rows} rows")]
    ScaleCount {
        /// Scales found.
        found: usize,
        /// Rows M.
        rows: usize,
    },
    /// A scale that makes no sense.
    #[error("scale {value} of row {row}: scales must be finite and not zero")]
    Scale {
        /// Its row.
        row: usize,
        /// The scale.
        value: f32,
    },
    /// The rows' source failed.
    #[error("row {row}: {source}")]
    Row {
        /// The row.
        row: usize,
        /// Why.
        source: E,
    },
}

/// A ternary matrix `[rows][cols]` as the kernels read it: two bits a weight, padded with zero trits to multiples of
/// 16 rows and 16 columns, and the factor of each row's products.
#[derive(Debug)]
pub struct PackedTernaryWeights {
    rows: usize,
    cols: usize,
    scales: Scales,
    memory: Arc<AlignedBytes>,
    range: Range<usize>,
}

impl PackedTernaryWeights {
    /// Packs a matrix row by row: `fill(row, trits)` writes `cols` values of -1, 0, +1.
    ///
    /// # Errors
    /// [`PackError`]: an empty matrix, scales that are zero, not finite or of the wrong number, or whatever error
    /// `fill` returns.
    pub fn from_rows<E: std::error::Error + 'static>(
        rows: usize,
        cols: usize,
        scales: Scales,
        mut fill: impl FnMut(usize, &mut [i8]) -> Result<(), E>,
    ) -> Result<Self, PackError<E>> {
        let bytes = packed_bytes(rows, cols, &scales)?;
        let mut memory = AlignedBytes::zeroed(bytes);
        let mut trits = Vec::new();
        for (tile, out) in memory.chunks_exact_mut(tile_bytes(cols)).enumerate() {
            pack_tile_by_rows(out, (rows, cols), tile, &mut trits, &mut fill)?;
        }
        Ok(Self::in_memory(rows, cols, scales, Arc::new(memory), 0..bytes))
    }

    /// A matrix that is packed already, in a part of some memory: [`packed_bytes`] from a multiple of 64 on.
    pub(crate) fn in_memory(
        rows: usize,
        cols: usize,
        scales: Scales,
        memory: Arc<AlignedBytes>,
        range: Range<usize>,
    ) -> Self {
        PackedTernaryWeights { rows, cols, scales, memory, range }
    }

    /// Rows M: the length of a product.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns K: the length of an activation vector.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The factors of the integer products.
    pub fn scales(&self) -> &Scales {
        &self.scales
    }

    /// The packed bytes, 64-byte aligned, in the layout `i2a16`.
    pub fn data(&self) -> &[u8] {
        &self.memory[self.range.clone()]
    }

    /// Whether another matrix of as many columns begins in memory where this one ends.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.memory, &other.memory)
            && self.cols == other.cols
            && self.range.end == other.range.start
    }

    /// The packed bytes of this matrix and of those behind it, up to one that is the last of them.
    ///
    /// # Panics
    /// If that lies before this one.
    pub(crate) fn data_through(&self, last: &Self) -> &[u8] {
        &self.memory[self.range.start..last.range.end]
    }

    /// Reads row `row` back into `trits`.
    ///
    /// # Panics
    /// If there is no such row or `trits` does not hold `cols` values.
    pub fn unpack_row(&self, row: usize, trits: &mut [i8]) {
        // Only trits are ever packed.
        let _ = i2a16::unpack_row(self.data(), self.rows, self.cols, row, trits);
    }

    /// Memory: as f32, packed, and packed with padding.
    pub fn memory(&self) -> MatrixMemory {
        MatrixMemory::of(self.rows, self.cols, self.scales.kind())
    }
}

/// Bytes of a matrix `[rows][cols]`, padding included, once it is known that it can be packed with these scales.
pub(crate) fn packed_bytes<E: std::error::Error + 'static>(
    rows: usize,
    cols: usize,
    scales: &Scales,
) -> Result<usize, PackError<E>> {
    let padded = rows
        .checked_next_multiple_of(i2a16::ROW_GRANULE)
        .and_then(|rows| rows.checked_mul(cols.checked_next_multiple_of(i2a16::COL_GRANULE)?));
    if rows == 0 || cols == 0 || padded.is_none_or(|weights| weights > isize::MAX as usize) {
        return Err(PackError::Shape { rows, cols });
    }
    match scales {
        Scales::PerRow(scales) if scales.len() != rows => {
            return Err(PackError::ScaleCount { found: scales.len(), rows });
        }
        Scales::PerRow(scales) => {
            scales.iter().enumerate().try_for_each(|(row, &value)| check_scale(row, value))?;
        }
        Scales::PerTensor(value) => check_scale(0, *value)?,
    }
    Ok(i2a16::packed_bytes(rows, cols))
}

/// Bytes of one row tile of a matrix of `cols` columns. A tile is packed as a matrix of its own.
pub(crate) fn tile_bytes(cols: usize) -> usize {
    i2a16::packed_bytes(i2a16::ROW_GRANULE, cols)
}

/// Packs tile `tile` of a matrix of `shape` (rows, columns) into `out`, whatever was there: `fill(row, trits)` writes the
/// trits of a row. `trits` is room that is used again.
pub(crate) fn pack_tile_by_rows<E: std::error::Error + 'static>(
    out: &mut [u8],
    shape: (usize, usize),
    tile: usize,
    trits: &mut Vec<i8>,
    mut fill: impl FnMut(usize, &mut [i8]) -> Result<(), E>,
) -> Result<(), PackError<E>> {
    let (rows, cols) = shape;
    let first = tile * i2a16::ROW_GRANULE;
    let covered = rows.min(first + i2a16::ROW_GRANULE);
    if covered < first + i2a16::ROW_GRANULE || !cols.is_multiple_of(i2a16::COL_GRANULE) {
        out.fill(i2a16::ZERO_BYTE);
    }
    trits.resize(cols, 0);
    for row in first..covered {
        fill(row, trits).map_err(|source| PackError::Row { row, source })?;
        i2a16::pack_row(out, i2a16::ROW_GRANULE, cols, row - first, trits);
    }
    Ok(())
}

/// Packs a tile of 16 whole rows of `cols` columns, a multiple of 16, from codes: `read(row, col)` gives those of 16
/// columns of a row of the tile. Whether all of them are those of trits, it says afterwards.
pub(crate) fn pack_tile_by_strips(
    out: &mut [u8],
    cols: usize,
    read: impl Fn(usize, usize) -> [u64; 2],
) -> bool {
    for row in 0..i2a16::ROW_GRANULE {
        for col in (0..cols).step_by(i2a16::STRIP_COLS) {
            i2a16::pack_strip(out, i2a16::ROW_GRANULE, cols, row, col, read(row, col));
        }
    }
    i2a16::all_trits(out)
}

fn check_scale<E: std::error::Error + 'static>(row: usize, value: f32) -> Result<(), PackError<E>> {
    if value.is_finite() && value != 0.0 { Ok(()) } else { Err(PackError::Scale { row, value }) }
}

/// The packed projections and the norms of one transformer layer.
#[derive(Debug)]
pub struct PackedLayerWeights {
    /// Queries, `[heads * head_dim][hidden]`.
    pub q_proj: PackedTernaryWeights,
    /// Keys, `[kv_heads * head_dim][hidden]`.
    pub k_proj: PackedTernaryWeights,
    /// Values, `[kv_heads * head_dim][hidden]`.
    pub v_proj: PackedTernaryWeights,
    /// Attention output, `[hidden][heads * head_dim]`.
    pub o_proj: PackedTernaryWeights,
    /// Feed-forward gate, `[ffn][hidden]`.
    pub gate_proj: PackedTernaryWeights,
    /// Feed-forward input, `[ffn][hidden]`.
    pub up_proj: PackedTernaryWeights,
    /// Feed-forward output, `[hidden][ffn]`.
    pub down_proj: PackedTernaryWeights,
    /// Norm before attention, `[hidden]`.
    pub input_layernorm: Vec<f32>,
    /// Norm before the feed-forward part, `[hidden]`.
    pub post_attention_layernorm: Vec<f32>,
    /// Norm before `o_proj`, `[heads * head_dim]`; `None` in graphs without sub-norms.
    pub inner_attn_ln: Option<Vec<f32>>,
    /// Norm before `down_proj`, `[ffn]`; `None` in graphs without sub-norms.
    pub ffn_layernorm: Option<Vec<f32>>,
}

impl PackedLayerWeights {
    /// The seven projections with their names, in the order in which a forward pass first needs them.
    pub fn projections(&self) -> [(&'static str, &PackedTernaryWeights); 7] {
        [
            ("q_proj", &self.q_proj),
            ("k_proj", &self.k_proj),
            ("v_proj", &self.v_proj),
            ("o_proj", &self.o_proj),
            ("gate_proj", &self.gate_proj),
            ("up_proj", &self.up_proj),
            ("down_proj", &self.down_proj),
        ]
    }

    /// The values of all norms together.
    pub fn norm_values(&self) -> usize {
        let optional = |norm: &Option<Vec<f32>>| norm.as_ref().map_or(0, Vec::len);
        self.input_layernorm.len()
            + self.post_attention_layernorm.len()
            + optional(&self.inner_attn_ln)
            + optional(&self.ffn_layernorm)
    }

    /// Memory of the projections and of the norms (f32). The f32 bytes are those of the projections alone.
    pub fn memory(&self) -> MatrixMemory {
        let projections: MatrixMemory = self.projections().iter().map(|(_, w)| w.memory()).sum();
        projections.with_f32_values(self.norm_values())
    }
}

/// y = W x for f32 activations: quantises `input` `[cols]` to int8, multiplies exactly in integers, and scales.
/// Runs on the calling thread, with the kernels that an [`Engine`](crate::engine::Engine) would choose; what the
/// environment asks for is read at the first call.
///
/// # Errors
/// [`EngineError`]: operands of the wrong length, values that are not finite, or an instruction set asked for that
/// the CPU lacks.
pub fn packed_mat_vec(
    weights: &PackedTernaryWeights,
    input: &[f32],
    output: &mut [f32],
) -> Result<(), EngineError> {
    if input.len() != weights.cols() {
        return Err(EngineError::Activations { found: input.len(), expected: weights.cols() });
    }
    if let Some(index) = input.iter().position(|x| !x.is_finite()) {
        return Err(EngineError::NotFinite { index, value: input[index] });
    }
    static DISPATCH: LazyLock<Result<Dispatch, EngineError>> = LazyLock::new(Dispatch::select);
    let dispatch = DISPATCH.as_ref().map_err(Clone::clone)?;
    let mut quantized = QuantizedActivations::default();
    quantized.requantize(dispatch.numerics(), weights.cols(), input);
    run_all(&Team::solo(), &[dispatch.product(weights, &quantized, output)?])
}
