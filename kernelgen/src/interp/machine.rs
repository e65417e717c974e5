//! The interpreter of lowered kernels: registers of bytes, instructions by their models.

use super::models::{self, Value};
use super::{Data, Fault};
use crate::compile::Kernel;
use crate::layout::TILE_ROWS;
use crate::machine::{Arg, Inst, MStmt, Memory, Reg};

/// Runs a lowered kernel; results stand vector by vector, `rows of the tiles` values each. Results that the kernel
/// leaves out keep the value `untouched`.
///
/// # Errors
/// [`Fault`]: a read or write outside of the operands, or an instruction without a model.
pub fn run(kernel: &Kernel, data: &Data<'_>, untouched: i32) -> Result<Vec<i32>, Fault> {
    let mut state = State {
        data,
        registers: vec![None; kernel.machine.files.len()],
        tile: data.first_tile,
        atom: 0,
        out: vec![untouched; data.out_rows() * kernel.machine.tokens],
    };
    for (reg, inst) in &kernel.machine.setup {
        state.set(*reg, inst)?;
    }
    for tile in data.tiles() {
        state.tile = tile;
        state.block(&kernel.machine.body)?;
    }
    Ok(state.out)
}

struct State<'a> {
    data: &'a Data<'a>,
    registers: Vec<Option<Value>>,
    tile: usize,
    atom: usize,
    out: Vec<i32>,
}

impl State<'_> {
    fn rows_in_tile(&self) -> usize {
        (self.data.rows - self.tile * TILE_ROWS).min(TILE_ROWS)
    }

    fn block(&mut self, stmts: &[MStmt]) -> Result<(), Fault> {
        for stmt in stmts {
            match stmt {
                MStmt::Comment(_) => {}
                MStmt::Let(reg, inst) | MStmt::Set(reg, inst) => self.set(*reg, inst)?,
                MStmt::Run(inst) => self.execute(inst)?,
                MStmt::Store { first_row, rows, whole, part } => {
                    let body = if self.rows_in_tile() >= first_row + rows { whole } else { part };
                    self.block(body)?;
                }
                MStmt::Repeat { count, atoms, body } => {
                    for _ in 0..count.at(self.data.k_atoms()) {
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

    fn set(&mut self, reg: Reg, inst: &Inst) -> Result<(), Fault> {
        let args = self.arguments(inst)?;
        let value = models::model(inst.intrinsic.name, &args).ok_or(Fault::NoModel(inst.intrinsic.name))?;
        self.registers[reg.0] = Some(value);
        Ok(())
    }

    /// Runs an instruction for its effect: a store or a prefetch.
    fn execute(&mut self, inst: &Inst) -> Result<(), Fault> {
        if inst.intrinsic.memory != Memory::Write {
            return Ok(());
        }
        let args = self.arguments(inst)?;
        let lanes = models::stored(inst.intrinsic.name, &args).ok_or(Fault::NoModel(inst.intrinsic.name))?;
        let Some(Arg::Out(token, row)) = inst.args.first() else {
            return Err(Fault::NoModel(inst.intrinsic.name));
        };
        let first = (self.tile - self.data.first_tile) * TILE_ROWS + row;
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
                    Arg::Reg(reg) => self.registers[reg.0]
                        .clone()
                        .ok_or_else(|| Fault::Undefined(format!("v{}", reg.0)))?,
                    Arg::Imm(value) | Arg::Const(value) => Value::Scalar(value),
                    Arg::Weights(offset) => {
                        Value::Bytes(self.data.weights_at(self.tile, self.atom, offset, len)?.to_vec())
                    }
                    Arg::Acts(token, offset) => Value::Bytes(acts(token, offset, len)?),
                    Arg::ActsWord(token, offset) => {
                        let bytes = acts(token, offset, 4)?;
                        Value::Scalar(i32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).into())
                    }
                    Arg::ActSum(token) => Value::Scalar(self.data.act_sums[token].into()),
                    Arg::Stream(_) | Arg::Out(..) => Value::Pointer,
                    Arg::RowsLeft(first_row) => Value::Scalar(self.rows_in_tile() as i64 - first_row as i64),
                })
            })
            .collect()
    }
}
