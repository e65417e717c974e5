//! What the x86 back-ends share. A back-end is a [`Backend`]: its name and features, the vectors that it computes
//! with, and how it multiplies; everything else is the same for all of them.

mod v256;
mod v512;

pub use v256::V256;
pub use v512::{STORE_LANES, V512};

use super::{Accumulate, Atom, Isa, Ops};
use crate::cpus::Cpu;
use crate::ir::Cursor;
use crate::machine::Arg::{ActSum, ActsWord, Ahead, Const, Imm, Out, Reg as R, Weights};
use crate::machine::{Class, Inst, Intrinsic, Lowering, Memory, PartOp, Reg};

const PREFETCH: Intrinsic = Intrinsic::new("x86_ops::prefetch", Class::Prefetch);

const OPS: Ops = Ops {
    name: "x86_ops",
    about: "Operations of the x86 kernels that are no intrinsics.",
    source: include_str!("../../x86_ops.rs"),
};

/// An x86 instruction set.
pub struct Backend {
    /// See [`Isa::id`].
    pub id: &'static str,
    /// See [`Isa::rank`].
    pub rank: u32,
    /// See [`Isa::features`].
    pub features: &'static [&'static str],
    /// Its loads, logic and stores, at the width of its registers.
    pub instructions: &'static Instructions,
    /// How it multiplies.
    pub product: Product,
    /// See [`Isa::typical_cpu`].
    pub typical_cpu: &'static Cpu,
}

/// How codes and activations are multiplied.
pub enum Product {
    /// `vpmaddubsw`: pairs of products in i16, widened by `vpmaddwd` with ones. Every set of [`Instructions`] has both.
    Pairs,
    /// `vpdpbusd`: four products added to an i32 sum; the intrinsic, for its encodings have features of their own.
    Quads(Intrinsic),
}

/// The instructions of one vector width that every back-end of that width has.
pub struct Instructions {
    /// Bits of a register.
    pub bits: usize,
    /// Registers that instructions can name.
    pub registers: usize,
    /// Aligned load.
    pub load: Intrinsic,
    /// Four activations into every lane of 32 bits.
    pub broadcast: Intrinsic,
    /// Zeros.
    pub zero: Intrinsic,
    /// A constant in every byte.
    pub splat8: Intrinsic,
    /// A constant in every lane of 16 bits.
    pub splat16: Intrinsic,
    /// A scalar in every lane of 32 bits.
    pub splat32: Intrinsic,
    /// Bitwise and.
    pub and: Intrinsic,
    /// Logical shift right of lanes of 16 bits: there is none of bytes, and what crosses over is masked off.
    pub shift_packed: Intrinsic,
    /// Arithmetic shift right of lanes of 16 bits.
    pub shift16: Intrinsic,
    /// Arithmetic shift right of lanes of 32 bits.
    pub shift32: Intrinsic,
    /// Sum of lanes of 16 bits.
    pub add16: Intrinsic,
    /// Sum of lanes of 32 bits.
    pub add32: Intrinsic,
    /// Difference of lanes of 32 bits.
    pub sub32: Intrinsic,
    /// `vpmaddubsw`: products of unsigned and signed bytes, pairs of them added in i16.
    pub products: Intrinsic,
    /// `vpmaddwd`: products of i16, pairs of them added in i32.
    pub pairs: Intrinsic,
    /// Store of a whole register.
    pub store: Intrinsic,
    /// Store of those rows that exist: see [`Isa::store_part`].
    pub store_part: fn(&mut Lowering, Reg, usize, usize),
}

impl Isa for Backend {
    fn id(&self) -> &'static str {
        self.id
    }

    fn rank(&self) -> u32 {
        self.rank
    }

    fn arch(&self) -> Option<&'static str> {
        Some("x86_64")
    }

    fn features(&self) -> &'static [&'static str] {
        self.features
    }

    fn registers(&self) -> Option<usize> {
        Some(self.instructions.registers)
    }

    fn ops(&self) -> Option<Ops> {
        Some(OPS)
    }

    fn atom(&self) -> Atom {
        let accumulate = match self.product {
            Product::Pairs => Accumulate::Narrow { products: 2 },
            Product::Quads(_) => Accumulate::Wide,
        };
        Atom { rows: self.instructions.bits / 32, cols: 4, code_max: 255, accumulate }
    }

    fn typical_cpu(&self) -> &'static Cpu {
        self.typical_cpu
    }

    fn lower(&self, low: &mut Lowering, op: PartOp) -> Inst {
        let v = self.instructions;
        match (op, &self.product) {
            (PartOp::ZeroNarrow | PartOp::ZeroWide, _) => Inst::new(v.zero, []),
            (PartOp::Load(stream, offset), _) => Inst::new(v.load, [Weights(stream, offset)]),
            (PartOp::ShiftRight(x, by), _) => Inst::new(v.shift_packed, [Const(by.into()), R(x)]),
            (PartOp::Mask(x, mask), _) => {
                let mask = low.constant(Inst::new(v.splat8, [Imm((mask as i8).into())]));
                Inst::new(v.and, [R(x), R(mask)])
            }
            (PartOp::Acts(token, offset), _) => Inst::new(v.broadcast, [ActsWord(token, offset)]),
            (PartOp::Dot(acc, codes, acts), Product::Quads(dot)) => {
                Inst::new(*dot, [R(acc), R(codes), R(acts)])
            }
            (PartOp::DotNarrow(codes, acts), Product::Pairs) => Inst::new(v.products, [R(codes), R(acts)]),
            (PartOp::Widen(acc, narrow), Product::Pairs) => {
                let ones = low.constant(Inst::new(v.splat16, [Imm(1)]));
                let wide = low.emit(Inst::new(v.pairs, [R(narrow), R(ones)]));
                Inst::new(v.add32, [R(acc), R(wide)])
            }
            (PartOp::AddNarrow(a, b), _) => Inst::new(v.add16, [R(a), R(b)]),
            (PartOp::AddWide(a, b), _) => Inst::new(v.add32, [R(a), R(b)]),
            (PartOp::ShiftNarrow(x, by), _) => Inst::new(v.shift16, [Const(by.into()), R(x)]),
            (PartOp::ShiftWide(x, by), _) => Inst::new(v.shift32, [Const(by.into()), R(x)]),
            (PartOp::SubActSum(x, token), _) => {
                let sum = low.emit(Inst::new(v.splat32, [ActSum(token)]));
                Inst::new(v.sub32, [R(x), R(sum)])
            }
            (other, Product::Pairs) => unreachable!("the atom adds in i16, it has no {other:?}"),
            (other, Product::Quads(_)) => unreachable!("the atom adds in i32, it has no {other:?}"),
        }
    }

    fn prefetch(&self, low: &mut Lowering, of: Cursor, offset: usize) {
        low.run(Inst::new(PREFETCH, [Ahead(of, offset)]));
    }

    fn store(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        low.run(Inst::new(self.instructions.store, [Out(token, first_row), R(value)]));
    }

    fn store_part(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
        (self.instructions.store_part)(low, value, token, first_row);
    }
}

/// An aligned load of so many bits.
const fn load(name: &'static str, bits: usize) -> Intrinsic {
    Intrinsic::new(name, Class::Load).with_memory(Memory::Read(bits / 8))
}

/// A store.
pub(super) const fn store(name: &'static str) -> Intrinsic {
    Intrinsic::new(name, Class::Store).with_memory(Memory::Write)
}
