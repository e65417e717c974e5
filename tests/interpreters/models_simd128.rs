//! The instructions of the WebAssembly back-end whose models are compared with what an engine makes of them.

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
pub use crate::operands::missing as silicon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use crate::silicon_simd128::run as silicon;

use crate::operands::Checked;
use crate::operands::Operand::{Address, RowsLeft, Scalar, Shift, Vector};

/// The instructions.
pub const CHECKED: [Checked; 15] = [
    ("i16x8_shl", "simd128", &[Vector(16), Shift]),
    ("i16x8_shr", "simd128", &[Vector(16), Shift]),
    ("i16x8_splat", "simd128", &[Scalar(16)]),
    ("i32x4_add", "simd128", &[Vector(16), Vector(16)]),
    ("i32x4_shr", "simd128", &[Vector(16), Shift]),
    ("i32x4_splat", "simd128", &[Scalar(32)]),
    ("i32x4_sub", "simd128", &[Vector(16), Vector(16)]),
    ("simd128_ops::pair", "simd128", &[Vector(16), Vector(16)]),
    ("simd128_ops::products", "simd128", &[Vector(32), Vector(32)]),
    ("simd128_ops::store_part", "simd128", &[Address, RowsLeft, Vector(16)]),
    ("simd128_ops::sum", "simd128", &[Vector(32)]),
    ("u16x8_shr", "simd128", &[Vector(16), Shift]),
    ("v128_and", "simd128", &[Vector(16), Vector(16)]),
    ("v128_load", "simd128", &[Vector(16)]),
    ("v128_store", "simd128", &[Address, Vector(16)]),
];
