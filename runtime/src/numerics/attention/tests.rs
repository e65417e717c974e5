//! Against a softmax in f64, with the error that the rounding of a cache's type explains.

use super::*;
use crate::numerics::Numerics;
use crate::numerics::kv_block::{KvShape, KvType};

fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// One query over the first `visible` of the keys and values.
fn attend_flat(kv_type: KvType, query: &[f32], keys: &[f32], values: &[f32], visible: usize) -> Vec<f32> {
    let (numerics, head_dim) = (Numerics::portable(), query.len());
    let block = KvBlock::new(KvShape { kv_type, kv_heads: 1, head_dim }).unwrap();
    let mut blocks = vec![block; (keys.len() / head_dim).div_ceil(CHUNK)];
    for (position, (key, value)) in keys.chunks(head_dim).zip(values.chunks(head_dim)).enumerate() {
        numerics.store_kv(&mut blocks[position / CHUNK], position % CHUNK, key, value).unwrap();
    }
    let queries = Queries { values: query, stride: head_dim, tokens: 1, heads: 1, head_dim, visible };
    let mut out = vec![7.0; head_dim];
    let head = HeadBlocks { blocks: &blocks, kv_head: 0 };
    numerics.attend(&queries, &head, &mut Workspace::default(), &mut out);
    out
}

#[test]
fn against_a_plain_f64_softmax() {
    for (head_dim, visible) in [(64, 1), (64, 127), (64, 128), (64, 129), (100, 300), (6, 513), (16, 40)] {
        let query: Vec<f32> = noise(head_dim, 1).iter().map(|v| v * 4.0).collect();
        let keys = noise(visible * head_dim, 2);
        let values = noise(visible * head_dim, 3);
        let root = (head_dim as f64).sqrt();
        let (mut scores, mut magnitude) = (Vec::new(), 0.0f64);
        for key in keys.chunks(head_dim) {
            let products = query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k));
            scores.push(products.clone().sum::<f64>() / root);
            magnitude = magnitude.max(products.map(f64::abs).sum::<f64>() / root);
        }
        let max = scores.iter().fold(f64::MIN, |m, s| m.max(*s));
        let weights: Vec<f64> = scores.iter().map(|s| libm::exp(s - max)).collect();
        let total: f64 = weights.iter().sum();
        let query_sum: f64 = query.iter().map(|q| f64::from(q.abs())).sum::<f64>() / root;
        for kv_type in KvType::ALL {
            // Keys and values are at most 1. Relative error of a product and of a weight, and error of a score and of a
            // value: half of the last of 11, 13 or 16 bits; half a step of the 127 of int8. A score that is off by e moves
            // the result by 2e at most, for weights and their sum each change by a factor of exp(e).
            let (score_error, value_error) = match kv_type {
                KvType::F32 => (0.0, 0.0),
                KvType::F16 => {
                    (magnitude * (2f64.powi(-12) + 2f64.powi(-14)), 2f64.powi(-12) + 2f64.powi(-13))
                }
                KvType::Int8 => {
                    (magnitude * 2f64.powi(-17) + query_sum * 0.5 / 127.0, 0.5 / 127.0 + 2f64.powi(-16))
                }
            };
            let bound = 2.0 * score_error * score_error.exp() + value_error + 2e-6;
            let ours = attend_flat(kv_type, &query, &keys, &values, visible);
            for (c, found) in ours.iter().enumerate() {
                let channel = values.iter().skip(c).step_by(head_dim);
                let exact = weights.iter().zip(channel).map(|(w, v)| w * f64::from(*v)).sum::<f64>() / total;
                let error = (f64::from(*found) - exact).abs();
                assert!(
                    error < bound,
                    "{kv_type}, head of {head_dim}, {visible} keys, {c}: {error:e}, {bound:e}"
                );
            }
        }
    }
}

#[test]
fn a_dominant_key_in_a_later_chunk_wins_and_one_key_is_copied() {
    let head_dim = 8;
    let mut keys = vec![0.0; 300 * head_dim];
    keys[200 * head_dim] = 1000.0;
    // Numbers that each type holds exactly: with the greatest magnitude 127, the scale of int8 is 1.
    let mut values: Vec<f32> = noise(300 * head_dim, 9).iter().map(|v| (v * 126.0).round()).collect();
    values.chunks_mut(head_dim).for_each(|value| value[0] = 127.0);
    let mut query = vec![0.0; head_dim];
    query[0] = 1.0;
    for kv_type in KvType::ALL {
        // The score of key 200 is more than 40 / log2(e) above all others, whose weight is therefore 0.
        let out = attend_flat(kv_type, &query, &keys, &values, 300);
        assert_eq!(out, values[200 * head_dim..201 * head_dim], "{kv_type}");
        // With zero scores everywhere and two keys, the mean of two values.
        let mean = attend_flat(kv_type, &vec![0.0; head_dim], &keys, &values, 2);
        for c in 0..head_dim {
            assert_eq!(mean[c], (values[c] + values[head_dim + c]) * 0.5, "{kv_type}");
        }
    }
}

#[test]
fn zeros_and_tiny_vectors_in_int8_are_zeros() {
    let head_dim = 16;
    let mut values = vec![1.0; 3 * head_dim];
    values[..head_dim].fill(0.0);
    values[head_dim..2 * head_dim].fill(1e-30);
    let out = attend_flat(KvType::Int8, &vec![1.0; head_dim], &vec![0.0; 3 * head_dim], &values, 3);
    assert!(out.iter().all(|out| (out - 1.0 / 3.0).abs() < 1e-4), "{out:?}");
}

#[test]
fn a_nan_is_not_hidden() {
    let head_dim = 4;
    let attend =
        |keys: &[f32], visible| attend_flat(KvType::F32, &[1.0; 4], keys, &noise(200 * head_dim, 5), visible);
    let mut keys = noise(200 * head_dim, 4);
    keys[150 * head_dim] = f32::NAN;
    assert!(attend(&keys, 200).iter().all(|v| v.is_nan()));
    // A score of negative infinity is not a weight of zero.
    keys[150 * head_dim] = f32::NEG_INFINITY;
    assert!(attend(&keys, 200).iter().all(|v| v.is_nan()));
    // Not visible: not seen.
    assert!(attend(&keys, 150).iter().all(|v| v.is_finite()));
}
