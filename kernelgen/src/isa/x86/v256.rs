//! Vectors of 256 bits, as AVX2 has them: eight rows a register.

use super::{Instructions, load, store};
use crate::machine::Arg::{Imm, Out, Reg as R, RowsLeft};
use crate::machine::{Class, Inst, Intrinsic, Lowering, Reg};

/// The instructions.
pub static V256: Instructions = Instructions {
    bits: 256,
    registers: 16,
    load: load("_mm256_load_si256", 256),
    broadcast: Intrinsic::new("_mm256_set1_epi32", Class::Broadcast),
    zero: Intrinsic::new("_mm256_setzero_si256", Class::Setup),
    splat8: Intrinsic::new("_mm256_set1_epi8", Class::Setup),
    splat16: Intrinsic::new("_mm256_set1_epi16", Class::Setup),
    splat32: SPLAT32,
    and: Intrinsic::new("_mm256_and_si256", Class::Logic),
    shift_packed: Intrinsic::new("_mm256_srli_epi16", Class::Shift),
    shift16: Intrinsic::new("_mm256_srai_epi16", Class::Shift),
    shift32: Intrinsic::new("_mm256_srai_epi32", Class::Shift),
    add16: Intrinsic::new("x86_ops::add_epi16__avx2", Class::Add),
    add32: Intrinsic::new("_mm256_add_epi32", Class::Add),
    sub32: Intrinsic::new("_mm256_sub_epi32", Class::Add),
    products: Intrinsic::new("_mm256_maddubs_epi16", Class::Multiply),
    pairs: Intrinsic::new("_mm256_madd_epi16", Class::Multiply),
    store: store("_mm256_storeu_si256"),
    store_part,
};

const SPLAT32: Intrinsic = Intrinsic::new("_mm256_set1_epi32", Class::Setup);
const LANES: Intrinsic = Intrinsic::new("_mm256_setr_epi32", Class::Setup);
const GREATER: Intrinsic = Intrinsic::new("_mm256_cmpgt_epi32", Class::Logic);
const STORE_LANES: Intrinsic = store("_mm256_maskstore_epi32");

/// The lanes whose number is below that of the rows left.
fn store_part(low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
    let lanes = low.emit(Inst::new(LANES, (0..8).map(Imm).collect::<Vec<_>>()));
    let left = low.emit(Inst::new(SPLAT32, [RowsLeft(first_row)]));
    let mask = low.emit(Inst::new(GREATER, [R(left), R(lanes)]));
    low.run(Inst::new(STORE_LANES, [Out(token, first_row), R(mask), R(value)]));
}
