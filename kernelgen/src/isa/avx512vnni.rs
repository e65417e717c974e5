//! AVX-512 with VNNI: `vpdpbusd` on 512 bits.

use super::x86::{Backend, Product, V512};
use crate::cpus;
use crate::machine::{Class, Intrinsic};

/// The back-end.
pub static AVX512_VNNI: Backend = Backend {
    id: "avx512vnni",
    rank: 50,
    features: &["avx512f", "avx512bw", "avx512vnni"],
    instructions: &V512,
    product: Product::Quads(Intrinsic::new("_mm512_dpbusd_epi32", Class::Multiply)),
    typical_cpu: &cpus::ICE_LAKE_SERVER,
};
