//! Causal softmax attention of one query head over the keys and values in front of it.
//!
//! The keys are cut into chunks of [`CHUNK`] at absolute positions. Each chunk has its own maximum, sum and
//! weighted sum of values; the chunks are folded left to right from chunk 0. What a token sees is thus
//! computed in an order that depends on its position alone, never on the batch that it arrived in.

use super::exp::{LOG2_E, exp2};
use super::reduce::{all_finite, dot_rows, max, sum};

/// Keys a chunk.
pub const CHUNK: usize = 128;

/// Where the keys and values of one head lie: those of positions `c * CHUNK ..` in block c of a cache.
#[derive(Clone, Copy, Debug)]
pub struct HeadBlocks<'a> {
    /// The blocks, of this head and of others.
    pub blocks: &'a [Vec<f32>],
    /// Index in each block of this head's keys, `[positions][head_dim]`.
    pub keys: usize,
    /// The same of its values.
    pub values: usize,
}

impl<'a> HeadBlocks<'a> {
    /// The first `len` elements of the keys and of the values in one block.
    ///
    /// # Panics
    /// When there is no such block, or it is too short.
    #[inline(always)]
    pub fn chunk(&self, block: usize, len: usize) -> (&'a [f32], &'a [f32]) {
        let block = &self.blocks[block];
        (&block[self.keys..][..len], &block[self.values..][..len])
    }
}

/// See [`super::Numerics::attend`].
#[inline(always)]
pub(super) fn attend(query: &[f32], visible: usize, head: &HeadBlocks<'_>, out: &mut [f32]) {
    assert!(visible > 0, "a token sees at least itself");
    assert_eq!(query.len(), out.len(), "one output a channel");
    let head_dim = query.len();
    // log2(e) turns the exponential of the softmax into a power of two.
    let scale = (LOG2_E / (head_dim as f64).sqrt()) as f32;
    let mut buffer = [0.0f32; CHUNK];
    let (mut total_max, mut total_sum) = (f32::NEG_INFINITY, 0.0f32);
    for index in 0..visible.div_ceil(CHUNK) {
        let keys_here = (visible - index * CHUNK).min(CHUNK);
        let (keys, values) = head.chunk(index, keys_here * head_dim);
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
///
/// The additions of one channel wait for each other, those of many do not.
#[inline(always)]
fn weighted_sum(weights: &[f32], values: &[f32], out: &mut [f32], combine: impl Fn(f32, f32) -> f32) {
    let head_dim = out.len();
    let rest = weighted_sums::<128>(weights, values, head_dim, out, &combine);
    let rest = weighted_sums::<64>(weights, values, head_dim, rest, &combine);
    let rest = weighted_sums::<16>(weights, values, head_dim, rest, &combine);
    let rest = weighted_sums::<4>(weights, values, head_dim, rest, &combine);
    weighted_sums::<1>(weights, values, head_dim, rest, &combine);
}

/// [`weighted_sum`] of the last channels of a head, so many at a time; returns those that are left.
#[inline(always)]
fn weighted_sums<'a, const CHANNELS: usize>(
    weights: &[f32],
    values: &[f32],
    head_dim: usize,
    out: &'a mut [f32],
    combine: impl Fn(f32, f32) -> f32,
) -> &'a mut [f32] {
    let first = head_dim - out.len();
    let (blocks, rest) = out.as_chunks_mut::<CHANNELS>();
    for (block, out) in blocks.iter_mut().enumerate() {
        let first = first + block * CHANNELS;
        let mut sums = [0.0f32; CHANNELS];
        for (weight, values) in weights.iter().zip(values.chunks_exact(head_dim)) {
            for (sum, value) in sums.iter_mut().zip(&values[first..first + CHANNELS]) {
                *sum += *weight * *value;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = combine(*out, sum);
        }
    }
    rest
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
        let mut out = vec![7.0; query.len()];
        let chunk_len = CHUNK * query.len();
        // A block that holds the keys of a whole chunk, then its values.
        let blocks: Vec<Vec<f32>> = (keys.chunks(chunk_len).zip(values.chunks(chunk_len)))
            .map(|(keys, values)| {
                let mut block = keys.to_vec();
                block.resize(chunk_len, f32::NAN);
                block.extend(values);
                block
            })
            .collect();
        attend(query, visible, &HeadBlocks { blocks: &blocks, keys: 0, values: chunk_len }, &mut out);
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
