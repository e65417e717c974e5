//! From the integer sums of a ternary product to its results: times the weights' scale and one over the activations',
//! rounded after each.

use super::reduce::{finiteness, is_finite};

/// No sum has a greater magnitude.
const LARGEST_SUM: f32 = 2_147_483_648.0;

/// See [`super::Numerics::scale_by_tensor`].
#[inline(always)]
pub fn by_tensor(sums: &[i32], scale: f32, inverse: f32, out: &mut [f32]) -> bool {
    assert_eq!(sums.len(), out.len(), "one result a sum");
    let result = |sum: i32| (sum as f32 * scale) * inverse;
    // The result of the largest is the largest: rounding keeps the order. It is hardly ever so large that one has to look.
    if ((LARGEST_SUM * scale) * inverse).is_finite() {
        out.iter_mut().zip(sums).for_each(|(out, sum)| *out = result(*sum));
        return true;
    }
    let mut all = 0;
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = result(*sum);
        all |= finiteness(*out);
    }
    is_finite(all)
}

/// See [`super::Numerics::scale_by_row`].
#[inline(always)]
pub fn by_row(sums: &[i32], scales: &[f32], inverse: f32, out: &mut [f32]) -> bool {
    assert_eq!((sums.len(), scales.len()), (out.len(), out.len()), "one result and one scale a sum");
    let mut all = 0;
    for ((out, sum), scale) in out.iter_mut().zip(sums).zip(scales) {
        *out = (*sum as f32 * scale) * inverse;
        all |= finiteness(*out);
    }
    is_finite(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_result_that_is_not_finite_is_seen_wherever_it_is() {
        let mut out = [0.0; 40];
        for place in 0..40 {
            let mut sums = [0; 40];
            for (sum, scale, inverse) in
                [(i32::MIN, 1e30, 1.0), (3, 2e38, 1.0), (5, 1e19, 1e19), (-5, f32::MAX, 0.5)]
            {
                sums[place] = sum;
                assert!(!by_tensor(&sums, scale, inverse, &mut out), "{sum} * {scale} * {inverse}");
                assert!(out[place].is_infinite());
                assert!(by_tensor(&[1; 40], scale, inverse, &mut out), "{scale} * {inverse}");
            }
            for scale in [f32::NAN, f32::INFINITY] {
                assert!(!by_tensor(&sums, scale, 1.0, &mut out));
            }
        }
        assert!(by_tensor(&[i32::MIN, i32::MAX, 7], 0.5, 0.25, &mut out[..3]));
        assert_eq!(out[..3], [-268_435_456.0, 268_435_456.0, 0.875]);
    }
}
