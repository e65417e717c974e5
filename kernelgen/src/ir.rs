//! The intermediate representation: a contraction over logical vectors of rows, before any ISA is chosen.
//!
//! A program runs once a row tile, or once for several that lie far apart: as many streams of weights, of which it reads a
//! run of atoms each in turn. Its values are vectors over the rows of the current pass; how many machine
//! registers hold one is the lowering's business. Weights and activations are read through cursors that a
//! [`Stmt::Repeat`] advances by whole atoms.

use std::fmt;

use crate::abi::{EXPANSION, SCRATCH_BYTES};
use crate::layout::{ATOM_BYTES, ATOM_COLS};

/// A value's index in [`Program::vars`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub usize);

/// What a value holds, for each row of the pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Four bytes of packed fields.
    Packed,
    /// Four codes, one a byte, each times a power of two.
    Codes,
    /// Four activations, the same for every row.
    Acts,
    /// [`Program::lanes`] i16 sums.
    Narrow,
    /// One i32 sum.
    Wide,
    /// One i32 sum for each of [`Program::tile_tokens`] activation vectors.
    Tile,
    /// The codes of some slots of the stage, four a slot.
    Staged,
    /// A run of activations of each of [`Program::tile_tokens`] vectors.
    ActTile,
}

/// Name and kind of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VarInfo {
    /// Readable name, also used in messages and in the generated code's comments.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

/// A vector operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Narrow sums of zero.
    ZeroNarrow,
    /// Wide sums of zero.
    ZeroWide,
    /// The packed bytes of the pass's rows in the atom `atom` steps ahead of a weight cursor.
    LoadPacked {
        /// Which weight stream.
        stream: usize,
        /// Atoms ahead of the cursor.
        atom: usize,
    },
    /// The codes of the pass's rows in one field of an atom, from expanded weights.
    LoadCodes {
        /// Which weight stream.
        stream: usize,
        /// Atoms ahead of the cursor.
        atom: usize,
        /// Which of the atom's fields, in ascending order of their bit positions.
        field: usize,
    },
    /// Every byte shifted right; bits that cross into a byte from its neighbour are masked off later.
    ShiftRight {
        /// The bytes.
        packed: Var,
        /// Bits.
        by: u32,
    },
    /// The two-bit field at `position` of every byte, left where it stands: code times 2^position.
    MaskField {
        /// The bytes.
        packed: Var,
        /// Bit position of the field.
        position: u32,
    },
    /// The two-bit field at `position` of every byte, moved to bits 1:0: a code. Shift and mask at once, where an ISA can.
    MoveField {
        /// The bytes.
        packed: Var,
        /// Bit position of the field.
        position: u32,
    },
    /// Four activations of a token, from column `col` past the activation cursor.
    LoadActs {
        /// Which activation vector.
        token: usize,
        /// Columns past the cursor.
        col: usize,
    },
    /// acc + the four products of each row, exact in i32.
    Dot {
        /// Wide sums.
        acc: Var,
        /// Codes.
        codes: Var,
        /// Activations.
        acts: Var,
    },
    /// The four products of each row, added up to [`Program::lanes`] sums in i16.
    DotNarrow {
        /// Codes.
        codes: Var,
        /// Activations.
        acts: Var,
    },
    /// a + b in i16.
    AddNarrow {
        /// Narrow sums.
        a: Var,
        /// Narrow sums.
        b: Var,
    },
    /// Arithmetic shift right in i16; exact, for the sums are multiples of 2^by.
    ShiftNarrow {
        /// Narrow sums.
        x: Var,
        /// Bits.
        by: u32,
    },
    /// acc + the narrow sums of each row, in i32.
    Widen {
        /// Wide sums.
        acc: Var,
        /// Narrow sums.
        narrow: Var,
    },
    /// Arithmetic shift right in i32; exact, for the sums are multiples of 2^by.
    ShiftWide {
        /// Wide sums.
        x: Var,
        /// Bits.
        by: u32,
    },
    /// a + b in i32.
    AddWide {
        /// Wide sums.
        a: Var,
        /// Wide sums.
        b: Var,
    },
    /// Sums of zero for a tile.
    ZeroTile,
    /// The codes in some slots of the stage.
    LoadStage {
        /// The first of them.
        first: usize,
        /// How many.
        slots: usize,
    },
    /// Activations of a tile's vectors: the columns of some atoms, and zeros up to a whole run of
    /// as many as a tile has.
    LoadActTile {
        /// The tile's first activation vector.
        token: usize,
        /// Columns past the cursor.
        col: usize,
        /// Atoms.
        atoms: usize,
    },
    /// acc + the products of staged codes, four columns a slot, with as many activations.
    DotTile {
        /// Sums of a tile.
        acc: Var,
        /// Codes.
        staged: Var,
        /// Activations.
        acts: Var,
        /// The first columns, past which activations are zero.
        cols: usize,
    },
    /// The sums of one activation vector of a tile that was spilled.
    TileToken {
        /// Sums of a tile, the last one that was spilled.
        tile: Var,
        /// Which of the tile's vectors.
        index: usize,
    },
    /// x minus the sum of the token's activations: turns codes 0, 1, 2 into trits -1, 0, +1.
    SubActSum {
        /// Wide sums.
        x: Var,
        /// Which activation vector.
        token: usize,
    },
}

/// How often a loop runs: `(k_atoms % modulo) / div`, with `modulo` left out where it is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// Remainder taken first.
    pub modulo: Option<usize>,
    /// Divisor.
    pub div: usize,
    /// What that is short of, or all that counts of it.
    pub but: But,
    /// The value, where the shape is fixed.
    pub fixed: Option<usize>,
}

/// How a loop's count differs from the quotient that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum But {
    /// Not at all.
    Nothing,
    /// At most once: a condition.
    Once,
    /// At most once, and not with row tiles for which the ones before have done it.
    First,
    /// One less with row tiles that no others follow; there is at least one.
    LessLast,
    /// At most once, and only with row tiles that no others follow.
    Last,
}

/// Which of a call's row tiles a program works on. Where whole runs of a loop make up a tile, what is staged ahead can be the
/// beginning of the next one, which follows it in memory; where something is left over, each tile is the first and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// None of its call's are before it.
    pub first: bool,
    /// None of its call's follow.
    pub last: bool,
}

impl Count {
    /// Whether what is repeated so often and consumes so many atoms needs no loop: the turn of one of several streams, or the
    /// only block of a fixed shape.
    pub fn is_once(&self, atoms: usize) -> bool {
        self.fixed == Some(1) && atoms == 0
    }

    /// The count for a matrix of so many atoms a row tile, with the only row tiles of a call.
    pub fn at(&self, k_atoms: usize) -> usize {
        self.in_call(k_atoms, Ends { first: true, last: true })
    }

    /// The count for a matrix of so many atoms a row tile, with some of the row tiles of a call.
    pub fn in_call(&self, k_atoms: usize, Ends { first, last }: Ends) -> usize {
        let quotient = self.modulo.map_or(k_atoms, |m| k_atoms % m) / self.div;
        let alone = self.is_alone(k_atoms);
        self.fixed.unwrap_or(match self.but {
            But::Nothing => quotient,
            But::Once => quotient.min(1),
            But::First if first || alone => quotient.min(1),
            But::Last if last || alone => quotient.min(1),
            But::First | But::Last => 0,
            But::LessLast if last || alone => quotient.saturating_sub(1),
            But::LessLast => quotient,
        })
    }

    /// Whether it is of those that can depend on which of a call's row tiles they are for.
    pub fn is_of_call(&self) -> bool {
        matches!(self.but, But::First | But::LessLast | But::Last)
    }

    /// Whether something is left over of a row tile of so many atoms, which then is the first and the last.
    pub fn is_alone(&self, k_atoms: usize) -> bool {
        !k_atoms.is_multiple_of(self.div)
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quotient = match (self.fixed, self.modulo) {
            (Some(n), _) => return write!(f, "{n}"),
            (None, Some(m)) => format!("(k_atoms % {m}) / {}", self.div),
            (None, None) => format!("k_atoms / {}", self.div),
        };
        match self.but {
            But::Nothing => f.write_str(&quotient),
            But::Once => write!(f, "min({quotient}, 1)"),
            But::First => write!(f, "min({quotient}, 1), unless the row tiles before have done it,"),
            But::LessLast => write!(f, "{quotient} (1 less with the last row tiles)"),
            But::Last => write!(f, "min({quotient}, 1), with the last row tiles,"),
        }
    }
}

/// What is read from a place that moves on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// A weight stream.
    Weights(usize),
    /// Interleaved activations.
    Acts,
}

/// Slots of half of the stage, each of 64 bytes.
pub const STAGE_HALF: usize = SCRATCH_BYTES / 2 / ATOM_BYTES;

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stmt {
    /// Defines a value.
    Let(Var, Op),
    /// Replaces a value defined further out.
    Set(Var, Op),
    /// Asks for what lies `distance` bytes ahead of a cache line.
    Prefetch {
        /// Of what.
        of: Cursor,
        /// Lines of [`ATOM_BYTES`] past the cursor.
        line: usize,
        /// Bytes ahead of that line.
        distance: usize,
    },
    /// Puts codes into a slot of the stage: memory that the caller lends.
    Stage {
        /// Codes.
        codes: Var,
        /// Slot; slot s of those that a [`Op::LoadStage`] takes holds columns 4s..4s+4.
        slot: usize,
    },
    /// Puts codes of zero into a slot of the stage.
    ClearStage {
        /// Slot.
        slot: usize,
    },
    /// Exchanges the halves of the stage: what is in slot [`STAGE_HALF`] is then in slot 0, what is in slot 0 there, and so on.
    SwapStage,
    /// Writes the sums of a tile to memory that the caller lends, from where [`Op::TileToken`] takes them.
    Spill {
        /// Sums of a tile.
        tile: Var,
    },
    /// Writes the pass's rows of one token; rows past the matrix are left out.
    Store {
        /// Which weight stream's row tile.
        stream: usize,
        /// Wide sums.
        value: Var,
        /// Which output vector.
        token: usize,
    },
    /// Runs `body` again and again, advancing the cursors by `atoms` after each run.
    Repeat {
        /// How often.
        count: Count,
        /// Atoms consumed by one run.
        atoms: usize,
        /// The statements.
        body: Vec<Stmt>,
    },
    /// One pass over the tile's columns with rows `first_row..first_row + rows`; the cursors start over.
    Pass {
        /// First row of the tile.
        first_row: usize,
        /// Rows.
        rows: usize,
        /// The statements.
        body: Vec<Stmt>,
    },
}

/// The work of a kernel on one row tile of each stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// All values.
    pub vars: Vec<VarInfo>,
    /// The statements.
    pub body: Vec<Stmt>,
    /// Activation vectors.
    pub tokens: usize,
    /// Weight streams.
    pub streams: usize,
    /// Atoms a row tile, where the shape is fixed.
    pub k_atoms: Option<usize>,
    /// i16 sums a row in a narrow value: four over the products that the atom adds into one.
    pub lanes: usize,
    /// Activation vectors of a tile, for contractions that work on tiles.
    pub tile_tokens: usize,
    /// Atoms between two widenings, for contractions that add in i16.
    pub fold: Option<usize>,
    /// For expanded weights, the bit positions at which their fields stand in packed ones.
    pub expanded: Option<[u32; EXPANSION]>,
}

impl Program {
    /// The name of a value.
    pub fn name(&self, var: Var) -> &str {
        &self.vars[var.0].name
    }

    /// What a value holds.
    pub fn kind(&self, var: Var) -> Kind {
        self.vars[var.0].kind
    }

    /// One line that says what a statement does, for the comments of the generated code.
    pub fn describe(&self, stmt: &Stmt) -> String {
        match stmt {
            Stmt::Let(var, op) | Stmt::Set(var, op) => {
                format!("{} = {}", self.name(*var), self.describe_op(op))
            }
            Stmt::Prefetch { of, line, distance } => {
                let line = match (of, self.expanded) {
                    (Cursor::Acts, _) => format!("line +{line} of acts"),
                    (Cursor::Weights(stream), None) => format!("atom +{line}{}", of_stream(*stream)),
                    (Cursor::Weights(stream), Some(_)) => {
                        let (atom, field) = (line / EXPANSION, line % EXPANSION);
                        format!("field {field} of atom +{atom}{}", of_stream(*stream))
                    }
                };
                format!("prefetch {line}, {distance} bytes ahead")
            }
            Stmt::Stage { codes, slot } => format!("stage[{slot}] = {}", self.name(*codes)),
            Stmt::ClearStage { slot } => format!("stage[{slot}] = 0"),
            Stmt::SwapStage => "the halves of the stage change places".to_owned(),
            Stmt::Spill { tile } => format!("spill {}", self.name(*tile)),
            Stmt::Store { stream, value, token } => {
                format!("out[{token}]{} = {}", of_stream(*stream), self.name(*value))
            }
            Stmt::Repeat { count, atoms, .. } if count.is_once(*atoms) => "once".to_owned(),
            Stmt::Repeat { count, atoms, .. } => format!("{count} times, {atoms} atoms each"),
            Stmt::Pass { first_row, rows, .. } => {
                format!("rows {first_row}..{} of the tile", first_row + rows)
            }
        }
    }

    fn describe_op(&self, op: &Op) -> String {
        let n = |var: &Var| self.name(*var);
        match op {
            Op::ZeroNarrow | Op::ZeroWide | Op::ZeroTile => "0".to_owned(),
            Op::LoadPacked { stream, atom } => format!("weights of atom +{atom}{}", of_stream(*stream)),
            Op::LoadCodes { stream, atom, field } => {
                format!("field {field} of atom +{atom}{}", of_stream(*stream))
            }
            Op::ShiftRight { packed, by } => format!("{} >> {by}", n(packed)),
            Op::MaskField { packed, position } => format!("field at bit {position} of {}", n(packed)),
            Op::MoveField { packed, position } => {
                format!("field at bit {position} of {}, moved to bit 0", n(packed))
            }
            Op::LoadActs { token, col } => format!("acts[{token}][+{col}..+{}]", col + 4),
            Op::Dot { acc, codes, acts } => format!("{} + {} . {}", n(acc), n(codes), n(acts)),
            Op::DotNarrow { codes, acts } => format!("{} . {} in i16", n(codes), n(acts)),
            Op::AddNarrow { a, b } | Op::AddWide { a, b } => format!("{} + {}", n(a), n(b)),
            Op::ShiftNarrow { x, by } | Op::ShiftWide { x, by } => format!("{} >> {by}", n(x)),
            Op::Widen { acc, narrow } => format!("{} + widened {}", n(acc), n(narrow)),
            Op::LoadStage { first, slots } => format!("stage[{first}..{}]", first + slots),
            Op::LoadActTile { token, col, atoms } => {
                format!("acts[{token}..][+{col}..+{}]", col + atoms * ATOM_COLS)
            }
            Op::DotTile { acc, staged, acts, .. } => format!("{} + {} . {}", n(acc), n(staged), n(acts)),
            Op::TileToken { tile, index } => format!("{} for vector +{index}", n(tile)),
            Op::SubActSum { x, token } => format!("{} - act_sum[{token}]", n(x)),
        }
    }
}

/// Says which stream something belongs to, where it is not the first.
fn of_stream(stream: usize) -> String {
    match stream {
        0 => String::new(),
        _ => format!(" of stream {stream}"),
    }
}
