//! Rows of [`I8_ROW`] times several tokens on AMX-INT8: an atom is a row of the tile that is multiplied, as it lies in memory.
//!
//! An activation is `256 * upper + lower`, a signed and an unsigned byte, so that a step of 64 columns takes two products of
//! tiles. Sums run modulo 2^32, as those of [`super::blocks`] do, and become the same floats.

use super::activations::Arrangement;
use super::blocks::Call;
use super::kernels::BlockKernels;
use super::layout::{Format, I8_ROW};

/// Tokens at most, the rows of a tile.
pub const TOKENS: usize = 16;
/// Atoms of a step.
const STEP_ATOMS: usize = 16;
/// Columns of a step, and bytes of a tile's row.
pub const STEP_COLS: usize = STEP_ATOMS * I8_ROW.part_cols;
/// Bytes of a tile.
const TILE: usize = TOKENS * STEP_COLS;
/// Words of a step's activations: a tile of lower bytes, one of upper ones.
pub const STEP_WORDS: usize = TILE;

/// Tokens from which on tiles are faster: fewer wait for memory either way.
pub const FROM: usize = 5;

/// Steps of a row of so many columns, none of which goes beyond its end: the last one takes some columns again, which the
/// activations have zeros for.
pub fn steps(stride: usize) -> usize {
    stride.div_ceil(STEP_COLS)
}

/// What multiplies so many tokens with rows of a format, and how it takes activations.
pub fn kernel(
    kernels: &BlockKernels,
    format: &Format,
    parts: usize,
    tokens: usize,
) -> (unsafe fn(Call<'_>), Arrangement) {
    let suits = kernels.isa.id == "amx" && *format == I8_ROW && parts >= STEP_ATOMS && tokens >= FROM;
    match KERNEL.filter(|_| suits) {
        Some(kernel) => (kernel, Arrangement::Tiles),
        None => (kernels.of_format(format), Arrangement::Interleaved { at_once: kernels.at_once }),
    }
}

/// The kernel, where the architecture has tiles.
#[cfg(target_arch = "x86_64")]
const KERNEL: Option<unsafe fn(Call<'_>)> = Some(amx::i8row__amx);
#[cfg(not(target_arch = "x86_64"))]
const KERNEL: Option<unsafe fn(Call<'_>)> = None;

#[cfg(target_arch = "x86_64")]
#[allow(non_snake_case, reason = "the names say the instruction set, as those of kernels do")]
mod amx {
    use std::arch::asm;

    use super::super::layout::ATOM;
    use super::super::schedule::{rest, steps};
    use super::{Call, I8_ROW, STEP_ATOMS, STEP_COLS, STEP_WORDS, TILE, TOKENS};
    use crate::kernels::amx_ops::TileConfig;
    use crate::lanes::{LANES, PAIR};

    /// Sums of the products of lower and of upper bytes, of each of two tiles: `[tile][half][token][row]`.
    #[repr(C, align(64))]
    struct Sums([[[[i32; LANES]; TOKENS]; 2]; PAIR]);

    /// The instructions of a step of two tiles, whose atoms `{first}` and `{second}` point to.
    macro_rules! step {
        () => {
            "tileloadd tmm4, [{words} + {line}]
            tileloadd tmm6, [{first} + {line}]
            tdpbuud tmm0, tmm4, tmm6
            tileloadd tmm5, [{words} + {line} + 1024]
            tdpbsud tmm1, tmm5, tmm6
            tileloadd tmm7, [{second} + {line}]
            tdpbuud tmm2, tmm4, tmm7
            tdpbsud tmm3, tmm5, tmm7"
        };
    }

    /// Up to [`TOKENS`] tokens, whose activations lie in tiles.
    ///
    /// # Panics
    /// When the operands do not belong together.
    ///
    /// # Safety
    /// The CPU must have AMX-INT8 and AVX-512, and this process the permission to use it.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub unsafe fn i8row__amx(mut call: Call<'_>) {
        let (tile_bytes, tokens) = (call.parts * ATOM, call.tokens.len());
        let count = call.tiles.len() / tile_bytes.max(1);
        assert!((1..=TOKENS).contains(&tokens), "as many tokens as a tile has rows");
        assert!(
            tile_bytes >= TILE && call.tiles.len() == count * tile_bytes,
            "whole tiles, of a step at least"
        );
        assert!(call.out.len() == tokens * count * LANES, "a result a token and row");
        assert!(call.scales.len() == count * LANES, "a scale a row");
        let words = super::steps(call.parts * I8_ROW.part_cols) * STEP_WORDS;
        assert!(call.words.len() == words, "activations for whole steps");
        assert!(call.tokens.iter().all(|token| token.offsets.len() == 1), "an offset a row");
        // SAFETY: the caller promises the instructions, and the lengths were checked.
        unsafe {
            for tiles in steps::<PAIR>(count) {
                pair__amx(&mut call, count, tiles);
            }
            for tile in rest::<PAIR>(count) {
                pair__amx(&mut call, count, [tile; PAIR]);
            }
        }
    }

    /// Two tiles of `count` side by side: activations are read once for both.
    ///
    /// # Safety
    /// The CPU must have the instructions; operands that belong together, and tiles that there are.
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn pair__amx(call: &mut Call<'_>, count: usize, tiles: [usize; PAIR]) {
        let tile_bytes = call.parts * ATOM;
        let [first, second] = tiles.map(|tile| &call.tiles[tile * tile_bytes..][..tile_bytes]);
        let mut sums = Sums([[[[0; LANES]; TOKENS]; 2]; PAIR]);
        let (tokens, whole) = (call.tokens.len() as u8, (STEP_ATOMS as u8, STEP_COLS as u8));
        let of_tokens = (tokens, STEP_COLS as u8);
        let config =
            TileConfig::new([of_tokens, of_tokens, of_tokens, of_tokens, of_tokens, of_tokens, whole, whole]);
        let before_last = super::steps(call.parts * I8_ROW.part_cols) - 1;
        // SAFETY: a step reads a tile of atoms of each of both, the last one those that end with it, and two tiles of
        // activations; sums have room for all that is stored. What the assembly changes is named: all tile registers too, which
        // it leaves without a configuration.
        unsafe {
            asm!(
                "ldtilecfg [{config}]",
                ".irp sums,0,1,2,3",
                "tilezero tmm\\sums",
                ".endr",
                "test {before_last}, {before_last}",
                "jz 3f",
                "2:",
                ".irp at,0,64,128,192,256,320,384,448,512,576,640,704,768,832,896,960",
                "prefetcht0 [{first} + {ahead} + \\at]",
                "prefetcht0 [{second} + {ahead} + \\at]",
                ".endr",
                step!(),
                "add {words}, 2048",
                "add {first}, 1024",
                "add {second}, 1024",
                "dec {before_last}",
                "jnz 2b",
                "3:",
                "sub {first}, {back}",
                "sub {second}, {back}",
                step!(),
                ".irp sums,0,1,2,3",
                "tilestored [{sums} + {line} + 1024 * \\sums], tmm\\sums",
                ".endr",
                "tilerelease",
                config = in(reg) &raw const config,
                first = inout(reg) first.as_ptr() => _,
                second = inout(reg) second.as_ptr() => _,
                words = inout(reg) call.words.as_ptr() => _,
                before_last = inout(reg) before_last => _,
                back = in(reg) (before_last + 1) * TILE - tile_bytes,
                ahead = in(reg) call.walk.ahead(false),
                sums = in(reg) &raw mut sums,
                line = in(reg) STEP_COLS,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
        for (tile, [lower, upper]) in tiles.into_iter().zip(&sums.0) {
            let scales = &call.scales[tile * LANES..][..LANES];
            for (index, token) in call.tokens.iter().enumerate() {
                let out = &mut call.out[(index * count + tile) * LANES..][..LANES];
                let sums = lower[index].iter().zip(&upper[index]);
                for ((out, (lower, upper)), scale) in out.iter_mut().zip(sums).zip(scales) {
                    let sum = lower.wrapping_add(upper << 8).wrapping_add(token.offsets[0]);
                    *out = sum as f32 * scale * token.inverse;
                }
            }
        }
    }
}
