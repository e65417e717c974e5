//! The numerics by definition: scalar code, one element after the other, in the order that the profile `exact` fixes.

use tritforge::model::KvType;

/// Keys of a chunk of attention.
pub const CHUNK: usize = 128;

/// A sum by the rule: element i to lane `i % 16`, ascending, then lanes folded by halves.
fn sum(values: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (i, value) in values.enumerate() {
        lanes[i % 16] += value;
    }
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// Products are rounded before they are added.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum(a.iter().zip(b).map(|(a, b)| a * b))
}

/// `None` where the sum of squares is not finite.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Option<Vec<f32>> {
    let squares = dot(x, x);
    let factor = 1.0 / (squares / x.len() as f32 + eps).sqrt();
    squares.is_finite().then(|| x.iter().zip(weight).map(|(x, w)| (x * factor) * w).collect())
}

/// The nearest integer, of two that are equally near the even one: exact, for f64 holds every f32 and its half.
fn round_half_even(x: f32) -> i64 {
    let (x, floor) = (f64::from(x), f64::from(x).floor());
    let low = floor as i64;
    match x - floor {
        above if above < 0.5 => low,
        above if above > 0.5 => low + 1,
        _ => low + low.rem_euclid(2),
    }
}

/// The quantised values, their sum, and the scale.
pub fn quantize_row(x: &[f32]) -> (Vec<i8>, i32, f32) {
    let mut max = 1e-5f32;
    for x in x {
        if x.abs() > max {
            max = x.abs();
        }
    }
    let scale = 127.0 / max;
    let q: Vec<i64> = x.iter().map(|x| round_half_even(x * scale).clamp(-128, 127)).collect();
    (q.iter().map(|q| *q as i8).collect(), q.iter().sum::<i64>() as i32, scale)
}

/// Heads, rotated.
pub fn rotate_heads(cosines: &[f32], sines: &[f32], heads: &[f32]) -> Vec<f32> {
    let half = cosines.len();
    let rotated = |(i, x): (usize, &f32)| match i % (2 * half) {
        first if first < half => x * cosines[first] - heads[i + half] * sines[first],
        second => x * cosines[second - half] + heads[i - half] * sines[second - half],
    };
    heads.iter().enumerate().map(rotated).collect()
}

/// 2^t for t up to 0: 0 below -40, else 2^n (1 + f p(f)) with n the nearest integer, f = t - n and the polynomial p of
/// the profile.
fn exp2(t: f32) -> f32 {
    if t < -40.0 {
        return 0.0;
    }
    if t.is_nan() {
        return t;
    }
    let n = round_half_even(t);
    let f = t - n as f32;
    let coefficients =
        [0.000_154_531_63, 0.001_339_086_3, 0.009_618_083, 0.055_503_57, 0.240_226_5, std::f32::consts::LN_2];
    let p = coefficients.into_iter().reduce(|p, c| p * f + c).unwrap_or(0.0);
    (p * f + 1.0) / (1i64 << -n) as f32
}

fn max(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, |max, value| if value > max { value } else { max })
}

/// `x` to the nearest number of so many significant bits, halves away from zero, and to 0 below 2^-60.
fn significant(x: f32, bits: i32) -> f32 {
    if !x.is_finite() || x == 0.0 {
        return x;
    }
    // Every f32 is a normal f64, and these products are exact.
    let exponent = (f64::from(x).abs().to_bits() >> 52) as i32 - 1023;
    let unit = 2f64.powi(exponent + 1 - bits);
    let rounded = ((f64::from(x) / unit).round() * unit) as f32;
    if rounded.abs() < 2f32.powi(-60) { 0.0 } else { rounded }
}

/// The f16 nearest to `x`, ties to even, with subnormal ones as zero: by the definition of the format.
fn half(x: f32) -> f32 {
    if x == 0.0 {
        return x;
    }
    let exponent = (f64::from(x).abs().to_bits() >> 52) as i32 - 1023;
    let unit = 2f64.powi(exponent - 10);
    let rounded = (round_half_even_f64(f64::from(x) / unit) * unit) as f32;
    if rounded.abs() < 2f32.powi(-14) { 0.0 } else { rounded }
}

fn round_half_even_f64(x: f64) -> f64 {
    let floor = x.floor();
    match x - floor {
        above if above < 0.5 => floor,
        above if above > 0.5 => floor + 1.0,
        _ => floor + floor.rem_euclid(2.0),
    }
}

/// What a cache keeps of one head's key or value: its elements, and the scale that they are multiplied with.
pub fn stored(kv_type: KvType, x: &[f32]) -> (Vec<f32>, f32) {
    match kv_type {
        KvType::F32 => (x.to_vec(), 1.0),
        KvType::F16 => (x.iter().map(|x| half(*x)).collect(), 1.0),
        KvType::Int8 => {
            let largest =
                x.iter().fold(0.0f32, |largest, x| if x.abs() > largest { x.abs() } else { largest });
            if largest < 2f32.powi(-60) {
                return (vec![0.0; x.len()], 0.0);
            }
            let factor = 127.0 / largest;
            (x.iter().map(|x| round_half_even(x * factor) as f32).collect(), largest / 127.0)
        }
    }
}

/// Attention over keys and values `[visible][head_dim]` from a cache of a type.
pub fn attend(kv_type: KvType, query: &[f32], keys: &[f32], values: &[f32]) -> Vec<f32> {
    let head_dim = query.len();
    let bits = match kv_type {
        KvType::F32 => None,
        KvType::F16 => Some(13),
        KvType::Int8 => Some(16),
    };
    let rounded = |x: f32| bits.map_or(x, |bits| significant(x, bits));
    let query: Vec<f32> = query.iter().map(|q| rounded(*q)).collect();
    let scale = (std::f64::consts::LOG2_E / (head_dim as f64).sqrt()) as f32;
    let mut folded: Option<(f32, f32, Vec<f32>)> = None;
    for (keys, values) in keys.chunks(CHUNK * head_dim).zip(values.chunks(CHUNK * head_dim)) {
        let scores: Vec<f32> = keys
            .chunks(head_dim)
            .map(|key| {
                let (key, key_scale) = stored(kv_type, key);
                dot(&key, &query) * key_scale * scale
            })
            .collect();
        if scores.iter().any(|score| !score.is_finite()) {
            return vec![f32::NAN; head_dim];
        }
        let here = max(&scores);
        let mut weights: Vec<f32> = scores.iter().map(|score| exp2(score - here)).collect();
        if kv_type == KvType::F16 {
            weights.iter_mut().for_each(|weight| *weight = rounded(*weight));
        }
        let total = sum(weights.iter().copied());
        let mut out = vec![0.0f32; head_dim];
        for (weight, value) in weights.iter().zip(values.chunks(head_dim)) {
            let (value, value_scale) = stored(kv_type, value);
            let weight = rounded(weight * value_scale);
            for (out, value) in out.iter_mut().zip(value) {
                *out += weight * value;
            }
        }
        folded = Some(match folded {
            None => (here, total, out),
            Some((before, total_before, out_before)) => {
                let both = max(&[before, here]);
                let (old, new) = (exp2(before - both), exp2(here - both));
                let out = out_before.iter().zip(&out).map(|(a, b)| a * old + b * new).collect();
                (both, total_before * old + total * new, out)
            }
        });
    }
    let Some((_, total, out)) = folded else { return Vec::new() };
    let factor = 1.0 / total;
    out.into_iter().map(|out| out * factor).collect()
}

/// Squared ReLU of the gate, times up.
pub fn relu2_gate(gate: f32, up: f32) -> f32 {
    let positive = if gate < 0.0 { 0.0 } else { gate };
    (positive * positive) * up
}

/// The logistic function of the gate times the gate, times up.
pub fn silu_gate(gate: f32, up: f32) -> f32 {
    let e = exp2(-gate.abs() * std::f32::consts::LOG2_E);
    let numerator = if gate < 0.0 { e } else { 1.0 };
    gate * (numerator / (1.0 + e)) * up
}
