//! The interpreter of lowered kernels: registers of bytes, instructions by their models.

use super::models::{self, Value};
use super::tiles::Tiles;
use super::{Data, Fault};
use crate::abi::{SCRATCH_BYTES, tail_mask16};
use crate::compile::Kernel;
use crate::ir::Ends;
use crate::layout::{ATOM_COLS, TILE_ROWS};
use crate::machine::{Arg, File, Inst, MProgram, MStmt, Memory, Reg};

/// Runs a lowered kernel; results stand vector by vector, `rows of the tiles` values each. Results that the kernel
/// leaves out keep the value `untouched`.
///
/// # Errors
/// [`Fault`]: a read or write outside of the operands, or an instruction without a model.
pub fn run(kernel: &Kernel, data: &Data<'_>, untouched: i32) -> Result<Vec<i32>, Fault> {
    let weights = data.weights_for(kernel);
    let data = &Data { weights: &weights, ..*data };
    let mut state = State {
        machine: &kernel.machine,
        data,
        registers: vec![None; kernel.machine.files.len()],
        tiles_at: Vec::new(),
        ends: Ends { first: true, last: true },
        stream: 0,
        atom: 0,
        tiles: Tiles::new(),
        scratch: vec![None; SCRATCH_BYTES],
        out: vec![untouched; data.out_rows() * kernel.machine.tokens],
    };
    for (reg, inst) in &kernel.machine.setup {
        state.set(*reg, inst)?;
    }
    if let Some(region) = &kernel.machine.region {
        state.tiles.configure(&region.tiles)?;
    }
    for (tiles, ends) in data.rounds(kernel.machine.streams) {
        (state.tiles_at, state.ends) = (tiles, ends);
        state.block(&kernel.machine.body)?;
    }
    Ok(state.out)
}

struct State<'a> {
    machine: &'a MProgram,
    data: &'a Data<'a>,
    /// Vectors and scalars, each at its place.
    registers: Vec<Option<Value>>,
    /// The row tile of each stream.
    tiles_at: Vec<usize>,
    /// Which of its call's they are.
    ends: Ends,
    /// The stream whose results are stored.
    stream: usize,
    atom: usize,
    tiles: Tiles,
    /// What the caller lends; `None` where nothing was written yet.
    scratch: Vec<Option<u8>>,
    out: Vec<i32>,
}

impl State<'_> {
    fn rows_in_tile(&self) -> usize {
        (self.data.rows - self.tiles_at[self.stream] * TILE_ROWS).min(TILE_ROWS)
    }

    /// Weights of a stream, so many bytes past its cursor.
    fn weights_at(&self, stream: usize, offset: usize, len: usize) -> Result<&[u8], Fault> {
        self.data.weights_at(self.machine.atom_bytes, self.tiles_at[stream], self.atom, offset, len)
    }

    fn block(&mut self, stmts: &[MStmt]) -> Result<(), Fault> {
        for stmt in stmts {
            match stmt {
                MStmt::Comment(_) => {}
                MStmt::Let(reg, inst) | MStmt::Set(reg, inst) => self.set(*reg, inst)?,
                MStmt::Run(inst) => self.execute(inst)?,
                MStmt::SwapStage => self.scratch.rotate_left(SCRATCH_BYTES / 2),
                MStmt::Store { stream, first_row, rows, whole, part } => {
                    self.stream = *stream;
                    let body = if self.rows_in_tile() >= first_row + rows { whole } else { part };
                    self.block(body)?;
                }
                MStmt::Repeat { count, atoms, body } => {
                    for _ in 0..count.in_call(self.data.k_atoms(), self.ends) {
                        self.block(body)?;
                        self.atom += atoms;
                    }
                }
                MStmt::Pass(body) => {
                    self.atom = 0;
                    self.block(body)?;
                }
            }
        }
        Ok(())
    }

    /// The number of the register that holds a value: in a region the one that was given to it, so that values which
    /// are given one register at the same time spoil each other; else each value has its own.
    fn place(&self, reg: Reg) -> usize {
        self.machine.region.as_ref().map_or(reg.0, |region| region.places[reg.0])
    }

    fn set(&mut self, reg: Reg, inst: &Inst) -> Result<(), Fault> {
        if let File::Tile(_) = self.machine.files[reg.0] {
            return self.set_tile(self.place(reg), inst);
        }
        let args = self.arguments(inst)?;
        let value = models::model(inst.intrinsic.name, &args).ok_or(Fault::NoModel(inst.intrinsic.name))?;
        let place = self.place(reg);
        self.registers[place] = Some(value);
        Ok(())
    }

    /// An instruction whose result is a tile.
    fn set_tile(&mut self, tile: usize, inst: &Inst) -> Result<(), Fault> {
        match (inst.intrinsic.name, inst.args.as_slice()) {
            ("_tile_zero", []) => self.tiles.zero(tile),
            ("_tile_loadd", [Arg::ScratchRows(at)]) => {
                let scratch = &self.scratch;
                self.tiles.load(tile, |row, len| scratch_at(scratch, at + SCRATCH_ROW_BYTES * row, len))
            }
            ("_tile_loadd", [Arg::ActRows(token, col, atoms)]) => {
                let (data, atom) = (self.data, self.atom);
                self.tiles.load(tile, |row, len| {
                    let acts = data.acts_at(token + row, atom, *col, atoms * ATOM_COLS)?;
                    // What is beyond them is the next vector's.
                    let zeros = std::iter::repeat_n(0, SCRATCH_ROW_BYTES - acts.len());
                    Ok(acts.iter().map(|q| *q as u8).chain(zeros).take(len).collect())
                })
            }
            ("_tile_dpbsud", [Arg::Reg(acc), Arg::Reg(a), Arg::Reg(b)]) if self.place(*acc) == tile => {
                self.tiles.dot_signed_unsigned(tile, self.place(*a), self.place(*b))
            }
            _ => Err(Fault::NoModel(inst.intrinsic.name)),
        }
    }

    /// Writes to the scratch.
    fn write_scratch(&mut self, at: usize, bytes: &[u8]) -> Result<(), Fault> {
        let len = bytes.len();
        let outside = || Fault::Tile(format!("write of {len} bytes at {at} lies outside of the scratch"));
        let place = self.scratch.get_mut(at..at + len).ok_or_else(outside)?;
        place.iter_mut().zip(bytes).for_each(|(place, byte)| *place = Some(*byte));
        Ok(())
    }

    /// Runs an instruction for its effect: a store or a prefetch.
    fn execute(&mut self, inst: &Inst) -> Result<(), Fault> {
        if inst.intrinsic.memory != Memory::Write {
            return Ok(());
        }
        if let ("_tile_stored", [Arg::ScratchRows(at), Arg::Reg(tile)]) =
            (inst.intrinsic.name, inst.args.as_slice())
        {
            let rows: Vec<Vec<u8>> =
                self.tiles.rows(self.place(*tile))?.into_iter().map(<[u8]>::to_vec).collect();
            let mut rows = rows.iter().enumerate();
            return rows.try_for_each(|(row, bytes)| self.write_scratch(at + SCRATCH_ROW_BYTES * row, bytes));
        }
        let args = self.arguments(inst)?;
        let lanes = models::stored(inst.intrinsic.name, &args).ok_or(Fault::NoModel(inst.intrinsic.name))?;
        if let Some(Arg::Scratch(at)) = inst.args.first() {
            let bytes: Vec<u8> = lanes.into_iter().flatten().flat_map(i32::to_le_bytes).collect();
            return self.write_scratch(*at, &bytes);
        }
        let Some(Arg::Out(token, row)) = inst.args.first() else {
            return Err(Fault::NoModel(inst.intrinsic.name));
        };
        let first = (self.tiles_at[self.stream] - self.data.first_tile) * TILE_ROWS + row;
        let rows = self.data.out_rows();
        for (i, lane) in lanes.into_iter().enumerate() {
            let Some(lane) = lane else { continue };
            if first + i >= rows {
                return Err(Fault::Write { token: *token, row: first + i });
            }
            self.out[token * rows + first + i] = lane;
        }
        Ok(())
    }

    /// The values of an instruction's arguments; a pointer that is read becomes the bytes behind it.
    fn arguments(&self, inst: &Inst) -> Result<Vec<Value>, Fault> {
        let len = match inst.intrinsic.memory {
            Memory::Read(len) => len,
            Memory::None | Memory::Write => 0,
        };
        let acts = |token, offset, len| -> Result<Vec<u8>, Fault> {
            Ok(self.data.acts_at(token, self.atom, offset, len)?.iter().map(|q| *q as u8).collect())
        };
        inst.args
            .iter()
            .map(|arg| {
                Ok(match *arg {
                    Arg::Reg(reg) => self.registers[self.place(reg)]
                        .clone()
                        .ok_or_else(|| Fault::Undefined(format!("v{}", reg.0)))?,
                    Arg::Imm(value) | Arg::Const(value) => Value::Scalar(value),
                    Arg::Weights(stream, offset) => {
                        Value::Bytes(self.weights_at(stream, offset, len)?.to_vec())
                    }
                    Arg::Acts(token, offset) => Value::Bytes(acts(token, offset, len)?),
                    Arg::ActsWord(token, offset) => {
                        let bytes = acts(token, offset, 4)?;
                        Value::Scalar(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into())
                    }
                    Arg::ActSum(token) => Value::Scalar(self.data.act_sums[token].into()),
                    Arg::Scratch(offset) if len > 0 => Value::Bytes(scratch_at(&self.scratch, offset, len)?),
                    Arg::Ahead(..) | Arg::Out(..) | Arg::Scratch(_) => Value::Pointer,
                    Arg::RowMask => Value::Scalar(tail_mask16(self.rows_in_tile() as i32).into()),
                    Arg::ScratchRows(_) | Arg::ActRows(..) => {
                        return Err(Fault::NoModel(inst.intrinsic.name));
                    }
                    Arg::RowsLeft(first_row) => Value::Scalar(self.rows_in_tile() as i64 - first_row as i64),
                })
            })
            .collect()
    }
}

/// Bytes from one row of a tile in the scratch to the next.
const SCRATCH_ROW_BYTES: usize = 64;

/// Bytes of the scratch, all of which must have been written.
fn scratch_at(scratch: &[Option<u8>], at: usize, len: usize) -> Result<Vec<u8>, Fault> {
    let bytes = scratch.get(at..at + len).ok_or(Fault::Read { what: "scratch", at, len })?;
    bytes.iter().copied().collect::<Option<_>>().ok_or_else(|| Fault::Undefined(format!("scratch[{at}..]")))
}
