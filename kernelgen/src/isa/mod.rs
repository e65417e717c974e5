//! The instruction sets. A back-end is one file that says how to load, mask, multiply, reduce and store one
//! register's worth of rows; it contains no loop. Adding one means one new file and one line in [`ALL`].

mod amx;
mod arm;
mod avx2;
mod avx512bw;
mod avx512vnni;
mod avxvnni;
mod neon;
mod neondotprod;
mod neoni8mm;
mod portable;
mod simd128;
mod x86;

use crate::cpus::Cpu;
use crate::ir::Cursor;
use crate::machine::{Inst, Lowering, PartOp, Reg};

/// Where the products of a contraction are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accumulate {
    /// In i32: four products a row and step, added to the accumulator in one operation.
    Wide,
    /// In i16, widened to i32 every now and then.
    Narrow {
        /// Products of neighbouring columns that one instruction adds into one i16: 1, 2 or 4.
        products: usize,
    },
    /// In i32, for a whole tile of rows x tokens in one operation, from codes that are staged in memory first.
    Tile {
        /// Activation vectors of a tile.
        tokens: usize,
    },
}

/// The contraction that one instruction (or one short sequence) of an ISA does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Atom {
    /// Matrix rows.
    pub rows: usize,
    /// Columns a row.
    pub cols: usize,
    /// Largest code that its weight operand holds: 255 where it is unsigned, 127 where it is signed.
    pub code_max: i64,
    /// Where products are added up.
    pub accumulate: Accumulate,
}

/// The vectors that an ISA's operations stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vectors {
    /// Bits of one.
    pub bits: usize,
    /// How many of them an operation works on, so how many instructions it takes.
    pub per_operation: usize,
}

/// Rust functions that kernels call besides intrinsics: the body of a module of the generated source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ops {
    /// The module's name.
    pub name: &'static str,
    /// What it is for, as its documentation says.
    pub about: &'static str,
    /// Its items.
    pub source: &'static str,
}

/// What a CPU and its operating system must allow besides the target features that `std` detects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detection {
    /// Names of the features that are looked for.
    pub features: &'static [&'static str],
    /// Path of the function that looks for them, `fn() -> bool`, among those of [`Isa::ops`].
    pub function: &'static str,
}

/// An instruction set.
pub trait Isa: Sync {
    /// Its id in names and in `TRITFORGE_ISA`.
    fn id(&self) -> &'static str;
    /// Preference where a CPU has several: the higher the better.
    fn rank(&self) -> u32;
    /// `target_arch` of the CPUs that have it; `None` where any has.
    fn arch(&self) -> Option<&'static str>;
    /// Names of the target features that its kernels are compiled with and that the CPU must show.
    fn features(&self) -> &'static [&'static str];
    /// What else the CPU must show.
    fn detection(&self) -> Option<Detection> {
        None
    }
    /// Vector registers; `None` where the Rust compiler is free to use what there is.
    fn registers(&self) -> Option<usize>;
    /// The functions that its kernels call besides intrinsics.
    fn ops(&self) -> Option<Ops> {
        None
    }
    /// Its contraction.
    fn atom(&self) -> Atom;
    /// Whether one instruction shifts a field down and masks it, so that kernels need not do the two apart.
    fn moves_fields(&self) -> bool {
        false
    }
    /// The CPU whose figures cost its kernels where no other is asked for.
    fn typical_cpu(&self) -> &'static Cpu;
    /// The vectors that its operations stand for: one, as wide as the contraction, where an operation is one
    /// instruction.
    fn vectors(&self) -> Vectors {
        let Atom { rows, cols, .. } = self.atom();
        Vectors { bits: rows * cols * 8, per_operation: 1 }
    }
    /// The instructions of one operation: all but the last are emitted, the last is returned.
    fn lower(&self, low: &mut Lowering, op: PartOp) -> Inst;
    /// Asks for what lies `offset` bytes past a cursor.
    fn prefetch(&self, low: &mut Lowering, of: Cursor, offset: usize);
    /// Stores a register's rows, all of which exist.
    fn store(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize);
    /// Stores those of a register's rows that exist.
    fn store_part(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize);
}

/// Every ISA, in ascending rank; ranks of different architectures never meet.
pub static ALL: [&dyn Isa; 10] = [
    &portable::Portable,
    &avx2::AVX2,
    &avxvnni::AVX_VNNI,
    &avx512bw::AVX512_BW,
    &avx512vnni::AVX512_VNNI,
    &amx::Amx,
    &neon::NEON,
    &neondotprod::NEON_DOTPROD,
    &neoni8mm::NEON_I8MM,
    &simd128::Simd128,
];

/// The ISA of this id.
pub fn by_id(id: &str) -> Option<&'static dyn Isa> {
    ALL.iter().copied().find(|isa| isa.id() == id)
}

/// The ids of all ISAs.
pub fn ids() -> Vec<&'static str> {
    ALL.iter().map(|isa| isa.id()).collect()
}
