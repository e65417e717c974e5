//! AVX2: `vpmaddubsw` on 256 bits, sums in i16. F16C and FMA belong to it: the CPUs with AVX2 have them, and half-precision
//! floats and attention need them.

use super::x86::{Backend, Product, V256};
use crate::cpus;

/// The back-end.
pub static AVX2: Backend = Backend {
    id: "avx2",
    rank: 20,
    features: &["avx2", "f16c", "fma"],
    instructions: &V256,
    product: Product::Pairs,
    typical_cpu: &cpus::SKYLAKE,
};
