//! That nothing is left out: every kernel of the runtime is interpreted, every instruction that any of them uses
//! is among those whose model is checked.

use std::collections::BTreeSet;

use kernelgen::compile::Kernel;
use kernelgen::machine::{Class, Inst, MStmt};
use libtest_mimic::{Failed, Trial};
use tritforge::kernels::DESCRIPTORS;

use crate::{models_amx, models_arm, models_simd128};

/// Instructions whose models are compared with what they model.
pub const CHECKED_X86: [&str; 40] = [
    "_mm256_add_epi32",
    "_mm256_and_si256",
    "_mm256_cmpgt_epi32",
    "_mm256_dpbusd_avx_epi32",
    "_mm256_load_si256",
    "_mm256_madd_epi16",
    "_mm256_maddubs_epi16",
    "_mm256_maskstore_epi32",
    "_mm256_set1_epi16",
    "_mm256_set1_epi32",
    "_mm256_set1_epi8",
    "_mm256_setr_epi32",
    "_mm256_setzero_si256",
    "_mm256_srai_epi16",
    "_mm256_srai_epi32",
    "_mm256_srli_epi16",
    "_mm256_storeu_si256",
    "_mm256_sub_epi32",
    "_mm512_add_epi16",
    "_mm512_add_epi32",
    "_mm512_and_si512",
    "_mm512_dpbusd_epi32",
    "_mm512_gf2p8affine_epi64_epi8",
    "_mm512_load_si512",
    "_mm512_madd_epi16",
    "_mm512_maddubs_epi16",
    "_mm512_mask_storeu_epi32",
    "_mm512_set1_epi16",
    "_mm512_set1_epi32",
    "_mm512_set1_epi64",
    "_mm512_set1_epi8",
    "_mm512_setzero_si512",
    "_mm512_srai_epi16",
    "_mm512_srai_epi32",
    "_mm512_srli_epi16",
    "_mm512_store_si512",
    "_mm512_storeu_si512",
    "_mm512_sub_epi32",
    "abi::tail_mask16",
    "x86_ops::add_epi16__avx2",
];

/// The trials over all kernels.
pub fn trials(kernels: &[Kernel]) -> Vec<Trial> {
    let mut names = BTreeSet::new();
    for kernel in kernels {
        kernel.machine.setup.iter().for_each(|(_, inst)| note(inst, &mut names));
        collect(&kernel.machine.body, &mut names);
    }
    let checked = |name: &str| {
        CHECKED_X86.contains(&name)
            || models_amx::CHECKED.contains(&name)
            || models_arm::CHECKED
                .iter()
                .chain(&models_simd128::CHECKED)
                .any(|(checked, ..)| *checked == name)
            || name.starts_with("portable_ops::")
    };
    let unchecked: Vec<&str> = names.into_iter().filter(|name| !checked(name)).collect();
    let interpreted: BTreeSet<String> = kernels.iter().map(|kernel| kernel.name.clone()).collect();
    vec![
        Trial::test("every_instruction_that_is_used_is_checked", move || match unchecked.as_slice() {
            [] => Ok(()),
            names => Err(Failed::from(format!("{names:?}"))),
        }),
        Trial::test("every_linked_kernel_is_interpreted", move || {
            match DESCRIPTORS.iter().find(|d| !interpreted.contains(d.name)) {
                None => Ok(()),
                Some(descriptor) => Err(Failed::from(descriptor.name)),
            }
        }),
    ]
}

fn note(inst: &Inst, names: &mut BTreeSet<&'static str>) {
    // A prefetch changes nothing that a model could show.
    if inst.intrinsic.class != Class::Prefetch {
        names.insert(inst.intrinsic.name);
    }
}

fn collect(stmts: &[MStmt], names: &mut BTreeSet<&'static str>) {
    for stmt in stmts {
        match stmt {
            MStmt::Comment(_) | MStmt::SwapStage => {}
            MStmt::Let(_, inst) | MStmt::Set(_, inst) | MStmt::Run(inst) => note(inst, names),
            MStmt::Store { whole, part, .. } => {
                collect(whole, names);
                collect(part, names);
            }
            MStmt::Repeat { body, .. } | MStmt::Pass(body) => collect(body, names),
        }
    }
}
