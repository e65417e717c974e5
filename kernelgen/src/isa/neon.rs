//! NEON as every Arm CPU of 64 bits has it: products added in i16 by `smlal`.

use super::arm::{Backend, Product};
use crate::cpus;

/// The back-end.
pub static NEON: Backend = Backend {
    id: "neon",
    rank: 110,
    features: &["neon"],
    product: Product::Singles,
    typical_cpu: &cpus::CORTEX_A72,
};
