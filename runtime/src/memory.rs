//! How much memory weights take: as f32, packed, and packed with the padding that they are resident with.

use std::iter::Sum;
use std::ops::Add;

use crate::kernels::layouts::i2a16;

/// Bytes of an f32.
const F32: usize = size_of::<f32>();

/// How many scales a matrix has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleKind {
    /// One for the whole matrix.
    PerTensor,
    /// One a row.
    PerRow,
}

/// Memory of one or several matrices, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MatrixMemory {
    /// Every weight as f32, without scales.
    pub f32_bytes: usize,
    /// Two bits a weight and four bytes a scale.
    pub logical_bytes: usize,
    /// What is in memory: the same with the weights padded to whole tiles and atoms.
    pub resident_bytes: usize,
}

impl MatrixMemory {
    /// Memory of a ternary matrix `[rows][cols]`.
    pub fn of(rows: usize, cols: usize, scales: ScaleKind) -> Self {
        let scale_bytes = F32
            * match scales {
                ScaleKind::PerTensor => 1,
                ScaleKind::PerRow => rows,
            };
        MatrixMemory {
            f32_bytes: rows * cols * F32,
            logical_bytes: (rows * cols).div_ceil(4) + scale_bytes,
            resident_bytes: i2a16::packed_bytes(rows, cols) + scale_bytes,
        }
    }

    /// The same with values kept in f32 beside it, such as norms, which the f32 bytes leave out.
    pub fn with_f32_values(self, values: usize) -> Self {
        MatrixMemory {
            f32_bytes: self.f32_bytes,
            logical_bytes: self.logical_bytes + values * F32,
            resident_bytes: self.resident_bytes + values * F32,
        }
    }

    /// Memory of a transformer layer with square attention projections `[hidden][hidden]`, feed-forward projections of
    /// `inter` values, and norms of `norm_values` values in all.
    pub fn of_layer(hidden: usize, inter: usize, scales: ScaleKind, norm_values: usize) -> Self {
        let shapes =
            [(hidden, hidden); 4].into_iter().chain([(inter, hidden), (inter, hidden), (hidden, inter)]);
        let projections: MatrixMemory = shapes.map(|(rows, cols)| Self::of(rows, cols, scales)).sum();
        projections.with_f32_values(norm_values)
    }

    /// How many times smaller the packed form is than f32, by its logical bytes.
    pub fn ratio(&self) -> f64 {
        self.f32_bytes as f64 / self.logical_bytes as f64
    }
}

impl Add for MatrixMemory {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        MatrixMemory {
            f32_bytes: self.f32_bytes + other.f32_bytes,
            logical_bytes: self.logical_bytes + other.logical_bytes,
            resident_bytes: self.resident_bytes + other.resident_bytes,
        }
    }
}

impl Sum for MatrixMemory {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}
