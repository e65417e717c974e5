//! `packed_mat_vec` against the product of the unpacked weights with the activations as they were given.

use tritforge::dense::{Ternarize, pack_matrix};
use tritforge::engine::{Engine, EngineError};
use tritforge::numerics::quantize::QuantizedActivations;
use tritforge::packed::{PackedTernaryWeights, Scales, packed_mat_vec};
use tritforge_tests::Random;

/// Half a unit in the last place of an f32, relative to the value.
const ROUNDING: f64 = 1.0 / (1 << 24) as f64;

const SHAPES: [(usize, usize); 9] =
    [(1, 1), (2, 3), (16, 16), (17, 5), (15, 640), (33, 257), (64, 5460), (128, 256), (5, 8640)];

/// A value of -1 to 1.
fn uniform(random: &mut Random) -> f32 {
    random.bits() as f32 / u32::MAX as f32 * 2.0 - 1.0
}

fn scale(weights: &PackedTernaryWeights, row: usize) -> f64 {
    f64::from(match weights.scales() {
        Scales::PerTensor(scale) => *scale,
        Scales::PerRow(scales) => scales[row],
    })
}

/// Checks every row of a product.
///
/// An activation x becomes q with `|x s - q| <= 1/2` for the step 1/s, s = 127 / max|x|. The product x s is rounded once
/// before that, by at most 127 units of 2^-24. So each non-zero weight is off by at most `(1/2 + 127 * 2^-24) / s` times
/// the weight's scale. The sum of the integers is exact (it is below 2^24 here, so as f32 too); behind it the result is
/// rounded by the product with the weight's scale, by 1/s and by the product with that: three times 2^-24 of its size, to
/// which a fourth is added for what these rounding errors make of each other.
fn check(name: &str, weights: &PackedTernaryWeights, x: &[f32]) {
    let mut y = vec![f32::NAN; weights.rows()];
    packed_mat_vec(weights, x, &mut y).expect("a product");
    let largest = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let s = f64::from(127.0 / largest.max(1e-5));
    let mut trits = vec![9; weights.cols()];
    for (row, &y) in y.iter().enumerate() {
        weights.unpack_row(row, &mut trits);
        let terms = trits.iter().zip(x).map(|(trit, x)| f64::from(*trit) * f64::from(*x));
        let expected = terms.sum::<f64>() * scale(weights, row);
        let weights_used = trits.iter().filter(|trit| **trit != 0).count() as f64;
        let steps = weights_used * (0.5 + 127.0 * ROUNDING);
        let bound = steps / s * scale(weights, row).abs() + 4.0 * ROUNDING * f64::from(y).abs();
        let difference = (f64::from(y) - expected).abs();
        assert!(difference <= bound, "{name}, row {row}: {y} for {expected}, {difference} is above {bound}");
    }
}

#[test]
fn differs_by_no_more_than_the_rounding_of_activations() {
    let mut random = Random::new(8);
    for (rows, cols) in SHAPES {
        let dense: Vec<f32> = (0..rows * cols).map(|_| uniform(&mut random)).collect();
        for rule in [Ternarize::AbsMean, Ternarize::RowMax] {
            let weights = pack_matrix(&dense, rows, cols, rule).expect("a sound matrix");
            for size in [1.0, 1e-7, 3e4] {
                let x: Vec<f32> = (0..cols).map(|_| uniform(&mut random) * size).collect();
                check(&format!("{rows}x{cols}, {rule:?}, activations up to {size}"), &weights, &x);
            }
            // One activation far above the others leaves them a coarse step.
            let mut x: Vec<f32> = (0..cols).map(|_| uniform(&mut random)).collect();
            x[cols / 2] = -1000.0;
            check(&format!("{rows}x{cols}, {rule:?}, an outlier"), &weights, &x);
        }
    }
}

#[test]
fn the_bound_is_reached_where_every_activation_lies_between_two_steps() {
    // The step is 1, and 0.5 rounds to the even 0: every weight but the first is off by exactly half a step.
    let weights = pack_matrix(&[1.0; 100], 1, 100, Ternarize::RowMax).expect("a sound matrix");
    let mut x = [0.5; 100];
    x[0] = 127.0;
    let mut y = [0.0];
    packed_mat_vec(&weights, &x, &mut y).expect("a product");
    assert_eq!(y, [127.0]);
    check("halves", &weights, &x);
}

#[test]
fn whole_steps_are_exact() {
    let mut random = Random::new(9);
    for (rows, cols) in SHAPES {
        let trits: Vec<Vec<i8>> = (0..rows).map(|_| random.trits(cols)).collect();
        let scales: Vec<f32> = (0..rows).map(|row| [0.5, -2.0, 1.0][row % 3]).collect();
        let weights = PackedTernaryWeights::from_rows::<std::convert::Infallible>(
            rows,
            cols,
            Scales::PerRow(scales.clone()),
            |row, out| {
                out.copy_from_slice(&trits[row]);
                Ok(())
            },
        )
        .expect("a sound matrix");
        // With 127 as the largest, the step is 1.
        let mut x: Vec<f32> = random.acts(cols).iter().map(|q| f32::from((*q).max(-127))).collect();
        x[cols - 1] = 127.0;
        let mut y = vec![f32::NAN; rows];
        packed_mat_vec(&weights, &x, &mut y).expect("a product");
        for (row, y) in y.iter().enumerate() {
            let dot: i64 = trits[row].iter().zip(&x).map(|(w, x)| i64::from(*w) * *x as i64).sum();
            assert_eq!(*y, dot as f32 * scales[row], "{rows}x{cols}, row {row}");
        }
    }
}

#[test]
fn silence_gives_zeros() {
    let weights = pack_matrix(&[1.0, -1.0, 0.5, 1.0], 2, 2, Ternarize::RowMax).expect("a sound matrix");
    let mut y = [f32::NAN; 2];
    packed_mat_vec(&weights, &[0.0, -0.0], &mut y).expect("a product");
    assert_eq!(y, [0.0, 0.0]);
}

#[test]
fn operands_that_do_not_fit_are_errors() {
    let weights = pack_matrix(&[1.0; 6], 2, 3, Ternarize::RowMax).expect("a sound matrix");
    let mut y = [7.0; 2];
    let error = packed_mat_vec(&weights, &[1.0; 2], &mut y);
    assert_eq!(error, Err(EngineError::Activations { found: 2, expected: 3 }));
    assert_eq!(
        packed_mat_vec(&weights, &[1.0; 3], &mut [0.0; 3]),
        Err(EngineError::Output { found: 3, expected: 2 })
    );
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = packed_mat_vec(&weights, &[1.0, value, 1.0], &mut y);
        assert!(matches!(error, Err(EngineError::NotFinite { index: 1, .. })), "{error:?}");
    }
    assert_eq!(y, [7.0; 2], "a refused product writes nothing");
}

/// Each row's own factor, wherever the threads cut the matrix: rows of one weight that is not zero, so that the result of
/// row r for the activation 127 is its scale.
#[test]
fn row_scales_belong_to_their_rows_however_the_matrix_is_cut() {
    let (rows, cols, tokens) = (1003, 400, 3);
    let scales: Vec<f32> = (0..rows).map(|row| 1.0 + row as f32 / 1024.0).collect();
    let weights =
        PackedTernaryWeights::from_rows(rows, cols, Scales::PerRow(scales.clone()), |row, trits| {
            trits.fill(0);
            trits[row % cols] = 1;
            Ok::<(), std::fmt::Error>(())
        })
        .expect("trits");
    let x = QuantizedActivations::quantize(cols, &vec![127.0; tokens * cols]);
    for threads in 1..=4 {
        let engine = Engine::with_threads(threads).expect("an engine");
        let mut y = vec![f32::NAN; tokens * rows];
        engine.linear(&weights, &x, &mut y).expect("operands that fit");
        for (token, y) in y.chunks(rows).enumerate() {
            for (row, (y, scale)) in y.iter().zip(&scales).enumerate() {
                assert_eq!(*y, 127.0 * scale, "row {row} of token {token} on {threads} threads");
            }
        }
    }
}
