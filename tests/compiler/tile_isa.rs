//! An instruction set that exists only in this test: one operation multiplies a whole tile of 16 rows and 16 tokens over
//! 64 columns, from codes that are staged in memory, as AMX does. What is above the lowering must take it as it takes
//! registers.

use kernelgen::compile::{CompileError, compile};
use kernelgen::cpus::{Cpu, GOLDEN_COVE};
use kernelgen::interp;
use kernelgen::isa::{Accumulate, Atom, Isa};
use kernelgen::machine::{Arg, Class, Inst, Intrinsic, Lowering, PartOp, Reg};
use kernelgen::spec::KernelSpec;
use tritforge_tests::Case;

use crate::spec;

struct Tiles;

static TILES: Tiles = Tiles;

impl Isa for Tiles {
    fn id(&self) -> &'static str {
        "tiles"
    }

    fn rank(&self) -> u32 {
        0
    }

    fn arch(&self) -> Option<&'static str> {
        Some("x86_64")
    }

    fn features(&self) -> &'static [&'static str] {
        &[]
    }

    fn registers(&self) -> Option<usize> {
        None
    }

    fn atom(&self) -> Atom {
        Atom { rows: 16, cols: 64, code_max: 255, accumulate: Accumulate::Tile { tokens: 16 } }
    }

    fn typical_cpu(&self) -> &'static Cpu {
        &GOLDEN_COVE
    }

    fn lower(&self, _low: &mut Lowering, op: PartOp) -> Inst {
        let (name, class, read) = match op {
            PartOp::ZeroTile => ("tilezero", Class::Setup, vec![]),
            PartOp::DotTile(acc, ..) => ("tdpbusd", Class::Multiply, vec![acc]),
            PartOp::TileToken(tile, _) => ("tilestored", Class::Load, vec![tile]),
            PartOp::Stage(codes, ..) => ("stage", Class::Store, vec![codes]),
            PartOp::Load(_) => ("load", Class::Load, vec![]),
            PartOp::ShiftRight(x, _) => ("shift", Class::Shift, vec![x]),
            PartOp::Mask(x, _) => ("mask", Class::Logic, vec![x]),
            PartOp::SubActSum(x, _) => ("sub", Class::Add, vec![x]),
            other => unreachable!("a contraction on tiles has no {other:?}"),
        };
        Inst::new(Intrinsic::new(name, class), read.into_iter().map(Arg::Reg).collect::<Vec<_>>())
    }

    fn prefetch(&self, _low: &mut Lowering, _offset: usize) {}

    fn store(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        self.store_part(low, value, token, first_row);
    }

    fn store_part(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        let store = Intrinsic::new("store", Class::Store);
        low.run(Inst::new(store, [Arg::Out(token, first_row), Arg::Reg(value)]));
    }
}

fn on_tiles(front: &str) -> KernelSpec {
    KernelSpec { isa: &TILES, ..spec(&format!("{front}__portable")) }
}

/// Whole tiles, a rest of one to three atoms, K below one tile, and two tiles of tokens.
#[test]
fn the_ir_of_a_tile_isa_returns_the_naive_product() {
    for front in [
        "gemm16_i2a16_anyxany_u4c1sr1p0",
        "gemm16_i2a16_anyxany_u1c1sr1p0",
        "gemm32_i2a16_anyxany_u4c1sr1p256",
    ] {
        let kernel = compile(&on_tiles(front)).expect("the kernel compiles");
        let tokens = kernel.spec.operation.tokens();
        let cases = [
            Case::random_for(tokens, 37, 203, 1),
            Case::random_for(tokens, 1, 1, 2),
            Case::uniform_for(tokens, 21, 100, 1, 127),
            Case::uniform_for(tokens, 21, 100, -1, -128),
        ];
        for case in &cases {
            let tiles = 0..case.tiles();
            let found = interp::ir::run(&kernel, &case.data(&tiles)).expect("every value stays in its proof");
            assert_eq!(found, case.expected_of(tokens, &tiles), "{}", kernel.name);
        }
    }
    // A fixed shape, and some of its tiles.
    let kernel = compile(&on_tiles("gemm16_i2a16_37x203_u2c1sr1p0")).expect("the kernel compiles");
    let case = Case::random_for(16, 37, 203, 3);
    let found = interp::ir::run(&kernel, &case.data(&(1..3))).expect("every value stays in its proof");
    assert_eq!(found, case.expected_of(16, &(1..3)));
}

#[test]
fn what_no_tile_can_hold_is_refused() {
    for (front, reason) in [
        ("gemm4_i2a16_anyxany_u4c1sr1p0", "4 activation vectors are no whole tiles of 16"),
        ("gemm16_i2a16_anyxany_u5c1sr1p0", "5 atoms are more than the 64 columns of a tile"),
        ("gemm16_i2a16_anyxany_u4c1mr1p0", "unpack by shifts"),
    ] {
        let error = compile(&on_tiles(front)).expect_err("it must be refused");
        let CompileError::Tile { reason: found, .. } = &error else { panic!("{error}") };
        assert!(found.contains(reason), "{error}");
    }
}
