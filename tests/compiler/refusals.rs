//! Kernels that must not compile, and that the refusal names the value and its bound.

use kernelgen::compile::{CompileError, compile};
use kernelgen::ir::{Kind, Op, Program, Stmt, Var, VarInfo};
use kernelgen::isa::{self, Accumulate};
use kernelgen::layout;
use kernelgen::passes::range::{self, RangeError};
use kernelgen::spec::KernelSpec;

use crate::{refusal, spec};

/// 32 atoms of 4 products each put 128 results of `vpmaddubsw` in one i16 lane. One is at most 2 * 2 * 127 = 508 and
/// at least 2 * 2 * -128 = -512; the 65th could be one too many, so could any after 64, and the first of the last
/// round that is too many is the 125th: 125 * 508 = 63500, 125 * -512 = -64000.
#[test]
fn a_seeded_overflow_is_refused_with_the_value_and_its_bound() {
    let error = refusal("gemv_i2a16_64x2048_u1c1sr1p0f32__avx2");
    let CompileError::Range { k: 2048, error: ref range, .. } = error else { panic!("{error}") };
    assert_eq!(
        *range,
        RangeError::Overflow {
            value: "narrow_t0_c0_x1".to_owned(),
            lo: -64000,
            hi: 63500,
            what: "i16 lane",
            min: -32768,
            max: 32767,
        }
    );
    assert_eq!(
        error.to_string(),
        "gemv_i2a16_64x2048_u1c1sr1p0f32__avx2: range proof failed at K = 2048: value 'narrow_t0_c0_x1' can reach \
         -64000..=63500, its i16 lane holds -32768..=32767"
    );
}

#[test]
fn absurd_columns_are_refused() {
    for cols in [(1_usize << 24) + 1, 1 << 57, usize::MAX] {
        let error = refusal(&format!("gemv_i2a16_16x{cols}_u1c1sr1p0__avx2")).to_string();
        assert!(
            error.ends_with(&format!(
                "{cols} columns are more than the 16777216 up to which sums are proven; split the matrix"
            )),
            "{error}"
        );
    }
}

/// What a refusal says of the value that could overflow; the message must hold all of it.
#[track_caller]
fn overflow(name: &str) -> (String, [i64; 4]) {
    let error = refusal(name);
    let CompileError::Range { error: RangeError::Overflow { value, lo, hi, what, min, max }, .. } = &error
    else {
        panic!("{error}")
    };
    let bound = format!("value '{value}' can reach {lo}..={hi}, its {what} holds {min}..={max}");
    assert!(error.to_string().ends_with(&bound), "{error}");
    (value.clone(), [*lo, *hi, *min, *max])
}

/// Sums of 2^24 products of a code up to 2 and an activation from -128 to 127: twice what i32 holds, whatever adds them.
/// And on instruction sets that add in i16: sums of at least 2^12 before they are widened.
#[test]
fn seeded_overflows_are_refused_on_every_instruction_set() {
    const I32: [i64; 2] = [-2_147_483_648, 2_147_483_647];
    for isa in isa::ALL {
        let atom = isa.atom();
        let (operation, unroll, interleaved) = match atom.accumulate {
            Accumulate::Tile { tokens } => (format!("gemm{tokens}"), 4, "i"),
            Accumulate::Wide | Accumulate::Narrow { .. } => ("gemv".to_owned(), 1, ""),
        };
        // As many passes as one register of rows needs: no more registers than there are.
        let name = |cols: usize, fold: &str| {
            let (passes, isa) = (16 / atom.rows, isa.id());
            format!("{operation}_i2a16_16x{cols}_u{unroll}c1sr{passes}p0{fold}{interleaved}__{isa}")
        };
        let (_, [lo, hi, min, max]) = overflow(&name(1 << 24, ""));
        assert_eq!([min, max], I32, "{}", isa.id());
        // Beyond the lane, but not beyond what the products can sum up to.
        assert!(lo < min || hi > max, "{}", isa.id());
        assert!(lo >= -256 << 24 && hi <= 254 << 24, "{}: {lo}..={hi}", isa.id());
        if let Accumulate::Narrow { .. } = atom.accumulate {
            let (value, [lo, hi, min, max]) = overflow(&name(1 << 16, "f1024"));
            assert_eq!((value.as_str(), [min, max]), ("narrow_t0_c0_x1", [-32768, 32767]), "{}", isa.id());
            assert!(lo < min || hi > max, "{}", isa.id());
        }
    }
}

/// Four accumulators, packed bytes and codes of two registers each, for sixteen rows; four masks and the activations
/// of one: 8 + 2 + 2 + 4 + 1.
#[test]
fn sixteen_registers_are_too_few_for_masked_fields_of_a_whole_tile() {
    let error = refusal("gemv_i2a16_64x2048_u4c1mr1p0__avxvnni");
    assert!(matches!(error, CompileError::Registers { needed: 17, available: 16, .. }), "{error}");
    // Half of the rows at a time: eight accumulators in two chains, four masks, and three.
    assert_eq!(crate::compiled("gemv_i2a16_64x2048_u4c2mr2p0__avxvnni").pressure.registers, 15);
}

/// 36 accumulators, a mask, the packed bytes, codes and activations: 40 registers.
#[test]
fn a_seeded_schedule_of_40_registers_is_refused_with_the_number_and_the_bound() {
    let error = refusal("gemv_i2a16_64x2048_u36c36sr1p0__avx512vnni");
    let CompileError::Registers { needed: 40, isa: "avx512vnni", available: 32, .. } = error else {
        panic!("{error}")
    };
    let message = error.to_string();
    assert!(message.contains("needs 40 vector registers at 'acc_t0_c35_x1 = "), "{message}");
    assert!(message.contains("avx512vnni has 32"), "{message}");
}

#[test]
fn the_same_schedule_with_fewer_chains_compiles() {
    // 28 accumulators and the same four.
    let kernel = crate::compiled("gemv_i2a16_64x2048_u28c28sr1p0__avx512vnni");
    assert_eq!(kernel.pressure.registers, 32);
    let error = refusal("gemv_i2a16_64x2048_u29c29sr1p0__avx512vnni");
    assert!(matches!(error, CompileError::Registers { needed: 33, .. }), "{error}");
}

/// Eight narrow sums, packed bytes and codes of two registers each, a mask, the activations of one and a product: 8 + 2 +
/// 2 + 1 + 1 + 1. The eight totals, which the inner loop does not touch, do not count; ten narrow sums are too many.
#[test]
fn totals_that_wait_while_a_loop_runs_take_no_registers_of_it() {
    assert_eq!(crate::compiled("gemm4_i2a16_anyxany_u1c1sr1p0__avx2").pressure.registers, 15);
    let error = refusal("gemm5_i2a16_anyxany_u1c1sr1p0__avx2");
    assert!(matches!(error, CompileError::Registers { needed: 17, available: 16, .. }), "{error}");
}

/// A sum of products at scale one is shifted as if it were one at scale four.
#[test]
fn a_lossy_shift_is_refused() {
    let var = |name: &str, kind| VarInfo { name: name.to_owned(), kind };
    let program = |position| Program {
        vars: vec![
            var("packed", Kind::Packed),
            var("codes", Kind::Codes),
            var("acts", Kind::Acts),
            var("acc", Kind::Wide),
            var("plane", Kind::Wide),
        ],
        body: vec![
            Stmt::Let(Var(3), Op::ZeroWide),
            Stmt::Let(Var(0), Op::LoadPacked { stream: 0, atom: 0 }),
            Stmt::Let(Var(1), Op::MaskField { packed: Var(0), position }),
            Stmt::Let(Var(2), Op::LoadActs { token: 0, col: 0 }),
            Stmt::Set(Var(3), Op::Dot { acc: Var(3), codes: Var(1), acts: Var(2) }),
            Stmt::Let(Var(4), Op::ShiftWide { x: Var(3), by: 2 }),
        ],
        expanded: None,
        tokens: 1,
        streams: 1,
        k_atoms: None,
        lanes: 1,
        tile_tokens: 1,
        fold: None,
    };
    let atom = isa::by_id("avx512vnni").expect("a known ISA").atom();
    let error = range::prove(&program(0), &atom, 1).expect_err("bits are lost");
    assert_eq!(error, RangeError::Inexact { value: "acc".to_owned(), by: 2, scale: 0 });
    assert_eq!(
        error.to_string(),
        "value 'acc' is shifted right by 2 bits but is only known to be a multiple of 2^0"
    );
    let proof = range::prove(&program(2), &atom, 1).expect("multiples of four are shifted");
    let plane = proof.iter().find(|p| p.value == "plane").expect("a sum has a proof");
    // Four products of code 2 with -128..=127.
    assert_eq!((plane.interval.lo, plane.interval.hi, plane.interval.scale), (-1024, 1016, 0));
}

#[test]
fn a_layout_that_the_contraction_cannot_read_is_refused() {
    for layout in [layout::i2_s(), layout::hf_u8()] {
        let name = layout.name;
        for isa in isa::ids() {
            let spec =
                KernelSpec { layout: layout.clone(), ..spec(&format!("gemv_i2a16_64x64_u1c1sr1p0__{isa}")) };
            let error = compile(&spec).expect_err("another layout's fields are no operands");
            assert!(
                matches!(error, CompileError::LayoutUnreadable { layout, .. } if layout == name),
                "{error}"
            );
        }
    }
}

#[test]
fn more_chains_than_atoms_are_refused() {
    for isa in isa::ids() {
        let error = refusal(&format!("gemv_i2a16_64x64_u2c3sr1p0__{isa}"));
        assert!(matches!(error, CompileError::Chains { chains: 3, unroll: 2, .. }), "{error}");
    }
}

#[test]
fn a_row_split_that_cuts_the_contraction_is_refused() {
    for (split, isa, rows) in [
        (3, "avx2", 8),
        (4, "avx2", 8),
        (16, "avx2", 8),
        (4, "avxvnni", 8),
        (2, "avx512bw", 16),
        (2, "avx512vnni", 16),
        (32, "portable", 16),
        (8, "neondotprod", 4),
    ] {
        let error = refusal(&format!("gemv_i2a16_64x64_u1c1sr{split}p0__{isa}"));
        assert!(
            matches!(error, CompileError::RowSplit { row_split, atom_rows, .. } if (row_split, atom_rows) == (split, rows)),
            "{error}"
        );
    }
}

#[test]
fn empty_shapes_are_refused() {
    for (rows, cols) in [(0, 64), (64, 0), (0, 0)] {
        let error = refusal(&format!("gemv_i2a16_{rows}x{cols}_u1c1sr1p0__avx2"));
        assert!(error.to_string().contains("at least 1"), "{error}");
        assert!(matches!(error, CompileError::EmptyShape { .. }), "{error}");
    }
}

/// The 2^31 / 65536 = 32768 atoms that the sums of the topmost field allow are K = 524288.
#[test]
fn a_fixed_shape_past_the_proof_is_refused() {
    crate::compiled("gemv_i2a16_16x524288_u4c2mr1p0__avx512vnni");
    let error = refusal("gemv_i2a16_16x524304_u4c2mr1p0__avx512vnni");
    assert!(matches!(error, CompileError::Range { k: 524304, .. }), "{error}");
    assert!(error.to_string().contains("its i32 lane holds -2147483648..=2147483647"), "{error}");
}

/// Masked, not shifted, code 2 of the topmost field is 128; the weight operand of `smull` and `sdot` ends at 127.
#[test]
fn codes_past_a_signed_operand_are_refused() {
    for isa in ["neon", "neondotprod"] {
        let error = refusal(&format!("gemv_i2a16_anyxany_u1c1mr4p0__{isa}")).to_string();
        let part = "value 'codes0_3' can reach 0..=128, its weight operand of the product holds -128..=127";
        assert!(error.contains(part), "{error}");
    }
    crate::compiled("gemv_i2a16_anyxany_u1c1mr4p0__neoni8mm");
}

/// Accumulators, and registers for staged codes and activations.
#[test]
fn what_no_tile_can_hold_is_refused() {
    for (name, reason) in [
        ("gemv_i2a16_anyxany_u4c1sr1p0__amx", "end the schedule with an 'i'"),
        ("gemm20_i2a16_anyxany_u4c1sr1p0i__amx", "20 activation vectors are no whole tiles of 16"),
        (
            "gemm16_i2a16_anyxany_u5c1sr1p0i__amx",
            "an unroll of 5 is neither the 4 atoms of a tile nor 2 times",
        ),
        ("gemm16_i2a16_anyxany_u2c1sr1p0i__amx", "an unroll of 2 is neither"),
        ("gemm16_i2a16_anyxany_u4c2sr1p0i__amx", "one chain"),
        ("gemm16_i2a16_anyxany_u4c1sr1p0__amx", "end the schedule with an 'i'"),
        ("gemm16_i2a16_anyxany_u4c1sr1p0i64__amx", "an 'i' without a number"),
        ("gemm16_i2a16_anyxany_u4c1sr1p0t2i__amx", "streams side by side, with a 'b'"),
        ("gemm16_i2a16_anyxany_u4c1mr1p0i__amx", "unpack by shifts"),
        ("gemm16_i2a16_anyxany_u8c1sr1p0t5bi__amx", "5 streams are more than the 4"),
        ("gemm112_i2a16_anyxany_u4c1sr1p0i__amx", "needs 9 tile registers, there are 8; lower the tokens"),
        ("gemm48_i2a16_16x64_u4c1sr1p0t2bi__amx", "needs 9 tile registers, there are 8"),
    ] {
        let error = refusal(name);
        let CompileError::Tile { reason: found, .. } = &error else { panic!("{error}") };
        assert!(found.contains(reason), "{error}");
    }
    // Six accumulators and two others.
    let region = crate::compiled("gemm96_i2a16_anyxany_u4c1sr1p0i__amx").machine.region.expect("a region");
    assert_eq!(region.tiles.len(), 8);
}

#[test]
fn what_cannot_be_interleaved_is_refused() {
    for (name, part) in [
        ("gemv_i2a16_anyxany_u4c1nr1p0i__avx512vnni", "one vector is not interleaved with any other"),
        ("gemv_i2a16_anyxany_u4c1sr1p0i__amx", "one vector is not interleaved with any other"),
    ] {
        let error = refusal(name);
        assert!(matches!(error, CompileError::Interleaved { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn expanded_weights_that_do_not_serve_are_refused() {
    let error = refusal("gemm16_i2a16_64x64_u4c1er1p0i__amx");
    assert!(matches!(error, CompileError::Expanded { .. }), "{error}");
    assert!(error.to_string().contains("are staged by kernels on tiles themselves"), "{error}");
}

#[test]
fn widenings_that_no_loop_can_keep_are_refused() {
    for (name, part) in [
        ("gemv_i2a16_64x64_u4c1sr1p0f6__avx2", "every 6 atoms is no multiple of the unroll of 4"),
        ("gemv_i2a16_64x64_u4c1sr1p0f4__avx512vnni", "has no meaning on avx512vnni, which adds in i32"),
        ("gemv_i2a16_64x64_u4c1sr1p0f6__portable", "every 6 atoms is no multiple of the unroll of 4"),
        ("gemv_i2a16_64x64_u4c1sr1p0t2f8__avx2", "every 8 atoms is none at every turn of 4"),
    ] {
        let error = refusal(name);
        assert!(matches!(error, CompileError::Fold { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}
