//! What works on one vector, or on rows.

use tritforge::numerics::Numerics;
use tritforge::numerics::rms_norm::NotFinite;
use tritforge_tests::Random;

use super::operands::{FINITE, Kind, compare, lengths, vector};
use super::oracle;

type Outcome = Result<(), String>;

/// Every length with every kind of finite values, and with those that are not.
fn every_vector(mut check: impl FnMut(Kind, usize) -> Outcome) -> Outcome {
    lengths()
        .try_for_each(|len| FINITE.into_iter().chain([Kind::NotFinite]).try_for_each(|kind| check(kind, len)))
}

pub fn rms_norm(numerics: &Numerics) -> Outcome {
    every_vector(|kind, len| {
        let (x, weight) = (vector(kind, len, 1), vector(Kind::Plain, len, 2));
        for eps in [0.0, 1e-5, 1.0] {
            let mut out = vec![7.0; len];
            let result = numerics.rms_norm(&x, &weight, eps, &mut out);
            match (result, oracle::rms_norm(&x, &weight, eps)) {
                (Ok(()), Some(expected)) => compare(format!("{kind:?}, {len}, {eps}"), &out, &expected)?,
                (Err(NotFinite), None) => {}
                (result, expected) => {
                    return Err(format!("{kind:?}, {len}: {result:?}, expected {:?}", expected.is_some()));
                }
            }
        }
        Ok(())
    })
}

pub fn quantize_row(numerics: &Numerics) -> Outcome {
    every_vector(|kind, len| {
        if matches!(kind, Kind::NotFinite) {
            // Nothing is promised for these, but that it returns.
            numerics.quantize_row(&vector(kind, len, 1), &mut vec![0; len]);
            return Ok(());
        }
        for (name, factor) in [("as they are", 1.0), ("near the floor of the scale", 1e-5)] {
            let x: Vec<f32> = vector(kind, len, 1).iter().map(|x| x * factor).collect();
            let mut q = vec![77; len];
            let (sum, scale) = numerics.quantize_row(&x, &mut q);
            let expected = oracle::quantize_row(&x);
            if let Some(i) = (0..len).find(|i| q[*i] != expected.0[*i]) {
                return Err(format!("{kind:?}, {len}, {name}: {} is {}, not {}", x[i], q[i], expected.0[i]));
            }
            if (sum, scale.to_bits()) != (expected.1, expected.2.to_bits()) {
                return Err(format!("{kind:?}, {len}, {name}: sum {sum} and scale {scale}"));
            }
        }
        Ok(())
    })
}

pub fn quantize_normed(numerics: &Numerics) -> Outcome {
    every_vector(|kind, len| {
        for weight in [vector(Kind::Plain, len, 2), vector(kind, len, 3)] {
            let x = vector(kind, len, 1);
            let mut q = vec![77; len];
            let result = numerics.quantize_normed(&x, &weight, 1e-5, &mut q);
            let expected = oracle::rms_norm(&x, &weight, 1e-5)
                .filter(|normed| normed.iter().all(|value| value.is_finite()))
                .map(|normed| oracle::quantize_row(&normed));
            let agrees = match (&result, &expected) {
                (Ok((sum, scale)), Some(expected)) => {
                    (&q, sum, scale.to_bits()) == (&expected.0, &expected.1, expected.2.to_bits())
                }
                (Err(NotFinite), None) => true,
                _ => false,
            };
            if !agrees {
                return Err(format!("{kind:?}, {len}: {result:?}, {q:?} instead of {expected:?}"));
            }
        }
        Ok(())
    })
}

pub fn rotate_heads(numerics: &Numerics) -> Outcome {
    for half in (1..=35).chain([40, 50, 64, 100]) {
        for heads in [0, 1, 3] {
            for kind in FINITE.into_iter().chain([Kind::NotFinite]) {
                let (cosines, sines) = (vector(Kind::Plain, half, 1), vector(Kind::Plain, half, 2));
                let x = vector(kind, 2 * half * heads, 3);
                let mut rotated = x.clone();
                numerics.rotate_heads(&cosines, &sines, &mut rotated);
                let expected = oracle::rotate_heads(&cosines, &sines, &x);
                compare(format!("{kind:?}, {heads} heads of {}", 2 * half), &rotated, &expected)?;
            }
        }
    }
    Ok(())
}

/// What changes a vector element by element with another one.
fn elementwise(run: impl Fn(&mut [f32], &[f32]), expected: impl Fn(f32, f32) -> f32) -> Outcome {
    every_vector(|kind, len| {
        for other_kind in [Kind::Plain, kind] {
            let (x, other) = (vector(kind, len, 1), vector(other_kind, len, 2));
            let mut changed = x.clone();
            run(&mut changed, &other);
            let expected: Vec<f32> = x.iter().zip(&other).map(|(x, other)| expected(*x, *other)).collect();
            compare(format!("{kind:?} and {other_kind:?}, {len}"), &changed, &expected)?;
        }
        Ok(())
    })
}

pub fn relu2_gate(numerics: &Numerics) -> Outcome {
    elementwise(|gate, up| numerics.relu2_gate(gate, up), oracle::relu2_gate)
}

pub fn silu_gate(numerics: &Numerics) -> Outcome {
    elementwise(|gate, up| numerics.silu_gate(gate, up), oracle::silu_gate)?;
    // Where the exponential ends, and everything between its end and its beginning.
    let gate: Vec<f32> = (-3300..3300).map(|i| i as f32 / 110.0).collect();
    let mut found = gate.clone();
    numerics.silu_gate(&mut found, &vec![1.0; gate.len()]);
    let expected: Vec<f32> = gate.iter().map(|gate| oracle::silu_gate(*gate, 1.0)).collect();
    compare("from -30 to 30", &found, &expected)
}

pub fn add(numerics: &Numerics) -> Outcome {
    elementwise(|states, delta| numerics.add(states, delta), |state, delta| state + delta)
}

pub fn dot_rows(numerics: &Numerics) -> Outcome {
    every_vector(|kind, len| {
        if len == 0 {
            return Ok(());
        }
        for rows in 0..=9 {
            let (matrix, x) = (vector(kind, rows * len, 1), vector(kind, len, 2));
            let mut out = vec![7.0; rows];
            numerics.dot_rows(&matrix, &x, &mut out);
            let expected: Vec<f32> = matrix.chunks(len).map(|row| oracle::dot(row, &x)).collect();
            compare(format!("{kind:?}, {rows} rows of {len}"), &out, &expected)?;
        }
        Ok(())
    })
}

pub fn all_finite(numerics: &Numerics) -> Outcome {
    for len in lengths() {
        for kind in FINITE {
            let mut x = vector(kind, len, 1);
            if !numerics.all_finite(&x) {
                return Err(format!("{kind:?}, {len}: not all finite"));
            }
            for place in (0..len).step_by(if len > 100 { 37 } else { 1 }) {
                for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let good = std::mem::replace(&mut x[place], bad);
                    if numerics.all_finite(&x) {
                        return Err(format!("{kind:?}, {len}: {bad} at {place} is not seen"));
                    }
                    x[place] = good;
                }
            }
        }
    }
    Ok(())
}

/// Sums of every size, those included that f32 must round.
fn sums(len: usize) -> Vec<i32> {
    let mut random = Random::new(len as u64);
    let mut sums: Vec<i32> = (0..len).map(|_| random.bits() as i32 >> (random.bits() % 32)).collect();
    for (sum, extreme) in sums.iter_mut().zip([i32::MIN, i32::MAX, 0, -1, 16_777_217, -16_777_219]) {
        *sum = extreme;
    }
    sums
}

pub fn scale_by_tensor(numerics: &Numerics) -> Outcome {
    lengths().try_for_each(|len| {
        let sums = sums(len);
        for (scale, inverse) in [(0.37, 0.011), (-3e38, 1e-5), (1e-44, 3.0)] {
            let mut out = vec![7.0; len];
            let finite = numerics.scale_by_tensor(&sums, scale, inverse, &mut out);
            let expected: Vec<f32> = sums.iter().map(|sum| (*sum as f32 * scale) * inverse).collect();
            compare(format!("{len}, {scale} and {inverse}"), &out, &expected)?;
            says_whether_finite(finite, &expected)?;
        }
        Ok(())
    })
}

pub fn scale_by_row(numerics: &Numerics) -> Outcome {
    every_vector(|kind, len| {
        let (sums, scales) = (sums(len), vector(kind, len, 1));
        let mut out = vec![7.0; len];
        let finite = numerics.scale_by_row(&sums, &scales, 0.011, &mut out);
        let expected: Vec<f32> =
            sums.iter().zip(&scales).map(|(sum, scale)| (*sum as f32 * scale) * 0.011).collect();
        compare(format!("{kind:?}, {len}"), &out, &expected)?;
        says_whether_finite(finite, &expected)
    })
}

pub fn expand(numerics: &Numerics) -> Outcome {
    for atoms in [0, 1, 2, 7] {
        let mut random = Random::new(atoms as u64);
        let packed: Vec<u8> = (0..64 * atoms).map(|_| random.bits() as u8).collect();
        for fields in [[0, 2, 4, 6], [6, 4, 2, 0]] {
            let mut codes = vec![9; 4 * packed.len()];
            numerics.expand(&packed, fields, &mut codes);
            for (place, code) in codes.into_iter().enumerate() {
                let (atom, field, byte) = (place / 256, place % 256 / 64, place % 64);
                let expected = packed[64 * atom + byte] / (1 << fields[field]) % 4;
                if code != expected {
                    return Err(format!(
                        "{atoms} atoms, fields {fields:?}: code {place} is {code}, not {expected}"
                    ));
                }
            }
        }
    }
    Ok(())
}

fn says_whether_finite(finite: bool, expected: &[f32]) -> Outcome {
    let truly = expected.iter().all(|value| value.is_finite());
    if finite == truly { Ok(()) } else { Err(format!("finite: {finite}, but {truly}")) }
}
