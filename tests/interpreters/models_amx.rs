//! The model of the tile instructions: against the sums of the manual's pseudo-code, written out here with loops of their
//! own, against what the manual says is refused, and against the silicon where it has tiles.

use kernelgen::interp::Fault;
use kernelgen::interp::tiles::Tiles;
use kernelgen::machine::TileShape;
use libtest_mimic::{Failed, Trial};
use tritforge::kernels::ISAS;
use tritforge_tests::Random;
use tritforge_tests::trials::on_cpu;

/// Instructions whose models are compared with what they model.
pub const CHECKED: [&str; 4] = ["_tile_dpbsud", "_tile_loadd", "_tile_stored", "_tile_zero"];

/// Rows of the first operand, columns of sums, and steps of four columns of the product.
const SHAPES: [(usize, usize, usize); 5] = [(16, 16, 16), (16, 16, 4), (1, 1, 1), (7, 5, 3), (16, 16, 8)];
/// Products a shape: the first ones with bytes of the greatest magnitude.
const ROUNDS: usize = 20;

/// The trials.
pub fn trials() -> Vec<Trial> {
    let trial = |name: &str, run: fn() -> Result<(), String>| {
        Trial::test(format!("models::tiles::{name}"), move || run().map_err(Failed::from))
    };
    let isa = ISAS.iter().find(|isa| isa.id == "amx").expect("an ISA that kernels are generated for");
    vec![
        trial("products_equal_their_definition", products),
        trial("what_the_manual_forbids_is_refused", refusals),
        trial("what_a_shape_leaves_out_is_zero", remainders),
        trial("no_tiles_are_detected_that_the_system_does_not_list", detection),
        on_cpu("models::tiles::silicon", isa, silicon),
    ]
}

/// The operands of a product: three matrices, row by row.
struct Operands {
    shapes: [TileShape; 3],
    bytes: [Vec<u8>; 3],
}

fn operands() -> impl Iterator<Item = Operands> {
    let mut random = Random::new(11);
    SHAPES.into_iter().flat_map(move |(m, n, k)| {
        let shape = |rows, row_bytes| TileShape { rows, row_bytes };
        let shapes = [shape(m, 4 * n), shape(m, 4 * k), shape(k, 4 * n)];
        let extremes = [[0x00, 0x80, 0xff], [0xff, 0x7f, 0xff], [0x7f, 0x80, 0x80]];
        let made: Vec<Operands> = (0..ROUNDS)
            .map(|round| {
                let bytes = std::array::from_fn(|i| {
                    let len = shapes[i].rows * shapes[i].row_bytes;
                    let mut byte = || random.bits() as u8;
                    (0..len).map(|_| extremes.get(round).map_or_else(&mut byte, |of| of[i])).collect()
                });
                Operands { shapes, bytes }
            })
            .collect();
        made
    })
}

/// A register's bytes, row by row.
fn flat(tiles: &Tiles, tile: usize) -> Result<Vec<u8>, String> {
    Ok(tiles.rows(tile).map_err(|fault| fault.to_string())?.concat())
}

fn modelled(Operands { shapes, bytes }: &Operands) -> Result<Vec<u8>, String> {
    let run = || -> Result<Tiles, Fault> {
        let mut tiles = Tiles::new();
        tiles.configure(shapes)?;
        for (tile, bytes) in bytes.iter().enumerate() {
            tiles.load(tile, |row, len| Ok(bytes[row * len..][..len].to_vec()))?;
        }
        tiles.dot_signed_unsigned(0, 1, 2)?;
        Ok(tiles)
    };
    flat(&run().map_err(|fault| fault.to_string())?, 0)
}

/// Sum (m, n) is what it was and, for every column of the product, signed byte (m, column) times the unsigned byte that
/// row column / 4 of the other operand holds in its n-th group of four, modulo 2^32.
fn products() -> Result<(), String> {
    for operands in operands() {
        let [to, left, right] = operands.shapes;
        let [sums, signed, unsigned] = &operands.bytes;
        let mut expected = Vec::new();
        for m in 0..to.rows {
            for n in 0..to.row_bytes / 4 {
                let at = m * to.row_bytes + 4 * n;
                let before = i64::from(i32::from_le_bytes(sums[at..at + 4].try_into().expect("four bytes")));
                let product = |column: usize| {
                    let x = i64::from(signed[m * left.row_bytes + column] as i8);
                    x * i64::from(unsigned[column / 4 * right.row_bytes + 4 * n + column % 4])
                };
                let sum = before + (0..left.row_bytes).map(product).sum::<i64>();
                expected.extend((sum as i32).to_le_bytes());
            }
        }
        if modelled(&operands)? != expected {
            return Err(format!("a product of {:?} is wrong", operands.shapes));
        }
    }
    Ok(())
}

fn expect_fault(found: Result<(), Fault>, part: &str) -> Result<(), String> {
    match found {
        Err(Fault::Tile(message)) if message.contains(part) => Ok(()),
        found => Err(format!("{found:?} instead of a fault with '{part}'")),
    }
}

fn refusals() -> Result<(), String> {
    let shape = |rows, row_bytes| TileShape { rows, row_bytes };
    for wrong in [shape(17, 64), shape(16, 65), shape(0, 4), shape(4, 0)] {
        expect_fault(Tiles::new().configure(&[shape(16, 64), wrong]), "tmm1 is configured as")?;
    }
    expect_fault(Tiles::new().configure(&[shape(1, 4); 9]), "9 tile registers")?;
    expect_fault(Tiles::new().zero(0), "tmm0 is not configured")?;
    // Rows of the sums, columns of the sums, steps of the product, and one register twice.
    let fits = [shape(16, 64), shape(16, 16), shape(4, 64)];
    for (shapes, tiles) in [
        ([shape(15, 64), fits[1], fits[2]], [0, 1, 2]),
        ([shape(16, 60), fits[1], fits[2]], [0, 1, 2]),
        ([fits[0], shape(16, 64), fits[2]], [0, 1, 2]),
        ([fits[0], fits[1], shape(16, 64)], [0, 1, 2]),
        ([shape(16, 64), shape(16, 64), shape(16, 64)], [0, 1, 1]),
        ([shape(16, 64), shape(16, 64), shape(16, 64)], [0, 0, 2]),
    ] {
        let mut state = Tiles::new();
        state.configure(&shapes).map_err(|fault| fault.to_string())?;
        expect_fault(state.dot_signed_unsigned(tiles[0], tiles[1], tiles[2]), "tdpbsud cannot take")?;
    }
    let mut state = Tiles::new();
    state.configure(&fits).map_err(|fault| fault.to_string())?;
    state.dot_signed_unsigned(0, 1, 2).map_err(|fault| fault.to_string())?;
    expect_fault(state.dot_signed_unsigned(0, 1, 3), "tmm3 is not configured")?;
    state.release();
    expect_fault(state.zero(0), "tmm0 is not configured")?;
    // Memory that is no configuration: another palette, a byte that is reserved.
    let mut bytes = [0; 64];
    bytes[0] = 2;
    expect_fault(state.load_config(&bytes), "palette 1")?;
    (bytes[0], bytes[5]) = (1, 1);
    expect_fault(state.load_config(&bytes), "palette 1")
}

/// A load clears what its shape leaves out of the register, as a product with a register of a greater shape would see.
fn remainders() -> Result<(), String> {
    let shape = |rows, row_bytes| TileShape { rows, row_bytes };
    let mut tiles = Tiles::new();
    tiles.configure(&[shape(3, 8)]).map_err(|fault| fault.to_string())?;
    tiles.load(0, |row, len| Ok(vec![row as u8 + 1; len])).map_err(|fault| fault.to_string())?;
    let expected = [[1; 8], [2; 8], [3; 8]].concat();
    if flat(&tiles, 0)? != expected {
        return Err("a loaded tile is not stored as it was".to_owned());
    }
    tiles.zero(0).map_err(|fault| fault.to_string())?;
    if flat(&tiles, 0)? == [0; 24] { Ok(()) } else { Err("a tile is not cleared".to_owned()) }
}

/// Where the system lists what its CPUs have, nothing is available that it does not list.
fn detection() -> Result<(), String> {
    let listed = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |flag: &str| listed.split_whitespace().any(|word| word == flag);
    let available = ISAS.iter().any(|isa| isa.id == "amx" && (isa.available)());
    if available && !(has("amx_tile") && has("amx_int8")) {
        return Err("tiles are said to be available".to_owned());
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn silicon() -> Result<(), String> {
    Err("there are no tiles on this architecture".to_owned())
}

/// Loads three tiles, multiplies them and stores the first; clears it, and stores it again.
#[cfg(target_arch = "x86_64")]
fn silicon() -> Result<(), String> {
    use kernelgen::amx_ops::TileConfig;
    for operands in operands() {
        let [to, left, right] = operands.shapes.map(|shape| (shape.rows as u8, shape.row_bytes as u8));
        let config = TileConfig::new([to, left, right]);
        let [mut sums, signed, unsigned] = operands.bytes.clone();
        let mut cleared = sums.clone();
        // SAFETY: the trial runs only where tiles are permitted; each buffer holds its tile, row after row.
        unsafe {
            std::arch::asm!(
                "ldtilecfg [{config}]",
                "tileloadd tmm0, [{sums} + {to_stride}]",
                "tileloadd tmm1, [{signed} + {signed_stride}]",
                "tileloadd tmm2, [{unsigned} + {to_stride}]",
                "tdpbsud tmm0, tmm1, tmm2",
                "tilestored [{sums} + {to_stride}], tmm0",
                "tilezero tmm0",
                "tilestored [{cleared} + {to_stride}], tmm0",
                "tilerelease",
                config = in(reg) &config,
                sums = in(reg) sums.as_mut_ptr(),
                signed = in(reg) signed.as_ptr(),
                unsigned = in(reg) unsigned.as_ptr(),
                cleared = in(reg) cleared.as_mut_ptr(),
                to_stride = in(reg) usize::from(to.1),
                signed_stride = in(reg) usize::from(left.1),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, preserves_flags),
            );
        }
        if modelled(&operands)? != sums || cleared.iter().any(|byte| *byte != 0) {
            return Err(format!("the product of {:?} is not what the model says", operands.shapes));
        }
    }
    Ok(())
}
