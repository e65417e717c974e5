//! From a kernel's description to a proven, lowered and costed kernel.

use crate::contract;
use crate::ir::Program;
use crate::isa::{Accumulate, Atom};
use crate::layout::ATOM_COLS;
use crate::machine::{self, MProgram};
use crate::passes::cost::{self, Cost};
use crate::passes::pressure::{self, Pressure};
use crate::passes::range::{self, Proven, RangeError};
use crate::region;
use crate::schedule::{FOLD_LIMIT, Unpack};
use crate::spec::{KernelSpec, Shape};

/// Atoms a row up to which proofs are sought: K = 2^24 columns.
pub const K_ATOMS_LIMIT: usize = 1 << 20;

/// A compiled kernel: everything that printing it, testing it and choosing it needs.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// What it is.
    pub spec: KernelSpec,
    /// Its name, by the grammar of [`crate::spec`].
    pub name: String,
    /// The IR.
    pub program: Program,
    /// The IR in the ISA's instructions.
    pub machine: MProgram,
    /// The range of every integer value, for matrices of up to `k_max` columns.
    pub proof: Vec<Proven>,
    /// The greatest K that the proof covers; the shape's own K (padded) where it is fixed.
    pub k_max: usize,
    /// Vector registers at the widest point of the innermost loops.
    pub pressure: Pressure,
    /// Its static cost on the ISA's typical CPU.
    pub cost: Cost,
}

/// Why a kernel cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A matrix without rows or columns.
    #[error("{kernel}: a matrix of {rows}x{cols} has no weights; rows and columns must be at least 1")]
    EmptyShape {
        /// The kernel's name.
        kernel: String,
        /// Rows M.
        rows: usize,
        /// Columns K.
        cols: usize,
    },
    /// More columns than proofs are sought for.
    #[error("{kernel}: {cols} columns are more than the {max} up to which sums are proven; split the matrix")]
    TooManyColumns {
        /// The kernel's name.
        kernel: String,
        /// Columns K.
        cols: usize,
        /// The most that there may be.
        max: usize,
    },
    /// The layout's fields are no operands of the ISA's contraction.
    #[error("{kernel}: layout {layout} cannot be read by this contraction: {reason}")]
    LayoutUnreadable {
        /// The kernel's name.
        kernel: String,
        /// The layout's name.
        layout: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// The passes do not divide the tile.
    #[error(
        "{kernel}: row split {row_split} does not divide a tile of 16 rows into multiples of the ISA's {atom_rows}"
    )]
    RowSplit {
        /// The kernel's name.
        kernel: String,
        /// The schedule's split.
        row_split: usize,
        /// Rows that the contraction handles at a time.
        atom_rows: usize,
    },
    /// More accumulator chains than atoms in the loop.
    #[error(
        "{kernel}: {chains} chains of accumulators need an unroll of at least {chains}, the schedule has {unroll}"
    )]
    Chains {
        /// The kernel's name.
        kernel: String,
        /// The schedule's chains.
        chains: usize,
        /// The schedule's unroll.
        unroll: usize,
    },
    /// A widening distance that the loop cannot keep, or one for an ISA that has nothing to widen.
    #[error("{kernel}: a widening every {fold} atoms {reason}")]
    Fold {
        /// The kernel's name.
        kernel: String,
        /// The schedule's distance.
        fold: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Interleaved activations where there is nothing to interleave.
    #[error("{kernel}: {reason}; leave the 'i' out of the schedule")]
    Interleaved {
        /// The kernel's name.
        kernel: String,
        /// Why not.
        reason: &'static str,
    },
    /// Expanded weights where they do not serve.
    #[error("{kernel}: expanded weights {reason}")]
    Expanded {
        /// The kernel's name.
        kernel: String,
        /// Why not, and what to do.
        reason: &'static str,
    },
    /// A contraction on tiles that the operation or the schedule does not fit.
    #[error("{kernel}: {reason}")]
    Tile {
        /// The kernel's name.
        kernel: String,
        /// What does not fit.
        reason: String,
    },
    /// A value could overflow.
    #[error("{kernel}: range proof failed at K = {k}: {error}")]
    Range {
        /// The kernel's name.
        kernel: String,
        /// Columns for which the proof was tried.
        k: usize,
        /// The value and its bound.
        error: RangeError,
    },
    /// More registers than the ISA has.
    #[error(
        "{kernel}: needs {needed} vector registers at '{at}', {isa} has {available}; lower the unroll, the chains or the tokens"
    )]
    Registers {
        /// The kernel's name.
        kernel: String,
        /// Registers needed.
        needed: usize,
        /// The widest point.
        at: String,
        /// The ISA's id.
        isa: &'static str,
        /// Registers there are.
        available: usize,
    },
}

/// Compiles a kernel, or says why it cannot be.
///
/// # Errors
/// Any of [`CompileError`]: nothing that could return a wrong sum is ever compiled.
pub fn compile(spec: &KernelSpec) -> Result<Kernel, CompileError> {
    let name = spec.name();
    if let Shape::Fixed { rows, cols } = spec.shape
        && (rows == 0 || cols == 0)
    {
        return Err(CompileError::EmptyShape { kernel: name, rows, cols });
    }
    let max = K_ATOMS_LIMIT * ATOM_COLS;
    if let Shape::Fixed { cols, .. } = spec.shape
        && cols > max
    {
        return Err(CompileError::TooManyColumns { kernel: name, cols, max });
    }
    let schedule = &spec.schedule;
    if schedule.chains > schedule.unroll {
        return Err(CompileError::Chains { kernel: name, chains: schedule.chains, unroll: schedule.unroll });
    }
    let atom = spec.isa.atom();
    if schedule.interleaved && spec.operation.tokens() == 1 {
        let reason = "one vector is not interleaved with any other";
        return Err(CompileError::Interleaved { kernel: name, reason });
    }
    if schedule.unpack == Unpack::Expanded && matches!(atom.accumulate, Accumulate::Tile { .. }) {
        let reason = "are staged by kernels on tiles themselves: unpack by shifts";
        return Err(CompileError::Expanded { kernel: name, reason });
    }
    let fold = fold_distance(spec, &atom)?;
    let program = contract::build(spec, &atom, fold)?;
    let refuse =
        |(k_atoms, error)| CompileError::Range { kernel: name.clone(), k: k_atoms * ATOM_COLS, error };
    // How many remainders of K there are to prove: the one of a fixed shape, all that a generic kernel can meet.
    let (k_atoms, remainders) = match program.k_atoms {
        Some(k_atoms) => (k_atoms, 1),
        None => {
            if let Some(fold) = program.fold {
                prove_block(&program, &atom, fold).map_err(refuse)?;
            }
            (range::greatest_k(&program, &atom, K_ATOMS_LIMIT).unwrap_or(1), fold)
        }
    };
    let proof =
        range::prove_up_to(&program, &atom, k_atoms, remainders).map_err(|error| refuse((k_atoms, error)))?;
    let mut machine = machine::lower(&program, spec.isa);
    if let Accumulate::Tile { .. } = atom.accumulate {
        let region = region::allocate(&machine, spec.isa)
            .map_err(|reason| CompileError::Tile { kernel: name.clone(), reason })?;
        machine.region = Some(region);
    }
    let pressure = pressure::pressure(&machine);
    if let Some(available) = spec.isa.registers()
        && pressure.registers > available
    {
        return Err(CompileError::Registers {
            kernel: name,
            needed: pressure.registers,
            at: pressure.at,
            isa: spec.isa.id(),
            available,
        });
    }
    let cost = cost::cost(&machine, spec.isa, &spec.isa.typical_cpu().model(spec.isa.vectors().bits));
    Ok(Kernel {
        spec: spec.clone(),
        name,
        program,
        machine,
        proof,
        k_max: k_atoms * ATOM_COLS,
        pressure,
        cost,
    })
}

/// The distance between widenings in atoms: the schedule's own, or the greatest that the range proof allows.
fn fold_distance(spec: &KernelSpec, atom: &Atom) -> Result<usize, CompileError> {
    let unroll = spec.schedule.unroll;
    let in_turn = spec.schedule.streams > 1 && !spec.schedule.shared;
    let refuse = |fold, reason: String| CompileError::Fold { kernel: spec.name(), fold, reason };
    match (atom.accumulate, spec.schedule.fold) {
        (Accumulate::Wide | Accumulate::Tile { .. }, None) => Ok(unroll),
        (Accumulate::Wide | Accumulate::Tile { .. }, Some(fold)) => {
            Err(refuse(fold, format!("has no meaning on {}, which adds in i32", spec.isa.id())))
        }
        (Accumulate::Narrow { .. }, Some(fold)) if !fold.is_multiple_of(unroll) => {
            Err(refuse(fold, format!("is no multiple of the unroll of {unroll}")))
        }
        (Accumulate::Narrow { .. }, Some(fold)) if in_turn && fold != unroll => Err(refuse(
            fold,
            format!("is none at every turn of {unroll}, as streams that are read in turn need it"),
        )),
        (Accumulate::Narrow { .. }, Some(fold)) => Ok(fold),
        (Accumulate::Narrow { .. }, None) => {
            // The distance is sought on a generic kernel of at most one block, where nothing but the narrow
            // sums can overflow.
            let generic = KernelSpec { shape: Shape::Any, ..spec.clone() };
            let proven = |blocks: usize| {
                let fold = blocks * unroll;
                contract::build(&generic, atom, fold).map(|p| prove_block(&p, atom, fold))
            };
            // One block of `unroll` atoms that cannot be proven is reported with its value and bound.
            proven(1)?.map_err(|(k_atoms, error)| CompileError::Range {
                kernel: spec.name(),
                k: k_atoms * ATOM_COLS,
                error,
            })?;
            // Streams in turn are widened after each.
            if in_turn {
                return Ok(unroll);
            }
            let blocks =
                range::greatest(FOLD_LIMIT / unroll.min(FOLD_LIMIT), |n| matches!(proven(n), Ok(Ok(()))));
            Ok(blocks.unwrap_or(1) * unroll)
        }
    }
}

/// Proves the narrow sums of a generic kernel: one whole block of `fold` atoms, and every rest that can follow the
/// last block. The rests need proofs of their own, for the atoms past the last full unroll all go to the first
/// chain, which can so get more of them than its share of a block. What holds for these holds for any K: beyond one
/// block, only the wide sums grow.
fn prove_block(program: &Program, atom: &Atom, fold: usize) -> Result<(), (usize, RangeError)> {
    // The block first: it fails at once where the distance is absurd.
    std::iter::once(fold).chain(1..fold).try_for_each(|k_atoms| {
        range::prove(program, atom, k_atoms).map(drop).map_err(|error| (k_atoms, error))
    })
}
