//! Vectors of 512 bits, as AVX-512 F and BW have them: sixteen rows a register.

use super::{Instructions, load, store};
use crate::machine::Arg::{Out, Reg as R, RowsLeft};
use crate::machine::{Class, Inst, Intrinsic, Lowering, Reg};

/// The instructions.
pub static V512: Instructions = Instructions {
    bits: 512,
    registers: 32,
    load: load("_mm512_load_si512", 512).with_mnemonic("vmovdqa64"),
    broadcast: Intrinsic::new("_mm512_set1_epi32", Class::Broadcast),
    zero: Intrinsic::new("_mm512_setzero_si512", Class::Setup),
    splat8: Intrinsic::new("_mm512_set1_epi8", Class::Setup),
    splat16: Intrinsic::new("_mm512_set1_epi16", Class::Setup),
    splat32: Intrinsic::new("_mm512_set1_epi32", Class::Setup).with_mnemonic("vpbroadcastd"),
    and: Intrinsic::new("_mm512_and_si512", Class::Logic).with_mnemonic("vpandd"),
    shift_packed: Intrinsic::new("_mm512_srli_epi16", Class::Shift).with_mnemonic("vpsrlw"),
    shift16: Intrinsic::new("_mm512_srai_epi16", Class::Shift),
    shift32: Intrinsic::new("_mm512_srai_epi32", Class::Shift),
    add16: Intrinsic::new("_mm512_add_epi16", Class::Add),
    add32: Intrinsic::new("_mm512_add_epi32", Class::Add),
    sub32: Intrinsic::new("_mm512_sub_epi32", Class::Add).with_mnemonic("vpsubd"),
    products: Intrinsic::new("_mm512_maddubs_epi16", Class::Multiply),
    pairs: Intrinsic::new("_mm512_madd_epi16", Class::Multiply),
    store: store("_mm512_storeu_si512"),
    store_part,
};

const TAIL: Intrinsic = Intrinsic::new("abi::tail_mask16", Class::Setup).into_other();
/// Store of those lanes whose bit is set in a mask.
pub const STORE_LANES: Intrinsic = store("_mm512_mask_storeu_epi32").with_mnemonic("vmovdqu32");

/// The lanes whose bit is set in a mask of the rows left.
fn store_part(low: &mut Lowering, value: Reg, token: usize, first_row: usize) {
    let mask = low.emit(Inst::new(TAIL, [RowsLeft(first_row)]));
    low.run(Inst::new(STORE_LANES, [Out(token, first_row), R(mask), R(value)]));
}
