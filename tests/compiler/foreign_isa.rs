//! An instruction set that exists only in this test: registers of four rows, signed weight operands, as of `sdot`.
//! What is above the lowering must take it as it takes those that it knows.

use kernelgen::compile::{CompileError, compile};
use kernelgen::cpus::{CostModel, Cpu};
use kernelgen::emit;
use kernelgen::interp;
use kernelgen::ir::Cursor;
use kernelgen::isa::{Accumulate, Atom, Isa};
use kernelgen::machine::{Arg, Class, Inst, Intrinsic, Lowering, Memory, PartOp, Reg};
use kernelgen::passes::range::RangeError;
use kernelgen::spec::KernelSpec;
use tritforge_tests::{Case, shared};

use crate::spec;

struct SignedDot;

static SIGNED_DOT: SignedDot = SignedDot;

static SMALL_CORE: Cpu = Cpu {
    name: "small-core",
    about: "nowhere",
    isas: &["signeddot"],
    model: CostModel {
        issue: 4.0,
        logic: 0b11,
        shift: 0b10,
        multiply: 0b11,
        dot: 0b11,
        add: 0b11,
        load: 0b1100,
        hold: 1.0,
        registers: 32,
        multiply_latency: 4.0,
        add_latency: 2.0,
        tile_multiply: 0.0,
    },
    model_512: None,
};

impl Isa for SignedDot {
    fn id(&self) -> &'static str {
        "signeddot"
    }

    fn rank(&self) -> u32 {
        0
    }

    fn arch(&self) -> Option<&'static str> {
        Some("aarch64")
    }

    fn features(&self) -> &'static [&'static str] {
        &["neon", "dotprod"]
    }

    fn registers(&self) -> Option<usize> {
        Some(32)
    }

    fn atom(&self) -> Atom {
        Atom { rows: 4, cols: 4, code_max: 127, accumulate: Accumulate::Wide }
    }

    fn typical_cpu(&self) -> &'static Cpu {
        &SMALL_CORE
    }

    fn lower(&self, _low: &mut Lowering, op: PartOp) -> Inst {
        let inst = |name, class, args: &[Arg]| Inst::new(Intrinsic::new(name, class), args);
        match op {
            PartOp::ZeroWide => inst("vzero", Class::Setup, &[]),
            PartOp::Load(stream, offset) => {
                let load = Intrinsic::new("vld1q_u8", Class::Load).with_memory(Memory::Read(16));
                Inst::new(load, [Arg::Weights(stream, offset)])
            }
            PartOp::ShiftRight(x, by) => {
                inst("vshrq_n_u8", Class::Shift, &[Arg::Const(by.into()), Arg::Reg(x)])
            }
            PartOp::Mask(x, mask) => inst("vmask", Class::Logic, &[Arg::Imm(mask.into()), Arg::Reg(x)]),
            PartOp::Acts(token, offset) => inst("vacts", Class::Broadcast, &[Arg::ActsWord(token, offset)]),
            PartOp::Dot(acc, codes, acts) => {
                inst("vdotq_s32", Class::Multiply, &[acc, codes, acts].map(Arg::Reg))
            }
            PartOp::AddWide(a, b) => inst("vaddq_s32", Class::Add, &[a, b].map(Arg::Reg)),
            PartOp::ShiftWide(x, by) => {
                inst("vshrq_n_s32", Class::Shift, &[Arg::Const(by.into()), Arg::Reg(x)])
            }
            PartOp::SubActSum(x, token) => inst("vsub", Class::Add, &[Arg::Reg(x), Arg::ActSum(token)]),
            other => unreachable!("the atom adds in i32, it has no {other:?}"),
        }
    }

    fn prefetch(&self, _low: &mut Lowering, _of: Cursor, _offset: usize) {}

    fn store(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        self.store_part(low, value, token, first_row);
    }

    fn store_part(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        let store = Intrinsic::new("vstore", Class::Store).with_memory(Memory::Write);
        low.run(Inst::new(store, [Arg::Out(token, first_row), Arg::Reg(value), Arg::RowsLeft(first_row)]));
    }
}

/// The kernel of this name, on the foreign instruction set.
fn foreign(front: &str) -> KernelSpec {
    KernelSpec { isa: &SIGNED_DOT, ..spec(&format!("{front}__portable")) }
}

#[test]
fn the_ir_of_a_foreign_isa_returns_the_naive_product() {
    for front in [
        "gemv_i2a16_anyxany_u1c1sr1p0",
        "gemv_i2a16_anyxany_u3c2sr4p64",
        "gemv_i2a16_anyxany_u2c1nr2p0",
        "gemm4_i2a16_anyxany_u1c1sr4p0",
    ] {
        let kernel = compile(&foreign(front)).expect("the kernel compiles");
        let uniform = Case::uniform(21, 100, -1, -128);
        for case in [&*shared((37, 1003)), &*shared((1, 1)), &uniform] {
            let tiles = 0..case.tiles();
            let found = interp::ir::run(&kernel, &case.data(&tiles)).expect("every value stays in its proof");
            assert_eq!(found, case.expected_of(kernel.spec.operation.tokens(), &tiles), "{}", kernel.name);
        }
        syn::parse_file(&emit::single(&kernel)).expect("the source parses");
    }
}

/// The topmost field counts 64 times: code 2 is 128 there, and a signed operand ends at 127.
#[test]
fn codes_past_a_signed_operand_are_refused() {
    let error = compile(&foreign("gemv_i2a16_anyxany_u1c1mr4p0")).expect_err("128 is no signed byte");
    let CompileError::Range { error: RangeError::Overflow { ref value, lo, hi, min, max, .. }, .. } = error
    else {
        panic!("{error}")
    };
    assert_eq!((value.as_str(), lo, hi, min, max), ("codes0_3", 0, 128, -128, 127));
    assert!(error.to_string().contains("weight operand of the product"), "{error}");
}

/// Four registers hold the sixteen rows of a value.
#[test]
fn a_value_takes_as_many_registers_as_its_rows_need() {
    let whole = compile(&foreign("gemv_i2a16_16x256_u1c1sr1p0")).expect("the kernel compiles");
    let split = compile(&foreign("gemv_i2a16_16x256_u1c1sr4p0")).expect("the kernel compiles");
    assert!(whole.pressure.registers > split.pressure.registers);
    // Four accumulators and four registers each of packed bytes, shifted bytes and codes, or one of each; and
    // the activations. The mask is an immediate here.
    assert_eq!((whole.pressure.registers, split.pressure.registers), (13, 4));
}

#[test]
fn an_instruction_without_a_model_is_named() {
    let kernel = compile(&foreign("gemv_i2a16_anyxany_u1c1sr1p0")).expect("the kernel compiles");
    let case = Case::uniform(16, 16, 1, 1);
    let fault = interp::machine::run(&kernel, &case.data(&(0..1)), 0).expect_err("there is no model");
    assert_eq!(fault, interp::Fault::NoModel("vzero"));
}
