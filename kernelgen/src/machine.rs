//! Lowered programs: the IR's statements as calls of one ISA's intrinsics, register by register.

use crate::abi::EXPANSION;
use crate::ir::{Count, Cursor, Kind, Op, Program, Stmt, Var};
use crate::isa::Isa;
use crate::layout::{ATOM_BYTES, ATOM_COLS};
use crate::region::Region;

/// A machine register (or, in the generated code, a local variable).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(pub usize);

/// What an instruction does, as far as ports and latencies care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Reads a vector of weights.
    Load,
    /// Reads four activations into every group of four bytes.
    Broadcast,
    /// Bitwise operation.
    Logic,
    /// Shift by a constant.
    Shift,
    /// Multiply, with or without an addition in the same instruction.
    Multiply,
    /// Multiply that adds four products, where it has more ports than others.
    Dot,
    /// Integer addition or subtraction.
    Add,
    /// Addition that the compiler joins with the multiply whose product it adds, so that it is no instruction.
    Fused,
    /// Writes results.
    Store,
    /// Multiplies two tiles and adds their products to a third.
    TileMultiply,
    /// Reads a tile, a row at a time.
    TileLoad,
    /// Writes a tile, a row at a time.
    TileStore,
    /// Asks for a cache line.
    Prefetch,
    /// Makes a constant or a zero; outside of the inner loops.
    Setup,
}

/// What memory an instruction touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// None.
    None,
    /// Reads so many bytes at its pointer argument.
    Read(usize),
    /// Writes at its pointer argument.
    Write,
}

/// What kind of register holds a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// A vector register.
    Vector,
    /// Two vector registers, each written by an instruction of its own.
    Pair,
    /// A tile register.
    Tile(TileShape),
    /// Anything else: a mask or a scalar.
    Other,
}

impl File {
    /// Vector registers that a result of this kind takes.
    pub fn vectors(self) -> usize {
        match self {
            File::Vector => 1,
            File::Pair => 2,
            File::Tile(_) | File::Other => 0,
        }
    }
}

/// The part of a tile register that is used: what the tile configuration says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileShape {
    /// Rows.
    pub rows: usize,
    /// Bytes a row.
    pub row_bytes: usize,
}

/// An instruction, named by the Rust function that stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intrinsic {
    /// Path of the function in the generated code.
    pub name: &'static str,
    /// The mnemonic, where the instruction can stand in a region of assembly; see [`crate::region`].
    pub mnemonic: Option<&'static str>,
    /// What it does.
    pub class: Class,
    /// What memory it touches.
    pub memory: Memory,
    /// Where its result lives.
    pub file: File,
}

impl Intrinsic {
    /// An instruction from registers to a vector register.
    pub const fn new(name: &'static str, class: Class) -> Self {
        Intrinsic { name, mnemonic: None, class, memory: Memory::None, file: File::Vector }
    }

    /// The same, touching memory.
    pub const fn with_memory(self, memory: Memory) -> Self {
        Intrinsic { memory, ..self }
    }

    /// The same, with a result of two vectors: two instructions.
    pub const fn into_pair(self) -> Self {
        Intrinsic { file: File::Pair, ..self }
    }

    /// The same, with a result that is a tile.
    pub const fn into_tile(self, rows: usize, row_bytes: usize) -> Self {
        Intrinsic { file: File::Tile(TileShape { rows, row_bytes }), ..self }
    }

    /// The same, with the mnemonic that it has in a region of assembly.
    pub const fn with_mnemonic(self, mnemonic: &'static str) -> Self {
        Intrinsic { mnemonic: Some(mnemonic), ..self }
    }

    /// How many instructions it is.
    pub fn instructions(&self) -> usize {
        match (self.class, self.file) {
            (Class::Fused, _) => 0,
            (_, File::Pair) => 2,
            _ => 1,
        }
    }

    /// The same, with a result that is no vector.
    pub const fn into_other(self) -> Self {
        Intrinsic { file: File::Other, ..self }
    }
}

/// An argument of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg {
    /// A register.
    Reg(Reg),
    /// A constant argument.
    Imm(i64),
    /// A constant that is a const generic in Rust.
    Const(i64),
    /// Pointer into the weights of a stream, bytes past the cursor.
    Weights(usize, usize),
    /// Pointer that may lie past the end of what is read, bytes past the cursor: for prefetches only.
    Ahead(Cursor, usize),
    /// Pointer to the activations of a token, bytes past the cursor.
    Acts(usize, usize),
    /// Four activations of a token as one i32, bytes past the cursor.
    ActsWord(usize, usize),
    /// Sum of a token's activations, i32.
    ActSum(usize),
    /// Pointer to the results of a token, rows past the tile's first.
    Out(usize, usize),
    /// Rows of the tile that exist, less so many, as i32; at most zero where there are none.
    RowsLeft(usize),
    /// Mask of the rows of the tile that exist, one bit a row.
    RowMask,
    /// Pointer into the scratch, bytes past its start.
    Scratch(usize),
    /// The rows of a tile in the scratch, 64 bytes apart, bytes past its start.
    ScratchRows(usize),
    /// The rows of a tile of interleaved activations: a run of one vector each. The first vector, columns past the cursor, and
    /// the atoms of which the runs are filled.
    ActRows(usize, usize, usize),
}

/// An instruction with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inst {
    /// The instruction.
    pub intrinsic: Intrinsic,
    /// Its arguments.
    pub args: Vec<Arg>,
}

impl Inst {
    /// An instruction with its arguments.
    pub fn new(intrinsic: Intrinsic, args: impl Into<Vec<Arg>>) -> Self {
        Inst { intrinsic, args: args.into() }
    }

    /// The registers that it reads.
    pub fn reads(&self) -> impl Iterator<Item = Reg> + '_ {
        self.args.iter().filter_map(|arg| match arg {
            Arg::Reg(reg) => Some(*reg),
            _ => None,
        })
    }
}

/// A machine statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MStmt {
    /// Says which IR statement the following statements come from.
    Comment(String),
    /// Defines a register.
    Let(Reg, Inst),
    /// Replaces a register's value.
    Set(Reg, Inst),
    /// An instruction without a result.
    Run(Inst),
    /// Exchanges the halves of the scratch, by way of their addresses.
    SwapStage,
    /// Stores rows `first_row..first_row + rows`: whole where the tile has them all, else only those that exist.
    Store {
        /// Which weight stream's tile.
        stream: usize,
        /// First row of the tile.
        first_row: usize,
        /// Rows.
        rows: usize,
        /// Where all rows exist.
        whole: Vec<MStmt>,
        /// Where only some exist.
        part: Vec<MStmt>,
    },
    /// A loop; the cursors advance by `atoms` after each run.
    Repeat {
        /// How often.
        count: Count,
        /// Atoms consumed by a run.
        atoms: usize,
        /// The statements.
        body: Vec<MStmt>,
    },
    /// One pass over the columns, from fresh cursors.
    Pass(Vec<MStmt>),
}

/// A kernel in one ISA's instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MProgram {
    /// Where each register lives, by its index.
    pub files: Vec<File>,
    /// Constants, made once a call.
    pub setup: Vec<(Reg, Inst)>,
    /// The work on one row tile of each stream.
    pub body: Vec<MStmt>,
    /// Activation vectors.
    pub tokens: usize,
    /// Weight streams.
    pub streams: usize,
    /// Atoms a row tile, where the shape is fixed.
    pub k_atoms: Option<usize>,
    /// Bytes of weights an atom: more than [`ATOM_BYTES`] where they are expanded.
    pub atom_bytes: usize,
    /// Where the registers are, for a kernel that is one region of assembly.
    pub region: Option<Region>,
}

/// One operation on one register's worth of rows: what an ISA has to know how to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartOp {
    /// i16 sums of zero.
    ZeroNarrow,
    /// i32 sums of zero.
    ZeroWide,
    /// Packed bytes of a stream, so many past the weight cursor.
    Load(usize, usize),
    /// Each byte shifted right; what crosses a byte border may be anything.
    ShiftRight(Reg, u32),
    /// Each byte anded with a mask.
    Mask(Reg, u8),
    /// The two bits at a position of each byte, moved to bits 1:0; only of back-ends that [can](Isa::moves_fields).
    MoveField(Reg, u32),
    /// Four activations of a token, bytes past the cursor, repeated over the register.
    Acts(usize, usize),
    /// acc + four-way products in i32.
    Dot(Reg, Reg, Reg),
    /// Products in i16, added as the atom says.
    DotNarrow(Reg, Reg),
    /// i16 sum.
    AddNarrow(Reg, Reg),
    /// i16 arithmetic shift right.
    ShiftNarrow(Reg, u32),
    /// i32 acc plus each row's i16 sums.
    Widen(Reg, Reg),
    /// i32 arithmetic shift right.
    ShiftWide(Reg, u32),
    /// i32 sum.
    AddWide(Reg, Reg),
    /// Sums of zero for a tile.
    ZeroTile,
    /// Codes into a slot of the stage, from this row of the tile on.
    Stage(Reg, usize, usize),
    /// Codes of zero into a slot of the stage, from this row of the tile on.
    ClearStage(usize, usize),
    /// The codes in slots of the stage: the first, and how many.
    LoadStage(usize, usize),
    /// Activations of a tile's vectors: the first vector, columns past the activation cursor, and the atoms of which a run is filled.
    ActTile(usize, usize, usize),
    /// acc + staged codes times activations.
    DotTile(Reg, Reg, Reg),
    /// Sums of a tile into the scratch.
    Spill(Reg),
    /// The sums of one vector of the tile that was spilled last.
    TileToken(usize),
    /// i32 less the sum of a token's activations.
    SubActSum(Reg, usize),
}

/// The state of a lowering; back-ends emit their instructions through it.
pub struct Lowering {
    tile_tokens: usize,
    files: Vec<File>,
    setup: Vec<(Reg, Inst)>,
    out: Vec<MStmt>,
}

impl Lowering {
    fn fresh(&mut self, file: File) -> Reg {
        self.files.push(file);
        Reg(self.files.len() - 1)
    }

    /// Activation vectors of a tile: as many as the back-end's have at most, or all that there are.
    pub fn tile_tokens(&self) -> usize {
        self.tile_tokens
    }

    /// Emits an instruction and returns the register of its result.
    pub fn emit(&mut self, inst: Inst) -> Reg {
        let reg = self.fresh(inst.intrinsic.file);
        self.out.push(MStmt::Let(reg, inst));
        reg
    }

    /// A value that never changes: made once a call and shared by all who ask for it.
    pub fn constant(&mut self, inst: Inst) -> Reg {
        if let Some((reg, _)) = self.setup.iter().find(|(_, known)| *known == inst) {
            return *reg;
        }
        let reg = self.fresh(inst.intrinsic.file);
        self.setup.push((reg, inst));
        reg
    }

    /// Emits an instruction without a result.
    pub fn run(&mut self, inst: Inst) {
        self.out.push(MStmt::Run(inst));
    }

    /// Collects what `emit` emits instead of appending it.
    fn collect(&mut self, emit: impl FnOnce(&mut Self)) -> Vec<MStmt> {
        let outer = std::mem::take(&mut self.out);
        emit(self);
        std::mem::replace(&mut self.out, outer)
    }
}

/// Lowers a program to one ISA.
pub fn lower(program: &Program, isa: &dyn Isa) -> MProgram {
    let mut driver = Driver {
        program,
        isa,
        regs: vec![Vec::new(); program.vars.len()],
        rows: 0..0,
        low: Lowering {
            tile_tokens: program.tile_tokens,
            files: Vec::new(),
            setup: Vec::new(),
            out: Vec::new(),
        },
    };
    driver.block(&program.body);
    MProgram {
        files: driver.low.files,
        setup: driver.low.setup,
        body: driver.low.out,
        tokens: program.tokens,
        streams: program.streams,
        k_atoms: program.k_atoms,
        atom_bytes: if program.expanded.is_some() { EXPANSION * ATOM_BYTES } else { ATOM_BYTES },
        region: None,
    }
}

struct Driver<'a> {
    program: &'a Program,
    isa: &'a dyn Isa,
    /// The registers that hold each value: one for every `atom.rows` rows, or one for activations.
    regs: Vec<Vec<Reg>>,
    rows: std::ops::Range<usize>,
    low: Lowering,
}

impl Driver<'_> {
    fn block(&mut self, stmts: &[Stmt]) {
        for stmt in stmts {
            self.low.out.push(MStmt::Comment(self.program.describe(stmt)));
            self.statement(stmt);
        }
    }

    fn statement(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Let(var, op) => {
                self.regs[var.0] = (0..self.parts(*var))
                    .map(|part| {
                        let inst = self.part(op, part);
                        self.low.emit(inst)
                    })
                    .collect();
            }
            Stmt::Set(var, op) => {
                for part in 0..self.parts(*var) {
                    let inst = self.part(op, part);
                    self.low.out.push(MStmt::Set(self.regs[var.0][part], inst));
                }
            }
            Stmt::Prefetch { of, line, distance } => {
                self.isa.prefetch(&mut self.low, *of, line * ATOM_BYTES + distance);
            }
            Stmt::Stage { codes, slot } => {
                let rows = self.isa.atom().rows;
                for (part, reg) in self.regs[codes.0].clone().into_iter().enumerate() {
                    let inst = self.isa.lower(&mut self.low, PartOp::Stage(reg, *slot, part * rows));
                    self.low.run(inst);
                }
            }
            Stmt::ClearStage { slot } => {
                for first_row in self.rows.clone().step_by(self.isa.atom().rows) {
                    let inst = self.isa.lower(&mut self.low, PartOp::ClearStage(*slot, first_row));
                    self.low.run(inst);
                }
            }
            Stmt::SwapStage => self.low.out.push(MStmt::SwapStage),
            Stmt::Spill { tile } => {
                for reg in self.regs[tile.0].clone() {
                    let inst = self.isa.lower(&mut self.low, PartOp::Spill(reg));
                    self.low.run(inst);
                }
            }
            Stmt::Store { stream, value, token } => {
                let rows = self.isa.atom().rows;
                for (part, reg) in self.regs[value.0].clone().into_iter().enumerate() {
                    let first_row = self.rows.start + part * rows;
                    let whole = self.low.collect(|low| self.isa.store(low, reg, *token, first_row));
                    let part = self.low.collect(|low| self.isa.store_part(low, reg, *token, first_row));
                    self.low.out.push(MStmt::Store { stream: *stream, first_row, rows, whole, part });
                }
            }
            Stmt::Repeat { count, atoms, body } => {
                let outer = std::mem::take(&mut self.low.out);
                self.block(body);
                let body = std::mem::replace(&mut self.low.out, outer);
                self.low.out.push(MStmt::Repeat { count: *count, atoms: *atoms, body });
            }
            Stmt::Pass { first_row, rows, body } => {
                self.rows = *first_row..first_row + rows;
                let outer = std::mem::take(&mut self.low.out);
                self.block(body);
                let body = std::mem::replace(&mut self.low.out, outer);
                self.low.out.push(MStmt::Pass(body));
            }
        }
    }

    /// Registers that a value takes.
    fn parts(&self, var: Var) -> usize {
        match self.program.kind(var) {
            Kind::Acts | Kind::ActTile => 1,
            _ => self.rows.len() / self.isa.atom().rows,
        }
    }

    fn part(&mut self, op: &Op, part: usize) -> Inst {
        let reg = |var: &Var| self.regs[var.0][part];
        let first_row = self.rows.start + part * self.isa.atom().rows;
        let op = match op {
            Op::ZeroNarrow => PartOp::ZeroNarrow,
            Op::ZeroWide => PartOp::ZeroWide,
            Op::ZeroTile => PartOp::ZeroTile,
            Op::LoadPacked { stream, atom } => {
                PartOp::Load(*stream, atom * ATOM_BYTES + first_row * (ATOM_COLS / 4))
            }
            Op::LoadCodes { stream, atom, field } => {
                PartOp::Load(*stream, (atom * EXPANSION + field) * ATOM_BYTES + first_row * (ATOM_COLS / 4))
            }
            Op::ShiftRight { packed, by } => PartOp::ShiftRight(reg(packed), *by),
            Op::MaskField { packed, position } => PartOp::Mask(reg(packed), 3 << position),
            Op::MoveField { packed, position } => PartOp::MoveField(reg(packed), *position),
            Op::LoadActs { token, col } => PartOp::Acts(*token, *col),
            Op::Dot { acc, codes, acts } => PartOp::Dot(reg(acc), reg(codes), self.regs[acts.0][0]),
            Op::DotNarrow { codes, acts } => PartOp::DotNarrow(reg(codes), self.regs[acts.0][0]),
            Op::AddNarrow { a, b } => PartOp::AddNarrow(reg(a), reg(b)),
            Op::ShiftNarrow { x, by } => PartOp::ShiftNarrow(reg(x), *by),
            Op::Widen { acc, narrow } => PartOp::Widen(reg(acc), reg(narrow)),
            Op::ShiftWide { x, by } => PartOp::ShiftWide(reg(x), *by),
            Op::AddWide { a, b } => PartOp::AddWide(reg(a), reg(b)),
            Op::LoadStage { first, slots } => PartOp::LoadStage(*first, *slots),
            Op::LoadActTile { token, col, atoms } => PartOp::ActTile(*token, *col, *atoms),
            Op::DotTile { acc, staged, acts, .. } => {
                PartOp::DotTile(reg(acc), reg(staged), self.regs[acts.0][0])
            }
            Op::TileToken { index, .. } => PartOp::TileToken(*index),
            Op::SubActSum { x, token } => PartOp::SubActSum(reg(x), *token),
        };
        self.isa.lower(&mut self.low, op)
    }
}
