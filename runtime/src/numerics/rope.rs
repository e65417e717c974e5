//! Rotary position embedding, rotate-half pairing: element `i` of a head is paired with `i + head_dim / 2`.
//!
//! The angle of pair `i` at position `p` is `p * theta^(-2 i / head_dim)`. Angles, sines and cosines are f64
//! (the `libm` crate: pure Rust, the same bits on every platform) and are rounded to f32 once.

use super::Numerics;

/// Cosines and sines for the positions used so far.
#[derive(Clone, Debug)]
pub struct RopeTable {
    frequencies: Vec<f64>,
    /// `[position][head_dim / 2]`, as are the sines.
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl RopeTable {
    /// An empty table for heads of `head_dim` elements (even) and base `theta`.
    ///
    /// # Panics
    /// When `head_dim` is odd.
    pub fn new(head_dim: usize, theta: f64) -> Self {
        assert!(head_dim.is_multiple_of(2), "rotary embedding pairs the elements of a head");
        let frequencies =
            (0..head_dim / 2).map(|i| libm::pow(theta, -2.0 * i as f64 / head_dim as f64)).collect();
        Self { frequencies, cosines: Vec::new(), sines: Vec::new() }
    }

    /// Makes positions 0..`positions` available. Costs time only for the positions that are new.
    pub fn extend_to(&mut self, positions: usize) {
        let half = self.frequencies.len();
        for position in self.cosines.len() / half..positions {
            let angles = self.frequencies.iter().map(|frequency| position as f64 * frequency);
            self.cosines.extend(angles.clone().map(|angle| libm::cos(angle) as f32));
            self.sines.extend(angles.map(|angle| libm::sin(angle) as f32));
        }
    }

    /// Rotates each head in `heads` (`[any number][head_dim]`) in place to `position`.
    ///
    /// # Panics
    /// When [`RopeTable::extend_to`] has not covered `position`, or `heads` is not whole heads.
    pub fn rotate(&self, numerics: &Numerics, position: usize, heads: &mut [f32]) {
        let half = self.frequencies.len();
        let angles = position * half..(position + 1) * half;
        numerics.rotate_heads(&self.cosines[angles.clone()], &self.sines[angles], heads);
    }
}

/// See [`Numerics::rotate_heads`].
#[inline(always)]
pub(super) fn rotate_heads(cosines: &[f32], sines: &[f32], heads: &mut [f32]) {
    let half = cosines.len();
    assert_eq!(half, sines.len(), "a sine for every cosine");
    assert!(half > 0 && heads.len().is_multiple_of(2 * half), "whole heads");
    for head in heads.chunks_exact_mut(2 * half) {
        let (first, second) = head.split_at_mut(half);
        for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
            let (x, y) = (*a, *b);
            *a = x * *cos - y * *sin;
            *b = y * *cos + x * *sin;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_zero_changes_nothing() {
        let mut table = RopeTable::new(4, 1e4);
        table.extend_to(1);
        let mut head = [1.0, 2.0, 3.0, 4.0];
        table.rotate(&Numerics::portable(), 0, &mut head);
        assert_eq!(head, [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn pairs_are_half_a_head_apart_and_frequencies_fall() {
        let mut table = RopeTable::new(4, 10_000.0);
        table.extend_to(4);
        // Two heads: a unit vector in element 0 turns by 3 radians towards element 2, one in element 3 by
        // 3 * 10000^(-1/2) = 0.03 away from element 1.
        let mut heads = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
        table.rotate(&Numerics::portable(), 3, &mut heads);
        let near = |a: f32, b: f64| assert!((f64::from(a) - b).abs() < 1e-7, "{a} is not {b}");
        near(heads[0], -0.989_992_496_600_445_4); // cos 3
        near(heads[2], 0.141_120_008_059_867_2); // sin 3
        near(heads[7], 0.999_550_033_748_987_5); // cos 0.03
        near(heads[5], -0.029_995_500_202_495_7); // -sin 0.03
        assert_eq!([heads[1], heads[3], heads[4], heads[6]], [0.0; 4]);
    }

    #[test]
    fn growing_in_steps_gives_the_same_table() {
        let mut once = RopeTable::new(64, 5e5);
        once.extend_to(300);
        let mut steps = RopeTable::new(64, 5e5);
        for n in [1, 2, 17, 128, 300, 5] {
            steps.extend_to(n);
        }
        assert_eq!((&once.cosines, &once.sines), (&steps.cosines, &steps.sines));
        assert_eq!((once.cosines.len(), once.sines.len()), (300 * 32, 300 * 32));
    }
}
