//! Making the weights of a head smaller: from floats to 8-bit integers with a scale a row.

use crate::numerics::exp::nearest_integer;
use crate::numerics::max_abs;

/// `max|w| / 127` is returned as the row's scale, `q = round_half_even(w / scale)`. A row of zeros, or of values so small
/// that their scale is no normal number, gets the scale 0. The values must be finite.
///
/// # Panics
/// When the lengths differ.
pub fn int8_row(row: &[f32], q: &mut [i8]) -> f32 {
    assert_eq!(row.len(), q.len(), "an integer a weight");
    let scale = max_abs(row) / 127.0;
    if scale < f32::MIN_POSITIVE {
        q.fill(0);
        return 0.0;
    }
    for (q, w) in q.iter_mut().zip(row) {
        // Of magnitude at most 127.
        *q = nearest_integer(w / scale) as i8;
    }
    scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int8_by_hand() {
        let mut q = [0; 5];
        // The scale is 1/64: 2.5 / 64 and -3.5 / 64 tie to even.
        let row = [127.0 / 64.0, 2.5 / 64.0, -3.5 / 64.0, 0.0, -127.0 / 64.0];
        assert_eq!((int8_row(&row, &mut q), q), (1.0 / 64.0, [127, 2, -4, 0, -127]));
        assert_eq!((int8_row(&[0.0, -0.0], &mut q[..2]), &q[..2]), (0.0, &[0, 0][..]));
        assert_eq!((int8_row(&[1e-44], &mut q[..1]), q[0]), (0.0, 0));
        assert_eq!(
            (int8_row(&[f32::MAX, -f32::MAX, 0.0], &mut q[..3]), &q[..3]),
            (f32::MAX / 127.0, &[127, -127, 0][..])
        );
    }
}
