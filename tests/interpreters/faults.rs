//! That the interpreters refuse what they must: what they pass would mean little otherwise.

use kernelgen::compile::{Kernel, compile};
use kernelgen::interp::{self, Data, Fault};
use kernelgen::spec::KernelSpec;
use libtest_mimic::{Failed, Trial};
use tritforge_tests::{CANARY, Case};

const KERNEL: &str = "gemv_i2a16_anyxany_u1c1sr1p0__avx2";

/// The trials.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, run: fn(&Kernel, &Case) -> Result<(), String>| {
        Trial::test(format!("faults::{name}"), move || {
            let kernel = KERNEL.parse::<KernelSpec>().map_err(|e| e.to_string())?;
            let kernel = compile(&kernel).map_err(|e| e.to_string())?;
            run(&kernel, &Case::random(20, 40, 1)).map_err(Failed::from)
        })
    };
    vec![
        trial("a_code_that_is_no_trit_leaves_its_proof", invalid_code),
        trial("reads_past_the_weights_are_seen", short_weights),
        trial("reads_past_the_activations_are_seen", short_activations),
    ]
}

fn expect(found: Result<Vec<i32>, Fault>, expected: &Fault) -> Result<(), String> {
    match found {
        Err(fault) if fault == *expected => Ok(()),
        found => Err(format!("{found:?} instead of {expected:?}")),
    }
}

fn invalid_code(kernel: &Kernel, case: &Case) -> Result<(), String> {
    let mut weights = case.weights.to_vec();
    weights[0] |= 3;
    let data = Data { weights: &weights, ..case.data(&(0..2)) };
    let fault = Fault::Unproven { value: "codes0_0".to_owned(), found: 3, lo: 0, hi: 2 };
    expect(interp::ir::run(kernel, &data), &fault)
}

/// The last half atom of two tiles of three is missing: the AVX2 kernel loads eight rows of an atom at a time.
fn short_weights(kernel: &Kernel, case: &Case) -> Result<(), String> {
    let data = Data { weights: &case.weights[..6 * 64 - 32], ..case.data(&(0..2)) };
    let fault = |at, len| Fault::Read { what: "weights", at, len };
    expect(interp::ir::run(kernel, &data), &fault(5 * 64, 64))?;
    expect(interp::machine::run(kernel, &data, CANARY), &fault(5 * 64 + 32, 32))
}

/// The last four of 48 activations are missing.
fn short_activations(kernel: &Kernel, case: &Case) -> Result<(), String> {
    let data = Data { acts: &case.acts[..44], ..case.data(&(0..1)) };
    let fault = Fault::Read { what: "activations", at: 44, len: 4 };
    expect(interp::ir::run(kernel, &data), &fault)?;
    expect(interp::machine::run(kernel, &data, CANARY), &fault)
}
