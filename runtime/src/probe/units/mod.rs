//! Loops of nothing but multiply-adds, one for each instruction set: written as assembly, which no compiler can fold.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::hint::black_box;

use crate::kernels::PORTABLE;
use crate::kernels::abi::IsaInfo;

/// What an instruction set multiplies with.
#[derive(Debug)]
pub(super) struct Unit {
    /// The instruction set.
    pub isa: &'static IsaInfo,
    /// What is executed.
    pub instructions: &'static str,
    /// Multiply-adds of a round.
    pub macs_a_round: u64,
    /// Executes so many rounds.
    ///
    /// # Safety
    /// The CPU must have the instruction set.
    rounds: unsafe fn(u64),
}

impl Unit {
    /// Executes so many rounds.
    pub fn run(&self, rounds: u64) {
        // SAFETY: `available` leaves out what the CPU lacks.
        unsafe { (self.rounds)(rounds) }
    }
}

/// The units that this CPU has, in ascending preference of their instruction sets.
pub(super) fn available() -> impl Iterator<Item = Unit> {
    let portable = [PORTABLE_UNIT];
    #[cfg(target_arch = "x86_64")]
    let others = x86::UNITS;
    #[cfg(target_arch = "aarch64")]
    let others = arm::UNITS;
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let others = [];
    portable.into_iter().chain(others).filter(|unit| (unit.isa.available)())
}

/// Values that the portable loop multiplies: few enough for the nearest cache.
const PORTABLE_VALUES: usize = 1 << 10;
/// Sums that it keeps, each with a factor of its own: what sixteen registers of 16 bytes hold.
const PORTABLE_SUMS: usize = 64;

const PORTABLE_UNIT: Unit = Unit {
    isa: &PORTABLE,
    instructions: "i16 products added in i16, as the compiler vectorises them",
    macs_a_round: PORTABLE_VALUES as u64,
    rounds: rounds__portable,
};

/// # Safety
/// None is needed; the signature is that of the others.
#[allow(non_snake_case, reason = "the name says the instruction set, as those of kernels do")]
unsafe fn rounds__portable(rounds: u64) {
    let (factors, values) = (black_box([3i16; PORTABLE_SUMS]), [5i16; PORTABLE_VALUES]);
    let mut sums = [0i16; PORTABLE_SUMS];
    for _ in 0..rounds {
        // What they hold is not known to the compiler.
        for values in black_box(&values).chunks_exact(PORTABLE_SUMS) {
            for ((sum, factor), value) in sums.iter_mut().zip(&factors).zip(values) {
                *sum = sum.wrapping_add(factor.wrapping_mul(*value));
            }
        }
    }
    black_box(sums);
}
