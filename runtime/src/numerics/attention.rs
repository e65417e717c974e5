//! Causal softmax attention of one query head over the keys and values in front of it.
//!
//! The keys are cut into chunks of [`CHUNK`] at absolute positions. Each chunk has its own maximum, sum and
//! weighted sum of values; the chunks are folded left to right from chunk 0. What a token sees is thus
//! computed in an order that depends on its position alone, never on the batch that it arrived in.

use super::exp::{LOG2_E, exp2};
use super::reduce::{LANES, all_finite, dot_rows, max, sum};

/// Keys a chunk.
pub const CHUNK: usize = 128;

/// `out = softmax(q . k / sqrt(head_dim)) v` over the first `visible` keys, for one head.
///
/// `chunk(c)` returns the keys and the values of positions `c * CHUNK ..`, both `[positions][head_dim]` and
/// at least as long as the visible part. head_dim is the length of `query` and of `out`.
///
/// Products are summed in lanes ([`super::reduce::dot`]), the exponentials likewise; in the weighted sum each
/// channel adds its keys in ascending order. A score that is not finite makes all of `out` NaN; a value that
/// is not finite makes its channel so.
///
/// # Panics
/// When `visible` is 0, a chunk is too short, or `out` has not the length of `query`.
pub fn attend<'a>(
    query: &[f32],
    visible: usize,
    chunk: impl Fn(usize) -> (&'a [f32], &'a [f32]),
    out: &mut [f32],
) {
    assert!(visible > 0, "a token sees at least itself");
    assert_eq!(query.len(), out.len(), "one output a channel");
    let head_dim = query.len();
    // log2(e) turns the exponential of the softmax into a power of two.
    let scale = (LOG2_E / (head_dim as f64).sqrt()) as f32;
    let mut buffer = [0.0f32; CHUNK];
    let (mut total_max, mut total_sum) = (f32::NEG_INFINITY, 0.0f32);
    for index in 0..visible.div_ceil(CHUNK) {
        let keys_here = (visible - index * CHUNK).min(CHUNK);
        let (keys, values) = chunk(index);
        let (keys, values) = (&keys[..keys_here * head_dim], &values[..keys_here * head_dim]);
        let weights = &mut buffer[..keys_here];
        dot_rows(keys, query, weights);
        for score in weights.iter_mut() {
            *score *= scale;
        }
        if !all_finite(weights) {
            // Negative infinity would otherwise pass as a weight of zero.
            out.fill(f32::NAN);
            return;
        }
        let chunk_max = max(weights);
        for weight in weights.iter_mut() {
            *weight = exp2(*weight - chunk_max);
        }
        let chunk_sum = sum(weights);
        if index == 0 {
            weighted_sum(weights, values, out, |_, new| new);
            (total_max, total_sum) = (chunk_max, chunk_sum);
        } else {
            let new_max = if chunk_max > total_max { chunk_max } else { total_max };
            let (old_factor, new_factor) = (exp2(total_max - new_max), exp2(chunk_max - new_max));
            weighted_sum(weights, values, out, |old, new| old * old_factor + new * new_factor);
            total_sum = total_sum * old_factor + chunk_sum * new_factor;
            total_max = new_max;
        }
    }
    let factor = 1.0 / total_sum;
    for o in out.iter_mut() {
        *o *= factor;
    }
}

/// `out[c] = combine(out[c], sum of weights[j] * values[j][c], j ascending)` for each channel c.
fn weighted_sum(weights: &[f32], values: &[f32], out: &mut [f32], combine: impl Fn(f32, f32) -> f32) {
    let head_dim = out.len();
    for (block, out) in out.chunks_mut(LANES).enumerate() {
        let first = block * LANES;
        let mut lanes = [0.0f32; LANES];
        if out.len() == LANES {
            for (weight, value) in weights.iter().zip(values.chunks_exact(head_dim)) {
                for (lane, v) in lanes.iter_mut().zip(&value[first..first + LANES]) {
                    *lane += *weight * *v;
                }
            }
        } else {
            for (weight, value) in weights.iter().zip(values.chunks_exact(head_dim)) {
                for (lane, v) in lanes.iter_mut().zip(&value[first..]) {
                    *lane += *weight * *v;
                }
            }
        }
        for (o, lane) in out.iter_mut().zip(lanes) {
            *o = combine(*o, lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..n).map(|_| next()).collect()
    }

    fn attend_flat(query: &[f32], keys: &[f32], values: &[f32], visible: usize) -> Vec<f32> {
        let chunk_len = CHUNK * query.len();
        let mut out = vec![7.0; query.len()];
        let part = |x: &'static [f32], c: usize| x.chunks(chunk_len).nth(c).unwrap();
        // The chunks must outlive the closure; tests may leak.
        let (keys, values): (&'static [f32], &'static [f32]) = (keys.to_vec().leak(), values.to_vec().leak());
        attend(query, visible, |c| (part(keys, c), part(values, c)), &mut out);
        out
    }

    #[test]
    fn against_a_plain_f64_softmax() {
        for (head_dim, visible) in [(64, 1), (64, 127), (64, 128), (64, 129), (100, 300), (6, 513), (16, 40)]
        {
            let query: Vec<f32> = noise(head_dim, 1).iter().map(|v| v * 4.0).collect();
            let keys = noise(visible * head_dim, 2);
            let values = noise(visible * head_dim, 3);
            let scores: Vec<f64> = (0..visible)
                .map(|j| {
                    let key = &keys[j * head_dim..];
                    query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>()
                        / (head_dim as f64).sqrt()
                })
                .collect();
            let max = scores.iter().fold(f64::MIN, |m, s| m.max(*s));
            let weights: Vec<f64> = scores.iter().map(|s| libm::exp(s - max)).collect();
            let total: f64 = weights.iter().sum();
            let ours = attend_flat(&query, &keys, &values, visible);
            for c in 0..head_dim {
                let exact =
                    (0..visible).map(|j| weights[j] * f64::from(values[j * head_dim + c])).sum::<f64>()
                        / total;
                assert!((f64::from(ours[c]) - exact).abs() < 2e-6, "hd {head_dim}, {visible} keys, {c}");
            }
        }
    }

    #[test]
    fn a_dominant_key_in_a_later_chunk_wins_and_one_key_is_copied() {
        let head_dim = 8;
        let mut keys = vec![0.0; 300 * head_dim];
        keys[200 * head_dim] = 1000.0;
        let values = noise(300 * head_dim, 9);
        let mut query = vec![0.0; head_dim];
        query[0] = 1.0;
        // The score of key 200 is more than 40 / log2(e) above all others, whose weight is therefore 0.
        assert_eq!(attend_flat(&query, &keys, &values, 300), values[200 * head_dim..201 * head_dim]);
        // With zero scores everywhere and two keys, the mean of two values.
        let mean = attend_flat(&vec![0.0; head_dim], &keys, &values, 2);
        for c in 0..head_dim {
            assert_eq!(mean[c], (values[c] + values[head_dim + c]) * 0.5);
        }
    }

    #[test]
    fn a_nan_is_not_hidden() {
        let head_dim = 4;
        let mut keys = noise(200 * head_dim, 4);
        keys[150 * head_dim] = f32::NAN;
        let out = attend_flat(&[1.0; 4], &keys, &noise(200 * head_dim, 5), 200);
        assert!(out.iter().all(|v| v.is_nan()));
        // A score of negative infinity is not a weight of zero.
        keys[150 * head_dim] = f32::NEG_INFINITY;
        let out = attend_flat(&[1.0; 4], &keys, &noise(200 * head_dim, 5), 200);
        assert!(out.iter().all(|v| v.is_nan()));
        // Not visible: not seen.
        let out = attend_flat(&[1.0; 4], &keys, &noise(200 * head_dim, 5), 150);
        assert!(out.iter().all(|v| v.is_finite()));
    }
}
