//! AMX-INT8: `tdpbsud` on tiles of up to 16 activation vectors x 16 rows x 64 columns. Vectors of 512 bits bring the codes
//! apart and stage them in memory: a field of an atom is one row of the tile that is multiplied. Activations are
//! interleaved by runs of 64, so that a tile of them is one KiB without a gap.
//!
//! A field is shifted and masked by one affine map of bits (GFNI, which every CPU with tiles has). Products of tiles hold the
//! one of the two ports that take logic of 512 bits: half as many instructions on the other made kernels of four activation
//! vectors a sixth faster on Emerald Rapids.

use super::avx512vnni::AVX512_VNNI;
use super::x86::{STORE_LANES, store};
use super::{Accumulate, Atom, Detection, Isa, Ops};
use crate::cpus::{self, Cpu};
use crate::ir::{Cursor, STAGE_HALF};
use crate::layout::TILE_ROWS;
use crate::machine::Arg::{ActRows, Ahead, Const, Imm, Out, Reg as R, RowMask, Scratch, ScratchRows};
use crate::machine::{Arg, Class, Inst, Intrinsic, Lowering, Memory, PartOp, Reg};

/// The back-end.
pub struct Amx;

const OPS: Ops = Ops {
    name: "amx_ops",
    about: "The tile configuration of the AMX kernels, and whether they may run.",
    source: include_str!("../amx_ops.rs"),
};

/// Activation vectors of a tile.
const TOKENS: usize = 16;
/// Columns of a tile, and bytes of a tile's row of activations.
const COLS: usize = 64;
/// Bytes of a tile's row of sums or of staged codes: four for each row of the matrix.
const LINE: usize = 4 * TILE_ROWS;
/// Where sums are spilled: in the half of the stage that the next row tiles' first step is not staged in.
const SPILLED: usize = LINE * STAGE_HALF;

const ZERO: Intrinsic = Intrinsic::new("_tile_zero", Class::Setup).with_mnemonic("tilezero");
const LOAD: Intrinsic = Intrinsic::new("_tile_loadd", Class::TileLoad).with_mnemonic("tileloadd");
const SPILL: Intrinsic =
    Intrinsic::new("_tile_stored", Class::TileStore).with_mnemonic("tilestored").with_memory(Memory::Write);
/// Signed bytes of the second operand times unsigned bytes of the third.
const DOT: Intrinsic = Intrinsic::new("_tile_dpbsud", Class::TileMultiply).with_mnemonic("tdpbsud");
/// Every bit of the result is the parity of some bits of a byte, those that the matrix has for it.
const AFFINE: Intrinsic =
    Intrinsic::new("_mm512_gf2p8affine_epi64_epi8", Class::Shift).with_mnemonic("vgf2p8affineqb");
const MATRIX: Intrinsic = Intrinsic::new("_mm512_set1_epi64", Class::Setup);
const STAGE: Intrinsic = store("_mm512_store_si512").with_mnemonic("vmovdqa64");
const PREFETCH: Intrinsic = Intrinsic::new("_mm_prefetch", Class::Prefetch).with_mnemonic("prefetcht0");

/// Where the codes of a slot are staged, from a row of the tile on.
fn staged(slot: usize, first_row: usize) -> Arg {
    Scratch(LINE * slot + 4 * first_row)
}

/// The matrix that moves the two bits at a position to bits 1:0: what bit i is made of stands in byte 7 - i.
fn field(position: u32) -> i64 {
    let (low, high) = (1 << position, 2 << position);
    i64::from_be_bytes([low, high, 0, 0, 0, 0, 0, 0])
}

impl Isa for Amx {
    fn id(&self) -> &'static str {
        "amx"
    }

    fn rank(&self) -> u32 {
        60
    }

    fn arch(&self) -> Option<&'static str> {
        Some("x86_64")
    }

    fn features(&self) -> &'static [&'static str] {
        AVX512_VNNI.features
    }

    fn detection(&self) -> Option<Detection> {
        Some(Detection { features: &["gfni", "amx-tile", "amx-int8"], function: "amx_ops::available" })
    }

    fn registers(&self) -> Option<usize> {
        AVX512_VNNI.registers()
    }

    fn ops(&self) -> Option<Ops> {
        Some(OPS)
    }

    fn atom(&self) -> Atom {
        Atom { rows: TILE_ROWS, cols: COLS, code_max: 255, accumulate: Accumulate::Tile { tokens: TOKENS } }
    }

    fn moves_fields(&self) -> bool {
        true
    }

    fn typical_cpu(&self) -> &'static Cpu {
        &cpus::GOLDEN_COVE
    }

    fn lower(&self, low: &mut Lowering, op: PartOp) -> Inst {
        match op {
            PartOp::ZeroTile => Inst::new(ZERO.into_tile(low.tile_tokens(), LINE), []),
            PartOp::MoveField(packed, position) => {
                let matrix = low.constant(Inst::new(MATRIX, [Imm(field(position))]));
                Inst::new(AFFINE, [Const(0), R(packed), R(matrix)])
            }
            PartOp::Stage(codes, slot, first_row) => Inst::new(STAGE, [staged(slot, first_row), R(codes)]),
            PartOp::ClearStage(slot, first_row) => {
                let zero = low.constant(Inst::new(AVX512_VNNI.instructions.zero, []));
                Inst::new(STAGE, [staged(slot, first_row), R(zero)])
            }
            PartOp::LoadStage(first, slots) => {
                Inst::new(LOAD.into_tile(slots, LINE), [ScratchRows(LINE * first)])
            }
            PartOp::ActTile(token, col, atoms) => {
                Inst::new(LOAD.into_tile(low.tile_tokens(), COLS), [ActRows(token, col, atoms)])
            }
            PartOp::DotTile(acc, staged, acts) => {
                Inst::new(DOT.into_tile(low.tile_tokens(), LINE), [R(acc), R(acts), R(staged)])
            }
            PartOp::Spill(tile) => Inst::new(SPILL, [ScratchRows(SPILLED), R(tile)]),
            PartOp::TileToken(index) => {
                Inst::new(AVX512_VNNI.instructions.load, [Scratch(SPILLED + LINE * index)])
            }
            vector => AVX512_VNNI.lower(low, vector),
        }
    }

    fn prefetch(&self, low: &mut Lowering, of: Cursor, offset: usize) {
        low.run(Inst::new(PREFETCH, [Ahead(of, offset)]));
    }

    fn store(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        self.store_part(low, value, token, first_row);
    }

    fn store_part(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        low.run(Inst::new(STORE_LANES, [Out(token, first_row), RowMask, R(value)]));
    }
}
