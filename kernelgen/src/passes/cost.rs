//! The static cost: cycles of one row tile, from the instructions of each loop and the ISA's throughputs.

use std::collections::BTreeMap;

use crate::isa::Isa;
use crate::layout::{ATOM_BYTES, ATOM_COLS, TILE_ROWS};
use crate::machine::{Class, Inst, Intrinsic, MProgram, MStmt, Reg};

/// Atoms a row at which the generic kernel is costed: K = 2560.
pub const NOMINAL_K_ATOMS: usize = 160;

/// What a kernel costs, by the ISA's cost model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Cycles for 256 weights (times the tokens of the operation), loops and stores included.
    pub cycles_per_256_weights: f64,
    /// Vector instructions for 256 weights.
    pub vector_ops_per_256_weights: f64,
    /// Instructions in the kernel's text, constants included: about six bytes each.
    pub text_instructions: usize,
    /// Bytes that a call asks for past the end of its weights: the prefetch distance.
    pub overfetch_bytes: usize,
}

/// Instructions of each class, and cycles of the longest chain of dependent updates.
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

/// Vector instructions that do arithmetic.
const ARITHMETIC: [Class; 4] = [Class::Logic, Class::Shift, Class::Multiply, Class::Add];

/// Costs a lowered kernel.
pub fn cost(program: &MProgram, isa: &dyn Isa, overfetch_bytes: usize) -> Cost {
    let k_atoms = program.k_atoms.unwrap_or(NOMINAL_K_ATOMS).max(1);
    let mut costing = Costing { isa, tokens: program.tokens, k_atoms, text: program.setup.len() };
    let (mut cycles, count) = costing.block(&program.body);
    // The tile loop: cursors, the row count, the branch to the partial store.
    cycles += 6.0 / isa.cost_model().issue;
    let tiles_of_256 = (k_atoms * ATOM_COLS * TILE_ROWS) as f64 / 256.0;
    Cost {
        cycles_per_256_weights: cycles / tiles_of_256,
        vector_ops_per_256_weights: count.of(&ARITHMETIC) / tiles_of_256,
        text_instructions: costing.text,
        overfetch_bytes,
    }
}

/// Bytes past the weight cursor of the farthest prefetch, less the atoms that its loop consumes.
pub fn overfetch(program: &MProgram) -> usize {
    fn farthest(stmts: &[MStmt]) -> usize {
        stmts
            .iter()
            .map(|stmt| match stmt {
                MStmt::Run(Inst { args, .. }) => args
                    .iter()
                    .map(|arg| match arg {
                        crate::machine::Arg::Stream(offset) => offset + ATOM_BYTES,
                        _ => 0,
                    })
                    .max()
                    .unwrap_or(0),
                MStmt::Repeat { body, atoms, .. } => farthest(body).saturating_sub(atoms * ATOM_BYTES),
                MStmt::Pass(body) => farthest(body),
                _ => 0,
            })
            .max()
            .unwrap_or(0)
    }
    farthest(&program.body)
}

struct Costing<'a> {
    isa: &'a dyn Isa,
    tokens: usize,
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
                    *updates.entry(*reg).or_default() += self.isa.cost_model().latency(inst.intrinsic.class);
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
                MStmt::Repeat { count, body, .. } => {
                    let (cycles, mut each) = self.block(body);
                    // The loop's own counter, branch, and one cursor for the weights and each token.
                    let overhead = (3 + self.tokens) as f64;
                    each.scalar += overhead;
                    self.text += 3 + self.tokens;
                    let times = count.at(self.k_atoms) as f64;
                    nested_cycles += times * (cycles + overhead / self.isa.cost_model().issue);
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
        *count.classes.entry(intrinsic.class).or_default() += 1.0;
        self.text += 1;
    }

    fn throughput(&self, count: &Count) -> f64 {
        let model = self.isa.cost_model();
        let all: f64 = count.classes.values().sum::<f64>() + count.scalar;
        let loads = count.of(&[Class::Load, Class::Broadcast, Class::Prefetch]);
        (all / model.issue)
            .max(count.of(&ARITHMETIC) / model.vector)
            .max(count.of(&[Class::Multiply]) / model.multiply)
            .max(loads / model.load)
    }
}
