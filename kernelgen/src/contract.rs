//! From a kernel's description to its IR: the contraction of one row tile, or of one of each stream, in turn or side by
//! side, arranged by the schedule.

mod tiles;

use std::ops::Range;

use crate::abi::EXPANSION;
use crate::compile::CompileError;
use crate::ir::{But, Count, Cursor, Kind, Op, Program, Stmt, Var, VarInfo};
use crate::isa::{Accumulate, Atom};
use crate::layout::{ATOM_BYTES, ATOM_COLS, Layout, TILE_ROWS};
use crate::schedule::{Schedule, Unpack};
use crate::spec::{KernelSpec, Shape};

/// A field of the packed bytes and the columns that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    /// Bit position within each byte.
    position: u32,
    /// First of the four consecutive columns, from the start of the atom.
    col: usize,
}

/// Reads off a layout which columns stand in which field, and checks that each field of an atom is an operand of
/// a four-way dot product: row r in bytes 4r..4r+4, four consecutive columns, the same ones for every row.
fn fields(layout: &Layout) -> Result<Vec<Field>, String> {
    // The second tile and third atom of a matrix, so that strides are seen as well as the first atom.
    let (rows, cols) = (4 * TILE_ROWS, 5 * ATOM_COLS);
    let base = TILE_ROWS * cols / 4 + 2 * ATOM_BYTES;
    let mut fields: Vec<Field> = Vec::new();
    for col in 0..ATOM_COLS {
        for row in 0..TILE_ROWS {
            let place = layout.locate(rows, cols, TILE_ROWS + row, 2 * ATOM_COLS + col);
            let byte = place.byte.checked_sub(base).filter(|b| *b < ATOM_BYTES);
            let byte =
                byte.ok_or_else(|| format!("row {row}, column {col} lies outside of its 64-byte atom"))?;
            if byte / 4 != row || byte % 4 != col % 4 {
                return Err(format!(
                    "row {row}, column {col} lies in byte {byte}, not in {}",
                    4 * row + col % 4
                ));
            }
            let field = Field { position: place.shift, col: col - col % 4 };
            match fields.iter().find(|f| f.position == field.position) {
                None => fields.push(field),
                Some(seen) if *seen == field => {}
                Some(seen) => {
                    return Err(format!(
                        "the field at bit {} holds columns {} and {}",
                        field.position, seen.col, field.col
                    ));
                }
            }
        }
    }
    fields.sort_by_key(|f| f.position);
    Ok(fields)
}

/// Builds the IR of a kernel for a contraction atom, with the given distance between widenings (in atoms of K;
/// ignored where the ISA adds in i32).
///
/// # Errors
/// A layout that the atom cannot read, or a schedule that does not divide the tile.
pub fn build(spec: &KernelSpec, atom: &Atom, fold: usize) -> Result<Program, CompileError> {
    let fields = fields(&spec.layout).map_err(|reason| CompileError::LayoutUnreadable {
        kernel: spec.name(),
        layout: spec.layout.name,
        reason,
    })?;
    let rows = TILE_ROWS / spec.schedule.row_split.max(1);
    if rows * spec.schedule.row_split != TILE_ROWS || !rows.is_multiple_of(atom.rows) {
        return Err(CompileError::RowSplit {
            kernel: spec.name(),
            row_split: spec.schedule.row_split,
            atom_rows: atom.rows,
        });
    }
    let k_atoms = match spec.shape {
        Shape::Any => None,
        Shape::Fixed { cols, .. } => Some(cols.div_ceil(ATOM_COLS)),
    };
    let expanded = match spec.schedule.unpack {
        Unpack::Expanded => {
            let positions: Vec<u32> = fields.iter().map(|field| field.position).collect();
            let positions =
                positions.try_into().map_err(|found: Vec<u32>| CompileError::LayoutUnreadable {
                    kernel: spec.name(),
                    layout: spec.layout.name,
                    reason: format!("{} fields a byte, expanded ones are {EXPANSION}", found.len()),
                })?;
            Some(positions)
        }
        _ => None,
    };
    let mut builder = Builder {
        schedule: spec.schedule,
        moves_fields: spec.isa.moves_fields(),
        fields,
        fold,
        program: Program {
            vars: Vec::new(),
            body: Vec::new(),
            tokens: spec.operation.tokens(),
            streams: spec.schedule.streams,
            k_atoms,
            lanes: match atom.accumulate {
                Accumulate::Narrow { products } => atom.cols / products,
                Accumulate::Wide | Accumulate::Tile { .. } => 1,
            },
            tile_tokens: match atom.accumulate {
                // Fewer vectors than a tile has rows make tiles of fewer rows.
                Accumulate::Tile { tokens } => tokens.min(spec.operation.tokens()),
                Accumulate::Wide | Accumulate::Narrow { .. } => 1,
            },
            fold: matches!(atom.accumulate, Accumulate::Narrow { .. }).then_some(fold),
            expanded,
        },
    };
    if let Accumulate::Tile { .. } = atom.accumulate {
        builder.check_tile(atom).map_err(|reason| CompileError::Tile { kernel: spec.name(), reason })?;
    }
    let passes = (0..spec.schedule.row_split).map(|pass| Stmt::Pass {
        first_row: pass * rows,
        rows,
        body: match atom.accumulate {
            Accumulate::Wide => builder.wide_pass(pass == 0),
            Accumulate::Narrow { .. } => builder.narrow_pass(pass == 0),
            Accumulate::Tile { .. } => builder.tile_pass(atom, pass == 0),
        },
    });
    let body = passes.collect();
    builder.program.body = body;
    Ok(builder.program)
}

/// An accumulator: which stream, which token, which chain, and by how many bits its sums are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Acc {
    stream: usize,
    token: usize,
    chain: usize,
    position: u32,
    var: Var,
}

/// How products are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sums {
    /// In i32.
    Wide,
    /// In i16, to what there is.
    Narrow,
    /// In i16, beginning with the first of each accumulator.
    NewNarrow,
}

/// The codes of one field of an atom, of some streams.
struct Unpacked {
    /// Which field.
    p: usize,
    /// First of the four columns, past the activation cursor.
    col: usize,
    /// Bits by which the codes are scaled.
    position: u32,
    /// Of each stream.
    codes: Vec<Var>,
}

/// A name for what there is one of for each stream.
fn of_stream(name: String, stream: usize) -> String {
    match stream {
        0 => name,
        _ => format!("{name}_s{stream}"),
    }
}

/// So many times, whatever the shape.
fn times(n: usize) -> Count {
    Count { modulo: None, div: 1, but: But::Nothing, fixed: Some(n) }
}

struct Builder {
    schedule: Schedule,
    /// See [`crate::isa::Isa::moves_fields`].
    moves_fields: bool,
    fields: Vec<Field>,
    fold: usize,
    program: Program,
}

impl Builder {
    fn var(&mut self, kind: Kind, name: String) -> Var {
        self.program.vars.push(VarInfo { name, kind });
        Var(self.program.vars.len() - 1)
    }

    fn define(&mut self, body: &mut Vec<Stmt>, kind: Kind, name: String, op: Op) -> Var {
        let var = self.var(kind, name);
        body.push(Stmt::Let(var, op));
        var
    }

    fn count(&self, modulo: Option<usize>, div: usize) -> Count {
        let count = Count { modulo, div, but: But::Nothing, fixed: None };
        // What is left of a division is less than the divisor, whatever K is.
        let none = modulo.is_some_and(|modulo| modulo <= div).then_some(0);
        Count { fixed: none.or_else(|| self.program.k_atoms.map(|k_atoms| count.at(k_atoms))), ..count }
    }

    /// The bit positions at which the unpacked fields stand.
    fn positions(&self) -> Vec<u32> {
        let mut positions: Vec<u32> =
            self.fields.iter().map(|f| self.schedule.unpack.shift_and_position(f.position).1).collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    /// The streams that take turns: each for itself, or all of them at once where they share activations.
    fn turns(&self) -> Vec<Range<usize>> {
        let streams = self.schedule.streams;
        let each = if self.schedule.shared { streams } else { 1 };
        (0..streams).step_by(each).map(|first| first..first + each).collect()
    }

    /// One accumulator of each of some streams for every token, chain and position.
    fn accumulators(&mut self, streams: Range<usize>, kind: Kind, prefix: &str) -> Vec<Acc> {
        let mut accs = Vec::new();
        for stream in streams {
            for token in 0..self.program.tokens {
                for chain in 0..self.schedule.chains {
                    for position in self.positions() {
                        let name = format!("{prefix}_t{token}_c{chain}_x{}", 1 << position);
                        let var = self.var(kind, of_stream(name, stream));
                        accs.push(Acc { stream, token, chain, position, var });
                    }
                }
            }
        }
        accs
    }

    /// The same, defined as zero.
    fn zeroed(
        &mut self,
        streams: Range<usize>,
        kind: Kind,
        prefix: &str,
        zero: Op,
        body: &mut Vec<Stmt>,
    ) -> Vec<Acc> {
        let accs = self.accumulators(streams, kind, prefix);
        body.extend(accs.iter().map(|acc| Stmt::Let(acc.var, zero)));
        accs
    }

    /// Repeats `unroll` atoms at a time, then what is left one by one, over `k_atoms % modulo` atoms; `step` emits
    /// the body for so many atoms. A loop that never runs is left out.
    fn over_atoms(
        &mut self,
        modulo: Option<usize>,
        body: &mut Vec<Stmt>,
        step: impl Fn(&mut Self, usize, &mut Vec<Stmt>),
    ) {
        let unroll = self.schedule.unroll;
        for (count, atoms) in [(self.count(modulo, unroll), unroll), (self.count(Some(unroll), 1), 1)] {
            let never = count.fixed == Some(0) || count.modulo == Some(count.div);
            if never || (atoms == 1 && unroll == 1 && count.modulo == Some(1)) {
                continue;
            }
            let mut inner = Vec::new();
            step(self, atoms, &mut inner);
            body.push(Stmt::Repeat { count, atoms, body: inner });
        }
    }

    /// Whether a field is the first of those that are scaled alike.
    fn begins(&self, p: usize) -> bool {
        let position = |field: &Field| self.schedule.unpack.shift_and_position(field.position).1;
        let same = |field: &Field| position(field) == position(&self.fields[p]);
        self.fields.iter().position(same) == Some(p)
    }

    /// Asks for what lies the schedule's distance ahead of a line, if it has one.
    fn prefetch(&self, of: Cursor, line: usize, body: &mut Vec<Stmt>) {
        let distance = match of {
            Cursor::Weights(_) => self.schedule.prefetch,
            Cursor::Acts => self.schedule.act_prefetch,
        };
        if distance > 0 {
            body.push(Stmt::Prefetch { of, line, distance });
        }
    }

    /// Loads an atom of each of some streams and brings the fields apart; `each` emits what is done with the codes of one.
    fn unpack(
        &mut self,
        streams: Range<usize>,
        atom: usize,
        prefetch: bool,
        body: &mut Vec<Stmt>,
        each: impl Fn(&mut Self, &mut Vec<Stmt>, Unpacked),
    ) {
        if self.schedule.unpack == Unpack::Expanded {
            for (p, field) in self.fields.clone().into_iter().enumerate() {
                let load = streams.clone().map(|stream| {
                    if prefetch {
                        self.prefetch(Cursor::Weights(stream), EXPANSION * atom + p, body);
                    }
                    let name = of_stream(format!("codes{atom}_{p}"), stream);
                    self.define(body, Kind::Codes, name, Op::LoadCodes { stream, atom, field: p })
                });
                let codes = load.collect();
                each(self, body, Unpacked { p, col: atom * ATOM_COLS + field.col, position: 0, codes });
            }
            return;
        }
        let mut packed = Vec::new();
        for stream in streams.clone() {
            if prefetch {
                self.prefetch(Cursor::Weights(stream), atom, body);
            }
            let name = of_stream(format!("w{atom}"), stream);
            packed.push(self.define(body, Kind::Packed, name, Op::LoadPacked { stream, atom }));
        }
        let mut shifted = (0, packed.clone());
        for (p, field) in self.fields.clone().into_iter().enumerate() {
            let (by, position) = self.schedule.unpack.shift_and_position(field.position);
            let moves = self.moves_fields && by == field.position;
            if by != shifted.0 && !moves {
                let shift = streams.clone().zip(&packed).map(|(stream, &packed)| {
                    let name = of_stream(format!("w{atom}_shr{by}"), stream);
                    self.define(body, Kind::Packed, name, Op::ShiftRight { packed, by })
                });
                shifted = (by, shift.collect());
            }
            let from = if moves { &packed } else { &shifted.1 };
            let of = streams.clone().zip(from).map(|(stream, &packed)| {
                let name = of_stream(format!("codes{atom}_{p}"), stream);
                let op = match moves {
                    true => Op::MoveField { packed, position: by },
                    false => Op::MaskField { packed, position },
                };
                self.define(body, Kind::Codes, name, op)
            });
            let codes = of.collect();
            each(self, body, Unpacked { p, col: atom * ATOM_COLS + field.col, position, codes });
        }
    }

    /// The products of some atoms of streams that have their turn with every token, added to the streams' accumulators.
    fn products(
        &mut self,
        streams: Range<usize>,
        atoms: usize,
        accs: &[Acc],
        sums: Sums,
        prefetch: bool,
        body: &mut Vec<Stmt>,
    ) {
        let first = streams.start;
        for atom in 0..atoms {
            let chain = atom % self.schedule.chains;
            self.unpack(
                streams.clone(),
                atom,
                prefetch,
                body,
                |builder, body, Unpacked { p, col, position, codes }| {
                    // The first turn reads activations for all.
                    if prefetch && first == 0 {
                        let bytes = col * builder.program.tokens..(col + 4) * builder.program.tokens;
                        for line in bytes.start.div_ceil(ATOM_BYTES)..bytes.end.div_ceil(ATOM_BYTES) {
                            builder.prefetch(Cursor::Acts, line, body);
                        }
                    }
                    for token in 0..builder.program.tokens {
                        let name = of_stream(format!("x{atom}_{p}_t{token}"), first);
                        let acts = builder.define(body, Kind::Acts, name, Op::LoadActs { token, col });
                        for (stream, &codes) in streams.clone().zip(&codes) {
                            let takes = |acc: &&Acc| {
                                (acc.stream, acc.token, acc.chain, acc.position)
                                    == (stream, token, chain, position)
                            };
                            for acc in accs.iter().filter(takes) {
                                let op = Op::DotNarrow { codes, acts };
                                match sums {
                                    Sums::Wide => {
                                        body.push(Stmt::Set(acc.var, Op::Dot { acc: acc.var, codes, acts }))
                                    }
                                    Sums::NewNarrow if atom == chain && builder.begins(p) => {
                                        body.push(Stmt::Let(acc.var, op))
                                    }
                                    Sums::Narrow | Sums::NewNarrow => {
                                        let name = of_stream(format!("products{atom}_{p}_t{token}"), stream);
                                        let b = builder.define(body, Kind::Narrow, name, op);
                                        body.push(Stmt::Set(acc.var, Op::AddNarrow { a: acc.var, b }));
                                    }
                                }
                            }
                        }
                    }
                },
            );
        }
    }

    /// A contraction that adds in i32 all the way.
    fn wide_pass(&mut self, prefetch: bool) -> Vec<Stmt> {
        let mut body = Vec::new();
        let streams = 0..self.schedule.streams;
        let accs = self.zeroed(streams.clone(), Kind::Wide, "acc", Op::ZeroWide, &mut body);
        self.over_atoms(None, &mut body, |builder, atoms, body| {
            for turn in builder.turns() {
                builder.products(turn, atoms, &accs, Sums::Wide, prefetch, body);
            }
        });
        for stream in streams {
            let accs: Vec<Acc> = accs.iter().filter(|acc| acc.stream == stream).copied().collect();
            self.wide_totals(stream, &accs, &mut body);
        }
        body
    }

    /// Brings the sums of a stream to scale one, adds them up, and stores them.
    fn wide_totals(&mut self, stream: usize, accs: &[Acc], body: &mut Vec<Stmt>) {
        for token in 0..self.program.tokens {
            let mut total: Option<Var> = None;
            for position in self.positions() {
                let of_position: Vec<Var> = accs
                    .iter()
                    .filter(|a| a.token == token && a.position == position)
                    .map(|a| a.var)
                    .collect();
                let mut sum = of_position[0];
                for &b in &of_position[1..] {
                    let name = of_stream(format!("sum_t{token}_x{}", 1 << position), stream);
                    sum = self.define(body, Kind::Wide, name, Op::AddWide { a: sum, b });
                }
                if position > 0 {
                    let name = of_stream(format!("plane_t{token}_x{}", 1 << position), stream);
                    sum = self.define(body, Kind::Wide, name, Op::ShiftWide { x: sum, by: position });
                }
                total = Some(match total {
                    None => sum,
                    Some(a) => {
                        let name = of_stream(format!("total_t{token}"), stream);
                        self.define(body, Kind::Wide, name, Op::AddWide { a, b: sum })
                    }
                });
            }
            if let Some(x) = total {
                self.finish(x, stream, token, body);
            }
        }
    }

    /// A contraction that adds in i16 and widens every `fold` atoms: the sums of each turn before the next.
    fn narrow_pass(&mut self, prefetch: bool) -> Vec<Stmt> {
        let mut body = Vec::new();
        let streams = self.schedule.streams;
        let totals: Vec<Vec<Var>> = (0..streams)
            .map(|stream| {
                let name = |token| of_stream(format!("total_t{token}"), stream);
                (0..self.program.tokens)
                    .map(|token| self.define(&mut body, Kind::Wide, name(token), Op::ZeroWide))
                    .collect()
            })
            .collect();
        let (fold, unroll, turns) = (self.fold, self.schedule.unroll, self.turns());
        let blocks = self.count(None, fold);
        if blocks.fixed != Some(0) {
            let mut block = Vec::new();
            let atoms = match &turns[..] {
                [all] => {
                    let accs = self.zeroed(all.clone(), Kind::Narrow, "narrow", Op::ZeroNarrow, &mut block);
                    let mut inner = Vec::new();
                    self.products(all.clone(), unroll, &accs, Sums::Narrow, prefetch, &mut inner);
                    block.push(Stmt::Repeat { count: times(fold / unroll), atoms: unroll, body: inner });
                    self.widen(&accs, &totals, &mut block);
                    0
                }
                // The streams share the cursors, which go on when all have had their turn.
                _ => {
                    for turn in turns.iter().cloned() {
                        self.turn(turn, "narrow", unroll, &totals, prefetch, &mut block);
                    }
                    fold
                }
            };
            body.push(Stmt::Repeat { count: blocks, atoms, body: block });
        }
        if self.count(Some(fold), 1).fixed != Some(0) {
            if turns.len() > 1 {
                self.rest_in_turn(&totals, prefetch, &mut body);
            } else {
                self.rest(&totals, prefetch, &mut body);
            }
        }
        for (stream, totals) in totals.into_iter().enumerate() {
            for (token, total) in totals.into_iter().enumerate() {
                self.finish(total, stream, token, &mut body);
            }
        }
        body
    }

    /// What is left after the last block of streams that all have one turn, widened once.
    fn rest(&mut self, totals: &[Vec<Var>], prefetch: bool, body: &mut Vec<Stmt>) {
        let streams = 0..self.schedule.streams;
        let accs = self.zeroed(streams.clone(), Kind::Narrow, "rest", Op::ZeroNarrow, body);
        self.over_atoms(Some(self.fold), body, |builder, atoms, body| {
            builder.products(streams.clone(), atoms, &accs, Sums::Narrow, prefetch, body);
        });
        self.widen(&accs, totals, body);
    }

    /// What is left of streams in turn, an atom of each, widened at once: no stream's sums wait in registers.
    fn rest_in_turn(&mut self, totals: &[Vec<Var>], prefetch: bool, body: &mut Vec<Stmt>) {
        let mut rest = Vec::new();
        for turn in self.turns() {
            self.turn(turn, "rest", 1, totals, prefetch, &mut rest);
        }
        body.push(Stmt::Repeat { count: self.count(Some(self.fold), 1), atoms: 1, body: rest });
    }

    /// A turn of some streams: the sums of some atoms, begun by their first products and widened at once.
    fn turn(
        &mut self,
        streams: Range<usize>,
        prefix: &str,
        atoms: usize,
        totals: &[Vec<Var>],
        prefetch: bool,
        body: &mut Vec<Stmt>,
    ) {
        let mut accs = self.accumulators(streams.clone(), Kind::Narrow, prefix);
        accs.retain(|acc| acc.chain < atoms);
        let mut inner = Vec::new();
        self.products(streams, atoms, &accs, Sums::NewNarrow, prefetch, &mut inner);
        body.push(Stmt::Repeat { count: times(1), atoms: 0, body: inner });
        self.widen(&accs, totals, body);
    }

    /// Adds the narrow sums to the totals: those of a chain brought to scale one and added to each other first, which the
    /// greatest scale leaves room for.
    fn widen(&mut self, accs: &[Acc], totals: &[Vec<Var>], body: &mut Vec<Stmt>) {
        let together = |a: &Acc, b: &Acc| (a.stream, a.token, a.chain) == (b.stream, b.token, b.chain);
        for accs in accs.chunk_by(together) {
            let stem = self.program.name(accs[0].var).to_owned();
            let mut sum: Option<Var> = None;
            for acc in accs {
                let unscaled = match acc.position {
                    0 => acc.var,
                    by => {
                        let name = format!("{}_unscaled", self.program.name(acc.var));
                        self.define(body, Kind::Narrow, name, Op::ShiftNarrow { x: acc.var, by })
                    }
                };
                sum = Some(match sum {
                    None => unscaled,
                    Some(a) => {
                        let name = format!("{stem}_sum");
                        self.define(body, Kind::Narrow, name, Op::AddNarrow { a, b: unscaled })
                    }
                });
            }
            let total = totals[accs[0].stream][accs[0].token];
            body.extend(sum.map(|narrow| Stmt::Set(total, Op::Widen { acc: total, narrow })));
        }
    }

    fn finish(&mut self, x: Var, stream: usize, token: usize, body: &mut Vec<Stmt>) {
        let name = of_stream(format!("y_t{token}"), stream);
        let value = self.define(body, Kind::Wide, name, Op::SubActSum { x, token });
        body.push(Stmt::Store { stream, value, token });
    }
}
