//! A schedule is data that arrives: every one of its values changes both the code and the cost.

use kernelgen::emit;
use kernelgen::ir::{Cursor, Op, Stmt};
use kernelgen::passes::cost::Cost;

use crate::compiled;

/// The code without its comments and its name, and the cost.
fn code_and_cost(isa: &str, schedule: &str) -> (Vec<String>, Cost) {
    let kernel = compiled(&format!("gemv_i2a16_1536x1536_{schedule}__{isa}"));
    let source = emit::single(&kernel).replace(&kernel.name, "kernel");
    let lines = source.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    (lines.map(str::to_owned).collect(), kernel.cost)
}

#[test]
fn each_value_of_a_schedule_changes_code_and_cost() {
    for (isa, base, changed) in [
        (
            "avx512vnni",
            "u4c2mr1p4096",
            ["u8c2mr1p4096", "u4c1mr1p4096", "u4c2sr1p4096", "u4c2mr1p2048"].as_slice(),
        ),
        (
            "avx2",
            "u4c1sr1p4096",
            &["u2c1sr1p4096", "u4c2sr1p4096", "u4c1nr1p4096", "u4c1sr2p4096", "u4c1sr1p0", "u4c1sr1p4096f8"],
        ),
        (
            "neon",
            "u4c1sr2p1024",
            &["u2c1sr2p1024", "u4c2sr2p1024", "u4c1nr2p1024", "u4c1sr1p1024", "u4c1sr2p0", "u4c1sr2p1024f8"],
        ),
        ("neondotprod", "u4c1sr2p0", &["u2c1sr2p0", "u4c2sr2p0", "u4c1nr2p0", "u4c1sr1p0", "u4c1sr2p1024"]),
        ("neoni8mm", "u2c1mr2p0", &["u4c1mr2p0", "u2c2mr2p0", "u2c1nr2p0", "u2c1mr1p0", "u2c1mr2p1024"]),
        // Without prefetches, which WebAssembly lacks.
        ("simd128", "u2c1sr4p0", &["u4c1sr4p0", "u2c2sr4p0", "u2c1nr4p0", "u2c1sr2p0"]),
        ("portable", "u4c2sr1p0", &["u2c2sr1p0", "u4c1sr1p0", "u4c2nr1p0", "u4c2sr1p0f8"]),
    ] {
        let (code, cost) = code_and_cost(isa, base);
        for schedule in changed {
            let (other_code, other_cost) = code_and_cost(isa, schedule);
            assert_ne!(code, other_code, "{base} and {schedule} on {isa}");
            assert_ne!(cost, other_cost, "{base} and {schedule} on {isa}");
        }
    }
}

/// What the cost model says where it can be counted by hand: `vpdpbusd` on four masked fields.
#[test]
fn vector_instructions_of_an_atom_are_counted() {
    let per_atom = |schedule: &str| {
        let kernel = compiled(&format!("gemv_i2a16_16x65536_{schedule}__avx512vnni"));
        kernel.cost.vector_ops_per_256_weights
    };
    // Four masks and four products; three shifts more where fields are shifted down. What stands outside of the loop
    // is spread over 4096 atoms.
    assert!((per_atom("u1c1mr1p0") - 8.0).abs() < 0.01);
    assert!((per_atom("u1c1sr1p0") - 11.0).abs() < 0.01);
    assert!((per_atom("u1c1nr1p0") - 9.0).abs() < 0.01);
}

/// By hand: an atom in two registers is four masks, four products and a shift of each, and four additions but for the two
/// first products of a turn, which begin its sums. A turn ends with a shift of one sum, an addition of the two, and two
/// instructions that widen what comes out.
#[test]
fn vector_instructions_of_a_turn_in_i16_are_counted() {
    for (unroll, turn) in [(1, 2 * (13 - 2 + 4)), (2, 2 * (26 - 2 + 4)), (4, 2 * (52 - 2 + 4))] {
        let kernel = compiled(&format!("gemv_i2a16_64x65536_u{unroll}c1nr1p0t2__avx2"));
        let per_atom = kernel.cost.vector_ops_per_256_weights;
        let by_hand = f64::from(turn) / f64::from(unroll);
        assert!((per_atom - by_hand).abs() < 0.01, "u{unroll}: {per_atom}, not {by_hand}");
    }
}

/// A row tile's products take four broadcasts a vector and atom, and so do those of two side by side.
#[test]
fn row_tiles_side_by_side_share_what_is_broadcast() {
    fn broadcasts(stmts: &[Stmt]) -> usize {
        let of = |stmt: &Stmt| match stmt {
            Stmt::Let(_, Op::LoadActs { .. }) => 1,
            Stmt::Repeat { body, .. } | Stmt::Pass { body, .. } => broadcasts(body),
            _ => 0,
        };
        stmts.iter().map(of).sum()
    }
    for isa in ["avx512vnni", "avx512bw"] {
        let of = |schedule: &str| {
            broadcasts(&compiled(&format!("gemm2_i2a16_64x64_{schedule}__{isa}")).program.body)
        };
        assert_eq!([of("u1c1sr1p0"), of("u1c1sr1p0t2"), of("u1c1sr1p0t2b")], [8, 16, 8], "{isa}");
    }
}

#[test]
fn prefetches_are_the_distance_that_is_read_ahead() {
    let ahead = |schedule: &str| {
        compiled(&format!("gemv_i2a16_1536x1536_{schedule}__avx512vnni")).cost.overfetch_bytes
    };
    let all = ["u4c2mr1p0", "u4c2mr1p2048", "u1c1mr1p4096", "u2c1er1p512"];
    assert_eq!(all.map(ahead), [0, 2048, 4096, 512]);
}

/// By hand: an atom of expanded weights is four lines in each stream, one of sixteen columns of twelve tokens is three.
#[test]
fn every_line_of_weights_and_activations_is_asked_for_once() {
    fn lines(stmts: &[Stmt], of: Cursor) -> Vec<(usize, usize)> {
        let line = |stmt: &Stmt| match stmt {
            Stmt::Prefetch { of: other, line, distance } if *other == of => vec![(*line, *distance)],
            Stmt::Repeat { body, .. } | Stmt::Pass { body, .. } => lines(body, of),
            _ => Vec::new(),
        };
        stmts.iter().flat_map(line).collect()
    }
    let asked = |name: &str, of| lines(&compiled(name).program.body, of);
    let gemm12 = |of| asked("gemm12_i2a16_64x64_u1c1er1p512t2bi3072__avx512vnni", of);
    assert_eq!(gemm12(Cursor::Weights(0)), [0, 1, 2, 3].map(|line| (line, 512)));
    assert_eq!(gemm12(Cursor::Weights(1)), [0, 1, 2, 3].map(|line| (line, 512)));
    assert_eq!(gemm12(Cursor::Acts), [0, 1, 2].map(|line| (line, 3072)));
    // Streams in turn, a pass for each half of the rows: the first of both asks for what all read.
    let in_turn = |of| asked("gemm4_i2a16_64x64_u2c1sr2p64t2i128__avx2", of);
    assert_eq!(in_turn(Cursor::Acts), [0, 1].map(|line| (line, 128)));
    assert_eq!(in_turn(Cursor::Weights(1)), [0, 1].map(|line| (line, 64)));
}
