//! AVX2: `vpmaddubsw` on 256 bits, sums in i16. F16C belongs to it: every CPU with AVX2 has it, and half-precision floats
//! need it.

use super::x86::{Backend, Product, V256};
use crate::cpus;

/// The back-end.
pub static AVX2: Backend = Backend {
    id: "avx2",
    rank: 20,
    features: &["avx2", "f16c"],
    instructions: &V256,
    product: Product::Pairs,
    typical_cpu: &cpus::SKYLAKE,
};
