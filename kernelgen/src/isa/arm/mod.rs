//! What the Arm back-ends share: 128-bit registers, four rows at a time. A back-end is a [`Backend`]: its name and
//! features, and how it multiplies.

use super::{Accumulate, Atom, Isa, Ops};
use crate::cpus::Cpu;
use crate::ir::Cursor;
use crate::machine::Arg::{ActSum, ActsWord, Ahead, Const, Imm, Out, Reg as R, RowsLeft, Weights};
use crate::machine::{Class, Inst, Intrinsic, Lowering, Memory, PartOp, Reg};

/// What the kernels call besides intrinsics.
const OPS: Ops = Ops {
    name: "neon_ops",
    about: "Operations of the Arm kernels that are no intrinsics.",
    source: include_str!("../../neon_ops.rs"),
};

const LOAD: Intrinsic = Intrinsic::new("vld1q_s8", Class::Load).with_memory(Memory::Read(16));
const QUAD: Intrinsic = Intrinsic::new("neon_ops::quad", Class::Broadcast);
const SPLAT32: Intrinsic = Intrinsic::new("vdupq_n_s32", Class::Setup);
const SPLAT8: Intrinsic = Intrinsic::new("vdupq_n_s8", Class::Setup);
const AND: Intrinsic = Intrinsic::new("vandq_s8", Class::Logic);
const SHR: Intrinsic = Intrinsic::new("vshrq_n_s8", Class::Shift);
const SHR32: Intrinsic = Intrinsic::new("vshrq_n_s32", Class::Shift);
const ADD: Intrinsic = Intrinsic::new("vaddq_s32", Class::Add);
const SUB: Intrinsic = Intrinsic::new("vsubq_s32", Class::Add);
const ZERO_PAIR: Intrinsic = Intrinsic::new("neon_ops::zero_pair", Class::Setup).into_pair();
const PRODUCTS: Intrinsic = Intrinsic::new("neon_ops::products", Class::Multiply).into_pair();
const ADD_PAIR: Intrinsic = Intrinsic::new("neon_ops::add_pair", Class::Fused).into_pair();
const SHIFT_PAIR: Intrinsic = Intrinsic::new("neon_ops::shift_pair", Class::Shift).into_pair();
const WIDEN: Intrinsic = Intrinsic::new("neon_ops::widen", Class::Add);
const STORE: Intrinsic = Intrinsic::new("vst1q_s32", Class::Store).with_memory(Memory::Write);
const STORE_PART: Intrinsic = Intrinsic::new("neon_ops::store_part", Class::Store).with_memory(Memory::Write);
const PREFETCH: Intrinsic = Intrinsic::new("neon_ops::prefetch", Class::Prefetch);

/// An Arm instruction set.
pub struct Backend {
    /// See [`Isa::id`].
    pub id: &'static str,
    /// See [`Isa::rank`].
    pub rank: u32,
    /// See [`Isa::features`].
    pub features: &'static [&'static str],
    /// How it multiplies.
    pub product: Product,
    /// See [`Isa::typical_cpu`].
    pub typical_cpu: &'static Cpu,
}

/// How codes and activations are multiplied.
pub enum Product {
    /// `smlal`: signed bytes, each product added to an i16 sum of its own; a pair of registers holds four rows' sixteen.
    Singles,
    /// Four products added to an i32 sum.
    Quads {
        /// The instruction.
        dot: Intrinsic,
        /// See [`Atom::code_max`].
        code_max: i64,
    },
}

impl Isa for Backend {
    fn id(&self) -> &'static str {
        self.id
    }

    fn rank(&self) -> u32 {
        self.rank
    }

    fn arch(&self) -> Option<&'static str> {
        Some("aarch64")
    }

    fn features(&self) -> &'static [&'static str] {
        self.features
    }

    fn registers(&self) -> Option<usize> {
        Some(32)
    }

    fn ops(&self) -> Option<Ops> {
        Some(OPS)
    }

    fn atom(&self) -> Atom {
        let (code_max, accumulate) = match self.product {
            Product::Singles => (127, Accumulate::Narrow { products: 1 }),
            Product::Quads { code_max, .. } => (code_max, Accumulate::Wide),
        };
        Atom { rows: 4, cols: 4, code_max, accumulate }
    }

    fn typical_cpu(&self) -> &'static Cpu {
        self.typical_cpu
    }

    fn lower(&self, low: &mut Lowering, op: PartOp) -> Inst {
        match (op, &self.product) {
            (PartOp::ZeroWide, _) => Inst::new(SPLAT32, [Imm(0)]),
            (PartOp::Load(stream, offset), _) => Inst::new(LOAD, [Weights(stream, offset)]),
            // It copies the sign into the bits that it frees; every field is masked after it is shifted.
            (PartOp::ShiftRight(x, by), _) => Inst::new(SHR, [Const(by.into()), R(x)]),
            (PartOp::Mask(x, mask), _) => {
                let mask = low.constant(Inst::new(SPLAT8, [Imm((mask as i8).into())]));
                Inst::new(AND, [R(x), R(mask)])
            }
            (PartOp::Acts(token, offset), _) => Inst::new(QUAD, [ActsWord(token, offset)]),
            (PartOp::Dot(acc, codes, acts), Product::Quads { dot, .. }) => {
                Inst::new(*dot, [R(acc), R(codes), R(acts)])
            }
            (PartOp::ZeroNarrow, Product::Singles) => Inst::new(ZERO_PAIR, []),
            (PartOp::DotNarrow(codes, acts), Product::Singles) => Inst::new(PRODUCTS, [R(codes), R(acts)]),
            (PartOp::AddNarrow(a, b), Product::Singles) => Inst::new(ADD_PAIR, [R(a), R(b)]),
            (PartOp::ShiftNarrow(x, by), Product::Singles) => Inst::new(SHIFT_PAIR, [Const(by.into()), R(x)]),
            (PartOp::Widen(acc, narrow), Product::Singles) => Inst::new(WIDEN, [R(acc), R(narrow)]),
            (PartOp::ShiftWide(x, by), _) => Inst::new(SHR32, [Const(by.into()), R(x)]),
            (PartOp::AddWide(a, b), _) => Inst::new(ADD, [R(a), R(b)]),
            (PartOp::SubActSum(x, token), _) => {
                let sum = low.emit(Inst::new(SPLAT32, [ActSum(token)]));
                Inst::new(SUB, [R(x), R(sum)])
            }
            (other, Product::Singles) => unreachable!("the atom adds in i16, it has no {other:?}"),
            (other, Product::Quads { .. }) => unreachable!("the atom adds in i32, it has no {other:?}"),
        }
    }

    fn prefetch(&self, low: &mut Lowering, of: Cursor, offset: usize) {
        low.run(Inst::new(PREFETCH, [Ahead(of, offset)]));
    }

    fn store(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        low.run(Inst::new(STORE, [Out(token, first_row), R(value)]));
    }

    fn store_part(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        low.run(Inst::new(STORE_PART, [Out(token, first_row), RowsLeft(first_row), R(value)]));
    }
}
