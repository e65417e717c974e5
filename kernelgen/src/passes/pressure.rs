//! Register pressure: how many vector registers a lowered kernel needs where it spends its time, in its innermost loops.
//!
//! What an innermost loop does not touch need not be in a register while the loop runs: the totals of narrow sums, which
//! are read and written once in as many atoms as narrow sums can take, wait in memory and are read as operands from
//! there. So a loop needs what is live in it and read or written by it; all that stands outside of innermost loops is
//! executed seldom enough not to count.

use std::collections::BTreeSet;

use crate::machine::{Inst, MProgram, MStmt, Reg};

/// The widest point of a kernel's innermost loops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pressure {
    /// Vector registers live there.
    pub registers: usize,
    /// The IR statement whose code it is.
    pub at: String,
}

/// Finds the widest point by walking the statements backwards with the set of live registers. Memory operands
/// that an instruction could take directly are counted as registers: the figure is what a compiler that folds
/// nothing would need.
pub fn pressure(program: &MProgram) -> Pressure {
    let mut walk = Walk { program, touched: None, widest: Pressure { registers: 0, at: String::new() } };
    let mut live = BTreeSet::new();
    walk.block(&program.body, &mut live);
    walk.widest
}

struct Walk<'a> {
    program: &'a MProgram,
    /// What the innermost loop reads or writes, inside of one.
    touched: Option<BTreeSet<Reg>>,
    widest: Pressure,
}

impl Walk<'_> {
    fn block(&mut self, stmts: &[MStmt], live: &mut BTreeSet<Reg>) {
        for (i, stmt) in stmts.iter().enumerate().rev() {
            let before = self.widest.registers;
            self.statement(stmt, live);
            if self.widest.registers > before {
                let comment = stmts[..=i].iter().rev().find_map(|s| match s {
                    MStmt::Comment(text) => Some(text.clone()),
                    _ => None,
                });
                if let (Some(at), false) = (comment, matches!(stmt, MStmt::Repeat { .. } | MStmt::Pass(_))) {
                    self.widest.at = at;
                }
            }
        }
    }

    fn statement(&mut self, stmt: &MStmt, live: &mut BTreeSet<Reg>) {
        match stmt {
            MStmt::Comment(_) | MStmt::SwapStage => {}
            MStmt::Let(reg, inst) => {
                live.insert(*reg);
                self.count(live);
                live.remove(reg);
                self.read(inst, live);
            }
            MStmt::Set(reg, inst) => {
                live.insert(*reg);
                self.read(inst, live);
            }
            MStmt::Run(inst) => self.read(inst, live),
            MStmt::Store { whole, part, .. } => {
                let mut other = live.clone();
                self.block(whole, live);
                self.block(part, &mut other);
                live.extend(other);
            }
            MStmt::Repeat { body, .. } => {
                // Whatever the body reads from outside stays live all through the loop.
                let mut entry = live.clone();
                self.quietly(body, &mut entry);
                live.extend(entry);
                if !body.iter().any(|stmt| matches!(stmt, MStmt::Repeat { .. })) {
                    self.touched = Some(touched(body));
                }
                self.block(body, live);
                self.touched = None;
            }
            MStmt::Pass(body) => self.block(body, live),
        }
    }

    fn read(&mut self, inst: &Inst, live: &mut BTreeSet<Reg>) {
        live.extend(inst.reads());
        self.count(live);
    }

    fn quietly(&mut self, body: &[MStmt], live: &mut BTreeSet<Reg>) {
        let widest = self.widest.clone();
        self.block(body, live);
        self.widest = widest;
    }

    fn count(&mut self, live: &BTreeSet<Reg>) {
        let Some(touched) = &self.touched else { return };
        let vectors = live.intersection(touched).map(|reg| self.program.files[reg.0].vectors()).sum();
        self.widest.registers = self.widest.registers.max(vectors);
    }
}

/// The registers that some statements read or write.
fn touched(stmts: &[MStmt]) -> BTreeSet<Reg> {
    let mut touched = BTreeSet::new();
    for stmt in stmts {
        match stmt {
            MStmt::Let(reg, inst) | MStmt::Set(reg, inst) => {
                touched.insert(*reg);
                touched.extend(inst.reads());
            }
            MStmt::Run(inst) => touched.extend(inst.reads()),
            MStmt::Store { whole, part, .. } => {
                touched.extend(self::touched(whole));
                touched.extend(self::touched(part));
            }
            MStmt::Repeat { body, .. } | MStmt::Pass(body) => touched.extend(self::touched(body)),
            MStmt::Comment(_) | MStmt::SwapStage => {}
        }
    }
    touched
}
