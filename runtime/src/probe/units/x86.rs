//! The units of x86-64. Accumulators are as many as hide the latency of an instruction on every CPU that has it: at least
//! ten where two can start in a cycle and take five.

#![allow(non_snake_case, reason = "the names say the instruction set, as those of kernels do")]

use std::arch::asm;
use std::arch::x86_64::{_mm256_set1_epi8, _mm512_set1_epi8};

use super::Unit;
use crate::kernels::amx_ops::TileConfig;
use crate::kernels::{AMX, AVX2, AVX512BW, AVX512VNNI, AVXVNNI};

/// Multiply-adds of an instruction on a ymm or zmm register: one a byte.
const YMM: u64 = 32;
const ZMM: u64 = 64;
/// The same for a product of whole AMX tiles: 16 rows by 16 columns by 64 values.
const TILES: u64 = 16 * 16 * 64;

/// Multiplications of a round, each with an accumulator of its own.
const ROUND: u64 = 12;
const TILE_ROUND: u64 = 4;

pub(super) const UNITS: [Unit; 6] = [
    Unit {
        isa: &AVX2,
        instructions: "vpmaddubsw ymm, vpaddw ymm",
        macs_a_round: ROUND * YMM,
        rounds: rounds__avx2,
    },
    Unit { isa: &AVXVNNI, instructions: "vpdpbusd ymm", macs_a_round: ROUND * YMM, rounds: rounds__avxvnni },
    Unit {
        isa: &AVX512BW,
        instructions: "vpmaddubsw zmm, vpaddw zmm",
        macs_a_round: ROUND * ZMM,
        rounds: rounds__avx512bw,
    },
    Unit {
        isa: &AVX512VNNI,
        instructions: "vpdpbusd zmm",
        macs_a_round: ROUND * ZMM,
        rounds: rounds__avx512vnni,
    },
    Unit {
        isa: &AMX,
        instructions: "tdpbusd, tiles loaded from L1",
        macs_a_round: TILE_ROUND * TILES,
        rounds: from_l1__amx,
    },
    Unit { isa: &AMX, instructions: "tdpbusd", macs_a_round: TILE_ROUND * TILES, rounds: rounds__amx },
];

/// A function whose loop executes the given lines once for each of twelve accumulators, `\\acc` in the lines. Registers 13
/// and 14 hold what is multiplied; 12 is free, and renamed every time that it is written.
macro_rules! rounds {
    ($name:ident, $features:literal, $splat:ident, [$($line:literal),*], [$($clobbered:tt)*], $a:tt, $b:tt) => {
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $features)]
        unsafe fn $name(rounds: u64) {
            if rounds == 0 {
                return;
            }
            // SAFETY: the loop touches no memory and no registers but those named, and the CPU has the instructions.
            unsafe {
                asm!(
                    "2:",
                    ".irp acc,0,1,2,3,4,5,6,7,8,9,10,11",
                    $($line,)*
                    ".endr",
                    "dec {rounds}",
                    "jnz 2b",
                    rounds = inout(reg) rounds => _,
                    in($a) $splat(3),
                    in($b) $splat(-5),
                    $(out($clobbered) _,)*
                    options(nomem, nostack),
                );
            }
        }
    };
}

rounds! {
    rounds__avx2, "avx2", _mm256_set1_epi8, ["vpmaddubsw ymm12, ymm13, ymm14", "vpaddw ymm\\acc, ymm\\acc, ymm12"],
    ["ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm9" "ymm10" "ymm11" "ymm12"], "ymm13", "ymm14"
}
rounds! {
    rounds__avxvnni, "avx2,avxvnni", _mm256_set1_epi8, ["{{vex}} vpdpbusd ymm\\acc, ymm13, ymm14"],
    ["ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm9" "ymm10" "ymm11" "ymm12"], "ymm13", "ymm14"
}
rounds! {
    rounds__avx512bw, "avx512f,avx512bw", _mm512_set1_epi8, ["vpmaddubsw zmm12, zmm13, zmm14", "vpaddw zmm\\acc, zmm\\acc, zmm12"],
    ["zmm0" "zmm1" "zmm2" "zmm3" "zmm4" "zmm5" "zmm6" "zmm7" "zmm8" "zmm9" "zmm10" "zmm11" "zmm12"], "zmm13", "zmm14"
}
rounds! {
    rounds__avx512vnni, "avx512f,avx512bw,avx512vnni", _mm512_set1_epi8, ["vpdpbusd zmm\\acc, zmm13, zmm14"],
    ["zmm0" "zmm1" "zmm2" "zmm3" "zmm4" "zmm5" "zmm6" "zmm7" "zmm8" "zmm9" "zmm10" "zmm11" "zmm12"], "zmm13", "zmm14"
}

/// Accumulators 0 to 3 (16 rows of 16 i32), operands 4 to 7 (16 rows of 64 bytes).
static TILE_CONFIG: TileConfig = TileConfig::new([(16, 64); 8]);

/// The operands: four tiles.
#[repr(C, align(64))]
struct Operands([u8; 4 << 10]);

/// A function that executes the given lines a round, four products of tiles among them, on the operands at `{operands}`.
macro_rules! tiles {
    ($name:ident, [$($line:literal),* $(,)?]) => {
        /// # Safety
        /// The CPU must have the instruction set, and this process the permission to use it.
        unsafe fn $name(rounds: u64) {
            if rounds == 0 {
                return;
            }
            let operands = Operands([3; 4 << 10]);
            // SAFETY: the tiles are loaded from the operands, 16 rows of 64 bytes each; the registers are those named, and
            // that tiles may be used the caller has seen to.
            unsafe {
                asm!(
                    "ldtilecfg [{config}]",
                    ".irp acc,0,1,2,3",
                    "tilezero tmm\\acc",
                    ".endr",
                    "tileloadd tmm4, [{operands} + {stride}]",
                    "tileloadd tmm5, [{operands} + {stride} + 1024]",
                    "tileloadd tmm6, [{operands} + {stride} + 2048]",
                    "tileloadd tmm7, [{operands} + {stride} + 3072]",
                    "2:",
                    $($line,)*
                    "dec {rounds}",
                    "jnz 2b",
                    "tilerelease",
                    config = in(reg) &raw const TILE_CONFIG,
                    operands = in(reg) &raw const operands,
                    stride = in(reg) 64usize,
                    rounds = inout(reg) rounds => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(readonly, nostack),
                );
            }
        }
    };
}

tiles! {
    rounds__amx,
    [
        "tdpbusd tmm0, tmm4, tmm6",
        "tdpbusd tmm1, tmm4, tmm7",
        "tdpbusd tmm2, tmm5, tmm6",
        "tdpbusd tmm3, tmm5, tmm7",
    ]
}

// Two tiles by two: each that is loaded is used twice.
tiles! {
    from_l1__amx,
    [
        "tileloadd tmm4, [{operands} + {stride}]",
        "tileloadd tmm6, [{operands} + {stride} + 2048]",
        "tdpbusd tmm0, tmm4, tmm6",
        "tileloadd tmm7, [{operands} + {stride} + 3072]",
        "tdpbusd tmm1, tmm4, tmm7",
        "tileloadd tmm5, [{operands} + {stride} + 1024]",
        "tdpbusd tmm2, tmm5, tmm6",
        "tdpbusd tmm3, tmm5, tmm7",
    ]
}
