//! Prints a kernel that is one region of assembly (see [`crate::region`]): everything from the tile configuration to its
//! release, an instruction a line, under comments that name the IR statements they come from.
//!
//! General registers are operands, so that the compiler chooses them: cursors into weights and activations, loop
//! counters, and what is read over and over. What is needed once a row tile is read from the operands of the call.

use super::{Printer, name, of_stream};
use crate::abi::SCRATCH_BYTES;
use crate::ir::{But, Count, Cursor};
use crate::layout::{ATOM_BYTES, ATOM_COLS, TILE_ROWS};
use crate::machine::{Arg, File, Inst, MStmt, Reg};
use crate::region::{Region, TILES};

/// Label of the loop over row tiles; inner ones count on from there. None may be of the digits 0 and 1 alone, which could be
/// taken for a number.
const ROW_TILES: usize = 20;
/// Bytes of a line: of a tile's row of sums, of staged codes and of interleaved activations.
const LINE: usize = 64;

/// Prints the body of the function.
pub fn print(printer: &mut Printer<'_>, region: &Region) {
    let swaps = any(&printer.kernel.machine.body, &|stmt| matches!(stmt, MStmt::SwapStage));
    Assembly { printer, region, labels: ROW_TILES, stream: 0, stored: None, swaps }.body();
}

struct Assembly<'a, 'k> {
    printer: &'a mut Printer<'k>,
    region: &'a Region,
    /// The label given last.
    labels: usize,
    /// The stream whose results are stored.
    stream: usize,
    /// The stream and the activation vector whose results the cursor is at that the activations' has become; behind the
    /// products they are not read any more.
    stored: Option<(usize, usize)>,
    /// Whether the halves of the scratch change places: each has an address of its own then.
    swaps: bool,
}

impl Assembly<'_, '_> {
    /// A line of assembly; what stands in braces names an operand.
    fn asm(&mut self, text: impl AsRef<str>) {
        self.printer.line(format!("\"{}\",", text.as_ref()));
    }

    fn line(&mut self, text: impl AsRef<str>) {
        self.printer.line(text);
    }

    fn label(&mut self) -> usize {
        self.labels += 1;
        self.labels
    }

    fn body(mut self) {
        let machine = &self.printer.kernel.machine;
        let ops = self.printer.kernel.spec.isa.ops().map_or("", |ops| ops.name);
        let shapes: Vec<String> =
            self.region.tiles.iter().map(|tile| format!("({}, {})", tile.rows, tile.row_bytes)).collect();
        self.line("if p.first_tile >= p.end_tile {");
        self.line("    return;");
        self.line("}");
        self.line("// What the assembly changes is declared behind it: all tile registers too, which it leaves as it found them,");
        self.line("// without a configuration. What is staged and spilled fits the scratch.");
        self.line("// Rows and bytes a row of each tile register.");
        self.line(format!(
            "static TILES: {ops}::TileConfig = {ops}::TileConfig::new([{}]);",
            shapes.join(", ")
        ));
        self.line("asm!(");
        self.printer.depth += 1;
        self.asm("ldtilecfg [rip + {tiles}]");
        self.asm(format!("{ROW_TILES}:"));
        let whole = self.label();
        self.line("// masks of the rows: all, but in a stream's last row tile those that exist");
        for stream in masked(machine.streams) {
            let mask = mask(stream);
            self.asm(format!("kxnorw {mask}, {mask}, {mask}"));
        }
        self.asm("cmp {row_tiles}, 1");
        self.asm(format!("jne {whole}f"));
        for stream in masked(machine.streams) {
            self.asm(format!("kmovw {}, {{{}}}", mask(stream), of_stream("tail", stream)));
        }
        self.asm(format!("{whole}:"));
        self.block(&machine.body);
        self.line("// the next row tile");
        self.asm(format!("add {{out}}, {}", 4 * TILE_ROWS));
        self.asm("dec {row_tiles}");
        self.asm(format!("jnz {ROW_TILES}b"));
        self.asm("tilerelease");
        self.operands();
        self.printer.depth -= 1;
        self.line(");");
    }

    fn operands(&mut self) {
        let machine = &self.printer.kernel.machine;
        let offset =
            |field: &str| format!("{field}_at = const std::mem::offset_of!(abi::Operands, {field}),");
        self.line("tiles = sym TILES,");
        self.line("p = in(reg) p,");
        self.line(offset("acts"));
        self.line(offset("out_stride"));
        if any(
            &machine.body,
            &|stmt| matches!(stmt, MStmt::Repeat { count, .. } if count.is_of_call() && count.fixed.is_none()),
        ) {
            self.line(offset("first_tile"));
            self.line(offset("end_tile"));
        }
        if machine.streams > 1 {
            self.line(offset("stream_out"));
        }
        let tile_bytes = match machine.k_atoms {
            Some(k_atoms) => format!("{}", k_atoms * ATOM_BYTES),
            None => {
                self.line(offset("k_atoms"));
                format!("p.k_atoms * {ATOM_BYTES}")
            }
        };
        let further = |tile: &str, stream: usize| match stream {
            0 => tile.to_owned(),
            1 => format!("{tile} + p.stream_tiles"),
            _ => format!("{tile} + {stream} * p.stream_tiles"),
        };
        for stream in 0..machine.streams {
            let (w, first) = (of_stream("w", stream), further("p.first_tile", stream));
            let first = if stream == 0 { first } else { format!("({first})") };
            self.line(format!("{w} = inout(reg) p.weights.add({first} * {tile_bytes}) => _,"));
        }
        for stream in masked(machine.streams) {
            let (tail, last) = (of_stream("tail", stream), further("p.end_tile - 1", stream));
            self.line(format!("{tail} = in(kreg) abi::tail_mask16(p.rows_in({last})),"));
            self.line(format!("out(\"{}\") _,", mask(stream)));
        }
        self.line("out = inout(reg) p.out => _,");
        self.line("a = out(reg) _,");
        self.line("act_sums = in(reg) p.act_sums,");
        if self.swaps {
            self.line("scratch = inout(reg) p.scratch => _,");
            self.line(format!("next = inout(reg) p.scratch.add({}) => _,", SCRATCH_BYTES / 2));
        } else {
            self.line("scratch = in(reg) p.scratch,");
        }
        self.line(format!("line = in(reg) {LINE}usize,"));
        self.line("n = out(reg) _,");
        self.line("row_tiles = inout(reg) p.end_tile - p.first_tile => _,");
        let constants: Vec<(usize, Reg)> =
            machine.setup.iter().map(|(reg, _)| (self.region.places[reg.0], *reg)).collect();
        for (place, reg) in &constants {
            self.line(format!("in(\"zmm{place}\") {},", name(*reg)));
        }
        for place in
            (0..self.region.vectors).filter(|place| constants.iter().all(|(taken, _)| taken != place))
        {
            self.line(format!("out(\"zmm{place}\") _,"));
        }
        // The configuration and the release clear them all.
        for place in 0..TILES {
            self.line(format!("out(\"tmm{place}\") _,"));
        }
        self.line("options(nostack),");
    }

    fn block(&mut self, stmts: &[MStmt]) {
        for (i, stmt) in stmts.iter().enumerate() {
            match stmt {
                // An IR statement that needs no instruction leaves no comment.
                MStmt::Comment(_) if matches!(stmts.get(i + 1), None | Some(MStmt::Comment(_))) => {}
                MStmt::Comment(text) => self.line(format!("// {text}")),
                MStmt::Let(reg, inst) => self.instruction(Some(*reg), inst),
                MStmt::SwapStage => self.asm("xchg {scratch}, {next}"),
                // It replaces its first operand.
                MStmt::Set(_, inst) | MStmt::Run(inst) => self.instruction(None, inst),
                // The mask costs nothing where all rows exist.
                MStmt::Store { stream, part, .. } => {
                    self.stream = *stream;
                    self.block(part);
                }
                MStmt::Repeat { count, atoms, body } => self.repeat(count, *atoms, body),
                // The weights of the next row tile follow those of the last; the activations start over.
                MStmt::Pass(body) => {
                    self.asm("mov {a}, [{p} + {acts_at}]");
                    self.block(body);
                }
            }
        }
    }

    fn repeat(&mut self, count: &Count, atoms: usize, body: &[MStmt]) {
        let (head, end) = (self.label(), self.label());
        let is_loop = matches!(count.but, But::Nothing | But::LessLast) && count.fixed != Some(1);
        match (count.fixed, count.but) {
            (Some(1), _) => {}
            (Some(times), _) => self.asm(format!("mov {{n:e}}, {times}")),
            (None, But::Nothing | But::Once) => {
                self.quotient(count);
                self.asm("test {n}, {n}");
                self.asm(format!("jz {end}f"));
            }
            (None, But::First) => {
                self.if_alone(count, head);
                self.asm("mov {n}, [{p} + {end_tile_at}]");
                self.asm("sub {n}, [{p} + {first_tile_at}]");
                self.asm("cmp {n}, {row_tiles}");
                self.asm(format!("jne {end}f"));
            }
            (None, But::LessLast) => {
                let less = self.label();
                self.quotient(count);
                self.if_alone(count, less);
                self.asm("cmp {row_tiles}, 1");
                self.asm(format!("jne {head}f"));
                self.asm(format!("{less}:"));
                self.asm("dec {n}");
                self.asm(format!("jz {end}f"));
            }
            (None, But::Last) => {
                self.if_alone(count, head);
                self.asm("cmp {row_tiles}, 1");
                self.asm(format!("jne {end}f"));
            }
        }
        if is_loop || (count.fixed.is_none() && count.is_of_call()) {
            self.asm(format!("{head}:"));
        }
        self.block(body);
        self.advance(atoms);
        if is_loop {
            self.asm("dec {n}");
            self.asm(format!("jnz {head}b"));
        }
        if count.fixed.is_none() {
            self.asm(format!("{end}:"));
        }
    }

    /// The quotient that a count is of.
    fn quotient(&mut self, count: &Count) {
        if let Some(k_atoms) = self.printer.kernel.machine.k_atoms {
            let quotient = Count { fixed: None, but: But::Nothing, ..*count }.at(k_atoms);
            return self.asm(format!("mov {{n:e}}, {quotient}"));
        }
        self.asm("mov {n}, [{p} + {k_atoms_at}]");
        // Schedules of tiles have unrolls that are powers of two.
        if let Some(modulo) = count.modulo {
            self.asm(format!("and {{n}}, {}", modulo - 1));
        }
        if count.div > 1 {
            self.asm(format!("shr {{n}}, {}", count.div.ilog2()));
        }
    }

    /// Goes on at a label where something is left of a row tile, which then is the first and the last. Of a fixed shape that
    /// is known, and its counts do not depend on the call.
    fn if_alone(&mut self, count: &Count, label: usize) {
        if self.printer.kernel.machine.k_atoms.is_none() {
            self.asm(format!("test qword ptr [{{p}} + {{k_atoms_at}}], {}", count.div - 1));
            self.asm(format!("jnz {label}f"));
        }
    }

    /// Moves the cursors on behind some atoms. Of activations an atom that is left over takes as much as a whole run.
    fn advance(&mut self, atoms: usize) {
        if atoms == 0 {
            return;
        }
        let machine = &self.printer.kernel.machine;
        for stream in 0..machine.streams {
            self.asm(format!("add {{{}}}, {}", of_stream("w", stream), atoms * ATOM_BYTES));
        }
        let runs = (atoms * ATOM_COLS).div_ceil(LINE);
        self.asm(format!("add {{a}}, {}", runs * LINE * machine.tokens));
    }

    fn instruction(&mut self, result: Option<Reg>, inst: &Inst) {
        for arg in &inst.args {
            if let Arg::Out(token, _) = arg {
                self.results_of(*token);
            }
        }
        let mut text = inst.intrinsic.mnemonic.unwrap_or(inst.intrinsic.name).to_owned();
        // Constants come last in assembly.
        let is_constant = |arg: &&Arg| matches!(arg, Arg::Imm(_) | Arg::Const(_));
        let args =
            inst.args.iter().filter(|arg| !is_constant(arg)).chain(inst.args.iter().filter(is_constant));
        let result = result.map(Arg::Reg);
        for (i, arg) in result.iter().chain(args).enumerate() {
            text += match (i, arg) {
                (_, Arg::RowMask) => "",
                (0, _) => " ",
                _ => ", ",
            };
            text += &self.argument(arg);
        }
        self.asm(text);
    }

    /// Moves the cursor into the results on to those of an activation vector for the rows of the stream.
    fn results_of(&mut self, token: usize) {
        let at = match self.stored {
            Some((stream, at)) if stream == self.stream => at,
            _ => {
                match self.stream {
                    0 => self.asm("mov {a}, {out}"),
                    stream => {
                        self.asm("mov {n}, [{p} + {stream_out_at}]");
                        self.asm(format!("imul {{n}}, {{n}}, {}", 4 * stream));
                        self.asm("lea {a}, [{out} + {n}]");
                    }
                }
                self.asm("mov {n}, [{p} + {out_stride_at}]");
                0
            }
        };
        for _ in at..token {
            self.asm("lea {a}, [{a} + 4*{n}]");
        }
        self.stored = Some((self.stream, token));
    }

    /// Where a place of the scratch is: from an address on, so many bytes.
    fn half(&self, offset: usize) -> (&'static str, usize) {
        match offset.checked_sub(SCRATCH_BYTES / 2) {
            Some(offset) if self.swaps => ("next", offset),
            _ => ("scratch", offset),
        }
    }

    fn argument(&self, arg: &Arg) -> String {
        let at = |base: &str, offset: usize| match offset {
            0 => format!("[{{{base}}}]"),
            _ => format!("[{{{base}}} + {offset}]"),
        };
        match *arg {
            Arg::Reg(reg) => {
                let file = match self.printer.kernel.machine.files[reg.0] {
                    File::Tile(_) => "tmm",
                    _ => "zmm",
                };
                format!("{file}{}", self.region.places[reg.0])
            }
            Arg::Imm(value) | Arg::Const(value) => value.to_string(),
            Arg::Weights(stream, offset) | Arg::Ahead(Cursor::Weights(stream), offset) => {
                at(&of_stream("w", stream).to_string(), offset)
            }
            Arg::ActSum(token) => format!("dword ptr {}", at("act_sums", 4 * token)),
            Arg::Out(_, row) => at("a", 4 * row),
            // Twice the braces, for one pair belongs to the template.
            Arg::RowMask => {
                let is_last = self.stream + 1 == self.printer.kernel.machine.streams;
                format!("{{{{{}}}}}", mask(if is_last { self.stream } else { 0 }))
            }
            Arg::Scratch(offset) => {
                let (half, offset) = self.half(offset);
                at(half, offset)
            }
            Arg::ScratchRows(offset) => {
                let (half, offset) = self.half(offset);
                at(&format!("{half}}} + {{line"), offset)
            }
            // Run by run, of each vector in turn.
            Arg::ActRows(token, col, _) => {
                at("a} + {line", col * self.printer.kernel.machine.tokens + LINE * token)
            }
            Arg::Acts(..) | Arg::ActsWord(..) | Arg::Ahead(Cursor::Acts, _) | Arg::RowsLeft(_) => {
                unreachable!("a contraction on tiles has no {arg:?}")
            }
        }
    }
}

/// Whether any statement is such a one.
fn any(stmts: &[MStmt], is_one: &dyn Fn(&MStmt) -> bool) -> bool {
    stmts.iter().any(|stmt| {
        is_one(stmt)
            || match stmt {
                MStmt::Repeat { body, .. } | MStmt::Pass(body) => any(body, is_one),
                _ => false,
            }
    })
}

/// The streams that have masks: the last, where the rows may end, and the first for all others, whose row tiles are whole
/// or, where all go through the same, that of the last.
fn masked(streams: usize) -> impl Iterator<Item = usize> {
    [0, streams - 1].into_iter().take(streams)
}

/// The mask of the rows of such a stream's tile that exist.
fn mask(stream: usize) -> &'static str {
    if stream == 0 { "k1" } else { "k2" }
}
