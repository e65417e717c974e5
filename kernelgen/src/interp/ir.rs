//! The interpreter of the IR: exact integers, every value checked against the range proof.

use std::collections::BTreeMap;

use super::{Data, Fault};
use crate::abi::EXPANSION;
use crate::compile::Kernel;
use crate::ir::{Ends, Op, STAGE_HALF, Stmt, Var};
use crate::layout::{ATOM_BYTES, ATOM_COLS, TILE_ROWS};
use crate::passes::range::{self, Interval};

/// A value: some integers for each row of the pass (four bytes, some narrow sums, one wide one, or those of a tile).
type Value = Vec<i64>;

/// Runs a kernel's IR; results stand vector by vector, `rows of the tiles` values each.
///
/// # Errors
/// [`Fault`]: a read outside of the operands, or a value outside of its proven interval.
pub fn run(kernel: &Kernel, data: &Data<'_>) -> Result<Vec<i32>, Fault> {
    let weights = data.weights_for(kernel);
    let data = &Data { weights: &weights, ..*data };
    let atom = kernel.spec.isa.atom();
    let hulls = range::hulls(&kernel.program, &atom, data.k_atoms());
    let mut state = State {
        kernel,
        data,
        hulls,
        values: vec![None; kernel.program.vars.len()],
        tiles: Vec::new(),
        ends: Ends { first: true, last: true },
        rows: 0..0,
        atom: 0,
        staged: BTreeMap::new(),
        spilled: None,
        out: vec![0; data.out_rows() * kernel.program.tokens],
    };
    for (tiles, ends) in data.rounds(kernel.program.streams) {
        (state.tiles, state.ends) = (tiles, ends);
        state.block(&kernel.program.body)?;
    }
    Ok(state.out)
}

struct State<'a> {
    kernel: &'a Kernel,
    data: &'a Data<'a>,
    hulls: Vec<Option<Interval>>,
    values: Vec<Option<Value>>,
    /// The row tile of each stream.
    tiles: Vec<usize>,
    /// Which of its call's they are.
    ends: Ends,
    rows: std::ops::Range<usize>,
    /// Atoms past the start of the tiles.
    atom: usize,
    /// The codes in each slot of the stage that something was put into.
    staged: BTreeMap<usize, Value>,
    /// The tile that was spilled last, and its sums.
    spilled: Option<(Var, Value)>,
    out: Vec<i32>,
}

impl State<'_> {
    fn block(&mut self, stmts: &[Stmt]) -> Result<(), Fault> {
        for stmt in stmts {
            match stmt {
                Stmt::Let(var, op) | Stmt::Set(var, op) => {
                    let value = self.operation(op)?;
                    self.check(*var, &value)?;
                    self.values[var.0] = Some(value);
                }
                Stmt::Prefetch { .. } => {}
                Stmt::Stage { codes, slot } => {
                    let codes = self.get(*codes)?.clone();
                    self.staged.insert(*slot, codes);
                }
                Stmt::ClearStage { slot } => {
                    self.staged.insert(*slot, vec![0; 4 * self.rows.len()]);
                }
                Stmt::SwapStage => {
                    let staged = std::mem::take(&mut self.staged).into_iter();
                    self.staged = staged.map(|(slot, codes)| (slot ^ STAGE_HALF, codes)).collect();
                }
                Stmt::Spill { tile } => self.spilled = Some((*tile, self.get(*tile)?.clone())),
                Stmt::Store { stream, value, token } => self.store(*stream, *value, *token)?,
                Stmt::Repeat { count, atoms, body } => {
                    for _ in 0..count.in_call(self.data.k_atoms(), self.ends) {
                        self.block(body)?;
                        self.atom += atoms;
                    }
                }
                Stmt::Pass { first_row, rows, body } => {
                    self.rows = *first_row..first_row + rows;
                    self.atom = 0;
                    self.block(body)?;
                }
            }
        }
        Ok(())
    }

    fn check(&self, var: Var, value: &Value) -> Result<(), Fault> {
        let Some(Interval { lo, hi, .. }) = self.hulls[var.0] else { return Ok(()) };
        match value.iter().find(|v| !(lo..=hi).contains(*v)) {
            Some(&found) => {
                Err(Fault::Unproven { value: self.kernel.program.name(var).to_owned(), found, lo, hi })
            }
            None => Ok(()),
        }
    }

    fn get(&self, var: Var) -> Result<&Value, Fault> {
        let name = || Fault::Undefined(self.kernel.program.name(var).to_owned());
        self.values[var.0].as_ref().ok_or_else(name)
    }

    fn zip(&self, a: Var, b: Var, f: impl Fn(i64, i64) -> i64) -> Result<Value, Fault> {
        Ok(self.get(a)?.iter().zip(self.get(b)?).map(|(a, b)| f(*a, *b)).collect())
    }

    fn map(&self, x: Var, f: impl Fn(i64) -> i64) -> Result<Value, Fault> {
        Ok(self.get(x)?.iter().map(|x| f(*x)).collect())
    }

    /// The products of each row's four codes with the four activations, four a row.
    fn products(&self, codes: Var, acts: Var) -> Result<Value, Fault> {
        let acts = self.get(acts)?;
        Ok(self.get(codes)?.iter().enumerate().map(|(i, code)| code * acts[i % 4]).collect())
    }

    /// Four bytes for each row, so many past the weight cursor of a stream.
    fn bytes(&self, stream: usize, offset: usize) -> Result<Value, Fault> {
        let (offset, len) = (offset + 4 * self.rows.start, 4 * self.rows.len());
        let atom_bytes = self.kernel.machine.atom_bytes;
        let bytes = self.data.weights_at(atom_bytes, self.tiles[stream], self.atom, offset, len)?;
        Ok(bytes.iter().map(|b| i64::from(*b)).collect())
    }

    fn operation(&self, op: &Op) -> Result<Value, Fault> {
        let (rows, lanes) = (self.rows.len(), self.kernel.program.lanes);
        Ok(match op {
            Op::ZeroNarrow => vec![0; lanes * rows],
            Op::ZeroWide => vec![0; rows],
            Op::LoadPacked { stream, atom } => self.bytes(*stream, atom * ATOM_BYTES)?,
            Op::LoadCodes { stream, atom, field } => {
                self.bytes(*stream, (atom * EXPANSION + field) * ATOM_BYTES)?
            }
            Op::ShiftRight { packed, by } => self.map(*packed, |x| x >> by)?,
            Op::MaskField { packed, position } => self.map(*packed, |x| x & (3 << position))?,
            Op::MoveField { packed, position } => self.map(*packed, |x| x >> position & 3)?,
            Op::LoadActs { token, col } => {
                let offset = col % ATOM_COLS;
                let acts = self.data.acts_at(*token, self.atom + col / ATOM_COLS, offset, 4)?;
                acts.iter().map(|q| i64::from(*q)).collect()
            }
            Op::Dot { acc, codes, acts } => {
                let products = self.products(*codes, *acts)?;
                let sums = products.chunks(4).map(|four| four.iter().sum::<i64>());
                self.get(*acc)?.iter().zip(sums).map(|(acc, sum)| acc + sum).collect()
            }
            Op::DotNarrow { codes, acts } => {
                self.products(*codes, *acts)?.chunks(4 / lanes).map(|some| some.iter().sum()).collect()
            }
            Op::AddNarrow { a, b } | Op::AddWide { a, b } => self.zip(*a, *b, |a, b| a + b)?,
            Op::ShiftNarrow { x, by } | Op::ShiftWide { x, by } => self.map(*x, |x| x >> by)?,
            Op::Widen { acc, narrow } => {
                let sums = self.get(*narrow)?.chunks(lanes).map(|some| some.iter().sum::<i64>());
                self.get(*acc)?.iter().zip(sums).map(|(acc, sum)| acc + sum).collect()
            }
            Op::ZeroTile => vec![0; rows * self.kernel.program.tile_tokens],
            Op::LoadStage { first, slots } => {
                let slot = |slot| self.staged.get(&slot).ok_or(Fault::Undefined(format!("stage[{slot}]")));
                let staged = (*first..first + slots).map(slot).collect::<Result<Vec<_>, _>>()?;
                staged.into_iter().flatten().copied().collect()
            }
            Op::LoadActTile { token, col, atoms } => {
                let tokens = *token..token + self.kernel.program.tile_tokens;
                let runs = tokens.map(|token| {
                    let acts = self.data.acts_at(token, self.atom, *col, atoms * ATOM_COLS)?;
                    let zeros = std::iter::repeat_n(0, self.kernel.spec.isa.atom().cols - acts.len());
                    Ok(acts.iter().map(|q| i64::from(*q)).chain(zeros).collect::<Vec<_>>())
                });
                runs.collect::<Result<Vec<_>, Fault>>()?.concat()
            }
            Op::DotTile { acc, staged, acts, .. } => {
                let (staged, acts) = (self.get(*staged)?, self.get(*acts)?);
                let tokens = self.kernel.program.tile_tokens;
                let mut sums = self.get(*acc)?.clone();
                for (index, run) in acts.chunks(acts.len() / tokens).enumerate() {
                    for (codes, acts) in staged.chunks(4 * rows).zip(run.chunks(4)) {
                        for row in 0..rows {
                            let products = codes[4 * row..][..4].iter().zip(acts).map(|(c, q)| c * q);
                            sums[row * tokens + index] += products.sum::<i64>();
                        }
                    }
                }
                sums
            }
            Op::TileToken { tile, index } => {
                let name = || Fault::Undefined(format!("spilled {}", self.kernel.program.name(*tile)));
                let (_, sums) =
                    self.spilled.as_ref().filter(|(spilled, _)| spilled == tile).ok_or_else(name)?;
                sums.iter().skip(*index).step_by(self.kernel.program.tile_tokens).copied().collect()
            }
            Op::SubActSum { x, token } => {
                let sum = i64::from(self.data.act_sums[*token]);
                self.map(*x, |x| x - sum)?
            }
        })
    }

    fn store(&mut self, stream: usize, value: Var, token: usize) -> Result<(), Fault> {
        let value = self.get(value)?.clone();
        let first = (self.tiles[stream] - self.data.first_tile) * TILE_ROWS + self.rows.start;
        let rows = self.data.out_rows();
        for (i, sum) in value.into_iter().enumerate().take(rows.saturating_sub(first)) {
            // Sums were checked against their proven i32 interval.
            self.out[token * rows + first + i] = sum as i32;
        }
        Ok(())
    }
}
