//! AVX-VNNI: `vpdpbusd` on 256 bits, in its VEX encoding, for CPUs whose AVX-512 is missing or switched off.

use super::x86::{Backend, Product, V256};
use crate::cpus;
use crate::machine::{Class, Intrinsic};

/// The back-end.
pub static AVX_VNNI: Backend = Backend {
    id: "avxvnni",
    rank: 30,
    features: &["avx2", "f16c", "fma", "avxvnni"],
    instructions: &V256,
    product: Product::Quads(Intrinsic::new("_mm256_dpbusd_avx_epi32", Class::Multiply)),
    typical_cpu: &cpus::GOLDEN_COVE,
};
