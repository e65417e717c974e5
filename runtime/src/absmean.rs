//! Absmean ternarisation, the weight quantisation of BitNet b1.58: m = max(mean|w|, 1e-5) over the whole matrix,
//! trit = clamp(round(w / m), -1, 1) with ties to even. Source: Hugging Face `WeightQuant`.

/// The smallest mean that weights are divided by.
const SMALLEST_MEAN: f64 = 1e-5;

/// The mean of |w|, at least 1e-5, summed in f64 in the order given; 1e-5 for no values at all. Not finite where a
/// value is not.
pub fn mean_magnitude(values: impl IntoIterator<Item = f32>) -> f64 {
    let (mut sum, mut count) = (0.0, 0u64);
    for value in values {
        sum += f64::from(value).abs();
        count += 1;
    }
    let mean = sum / count.max(1) as f64;
    // Not `max`, which would hide a NaN.
    if mean < SMALLEST_MEAN { SMALLEST_MEAN } else { mean }
}

/// The trit of a weight.
pub fn trit(weight: f32, mean: f64) -> i8 {
    (f64::from(weight) / mean).round_ties_even().clamp(-1.0, 1.0) as i8
}

/// [`trit`] for many weights and one mean: a trit grows with its weight, so that two comparisons decide it.
#[derive(Debug, Clone, Copy)]
pub struct Trits {
    /// The least weight whose trit is 1; its negative is the greatest whose trit is -1.
    least: f32,
}

impl Trits {
    /// For weights divided by `mean`, which is finite and above zero.
    pub fn new(mean: f64) -> Self {
        // Floats above zero are in the order of their bits; the trit of zero is 0, that of infinity 1.
        let (mut zero, mut one) = (0, f32::INFINITY.to_bits());
        while one - zero > 1 {
            let middle = zero + (one - zero) / 2;
            *if trit(f32::from_bits(middle), mean) == 1 { &mut one } else { &mut zero } = middle;
        }
        Trits { least: f32::from_bits(one) }
    }

    /// The trit of a weight.
    #[inline(always)]
    pub fn of(self, weight: f32) -> i8 {
        i8::from(weight >= self.least) - i8::from(weight <= -self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example() {
        let w = [0.3, -0.05, 0.1, -0.6];
        let mean = mean_magnitude(w);
        assert!((mean - 0.2625).abs() < 1e-8);
        assert_eq!(w.map(|w| trit(w, mean)), [1, 0, 0, -1]);
    }

    #[test]
    fn ties_go_to_even_and_tiny_matrices_have_a_floor() {
        assert_eq!([0.5, -0.5, 1.5, 0.75].map(|w| trit(w, 1.0)), [0, 0, 1, 1]);
        assert_eq!(mean_magnitude([0.0, 1e-9]), 1e-5);
        assert_eq!(mean_magnitude([]), 1e-5);
        assert!(mean_magnitude([1.0, f32::NAN]).is_nan());
    }

    #[test]
    fn comparisons_decide_as_the_quotient_does() {
        let mut bits = 1u32;
        for mean in [1e-5, 0.015_625, 0.262_5, 0.3, 1.0, 1.0 / 3.0, 77.7, 3e38] {
            let trits = Trits::new(mean);
            let near = (trits.least.to_bits() - 100..trits.least.to_bits() + 100).map(f32::from_bits);
            let any = (0..20_000).map(|_| {
                bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from_bits(bits ^ bits >> 11)
            });
            for weight in near.chain(any).chain([0.0, f32::MIN_POSITIVE, f32::MAX, f32::INFINITY]) {
                for weight in [weight, -weight] {
                    assert_eq!(trits.of(weight), trit(weight, mean), "{weight} / {mean}");
                }
            }
        }
    }
}
