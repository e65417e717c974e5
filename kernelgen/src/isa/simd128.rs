//! WebAssembly's vectors of 128 bits: four rows at a time, products of i16 added in i32 by `i32x4.dot_i16x8_s`. The even
//! bytes of a row's four codes are one operand, the odd ones the other, so that no field has to be shifted and no sum
//! has to be taken across lanes. A module that holds one instruction that its engine lacks does not load at all: the
//! kernels are compiled where the target has the feature, and detected at compile time.

use super::{Accumulate, Atom, Isa, Ops};
use crate::cpus::{self, Cpu};
use crate::ir::Cursor;
use crate::machine::Arg::{ActSum, ActsWord, Imm, Out, Reg as R, RowsLeft, Weights};
use crate::machine::{Class, Inst, Intrinsic, Lowering, Memory, PartOp, Reg};

/// The back-end.
pub struct Simd128;

const LOAD: Intrinsic = Intrinsic::new("v128_load", Class::Load).with_memory(Memory::Read(16));
const SPLAT_WORD: Intrinsic = Intrinsic::new("i32x4_splat", Class::Broadcast);
const SPLAT16: Intrinsic = Intrinsic::new("i16x8_splat", Class::Setup);
const SPLAT32: Intrinsic = Intrinsic::new("i32x4_splat", Class::Setup);
const AND: Intrinsic = Intrinsic::new("v128_and", Class::Logic);
const SHL16: Intrinsic = Intrinsic::new("i16x8_shl", Class::Shift);
const SHR16: Intrinsic = Intrinsic::new("i16x8_shr", Class::Shift);
const SHR16_UNSIGNED: Intrinsic = Intrinsic::new("u16x8_shr", Class::Shift);
const SHR32: Intrinsic = Intrinsic::new("i32x4_shr", Class::Shift);
const ADD: Intrinsic = Intrinsic::new("i32x4_add", Class::Add);
const SUB: Intrinsic = Intrinsic::new("i32x4_sub", Class::Add);
const PAIR: Intrinsic = Intrinsic::new("simd128_ops::pair", Class::Fused).into_pair();
const PRODUCTS: Intrinsic = Intrinsic::new("simd128_ops::products", Class::Dot).into_pair();
const SUM: Intrinsic = Intrinsic::new("simd128_ops::sum", Class::Add);
const STORE: Intrinsic = Intrinsic::new("v128_store", Class::Store).with_memory(Memory::Write);
const STORE_PART: Intrinsic =
    Intrinsic::new("simd128_ops::store_part", Class::Store).with_memory(Memory::Write);

impl Isa for Simd128 {
    fn id(&self) -> &'static str {
        "simd128"
    }

    fn rank(&self) -> u32 {
        210
    }

    fn arch(&self) -> Option<&'static str> {
        Some("wasm32")
    }

    fn features(&self) -> &'static [&'static str] {
        &["simd128"]
    }

    /// Those of x86-64, to which engines compile; a module itself may name any number.
    fn registers(&self) -> Option<usize> {
        Some(16)
    }

    fn ops(&self) -> Option<Ops> {
        Some(Ops {
            name: "simd128_ops",
            about: "Operations of the WebAssembly kernels that are no intrinsics.",
            source: include_str!("../simd128_ops.rs"),
        })
    }

    fn atom(&self) -> Atom {
        Atom { rows: 4, cols: 4, code_max: 255, accumulate: Accumulate::Wide }
    }

    fn typical_cpu(&self) -> &'static Cpu {
        &cpus::SKYLAKE
    }

    fn lower(&self, low: &mut Lowering, op: PartOp) -> Inst {
        match op {
            PartOp::ZeroWide => Inst::new(SPLAT32, [Imm(0)]),
            PartOp::Load(stream, offset) => Inst::new(LOAD, [Weights(stream, offset)]),
            // There is one of bytes, which is two instructions on x86; what crosses over is masked off.
            PartOp::ShiftRight(x, by) => Inst::new(SHR16_UNSIGNED, [R(x), Imm(by.into())]),
            PartOp::Mask(x, mask) => {
                let mask = low.constant(Inst::new(SPLAT16, [Imm(mask.into())]));
                let even = low.emit(Inst::new(AND, [R(x), R(mask)]));
                let high = low.emit(Inst::new(SHR16_UNSIGNED, [R(x), Imm(8)]));
                let odd = low.emit(Inst::new(AND, [R(high), R(mask)]));
                Inst::new(PAIR, [R(even), R(odd)])
            }
            PartOp::Acts(token, offset) => {
                let word = low.emit(Inst::new(SPLAT_WORD, [ActsWord(token, offset)]));
                let high = low.emit(Inst::new(SHL16, [R(word), Imm(8)]));
                let even = low.emit(Inst::new(SHR16, [R(high), Imm(8)]));
                let odd = low.emit(Inst::new(SHR16, [R(word), Imm(8)]));
                Inst::new(PAIR, [R(even), R(odd)])
            }
            PartOp::Dot(acc, codes, acts) => {
                let products = low.emit(Inst::new(PRODUCTS, [R(codes), R(acts)]));
                let sum = low.emit(Inst::new(SUM, [R(products)]));
                Inst::new(ADD, [R(acc), R(sum)])
            }
            PartOp::ShiftWide(x, by) => Inst::new(SHR32, [R(x), Imm(by.into())]),
            PartOp::AddWide(a, b) => Inst::new(ADD, [R(a), R(b)]),
            PartOp::SubActSum(x, token) => {
                let sum = low.emit(Inst::new(SPLAT32, [ActSum(token)]));
                Inst::new(SUB, [R(x), R(sum)])
            }
            other => unreachable!("the atom adds in i32, it has no {other:?}"),
        }
    }

    /// WebAssembly has no prefetch.
    fn prefetch(&self, _low: &mut Lowering, _of: Cursor, _offset: usize) {}

    fn store(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        low.run(Inst::new(STORE, [Out(token, first_row), R(value)]));
    }

    fn store_part(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        low.run(Inst::new(STORE_PART, [Out(token, first_row), RowsLeft(first_row), R(value)]));
    }
}
