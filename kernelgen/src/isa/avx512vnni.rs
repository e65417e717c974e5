//! AVX-512 with VNNI: `vpdpbusd` on 512-bit registers, sixteen rows at a time.

use super::{Accumulate, Atom, CostModel, Isa};
use crate::machine::Arg::{ActSum, ActsWord, Const, Imm, Out, Reg as R, RowsLeft, Stream, Weights};
use crate::machine::{Class, Inst, Intrinsic, Lowering, Memory, PartOp, Reg};

/// The back-end.
pub struct Avx512Vnni;

const LOAD: Intrinsic = Intrinsic::new("_mm512_load_si512", Class::Load).with_memory(Memory::Read(64));
const WORD: Intrinsic = Intrinsic::new("_mm512_set1_epi32", Class::Broadcast);
const SUM: Intrinsic = Intrinsic::new("_mm512_set1_epi32", Class::Setup);
const BYTE: Intrinsic = Intrinsic::new("_mm512_set1_epi8", Class::Setup);
const ZERO: Intrinsic = Intrinsic::new("_mm512_setzero_si512", Class::Setup);
const AND: Intrinsic = Intrinsic::new("_mm512_and_si512", Class::Logic);
const SRL: Intrinsic = Intrinsic::new("_mm512_srli_epi16", Class::Shift);
const SRA: Intrinsic = Intrinsic::new("_mm512_srai_epi32", Class::Shift);
const DOT: Intrinsic = Intrinsic::new("_mm512_dpbusd_epi32", Class::Multiply);
const ADD: Intrinsic = Intrinsic::new("_mm512_add_epi32", Class::Add);
const SUB: Intrinsic = Intrinsic::new("_mm512_sub_epi32", Class::Add);
const STORE: Intrinsic = Intrinsic::new("_mm512_storeu_si512", Class::Store).with_memory(Memory::Write);
const TAIL: Intrinsic = Intrinsic::new("abi::tail_mask16", Class::Setup).into_other();
const STORE_TAIL: Intrinsic =
    Intrinsic::new("_mm512_mask_storeu_epi32", Class::Store).with_memory(Memory::Write);
const PREFETCH: Intrinsic = Intrinsic::new("_mm_prefetch", Class::Prefetch);

impl Isa for Avx512Vnni {
    fn id(&self) -> &'static str {
        "avx512vnni"
    }

    fn rank(&self) -> u32 {
        50
    }

    fn arch(&self) -> Option<&'static str> {
        Some("x86_64")
    }

    fn features(&self) -> &'static [&'static str] {
        &["avx512f", "avx512bw", "avx512vnni"]
    }

    fn registers(&self) -> Option<usize> {
        Some(32)
    }

    fn atom(&self) -> Atom {
        Atom { rows: 16, cols: 4, code_max: 255, accumulate: Accumulate::Wide }
    }

    fn cost_model(&self) -> CostModel {
        CostModel {
            issue: 6.0,
            vector: 2.0,
            multiply: 2.0,
            load: 2.0,
            multiply_latency: 5.0,
            add_latency: 1.0,
        }
    }

    fn lower(&self, low: &mut Lowering, op: PartOp) -> Inst {
        match op {
            PartOp::ZeroWide => Inst::new(ZERO, []),
            PartOp::Load(offset) => Inst::new(LOAD, [Weights(offset)]),
            PartOp::ShiftRight(x, by) => Inst::new(SRL, [Const(by.into()), R(x)]),
            PartOp::Mask(x, mask) => {
                let mask = low.constant(Inst::new(BYTE, [Imm((mask as i8).into())]));
                Inst::new(AND, [R(x), R(mask)])
            }
            PartOp::Acts(token, offset) => Inst::new(WORD, [ActsWord(token, offset)]),
            PartOp::Dot(acc, codes, acts) => Inst::new(DOT, [R(acc), R(codes), R(acts)]),
            PartOp::ShiftWide(x, by) => Inst::new(SRA, [Const(by.into()), R(x)]),
            PartOp::AddWide(a, b) => Inst::new(ADD, [R(a), R(b)]),
            PartOp::SubActSum(x, token) => {
                let sum = low.emit(Inst::new(SUM, [ActSum(token)]));
                Inst::new(SUB, [R(x), R(sum)])
            }
            other => unreachable!("the atom adds in i32, it has no {other:?}"),
        }
    }

    fn prefetch(&self, low: &mut Lowering, offset: usize) {
        low.run(Inst::new(PREFETCH, [Const(3), Stream(offset)]));
    }

    fn store(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        low.run(Inst::new(STORE, [Out(token, first_row), R(value)]));
    }

    fn store_part(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        let mask = low.emit(Inst::new(TAIL, [RowsLeft(first_row)]));
        low.run(Inst::new(STORE_TAIL, [Out(token, first_row), R(mask), R(value)]));
    }
}
