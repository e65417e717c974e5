//! Reductions over one vector, in the one order that the numerics profile allows.
//!
//! Element `i` is added to lane `i % 16`, `i` ascending; then lanes 8..16 are added to lanes 0..8, 4..8 to
//! 0..4, 2..4 to 0..2 and lane 1 to lane 0. Sixteen lanes fill one 512-bit, two 256-bit or four 128-bit
//! registers, so every instruction set can follow the order without a shuffle in its loop.

/// Number of partial results of a reduction.
const LANES: usize = 16;

/// Rows whose dot products are under way together.
const TOGETHER: usize = 4;

/// The lanes joined by halves, each of the lower one with its partner in the upper.
#[inline(always)]
fn fold_by(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [8, 4, 2, 1] {
        let (low, high) = lanes.split_at_mut(half);
        for (l, h) in low.iter_mut().zip(high.iter()) {
            *l = join(*l, *h);
        }
    }
    lanes[0]
}

/// Their sum.
#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    fold_by(lanes, |low, high| low + high)
}

/// Sum of the elements of `x`; 0 for an empty slice.
#[inline(always)]
pub fn sum(x: &[f32]) -> f32 {
    sum_of(x, |v| v)
}

/// Sum of what is made of each element.
#[inline(always)]
fn sum_of(x: &[f32], value: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (body, tail) = x.as_chunks::<LANES>();
    for chunk in body {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += value(*v);
        }
    }
    for (lane, v) in lanes.iter_mut().zip(tail) {
        *lane += value(*v);
    }
    fold(lanes)
}

/// Sum of `a[i] * b[i]`, each product rounded before it is added.
///
/// # Panics
/// When the lengths differ.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "dot product of vectors of different length");
    let [sum] = dots([a], b);
    sum
}

/// The dot products of some rows with `x`, all of the same length.
///
/// The additions of one lane wait for each other, those of several rows do not.
#[inline(always)]
fn dots<const ROWS: usize>(rows: [&[f32]; ROWS], x: &[f32]) -> [f32; ROWS] {
    let (x_body, x_tail) = x.as_chunks::<LANES>();
    let parts = rows.map(|row| row[..x.len()].as_chunks::<LANES>());
    let mut lanes = [[0.0f32; LANES]; ROWS];
    for (i, x) in x_body.iter().enumerate() {
        for (lanes, (body, _)) in lanes.iter_mut().zip(&parts) {
            for ((lane, row), x) in lanes.iter_mut().zip(&body[i]).zip(x) {
                *lane += *row * *x;
            }
        }
    }
    for (lanes, (_, tail)) in lanes.iter_mut().zip(&parts) {
        for ((lane, row), x) in lanes.iter_mut().zip(*tail).zip(x_tail) {
            *lane += *row * *x;
        }
    }
    lanes.map(fold)
}

/// See [`super::Numerics::dot_rows`].
#[inline(always)]
pub fn dot_rows(rows: &[f32], x: &[f32], out: &mut [f32]) {
    assert!(!x.is_empty() && rows.len() == out.len() * x.len(), "one output a row");
    let blocks = rows.chunks_exact(TOGETHER * x.len());
    let (block_outs, last_outs) = out.as_chunks_mut::<TOGETHER>();
    let last_rows = blocks.remainder().chunks_exact(x.len());
    for (block, out) in blocks.zip(block_outs) {
        let row = |r| &block[r * x.len()..(r + 1) * x.len()];
        *out = dots(std::array::from_fn::<_, TOGETHER, _>(row), x);
    }
    for (row, out) in last_rows.zip(last_outs) {
        *out = dot(row, x);
    }
}

/// Sum of `x[i] * x[i]`, what [`dot`] gives, whose lanes the compiler divides among smaller registers where it is alone. Finite
/// only if every element is finite and the sum does not overflow.
#[inline(always)]
pub fn sum_of_squares(x: &[f32]) -> f32 {
    sum_of(x, |v| v * v)
}

/// Largest `|x[i]|`; 0 for an empty slice. A NaN is skipped: see [`all_finite`].
#[inline(always)]
pub fn max_abs(x: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (body, tail) = x.as_chunks::<LANES>();
    for chunk in body {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = larger(v.abs(), *lane);
        }
    }
    for (lane, v) in lanes.iter_mut().zip(tail) {
        *lane = larger(v.abs(), *lane);
    }
    largest(lanes)
}

/// Largest magnitude of `value(a[i], b[i])`, 0 for empty slices; none where one is not finite.
///
/// # Panics
/// When the lengths differ.
#[inline(always)]
pub fn max_abs_of(a: &[f32], b: &[f32], value: impl Fn(f32, f32) -> f32) -> Option<f32> {
    assert_eq!(a.len(), b.len(), "two operands a value");
    let (mut lanes, mut all) = ([0.0f32; LANES], [0u32; LANES]);
    let mut take = |a: &[f32], b: &[f32]| {
        for (((lane, all), a), b) in lanes.iter_mut().zip(&mut all).zip(a).zip(b) {
            let value = value(*a, *b);
            *all |= finiteness(value);
            *lane = larger(value.abs(), *lane);
        }
    };
    let ((a_body, a_tail), (b_body, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    a_body.iter().zip(b_body).for_each(|(a, b)| take(a, b));
    take(a_tail, b_tail);
    is_finite(all.iter().fold(0, |all, lane| all | lane)).then(|| largest(lanes))
}

/// Largest element; negative infinity for an empty slice. A NaN is skipped.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (body, tail) = x.as_chunks::<LANES>();
    for chunk in body {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*v, *lane);
        }
    }
    for (lane, v) in lanes.iter_mut().zip(tail) {
        *lane = larger(*v, *lane);
    }
    largest(lanes)
}

/// The largest lane, none of which is a NaN.
#[inline(always)]
fn largest(lanes: [f32; LANES]) -> f32 {
    fold_by(lanes, |low, high| larger(high, low))
}

/// `candidate` if it is greater than `best`, else `best`. Unlike `f32::max` this says what happens to a NaN
/// candidate (it loses), and is one instruction everywhere.
#[inline(always)]
fn larger(candidate: f32, best: f32) -> f32 {
    if candidate > best { candidate } else { best }
}

/// See [`super::Numerics::all_finite`].
#[inline(always)]
pub fn all_finite(x: &[f32]) -> bool {
    is_finite(x.iter().fold(0, |all, v| all | finiteness(*v)))
}

/// Bits that tell, together with those of others, whether all of them are finite: see [`is_finite`].
#[inline(always)]
pub fn finiteness(v: f32) -> u32 {
    const EXPONENT: u32 = 0x7f80_0000;
    const LOWEST_OF_IT: u32 = 0x0080_0000;
    // An exponent of ones is carried into the sign.
    (v.to_bits() & EXPONENT) + LOWEST_OF_IT
}

/// Whether all are finite whose [`finiteness`] has been joined by `|`.
#[inline(always)]
pub fn is_finite(all: u32) -> bool {
    all >> 31 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_sixteen_apart_meet_before_neighbours() {
        // In lane order 1e8 and -1e8 cancel in lane 0 and the 1 survives; left to right it would be lost.
        let mut x = [0.0f32; 17];
        x[0] = 1e8;
        x[1] = 1.0;
        x[16] = -1e8;
        assert_eq!(sum(&x), 1.0);
        assert_eq!(dot(&x, &[1.0; 17]), 1.0);
    }

    #[test]
    fn lanes_fold_by_halves() {
        for distance in [8, 4, 2] {
            let mut x = [0.0f32; 16];
            x[0] = 1e8;
            x[1] = 1.0;
            x[distance] = -1e8;
            // Lane `distance` cancels lane 0 before lane 1 arrives there.
            assert_eq!(sum(&x), 1.0, "distance {distance}");
        }
        let mut x = [0.0f32; 16];
        x[0] = 1e8;
        x[8] = 1.0;
        x[1] = -1e8;
        // Lane 8 is added to lane 0 first, where its 1 is rounded away.
        assert_eq!(sum(&x), 0.0);
    }

    #[test]
    fn small_integers_are_exact_for_every_length() {
        for n in 0..70usize {
            let a: Vec<f32> = (0..n).map(|i| i as f32 - 20.0).collect();
            let b: Vec<f32> = (0..n).map(|i| 3.0 - (i % 7) as f32).collect();
            let expected: i64 = (0..n as i64).map(|i| (i - 20) * (3 - i % 7)).sum();
            assert_eq!(dot(&a, &b), expected as f32);
            assert_eq!(sum(&a), (0..n as i64).map(|i| i - 20).sum::<i64>() as f32);
            assert_eq!(sum_of_squares(&a), (0..n as i64).map(|i| (i - 20).pow(2)).sum::<i64>() as f32);
        }
    }

    #[test]
    fn rows_together_are_rows_alone() {
        for (rows, cols) in [(1, 5), (2, 16), (3, 37), (8, 64), (5, 100)] {
            let value = |i: usize| ((i * 7919 % 1013) as f32 - 506.0) * 0.37;
            let matrix: Vec<f32> = (0..rows * cols).map(value).collect();
            let x: Vec<f32> = (0..cols).map(|i| value(i + 55)).collect();
            let mut out = vec![f32::NAN; rows];
            dot_rows(&matrix, &x, &mut out);
            let alone: Vec<f32> = matrix.chunks(cols).map(|row| dot(row, &x)).collect();
            assert_eq!(out, alone, "{rows}x{cols}");
        }
    }

    #[test]
    fn maxima_find_every_place() {
        for n in 1..40usize {
            for place in 0..n {
                let mut x: Vec<f32> = (0..n).map(|i| -1.0 - i as f32 / 64.0).collect();
                x[place] = -0.5;
                assert_eq!(max(&x), -0.5);
                x[place] = -9.5;
                assert_eq!(max_abs(&x), 9.5);
            }
        }
        assert_eq!(max_abs(&[]), 0.0);
        assert_eq!(max(&[]), f32::NEG_INFINITY);
    }

    #[test]
    fn one_bad_element_is_seen_wherever_it_is() {
        for n in 1..40usize {
            assert!(all_finite(&vec![f32::MAX; n]));
            for place in 0..n {
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = vec![0.0f32; n];
                    x[place] = bad;
                    assert!(!all_finite(&x));
                    assert!(!sum_of_squares(&x).is_finite());
                }
            }
        }
    }
}
