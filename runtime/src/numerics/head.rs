//! The output head: logits = hidden states times the rows of a matrix that is read as f32.

use super::Numerics;
use crate::format::{FloatType, StorageType, VocabMatrix};
use crate::team::Team;

/// Vocabulary rows that one thread takes at a time.
const ROWS_PER_TASK: usize = 64;

/// Rows that are converted to f32 together, few enough to stay in the nearest cache.
const ROWS_AT_ONCE: usize = 4;

/// `logits[t][v] = hidden[t] . weights[v]`, the stored row converted to f32 (exactly) and the products summed
/// in lanes ([`Numerics::dot_rows`]).
///
/// `hidden` is `[tokens][cols]`, `logits` `[tokens][rows]` with rows and cols those of `weights`; the number
/// of tokens is `hidden.len() / cols`. `scratch` is working memory that a caller keeps for the next call.
///
/// # Panics
/// When the lengths do not fit, or there is no token.
pub(crate) fn head(
    team: &Team<'_>,
    numerics: &Numerics,
    weights: &VocabMatrix,
    hidden: &[f32],
    logits: &mut [f32],
    scratch: &mut Vec<f32>,
) {
    let (rows, cols) = (weights.rows(), weights.cols());
    let tokens = hidden.len() / cols;
    assert!(tokens > 0 && hidden.len() == tokens * cols, "whole rows of hidden states");
    assert_eq!(logits.len(), tokens * rows, "one logit a token and row");
    let work = rows * cols * tokens;
    if tokens == 1 {
        team.chunks(logits, ROWS_PER_TASK, work, |task, logits| {
            let mut values = vec![0.0f32; ROWS_AT_ONCE * cols];
            for (block, logits) in logits.chunks_mut(ROWS_AT_ONCE).enumerate() {
                let first = task * ROWS_PER_TASK + block * ROWS_AT_ONCE;
                let values = &mut values[..logits.len() * cols];
                for (i, row) in values.chunks_exact_mut(cols).enumerate() {
                    row_to_f32(numerics, weights, first + i, row);
                }
                numerics.dot_rows(values, hidden, logits);
            }
        });
        return;
    }
    // A task owns consecutive rows of [rows][tokens], which is turned around afterwards.
    scratch.resize(rows * tokens, 0.0);
    team.chunks(scratch, ROWS_PER_TASK * tokens, work, |task, out| {
        let mut row = vec![0.0f32; cols];
        for (i, out) in out.chunks_exact_mut(tokens).enumerate() {
            row_to_f32(numerics, weights, task * ROWS_PER_TASK + i, &mut row);
            numerics.dot_rows(hidden, &row, out);
        }
    });
    team.chunks(logits, rows, rows * tokens, |t, out| {
        for (o, by_token) in out.iter_mut().zip(scratch.chunks_exact(tokens)) {
            *o = by_token[t];
        }
    });
}

/// [`VocabMatrix::row_to_f32`] on one instruction set. For f16 the `half` crate asks the CPU for its own.
fn row_to_f32(numerics: &Numerics, weights: &VocabMatrix, row: usize, out: &mut [f32]) {
    match weights.storage() {
        StorageType::Float(FloatType::Bf16) => {
            let bytes = 2 * weights.cols();
            numerics.widen_bf16(&weights.bytes()[row * bytes..(row + 1) * bytes], out);
        }
        StorageType::Float(FloatType::F16 | FloatType::F32) | StorageType::Blocks(_) => {
            weights.row_to_f32(row, out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_for_every_number_of_rows_and_tokens() {
        for (rows, cols, tokens) in
            [(1, 3, 1), (5, 17, 1), (130, 16, 1), (5, 17, 2), (130, 20, 3), (64, 5, 33)]
        {
            let weight = |r: usize, c: usize| (r * 31 + c * 17) % 23;
            let state = |t: usize, c: usize| (t * 5 + c * 3) % 11;
            let values = || (0..rows * cols).map(|i| weight(i / cols, i % cols) as f32);
            let hidden: Vec<f32> = (0..tokens * cols).map(|i| state(i / cols, i % cols) as f32).collect();
            for dtype in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
                let bytes: Vec<u8> = match dtype {
                    FloatType::F32 => values().flat_map(f32::to_le_bytes).collect(),
                    FloatType::F16 => values().flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect(),
                    FloatType::Bf16 => values().flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect(),
                };
                let weights = VocabMatrix::new(rows, cols, StorageType::Float(dtype), bytes.into()).unwrap();
                let mut logits = vec![f32::NAN; tokens * rows];
                head(&Team::solo(), &Numerics::portable(), &weights, &hidden, &mut logits, &mut vec![7.0; 3]);
                for t in 0..tokens {
                    for r in 0..rows {
                        let expected: usize = (0..cols).map(|c| weight(r, c) * state(t, c)).sum();
                        assert_eq!(logits[t * rows + r], expected as f32, "{dtype:?}: token {t}, row {r}");
                    }
                }
            }
        }
    }
}
