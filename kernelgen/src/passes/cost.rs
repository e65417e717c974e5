//! The static cost: cycles of one row tile of each stream, from the instructions of each loop and the ports that a CPU has for them.

use std::collections::{BTreeMap, BTreeSet};

use crate::cpus::{CostModel, Ports};
use crate::ir::{Cursor, Ends};
use crate::isa::Isa;
use crate::layout::{ATOM_BYTES, ATOM_COLS, TILE_ROWS};
use crate::machine::{Arg, Class, Inst, Intrinsic, MProgram, MStmt, Reg};

/// Atoms a row at which the generic kernel is costed: K = 2560.
pub const NOMINAL_K_ATOMS: usize = 160;

/// What a kernel costs on one CPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Cycles for 256 weights (times the tokens of the operation), loops and stores included.
    pub cycles_per_256_weights: f64,
    /// Vector instructions for 256 weights.
    pub vector_ops_per_256_weights: f64,
    /// Operations in the kernel's text, constants included: about six bytes each where they are instructions.
    pub text_instructions: usize,
    /// Bytes that a call asks for past the end of its weights: the prefetch distance.
    pub overfetch_bytes: usize,
}

/// Instructions of each class, and those that touch no vector.
#[derive(Debug, Clone, Default)]
struct Count {
    classes: BTreeMap<Class, f64>,
    scalar: f64,
}

impl Count {
    fn add(&mut self, other: &Count, times: f64) {
        for (class, n) in &other.classes {
            *self.classes.entry(*class).or_default() += n * times;
        }
        self.scalar += other.scalar * times;
    }

    fn of(&self, classes: &[Class]) -> f64 {
        classes.iter().filter_map(|class| self.classes.get(class)).sum()
    }
}

/// Vector and tile instructions that do arithmetic.
const ARITHMETIC: [Class; 6] =
    [Class::Logic, Class::Shift, Class::Multiply, Class::Dot, Class::Add, Class::TileMultiply];

/// Costs a lowered kernel of an instruction set on a CPU that has it.
pub fn cost(program: &MProgram, isa: &dyn Isa, model: &CostModel) -> Cost {
    let k_atoms = program.k_atoms.unwrap_or(NOMINAL_K_ATOMS).max(1);
    let constants = program.setup.iter().map(|(reg, _)| *reg).collect();
    let per_operation = isa.vectors().per_operation;
    // Kernels on tiles read activations interleaved.
    let cursors = if program.region.is_some() { 1 } else { program.tokens };
    let mut costing = Costing {
        model,
        per_operation,
        constants,
        streams: program.streams,
        cursors,
        k_atoms,
        text: program.setup.len(),
    };
    let (mut cycles, count) = costing.block(&program.body);
    // The tile loop: cursors, the row count, the branch to the partial store.
    cycles += (6 * program.streams) as f64 / model.issue;
    let tiles_of_256 = (program.streams * k_atoms * ATOM_COLS * TILE_ROWS) as f64 / 256.0;
    Cost {
        cycles_per_256_weights: cycles / tiles_of_256,
        vector_ops_per_256_weights: count.of(&ARITHMETIC) / tiles_of_256,
        text_instructions: costing.text,
        overfetch_bytes: overfetch(program),
    }
}

/// Bytes past the weight cursor of the farthest prefetch, less the atoms that its loop consumes.
fn overfetch(program: &MProgram) -> usize {
    fn farthest(stmts: &[MStmt], atom_bytes: usize) -> usize {
        stmts
            .iter()
            .map(|stmt| match stmt {
                MStmt::Run(Inst { args, .. }) => args
                    .iter()
                    .map(|arg| match arg {
                        Arg::Ahead(Cursor::Weights(_), offset) => offset + ATOM_BYTES,
                        _ => 0,
                    })
                    .max()
                    .unwrap_or(0),
                MStmt::Repeat { count, body, atoms } => {
                    // What is staged is consumed by the next run.
                    let consumed = atoms + if count.is_of_call() { count.div } else { 0 };
                    farthest(body, atom_bytes).saturating_sub(consumed * atom_bytes)
                }
                MStmt::Pass(body) => farthest(body, atom_bytes),
                _ => 0,
            })
            .max()
            .unwrap_or(0)
    }
    farthest(&program.body, program.atom_bytes)
}

struct Costing<'a> {
    model: &'a CostModel,
    /// Instructions of an operation, and registers of a value.
    per_operation: usize,
    constants: BTreeSet<Reg>,
    /// Cursors into the weights.
    streams: usize,
    /// Cursors into the activations.
    cursors: usize,
    k_atoms: usize,
    text: usize,
}

impl Costing<'_> {
    /// Cycles and instructions of a statement list. Nested loops are costed on their own; what stands around
    /// them overlaps with nothing.
    fn block(&mut self, stmts: &[MStmt]) -> (f64, Count) {
        let mut own = Count::default();
        let mut nested = Count::default();
        let mut nested_cycles = 0.0;
        let mut updates: BTreeMap<Reg, f64> = BTreeMap::new();
        for stmt in stmts {
            match stmt {
                MStmt::Comment(_) => {}
                MStmt::Let(_, inst) | MStmt::Run(inst) => self.instruction(&inst.intrinsic, &mut own),
                MStmt::Set(reg, inst) => {
                    self.instruction(&inst.intrinsic, &mut own);
                    *updates.entry(*reg).or_default() += self.model.latency(inst.intrinsic.class);
                }
                MStmt::SwapStage => {
                    own.scalar += 1.0;
                    self.text += 1;
                }
                MStmt::Store { whole, part, .. } => {
                    let (cycles, count) = self.block(whole);
                    nested_cycles += cycles;
                    nested.add(&count, 1.0);
                    self.block(part);
                }
                MStmt::Pass(body) => {
                    let (cycles, count) = self.block(body);
                    nested_cycles += cycles;
                    nested.add(&count, 1.0);
                }
                MStmt::Repeat { count, atoms, body } => {
                    let (mut cycles, mut each) = self.block(body);
                    let spills = self.spills(body);
                    each.add(&spills, 1.0);
                    cycles += self.throughput(&spills);
                    // A loop's own counter, branch, and the cursors into weights and activations.
                    let scalar = if count.is_once(*atoms) { 0 } else { 2 + self.streams + self.cursors };
                    let overhead = scalar as f64;
                    each.scalar += overhead;
                    self.text += scalar;
                    // Most row tiles have others before and behind them.
                    let times = count.in_call(self.k_atoms, Ends { first: false, last: false }) as f64;
                    nested_cycles += times * (cycles + overhead / self.model.issue);
                    nested.add(&each, times);
                }
            }
        }
        let chain = updates.values().fold(0.0f64, |longest, cycles| longest.max(*cycles));
        let cycles = self.throughput(&own).max(chain) + nested_cycles;
        own.add(&nested, 1.0);
        (cycles, own)
    }

    fn instruction(&mut self, intrinsic: &Intrinsic, count: &mut Count) {
        let instructions = self.per_operation * intrinsic.instructions();
        *count.classes.entry(intrinsic.class).or_default() += instructions as f64;
        self.text += intrinsic.instructions();
    }

    /// What a run of a loop stores and loads again because the registers do not hold all that it keeps from one run to
    /// the next: accumulators and constants. Kernels whose registers are counted never do; portable ones, whose values
    /// are several registers wide, can.
    fn spills(&self, body: &[MStmt]) -> Count {
        let mut kept = BTreeSet::new();
        for stmt in body {
            if let MStmt::Set(reg, _) = stmt {
                kept.insert(*reg);
            }
            if let MStmt::Let(_, inst) | MStmt::Set(_, inst) | MStmt::Run(inst) = stmt {
                kept.extend(inst.reads().filter(|reg| self.constants.contains(reg)));
            }
        }
        let spilled = (kept.len() * self.per_operation).saturating_sub(self.model.registers) as f64;
        Count { classes: BTreeMap::from([(Class::Load, spilled), (Class::Store, spilled)]), scalar: 0.0 }
    }

    /// Cycles that the ports and the front end need for some instructions, each of which can go to any of its class's
    /// ports: the greatest load that any set of ports cannot pass on to others.
    fn throughput(&self, count: &Count) -> f64 {
        let all: f64 = count.classes.values().sum::<f64>() + count.scalar;
        let busy: Vec<(Ports, f64)> = count
            .classes
            .iter()
            .map(|(class, n)| (self.model.ports(*class), n * self.model.hold(*class)))
            .filter(|(ports, _)| *ports != 0)
            .collect();
        let unions = (1..1usize << busy.len()).map(|chosen| {
            let chosen = busy.iter().enumerate().filter(|(i, _)| chosen >> i & 1 == 1);
            chosen.fold(0, |union, (_, (ports, _))| union | ports)
        });
        let bound = |union: Ports| {
            let confined = busy.iter().filter(|(ports, _)| ports & !union == 0);
            confined.map(|(_, cycles)| cycles).sum::<f64>() / f64::from(union.count_ones())
        };
        unions.map(bound).fold(all / self.model.issue, f64::max)
    }
}
