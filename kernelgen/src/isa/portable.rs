//! Portable Rust: arrays of sixteen rows, for every CPU. The functions stand in [`crate::portable_ops`].

use super::{Accumulate, Atom, Isa, Ops, Vectors};
use crate::cpus::{self, Cpu};
use crate::ir::Cursor;
use crate::machine::Arg::{ActSum, Acts, Const, Out, Reg as R, RowsLeft, Weights};
use crate::machine::{Class, Inst, Intrinsic, Lowering, Memory, PartOp, Reg};

/// The back-end.
pub struct Portable;

const LOAD: Intrinsic = Intrinsic::new("portable_ops::load", Class::Load).with_memory(Memory::Read(64));
const QUAD: Intrinsic = Intrinsic::new("portable_ops::quad", Class::Broadcast).with_memory(Memory::Read(4));
const ZERO_NARROW: Intrinsic = Intrinsic::new("portable_ops::zero_narrow", Class::Setup);
const ZERO: Intrinsic = Intrinsic::new("portable_ops::zero", Class::Setup);
const AND: Intrinsic = Intrinsic::new("portable_ops::and", Class::Logic);
const SHR: Intrinsic = Intrinsic::new("portable_ops::shift_right", Class::Shift);
const SRA: Intrinsic = Intrinsic::new("portable_ops::shift_narrow", Class::Shift);
const DOT: Intrinsic = Intrinsic::new("portable_ops::dot_narrow", Class::Multiply);
const ADD: Intrinsic = Intrinsic::new("portable_ops::add_narrow", Class::Add);
const WIDEN: Intrinsic = Intrinsic::new("portable_ops::widen", Class::Add);
const SUB: Intrinsic = Intrinsic::new("portable_ops::sub_scalar", Class::Add);
const STORE: Intrinsic = Intrinsic::new("portable_ops::store", Class::Store).with_memory(Memory::Write);

impl Isa for Portable {
    fn id(&self) -> &'static str {
        "portable"
    }

    fn rank(&self) -> u32 {
        0
    }

    fn arch(&self) -> Option<&'static str> {
        None
    }

    fn features(&self) -> &'static [&'static str] {
        &[]
    }

    fn registers(&self) -> Option<usize> {
        None
    }

    fn ops(&self) -> Option<Ops> {
        Some(Ops {
            name: "portable_ops",
            about: "Operations of the portable kernels.",
            source: include_str!("../portable_ops.rs"),
        })
    }

    fn atom(&self) -> Atom {
        Atom { rows: 16, cols: 4, code_max: 255, accumulate: Accumulate::Narrow { products: 1 } }
    }

    fn typical_cpu(&self) -> &'static Cpu {
        &cpus::SKYLAKE
    }

    /// What the baseline of x86-64 and of AArch64 has. Packed bytes and i32 sums of sixteen rows are four vectors, i16
    /// sums eight, and it takes two instructions to widen codes to them.
    fn vectors(&self) -> Vectors {
        Vectors { bits: 128, per_operation: 8 }
    }

    fn lower(&self, _low: &mut Lowering, op: PartOp) -> Inst {
        match op {
            PartOp::ZeroNarrow => Inst::new(ZERO_NARROW, []),
            PartOp::ZeroWide => Inst::new(ZERO, []),
            PartOp::Load(stream, offset) => Inst::new(LOAD, [Weights(stream, offset)]),
            PartOp::ShiftRight(x, by) => Inst::new(SHR, [Const(by.into()), R(x)]),
            PartOp::Mask(x, mask) => Inst::new(AND, [Const(mask.into()), R(x)]),
            PartOp::Acts(token, offset) => Inst::new(QUAD, [Acts(token, offset)]),
            PartOp::DotNarrow(codes, acts) => Inst::new(DOT, [R(codes), R(acts)]),
            PartOp::AddNarrow(a, b) => Inst::new(ADD, [R(a), R(b)]),
            PartOp::ShiftNarrow(x, by) => Inst::new(SRA, [Const(by.into()), R(x)]),
            PartOp::Widen(acc, narrow) => Inst::new(WIDEN, [R(acc), R(narrow)]),
            PartOp::SubActSum(x, token) => Inst::new(SUB, [R(x), ActSum(token)]),
            other => unreachable!("the atom adds in i16, it has no {other:?}"),
        }
    }

    /// Portable Rust has no prefetch.
    fn prefetch(&self, _low: &mut Lowering, _of: Cursor, _offset: usize) {}

    fn store(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        self.store_part(low, value, token, first_row);
    }

    fn store_part(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        low.run(Inst::new(STORE, [Out(token, first_row), RowsLeft(first_row), R(value)]));
    }
}
