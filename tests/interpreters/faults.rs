//! That the interpreters refuse what they must: what they pass would mean little otherwise.

use kernelgen::compile::{Kernel, compile};
use kernelgen::interp::{self, Data, Fault};
use kernelgen::machine::{File, TileShape};
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
        Trial::test("faults::a_wrong_tile_configuration_is_refused", || Ok(wrong_configurations()?)),
        Trial::test("faults::a_register_given_twice_spoils_the_result", || Ok(shared_registers()?)),
        Trial::test("faults::tiles_do_not_read_past_the_activations", || Ok(short_tiles()?)),
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

const TILE_KERNEL: &str = "gemm32_i2a16_anyxany_u4c1sr1p0i__amx";

/// A kernel on tiles, and a matrix with two steps and a rest of three atoms.
fn on_tiles() -> Result<(Kernel, Case), String> {
    let kernel = TILE_KERNEL.parse::<KernelSpec>().map_err(|e| e.to_string())?;
    Ok((compile(&kernel).map_err(|e| e.to_string())?, Case::random_for(32, 20, 176, 1)))
}

/// Every register with a row or four bytes a row less than the kernel needs, or more where a register has more.
fn wrong_configurations() -> Result<(), String> {
    let (kernel, case) = on_tiles()?;
    let tiles = kernel.machine.region.as_ref().ok_or("a region")?.tiles.clone();
    for (tile, shape) in tiles.iter().enumerate() {
        let TileShape { rows, row_bytes } = *shape;
        for (rows, row_bytes) in
            [(rows - 1, row_bytes), (rows + 1, row_bytes), (rows, row_bytes - 4), (rows, row_bytes + 4)]
        {
            let mut kernel = kernel.clone();
            if let Some(region) = &mut kernel.machine.region {
                region.tiles[tile] = TileShape { rows, row_bytes };
            }
            match interp::machine::run(&kernel, &case.data(&(0..2)), CANARY) {
                Err(Fault::Tile(_)) => {}
                found => return Err(format!("tmm{tile} of {rows}x{row_bytes}: {found:?}")),
            }
        }
    }
    Ok(())
}

/// The staged codes in the register of an accumulator, packed bytes in that of the mask.
fn shared_registers() -> Result<(), String> {
    let (kernel, case) = on_tiles()?;
    let tiles = 0..2;
    let expected = case.expected_of(32, &tiles);
    let run = |kernel: &Kernel| interp::machine::run(kernel, &case.data(&tiles), CANARY);
    if run(&kernel).as_ref() != Ok(&expected) {
        return Err("the kernel is wrong as it is".to_owned());
    }
    let files = &kernel.machine.files;
    let of = |tile: bool| (0..files.len()).filter(move |i| matches!(files[*i], File::Tile(_)) == tile);
    for (mut values, tile) in [(of(true), true), (of(false), false)] {
        let mut spoilt = kernel.clone();
        let region = spoilt.machine.region.as_mut().ok_or("a region")?;
        // The first value of its kind lives as long as the loops run, the second as well where it is a tile.
        let first = values.next().ok_or("a value")?;
        let other = values.nth(usize::from(tile)).ok_or("another value")?;
        region.places[other] = region.places[first];
        if run(&spoilt).as_ref() == Ok(&expected) {
            return Err(format!("value {other} in the register of {first} changes nothing"));
        }
    }
    Ok(())
}

/// The last of the activations is missing: only the rest's tile, of one atom, reaches for it.
fn short_tiles() -> Result<(), String> {
    let (kernel, case) = on_tiles()?;
    let len = case.acts.len() - 1;
    let data = Data { acts: &case.acts[..len], ..case.data(&(0..1)) };
    expect(
        interp::machine::run(&kernel, &data, CANARY),
        &Fault::Read { what: "activations", at: len + 1 - 16, len: 16 },
    )
}
