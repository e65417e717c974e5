//! NEON with the int8 matrix extension: `usdot`, whose codes are unsigned, so that no field has to be shifted. `smmla`
//! takes eight columns of two rows at a time; the fields of an atom of `i2a16` hold four, so it would need a shuffle.

use super::arm::{Backend, Product};
use crate::cpus;
use crate::machine::{Class, Intrinsic};

/// The back-end.
pub static NEON_I8MM: Backend = Backend {
    id: "neoni8mm",
    rank: 130,
    features: &["neon", "i8mm"],
    product: Product::Quads { dot: Intrinsic::new("neon_ops::usdot", Class::Dot), code_max: 255 },
    typical_cpu: &cpus::NEOVERSE_V1,
};
