//! The units of 64-bit Arm. Accumulators are as many as hide the latency of an instruction on every CPU that has it: sixteen
//! where four can start in a cycle and take four.

#![allow(non_snake_case, reason = "the names say the instruction set, as those of kernels do")]

use std::arch::asm;

use super::Unit;
use crate::kernels::{NEON, NEONDOTPROD, NEONI8MM};

/// Multiplications of a round, each with an accumulator of its own.
const ROUND: u64 = 16;
/// Multiply-adds of an instruction: `smlal` multiplies half a register of bytes, a dot product a whole one.
const HALF: u64 = 8;
const WHOLE: u64 = 16;

pub(super) const UNITS: [Unit; 3] = [
    Unit { isa: &NEON, instructions: "smlal, smlal2", macs_a_round: ROUND * HALF, rounds: rounds__neon },
    Unit {
        isa: &NEONDOTPROD,
        instructions: "sdot",
        macs_a_round: ROUND * WHOLE,
        rounds: rounds__neondotprod,
    },
    Unit { isa: &NEONI8MM, instructions: "usdot", macs_a_round: ROUND * WHOLE, rounds: rounds__neoni8mm },
];

/// A function whose loop executes the given lines for each of eight pairs of accumulators, registers 0 to 15. Registers 16
/// and 17 hold what is multiplied.
macro_rules! rounds {
    ($name:ident, $features:literal, [$($line:literal),*]) => {
        /// # Safety
        /// The CPU must have the instruction set.
        #[target_feature(enable = $features)]
        unsafe fn $name(rounds: u64) {
            if rounds == 0 {
                return;
            }
            // SAFETY: the loop touches no memory and no registers but those named, and the CPU has the instructions.
            unsafe {
                asm!(
                    "movi v16.16b, #3",
                    "movi v17.16b, #5",
                    "2:",
                    $($line,)*
                    "subs {rounds}, {rounds}, #1",
                    "b.ne 2b",
                    rounds = inout(reg) rounds => _,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _,
                    out("v7") _, out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _,
                    out("v14") _, out("v15") _, out("v16") _, out("v17") _,
                    options(nomem, nostack),
                );
            }
        }
    };
}

rounds! {
    rounds__neon, "neon",
    [
        ".irp acc,0,2,4,6,8,10,12,14",
        "smlal v\\acc\\().8h, v16.8b, v17.8b",
        ".endr",
        ".irp acc,1,3,5,7,9,11,13,15",
        "smlal2 v\\acc\\().8h, v16.16b, v17.16b",
        ".endr"
    ]
}
rounds! {
    rounds__neondotprod, "neon,dotprod",
    [
        ".irp acc,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "sdot v\\acc\\().4s, v16.16b, v17.16b",
        ".endr"
    ]
}
rounds! {
    rounds__neoni8mm, "neon,i8mm",
    [
        ".irp acc,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
        "usdot v\\acc\\().4s, v16.16b, v17.16b",
        ".endr"
    ]
}
