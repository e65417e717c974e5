//! The range proof: an interval and a power-of-two scale for every integer value of a kernel.
//!
//! Weights hold codes 0, 1, 2 (the packer writes nothing else), activations anything from -128 to 127. The proof
//! walks the program once, running each loop body from its first and from its last state, which bounds all states
//! between because accumulators only ever grow by an interval that does not depend on them. A value that could
//! leave its type, a product whose operand does not fit the instruction, or a shift that could lose a bit is an
//! error that names the value.

use crate::ir::{Kind, Op, Program, STAGE_HALF, Stmt, Var};
use crate::isa::Atom;
use crate::layout::ATOM_COLS;

/// Smallest and largest value, and how many low bits are zero in all values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Smallest value.
    pub lo: i64,
    /// Largest value.
    pub hi: i64,
    /// All values are multiples of 2^scale.
    pub scale: u32,
}

impl Interval {
    const fn new(lo: i64, hi: i64, scale: u32) -> Self {
        Interval { lo, hi, scale }
    }

    fn add(self, other: Self) -> Self {
        Interval::new(self.lo + other.lo, self.hi + other.hi, self.scale.min(other.scale))
    }

    fn hull(self, other: Self) -> Self {
        Interval::new(self.lo.min(other.lo), self.hi.max(other.hi), self.scale.min(other.scale))
    }

    /// n * self.
    fn times(self, n: i64) -> Self {
        Interval::new(self.lo * n, self.hi * n, self.scale)
    }

    /// All products of a value of self with one of other.
    fn product(self, other: Self) -> Self {
        let corners = [self.lo * other.lo, self.lo * other.hi, self.hi * other.lo, self.hi * other.hi];
        let (lo, hi) = corners.iter().fold((i64::MAX, i64::MIN), |(lo, hi), &c| (lo.min(c), hi.max(c)));
        Interval::new(lo, hi, self.scale + other.scale)
    }
}

/// The interval that a value was proven to stay in, and its type's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proven {
    /// The value's name.
    pub value: String,
    /// What it stays in.
    pub interval: Interval,
    /// Bits of its type.
    pub bits: u32,
}

/// The refusal of a kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// A value can leave its type.
    #[error("value '{value}' can reach {lo}..={hi}, its {what} holds {min}..={max}")]
    Overflow {
        /// The value's name.
        value: String,
        /// Smallest value it can take.
        lo: i64,
        /// Largest value it can take.
        hi: i64,
        /// What holds it.
        what: &'static str,
        /// Smallest value that this holds.
        min: i64,
        /// Largest value that this holds.
        max: i64,
    },
    /// A shift right could lose bits.
    #[error("value '{value}' is shifted right by {by} bits but is only known to be a multiple of 2^{scale}")]
    Inexact {
        /// The value's name.
        value: String,
        /// The shift.
        by: u32,
        /// The known power of two.
        scale: u32,
    },
}

/// Codes 0, 1, 2 at scale one.
const CODE_MAX: i64 = 2;
const ACTS: Interval = Interval::new(-128, 127, 0);
/// Packed bytes, and what a slot holds that nothing was put into.
const BYTES: Interval = Interval::new(0, 255, 0);

/// Proves a program for matrices of `k_atoms` atoms a row.
///
/// # Errors
/// The first value that could leave its type.
pub fn prove(program: &Program, atom: &Atom, k_atoms: usize) -> Result<Vec<Proven>, RangeError> {
    let mut proof = Proof::new(program, atom, k_atoms);
    proof.block(&program.body)?;
    Ok(proof.report())
}

/// Proves a program for matrices of `k_atoms` atoms a row and for the `period - 1` numbers below it: where what is
/// left over after the loops repeats with that period and sums only grow with K, that is every matrix of at most
/// `k_atoms` atoms a row.
///
/// # Errors
/// The first value that could leave its type.
pub fn prove_up_to(
    program: &Program,
    atom: &Atom,
    k_atoms: usize,
    period: usize,
) -> Result<Vec<Proven>, RangeError> {
    let mut all: Vec<Proven> = Vec::new();
    for k_atoms in (1..=k_atoms).rev().take(period) {
        for proven in prove(program, atom, k_atoms)? {
            match all.iter_mut().find(|p| p.value == proven.value) {
                Some(p) => p.interval = p.interval.hull(proven.interval),
                None => all.push(proven),
            }
        }
    }
    Ok(all)
}

/// The interval of every value over the whole run, for matrices of `k_atoms` atoms a row; empty where the program
/// is not proven for them.
pub fn hulls(program: &Program, atom: &Atom, k_atoms: usize) -> Vec<Option<Interval>> {
    let mut proof = Proof::new(program, atom, k_atoms);
    match proof.block(&program.body) {
        Ok(()) => proof.hull,
        Err(_) => vec![None; program.vars.len()],
    }
}

/// The greatest number of atoms a row, up to `limit`, for which the program is proven; `None` if there is none.
pub fn greatest_k(program: &Program, atom: &Atom, limit: usize) -> Option<usize> {
    greatest(limit, |k_atoms| prove(program, atom, k_atoms).is_ok())
}

/// The greatest n in 1..=limit for which a property holds that, once lost, stays lost.
pub fn greatest(limit: usize, holds: impl Fn(usize) -> bool) -> Option<usize> {
    if !holds(1) {
        return None;
    }
    let (mut good, mut bad) = (1, limit + 1);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if holds(middle) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Some(good)
}

struct Proof<'a> {
    program: &'a Program,
    atom: &'a Atom,
    k_atoms: usize,
    /// Each value's interval at the current point.
    now: Vec<Option<Interval>>,
    /// The codes in each slot of the stage.
    staged: Vec<Interval>,
    /// Each value's interval over the whole run.
    hull: Vec<Option<Interval>>,
}

/// Type, smallest and largest value of what a kind holds.
fn limits(kind: Kind) -> (&'static str, u32, i64, i64) {
    match kind {
        Kind::Packed | Kind::Codes | Kind::Staged => ("byte", 8, 0, 255),
        Kind::Acts | Kind::ActTile => ("int8 activation", 8, -128, 127),
        Kind::Narrow => ("i16 lane", 16, i16::MIN as i64, i16::MAX as i64),
        Kind::Wide | Kind::Tile => ("i32 lane", 32, i32::MIN as i64, i32::MAX as i64),
    }
}

impl<'a> Proof<'a> {
    fn new(program: &'a Program, atom: &'a Atom, k_atoms: usize) -> Self {
        let unknown = vec![None; program.vars.len()];
        Proof { program, atom, k_atoms, now: unknown.clone(), staged: Vec::new(), hull: unknown }
    }

    fn block(&mut self, stmts: &[Stmt]) -> Result<(), RangeError> {
        stmts.iter().try_for_each(|stmt| match stmt {
            Stmt::Let(var, op) | Stmt::Set(var, op) => {
                let interval = self.operation(op)?;
                self.assign(*var, interval)
            }
            Stmt::Prefetch { .. } | Stmt::Spill { .. } | Stmt::Store { .. } => Ok(()),
            Stmt::Stage { codes, slot } => {
                let codes = self.codes(*codes)?;
                self.stage(*slot, codes);
                Ok(())
            }
            Stmt::ClearStage { slot } => {
                self.stage(*slot, Interval::new(0, 0, 32));
                Ok(())
            }
            Stmt::SwapStage => {
                self.staged.resize(2 * STAGE_HALF, BYTES);
                self.staged.rotate_left(STAGE_HALF);
                Ok(())
            }
            Stmt::Pass { body, .. } => self.block(body),
            Stmt::Repeat { count, body, .. } => self.repeat(count.at(self.k_atoms) as i64, body),
        })
    }

    fn stage(&mut self, slot: usize, codes: Interval) {
        self.staged.resize(self.staged.len().max(slot + 1), BYTES);
        self.staged[slot] = codes;
    }

    /// Runs a body once from its first and once from its last state.
    fn repeat(&mut self, count: i64, body: &[Stmt]) -> Result<(), RangeError> {
        if count == 0 {
            return Ok(());
        }
        let first = self.now.clone();
        self.block(body)?;
        if count == 1 {
            return Ok(());
        }
        // What one run adds to each value that was there before the loop.
        let grown = |times: i64, now: &[Option<Interval>]| -> Vec<Option<Interval>> {
            first
                .iter()
                .zip(now)
                .map(|(before, after)| match (before, after) {
                    (Some(b), Some(a)) => {
                        let step = Interval::new(a.lo - b.lo, a.hi - b.hi, a.scale);
                        Some(b.add(step.times(times)))
                    }
                    (_, after) => *after,
                })
                .collect()
        };
        let last = grown(count - 1, &self.now);
        self.now = last;
        self.block(body)
    }

    fn assign(&mut self, var: Var, interval: Interval) -> Result<(), RangeError> {
        let (what, _, min, max) = limits(self.program.kind(var));
        if interval.lo < min || interval.hi > max {
            let value = self.program.name(var).to_owned();
            return Err(RangeError::Overflow { value, lo: interval.lo, hi: interval.hi, what, min, max });
        }
        self.now[var.0] = Some(interval);
        let hull = &mut self.hull[var.0];
        *hull = Some(hull.map_or(interval, |h| h.hull(interval)));
        Ok(())
    }

    fn get(&self, var: Var) -> Interval {
        self.now[var.0].unwrap_or(Interval::new(0, 0, 32))
    }

    /// The codes operand of a product, checked against what the instruction takes.
    fn codes(&self, var: Var) -> Result<Interval, RangeError> {
        let codes = self.get(var);
        if codes.hi > self.atom.code_max {
            return Err(RangeError::Overflow {
                value: self.program.name(var).to_owned(),
                lo: codes.lo,
                hi: codes.hi,
                what: "weight operand of the product",
                min: self.atom.code_max - 255,
                max: self.atom.code_max,
            });
        }
        Ok(codes)
    }

    fn shifted(&self, x: Var, by: u32) -> Result<Interval, RangeError> {
        let interval = self.get(x);
        if interval.scale < by {
            let value = self.program.name(x).to_owned();
            return Err(RangeError::Inexact { value, by, scale: interval.scale });
        }
        Ok(Interval::new(interval.lo >> by, interval.hi >> by, interval.scale - by))
    }

    fn operation(&self, op: &Op) -> Result<Interval, RangeError> {
        let columns = (self.k_atoms * ATOM_COLS) as i64;
        Ok(match op {
            Op::ZeroNarrow | Op::ZeroWide | Op::ZeroTile => Interval::new(0, 0, 32),
            Op::LoadPacked { .. } | Op::ShiftRight { .. } => BYTES,
            Op::LoadCodes { .. } | Op::MoveField { .. } => Interval::new(0, CODE_MAX, 0),
            Op::MaskField { position, .. } => Interval::new(0, CODE_MAX << position, *position),
            Op::LoadActs { .. } | Op::LoadActTile { .. } => ACTS,
            Op::Dot { acc, codes, acts } => {
                let product = self.codes(*codes)?.product(self.get(*acts));
                self.get(*acc).add(product.times(self.atom.cols as i64))
            }
            Op::DotNarrow { codes, acts } => {
                let products = (self.atom.cols / self.program.lanes) as i64;
                self.codes(*codes)?.product(self.get(*acts)).times(products)
            }
            Op::AddNarrow { a, b } | Op::AddWide { a, b } => self.get(*a).add(self.get(*b)),
            Op::ShiftNarrow { x, by } | Op::ShiftWide { x, by } => self.shifted(*x, *by)?,
            Op::Widen { acc, narrow } => {
                self.get(*acc).add(self.get(*narrow).times(self.program.lanes as i64))
            }
            Op::LoadStage { first, slots } => {
                let slots = *first..first + slots;
                let staged = slots.map(|slot| self.staged.get(slot).copied().unwrap_or(BYTES));
                staged.reduce(Interval::hull).unwrap_or(BYTES)
            }
            Op::DotTile { acc, staged, acts, cols } => {
                let product = self.codes(*staged)?.product(self.get(*acts));
                self.get(*acc).add(product.times(*cols as i64))
            }
            Op::TileToken { tile, .. } => self.get(*tile),
            Op::SubActSum { x, .. } => {
                let sum = ACTS.times(columns);
                self.get(*x).add(Interval::new(-sum.hi, -sum.lo, 0))
            }
        })
    }

    /// Every integer sum, and the widest codes; loads and activations need no proof.
    fn report(self) -> Vec<Proven> {
        let sums = self.program.vars.iter().zip(&self.hull);
        let mut proven: Vec<Proven> = Vec::new();
        for (info, hull) in sums {
            let (Some(interval), Kind::Narrow | Kind::Wide | Kind::Tile | Kind::Codes) = (*hull, info.kind)
            else {
                continue;
            };
            // Values of different tokens, atoms and fields share one line where they share their range.
            let value = stem(&info.name);
            let bits = limits(info.kind).1;
            match proven.iter_mut().find(|p| p.value == value) {
                Some(p) => p.interval = p.interval.hull(interval),
                None => proven.push(Proven { value, interval, bits }),
            }
        }
        proven
    }
}

/// A value's name without the stream, token, atom and field that it belongs to: `acc_t0_c1_x4` is `acc_x4`.
fn stem(name: &str) -> String {
    let mut parts = name.split('_');
    let head = parts.next().unwrap_or_default().trim_end_matches(|c: char| c.is_ascii_digit());
    // A stream, a token, a chain or a field.
    let is_index = |part: &str| part.trim_start_matches(['s', 't', 'c']).bytes().all(|b| b.is_ascii_digit());
    let rest = parts.filter(|part| !is_index(part));
    rest.fold(head.to_owned(), |stem, part| format!("{stem}_{part}"))
}
