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
}
