//! Regions: kernels on tiles are one block of assembly, for a compiler cannot allocate tile registers. Between the tile
//! configuration and its release all registers are ours; values live short there, so that a walk over the statements
//! which gives each the first register that is free is all the allocator there needs to be.
//!
//! A tile register has one shape throughout, for another configuration would clear all of them. Values of different
//! shapes so never share a register.

use std::collections::BTreeMap;

use crate::isa::Isa;
use crate::machine::{File, Inst, MProgram, MStmt, Reg, TileShape};

/// Tile registers.
pub const TILES: usize = 8;

/// The registers of a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// The number of each value's register, by the value's index: of a vector or of a tile, as its file says.
    pub places: Vec<usize>,
    /// The shape of each tile register that is used.
    pub tiles: Vec<TileShape>,
    /// Vector registers that are used.
    pub vectors: usize,
}

/// From where to where a value is kept, in statements.
#[derive(Debug, Clone, Copy)]
struct Life {
    start: usize,
    end: usize,
}

/// Gives every value of a lowered program its register.
///
/// # Errors
/// What there are too few of.
pub fn allocate(program: &MProgram, isa: &dyn Isa) -> Result<Region, String> {
    let mut lives = Lives { at: 0, lives: BTreeMap::new() };
    for (reg, _) in &program.setup {
        lives.lives.insert(*reg, Life { start: 0, end: usize::MAX });
    }
    lives.block(&program.body);
    let mut order: Vec<(Reg, Life)> = lives.lives.into_iter().collect();
    order.sort_by_key(|(_, life)| life.start);
    // Until when each register is taken.
    let (mut vectors, mut tiles): (Vec<usize>, Vec<(TileShape, usize)>) = (Vec::new(), Vec::new());
    let mut places = vec![0; program.files.len()];
    for (Reg(value), Life { start, end }) in order {
        places[value] = match program.files[value] {
            File::Tile(shape) => {
                let free = tiles.iter().position(|(of, until)| *of == shape && *until <= start);
                let place = free.unwrap_or(tiles.len());
                if place == tiles.len() {
                    tiles.push((shape, end));
                }
                tiles[place].1 = end;
                place
            }
            _ => {
                let place = vectors.iter().position(|until| *until <= start).unwrap_or(vectors.len());
                if place == vectors.len() {
                    vectors.push(end);
                }
                vectors[place] = end;
                place
            }
        };
    }
    if tiles.len() > TILES {
        return Err(format!(
            "needs {} tile registers, there are {TILES}; lower the tokens or the streams",
            tiles.len()
        ));
    }
    if let Some(available) = isa.registers().filter(|available| vectors.len() > *available) {
        return Err(format!("needs {} vector registers, there are {available}", vectors.len()));
    }
    let tiles = tiles.into_iter().map(|(shape, _)| shape).collect();
    Ok(Region { places, tiles, vectors: vectors.len() })
}

struct Lives {
    /// Statements walked.
    at: usize,
    lives: BTreeMap<Reg, Life>,
}

impl Lives {
    fn block(&mut self, stmts: &[MStmt]) {
        for stmt in stmts {
            self.at += 1;
            match stmt {
                MStmt::Comment(_) | MStmt::SwapStage => {}
                MStmt::Let(reg, inst) => {
                    self.read(inst);
                    self.lives.insert(*reg, Life { start: self.at, end: self.at });
                }
                MStmt::Set(reg, inst) => {
                    self.read(inst);
                    self.keep(*reg);
                }
                MStmt::Run(inst) => self.read(inst),
                MStmt::Store { whole, part, .. } => {
                    self.block(whole);
                    self.block(part);
                }
                MStmt::Repeat { body, .. } => {
                    let start = self.at;
                    self.block(body);
                    // What was there before the loop and is used in it is used by its last run as well.
                    for life in self.lives.values_mut().filter(|life| life.start <= start && life.end > start)
                    {
                        life.end = life.end.max(self.at);
                    }
                }
                MStmt::Pass(body) => self.block(body),
            }
        }
    }

    fn keep(&mut self, reg: Reg) {
        if let Some(life) = self.lives.get_mut(&reg) {
            life.end = life.end.max(self.at);
        }
    }

    fn read(&mut self, inst: &Inst) {
        inst.reads().for_each(|reg| self.keep(reg));
    }
}
