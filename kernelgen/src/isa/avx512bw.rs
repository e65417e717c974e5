//! AVX-512 without VNNI: `vpmaddubsw` on 512 bits, sums in i16.

use super::x86::{Backend, Product, V512};
use crate::cpus;

/// The back-end.
pub static AVX512_BW: Backend = Backend {
    id: "avx512bw",
    rank: 40,
    features: &["avx512f", "avx512bw"],
    instructions: &V512,
    product: Product::Pairs,
    typical_cpu: &cpus::SKYLAKE_AVX512,
};
