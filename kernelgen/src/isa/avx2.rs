//! AVX2: `vpmaddubsw` on 256-bit registers, eight rows at a time, sums in i16 that are widened by `vpmaddwd`.

use super::{Accumulate, Atom, CostModel, Isa};
use crate::machine::Arg::{ActSum, ActsWord, Const, Imm, Out, Reg as R, RowsLeft, Stream, Weights};
use crate::machine::{Class, Inst, Intrinsic, Lowering, Memory, PartOp, Reg};

/// The back-end.
pub struct Avx2;

const LOAD: Intrinsic = Intrinsic::new("_mm256_load_si256", Class::Load).with_memory(Memory::Read(32));
const WORD: Intrinsic = Intrinsic::new("_mm256_set1_epi32", Class::Broadcast);
const SPLAT32: Intrinsic = Intrinsic::new("_mm256_set1_epi32", Class::Setup);
const SPLAT16: Intrinsic = Intrinsic::new("_mm256_set1_epi16", Class::Setup);
const SPLAT8: Intrinsic = Intrinsic::new("_mm256_set1_epi8", Class::Setup);
const LANES: Intrinsic = Intrinsic::new("_mm256_setr_epi32", Class::Setup);
const ZERO: Intrinsic = Intrinsic::new("_mm256_setzero_si256", Class::Setup);
const AND: Intrinsic = Intrinsic::new("_mm256_and_si256", Class::Logic);
const GREATER: Intrinsic = Intrinsic::new("_mm256_cmpgt_epi32", Class::Logic);
const SRL: Intrinsic = Intrinsic::new("_mm256_srli_epi16", Class::Shift);
const SRA16: Intrinsic = Intrinsic::new("_mm256_srai_epi16", Class::Shift);
const PAIRS: Intrinsic = Intrinsic::new("_mm256_maddubs_epi16", Class::Multiply);
const WIDEN: Intrinsic = Intrinsic::new("_mm256_madd_epi16", Class::Multiply);
const ADD16: Intrinsic = Intrinsic::new("_mm256_add_epi16", Class::Add);
const ADD32: Intrinsic = Intrinsic::new("_mm256_add_epi32", Class::Add);
const SUB32: Intrinsic = Intrinsic::new("_mm256_sub_epi32", Class::Add);
const STORE: Intrinsic = Intrinsic::new("_mm256_storeu_si256", Class::Store).with_memory(Memory::Write);
const STORE_TAIL: Intrinsic =
    Intrinsic::new("_mm256_maskstore_epi32", Class::Store).with_memory(Memory::Write);
const PREFETCH: Intrinsic = Intrinsic::new("_mm_prefetch", Class::Prefetch);

impl Isa for Avx2 {
    fn id(&self) -> &'static str {
        "avx2"
    }

    fn rank(&self) -> u32 {
        20
    }

    fn arch(&self) -> Option<&'static str> {
        Some("x86_64")
    }

    fn features(&self) -> &'static [&'static str] {
        &["avx2"]
    }

    fn registers(&self) -> Option<usize> {
        Some(16)
    }

    fn atom(&self) -> Atom {
        Atom { rows: 8, cols: 4, code_max: 255, accumulate: Accumulate::Narrow { products: 2 } }
    }

    fn cost_model(&self) -> CostModel {
        CostModel {
            issue: 4.0,
            vector: 3.0,
            multiply: 2.0,
            load: 2.0,
            multiply_latency: 5.0,
            add_latency: 1.0,
        }
    }

    fn lower(&self, low: &mut Lowering, op: PartOp) -> Inst {
        match op {
            PartOp::ZeroNarrow | PartOp::ZeroWide => Inst::new(ZERO, []),
            PartOp::Load(offset) => Inst::new(LOAD, [Weights(offset)]),
            PartOp::ShiftRight(x, by) => Inst::new(SRL, [Const(by.into()), R(x)]),
            PartOp::Mask(x, mask) => {
                let mask = low.constant(Inst::new(SPLAT8, [Imm((mask as i8).into())]));
                Inst::new(AND, [R(x), R(mask)])
            }
            PartOp::Acts(token, offset) => Inst::new(WORD, [ActsWord(token, offset)]),
            PartOp::DotNarrow(codes, acts) => Inst::new(PAIRS, [R(codes), R(acts)]),
            PartOp::AddNarrow(a, b) => Inst::new(ADD16, [R(a), R(b)]),
            PartOp::ShiftNarrow(x, by) => Inst::new(SRA16, [Const(by.into()), R(x)]),
            PartOp::Widen(acc, narrow) => {
                let ones = low.constant(Inst::new(SPLAT16, [Imm(1)]));
                let wide = low.emit(Inst::new(WIDEN, [R(narrow), R(ones)]));
                Inst::new(ADD32, [R(acc), R(wide)])
            }
            PartOp::SubActSum(x, token) => {
                let sum = low.emit(Inst::new(SPLAT32, [ActSum(token)]));
                Inst::new(SUB32, [R(x), R(sum)])
            }
            other => unreachable!("the atom adds in i16, it has no {other:?}"),
        }
    }

    fn prefetch(&self, low: &mut Lowering, offset: usize) {
        low.run(Inst::new(PREFETCH, [Const(3), Stream(offset)]));
    }

    fn store(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        low.run(Inst::new(STORE, [Out(token, first_row), R(value)]));
    }

    fn store_part(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        let lanes = low.emit(Inst::new(LANES, (0..8).map(Imm).collect::<Vec<_>>()));
        let left = low.emit(Inst::new(SPLAT32, [RowsLeft(first_row)]));
        let mask = low.emit(Inst::new(GREATER, [R(left), R(lanes)]));
        low.run(Inst::new(STORE_TAIL, [Out(token, first_row), R(mask), R(value)]));
    }
}
