//! The instruction sets. A back-end is one file that says how to load, mask, multiply, reduce and store one
//! register's worth of rows; it contains no loop. Adding one means one new file and one line in [`ALL`].

mod avx2;
mod avx512vnni;
mod portable;

use crate::machine::{Class, Inst, Lowering, PartOp, Reg};

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

/// Throughputs and latencies for the static cost, in instructions and cycles of a typical CPU of the ISA.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CostModel {
    /// Instructions of any kind a cycle.
    pub issue: f64,
    /// Vector instructions (logic, shift, multiply, add) a cycle.
    pub vector: f64,
    /// Multiplies a cycle.
    pub multiply: f64,
    /// Loads a cycle.
    pub load: f64,
    /// Cycles from an accumulator's update to the next one, for an instruction of class multiply.
    pub multiply_latency: f64,
    /// The same for an addition.
    pub add_latency: f64,
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
    /// Vector registers; `None` where the Rust compiler is free to use what there is.
    fn registers(&self) -> Option<usize>;
    /// Its contraction.
    fn atom(&self) -> Atom;
    /// Its costs.
    fn cost_model(&self) -> CostModel;
    /// The instructions of one operation: all but the last are emitted, the last is returned.
    fn lower(&self, low: &mut Lowering, op: PartOp) -> Inst;
    /// Asks for the weight stream `offset` bytes past the cursor.
    fn prefetch(&self, low: &mut Lowering, offset: usize);
    /// Stores a register's rows, all of which exist.
    fn store(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize);
    /// Stores those of a register's rows that exist.
    fn store_part(&self, low: &mut Lowering, value: Reg, token: usize, first_row: usize);
}

/// Every ISA, in ascending rank.
pub static ALL: [&dyn Isa; 3] = [&portable::Portable, &avx2::Avx2, &avx512vnni::Avx512Vnni];

/// The ISA of this id.
pub fn by_id(id: &str) -> Option<&'static dyn Isa> {
    ALL.iter().copied().find(|isa| isa.id() == id)
}

/// The ids of all ISAs.
pub fn ids() -> Vec<&'static str> {
    ALL.iter().map(|isa| isa.id()).collect()
}

impl CostModel {
    /// Cycles from one update of an accumulator to the next.
    pub fn latency(&self, class: Class) -> f64 {
        match class {
            Class::Multiply => self.multiply_latency,
            _ => self.add_latency,
        }
    }
}
