//! How far apart the range analysis sets the widenings of 16-bit sums, and up to which K it proves a kernel,
//! against bounds worked out by hand.
//!
//! A `vpmaddubsw` result of codes up to 2 is in -512..=508. An i16 lane holds 64 of them: 64 * -512 = -32768 and
//! 64 * 508 = 32512. Codes that count four times leave room for 16, sixteen times for 4, 64 times for 1. The portable
//! and the NEON kernels keep each product in a lane of its own, which so holds twice as many.

use kernelgen::compile::CompileError;

use crate::{compiled, refusal};

#[test]
fn the_greatest_distance_is_the_one_worked_out_by_hand() {
    for (name, atoms) in [
        // Four results an atom at scale one: 64 / 4.
        ("gemv_i2a16_anyxany_u1c1sr1p0__avx2", 16),
        ("gemv_i2a16_anyxany_u4c1sr1p0__avx2", 16),
        // The greatest multiple of the unroll below it.
        ("gemv_i2a16_anyxany_u3c1sr1p0__avx2", 15),
        ("gemv_i2a16_anyxany_u5c1sr2p0__avx2", 15),
        // Two chains share the atoms: each has half of them.
        ("gemv_i2a16_anyxany_u2c2sr1p0__avx2", 32),
        // Of 31 atoms left over, seven rounds of four give each chain 14, and the three after them all go to the first:
        // 17 atoms are one too many, so the distance is at most 31, in whole rounds 28.
        ("gemv_i2a16_anyxany_u4c2sr2p0__avx2", 28),
        // Two results an atom at scale four: 16 / 2.
        ("gemv_i2a16_anyxany_u1c1nr1p0__avx2", 8),
        ("gemv_i2a16_anyxany_u4c1nr1p0__avx2", 8),
        ("gemv_i2a16_anyxany_u3c1nr1p0__avx2", 6),
        // One result an atom at scale 64.
        ("gemv_i2a16_anyxany_u1c1mr2p0__avx2", 1),
        // Sixteen rows a register instead of eight, the same lanes.
        ("gemv_i2a16_anyxany_u1c1sr1p0__avx512bw", 16),
        ("gemv_i2a16_anyxany_u2c2sr1p0__avx512bw", 32),
        ("gemv_i2a16_anyxany_u2c1nr1p4096__avx512bw", 8),
        // One product at a time.
        ("gemv_i2a16_anyxany_u1c1sr1p0__portable", 32),
        ("gemv_i2a16_anyxany_u1c1nr1p0__portable", 16),
        ("gemv_i2a16_anyxany_u1c1mr1p0__portable", 2),
        ("gemv_i2a16_anyxany_u1c1sr1p0__neon", 32),
        ("gemv_i2a16_anyxany_u3c1nr2p0__neon", 15),
    ] {
        assert_eq!(compiled(name).program.fold, Some(atoms), "{name}");
    }
    assert_eq!(compiled("gemv_i2a16_anyxany_u4c2mr1p0__avx512vnni").program.fold, None);
    assert_eq!(compiled("gemv_i2a16_anyxany_u4c2nr1p0__avxvnni").program.fold, None);
}

#[test]
fn a_distance_by_hand_is_kept_up_to_the_greatest() {
    for fold in 1..=16 {
        assert_eq!(compiled(&format!("gemv_i2a16_anyxany_u1c1sr1p0f{fold}__avx2")).program.fold, Some(fold));
    }
    // One atom more: the 65th result is one too many.
    let error = refusal("gemv_i2a16_anyxany_u1c1sr1p0f17__avx2");
    assert!(error.to_string().contains("can reach -33280..=33020"), "{error}");
    // The 129th product.
    let error = refusal("gemv_i2a16_anyxany_u1c1sr1p0f33__neon");
    assert!(error.to_string().contains("'narrow_t0_c0_x1' can reach -33024..=32766"), "{error}");
    let error = refusal("gemv_i2a16_anyxany_u1c1nr1p0f9__avx2");
    assert!(error.to_string().contains("'narrow_t0_c0_x4' can reach -34816..=34544"), "{error}");
}

/// By hand, a distance of 32 atoms with two chains and an unroll of four fits a whole block, 16 atoms a chain, but
/// not a rest of 31 (see above).
#[test]
fn a_rest_that_overflows_is_refused_though_the_block_fits() {
    let error = refusal("gemv_i2a16_anyxany_u4c2sr2p0f32__avx2");
    let CompileError::Range { k: 496, .. } = error else { panic!("{error}") };
    assert!(error.to_string().contains("'rest_t0_c0_x1' can reach -33280..=33020"), "{error}");
    // A fixed shape without such a rest may have that distance.
    compiled("gemv_i2a16_64x1024_u4c2sr2p0f32__avx2");
}

#[test]
fn an_unroll_past_the_greatest_distance_is_refused() {
    let error = refusal("gemv_i2a16_anyxany_u2c1mr2p0__avx2");
    assert!(matches!(error, CompileError::Range { .. }), "{error}");
    assert!(error.to_string().contains("'narrow_t0_c0_x64' can reach -65536..=65024"), "{error}");
    refusal("gemv_i2a16_anyxany_u17c1sr1p0__avx2");
}

/// The proofs of whole kernels. At scale one, codes add up to -256..=254 a column, and taking away a sum of
/// activations of -128..=127 a column leaves -383..=382: 2^31 / 383 columns, whole atoms of 16. At scale 64, four
/// columns of an atom add up to 4 * 128 * -128 = -65536: 2^31 / 65536 atoms. At scale four, eight columns add up to
/// 8 * 8 * -128 = -8192.
#[test]
fn the_greatest_k_is_the_one_worked_out_by_hand() {
    let scale_one = (1usize << 31) / 383 / 16 * 16;
    let scale_four = (1usize << 31) / 8192 * 16;
    let scale_64 = (1usize << 31) / 65536 * 16;
    for (name, k_max) in [
        ("gemv_i2a16_anyxany_u1c1sr1p0__portable", scale_one),
        ("gemm4_i2a16_anyxany_u1c1sr1p0__portable", scale_one),
        ("gemv_i2a16_anyxany_u1c1sr1p0__avx2", scale_one),
        ("gemv_i2a16_anyxany_u2c1nr1p4096__avx2", scale_one),
        ("gemv_i2a16_anyxany_u1c1sr1p0__avxvnni", scale_one),
        ("gemv_i2a16_anyxany_u1c1mr2p0__avxvnni", scale_64),
        ("gemv_i2a16_anyxany_u2c1nr1p4096__avx512bw", scale_one),
        ("gemv_i2a16_anyxany_u1c1sr1p0__avx512vnni", scale_one),
        ("gemm16_i2a16_anyxany_u4c1sr1p0i__amx", scale_one),
        ("gemv_i2a16_anyxany_u2c1sr1p0__neon", scale_one),
        ("gemv_i2a16_anyxany_u2c1nr1p0__neondotprod", scale_four),
        ("gemv_i2a16_anyxany_u2c1mr1p0__neoni8mm", scale_64),
        ("gemv_i2a16_anyxany_u2c1nr2p0__simd128", scale_four),
        ("gemv_i2a16_anyxany_u4c2mr1p4096__avx512vnni", scale_64),
        ("gemm4_i2a16_anyxany_u2c1mr1p2048__avx512vnni", scale_64),
        ("gemv_i2a16_anyxany_u4c1nr1p3072t3__avx2", scale_one),
        ("gemv_i2a16_anyxany_u4c2mr1p3072t3__avx512vnni", scale_64),
    ] {
        assert_eq!(compiled(name).k_max, k_max, "{name}");
    }
}

/// What a generic kernel is said to stay in holds for every K, not only for the greatest: after 16 atoms a block, up
/// to 15 can be left, 60 results of `vpmaddubsw`.
#[test]
fn the_proof_of_a_generic_kernel_covers_every_rest() {
    let interval = |name: &str, value: &str| {
        let kernel = compiled(name);
        let proven = kernel.proof.into_iter().find(|p| p.value == value).expect("a proven value");
        (proven.interval.lo, proven.interval.hi)
    };
    assert_eq!(interval("gemv_i2a16_anyxany_u1c1sr1p0__avx2", "rest_x1"), (-30720, 30480));
    assert_eq!(interval("gemv_i2a16_anyxany_u1c1sr1p0__avx2", "narrow_x1"), (-32768, 32512));
    // A fixed shape of 51 atoms: three blocks, and three atoms left over.
    assert_eq!(interval("gemv_i2a16_16x816_u1c1sr1p0__avx2", "rest_x1"), (-6144, 6096));
}
