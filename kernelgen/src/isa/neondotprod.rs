//! NEON with dot products: `sdot`, whose codes are signed.

use super::arm::{Backend, Product};
use crate::cpus;
use crate::machine::{Class, Intrinsic};

/// The back-end.
pub static NEON_DOTPROD: Backend = Backend {
    id: "neondotprod",
    rank: 120,
    features: &["neon", "dotprod"],
    product: Product::Quads { dot: Intrinsic::new("neon_ops::sdot", Class::Dot), code_max: 127 },
    typical_cpu: &cpus::NEOVERSE_N1,
};
