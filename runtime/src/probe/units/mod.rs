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

const PORTABLE_UNIT: Unit = Unit {
    isa: &PORTABLE,
    instructions: "i16 products added in i32, as the compiler vectorises them",
    macs_a_round: PORTABLE_VALUES as u64,
    rounds: rounds__portable,
};

/// # Safety
/// None is needed; the signature is that of the others.
#[allow(non_snake_case, reason = "the name says the instruction set, as those of kernels do")]
unsafe fn rounds__portable(rounds: u64) {
    let (a, b) = ([3i16; PORTABLE_VALUES], [5i16; PORTABLE_VALUES]);
    let mut sum = 0i32;
    for _ in 0..rounds {
        // What they hold is not known to the compiler.
        let (a, b) = (black_box(&a), black_box(&b));
        sum = sum.wrapping_add(
            a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).fold(0, i32::wrapping_add),
        );
    }
    black_box(sum);
}
