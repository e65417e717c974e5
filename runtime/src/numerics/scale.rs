//! From the integer sums of a ternary product to its results: times the weights' scale and one over the activations',
//! rounded after each.

use super::reduce::{finiteness, is_finite};

/// See [`super::Numerics::scale_by_tensor`].
#[inline(always)]
pub fn by_tensor(sums: &[i32], scale: f32, inverse: f32, out: &mut [f32]) -> bool {
    assert_eq!(sums.len(), out.len(), "one result a sum");
    let mut all = 0;
    for (out, sum) in out.iter_mut().zip(sums) {
        *out = (*sum as f32 * scale) * inverse;
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
