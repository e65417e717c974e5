//! The kernels of the output head, on every instruction set, against scalar code: equal bits.

use half::f16;
use tritforge::engine::Engine;
use tritforge::format::{BlockType, FloatType, StorageType, VocabMatrix};
use tritforge::head::{Head, HeadType, Walk};
use tritforge::numerics::Numerics;
use tritforge_tests::Random;

use crate::numerics::Check;
use crate::numerics::operands::{FINITE, Kind, compare, vector};

type Outcome = Result<(), String>;

/// Every format.
pub const CHECKS: [Check; 8] = [
    ("head_f32", |numerics| floats(numerics, FloatType::F32)),
    ("head_f16", |numerics| floats(numerics, FloatType::F16)),
    ("head_bf16", |numerics| floats(numerics, FloatType::Bf16)),
    ("head_exact_blocks", exact_blocks),
    ("head_q4_0", |numerics| stored_blocks(numerics, BlockType::Q4_0)),
    ("head_q8_0", |numerics| stored_blocks(numerics, BlockType::Q8_0)),
    ("head_q6_k", |numerics| stored_blocks(numerics, BlockType::Q6K)),
    ("head_i8row", int8_rows),
];

/// Rows that fill a tile of sixteen, leave one unfilled, or need several: ten tiles are three of each of three
/// streams or two of each of four, and some left over.
const ROWS: [usize; 6] = [1, 15, 16, 17, 50, 147];

/// Tokens: every number that a kernel takes at once, and more.
const TOKENS: [usize; 9] = [1, 2, 3, 4, 5, 8, 13, 16, 21];

/// How the bytes of a matrix are made.
#[derive(Clone, Copy, Debug)]
enum Bits {
    Random,
    Zeros,
    Ones,
}

/// So many bytes.
fn bytes(bits: Bits, len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed << 32 | len as u64);
    let byte = |_| match bits {
        Bits::Random => random.bits() as u8,
        Bits::Zeros => 0,
        Bits::Ones => 0xff,
    };
    (0..len).map(byte).collect()
}

fn engine() -> Result<Engine, String> {
    Engine::with_threads(2).map_err(|error| error.to_string())
}

fn matrix(rows: usize, cols: usize, storage: StorageType, bytes: Vec<u8>) -> Result<VocabMatrix, String> {
    VocabMatrix::new(rows, cols, storage, bytes.into()).ok_or_else(|| format!("{rows}x{cols} in {storage}"))
}

/// Compares a head with an oracle of one token, which gives the results of all rows, for every number of tokens and every way
/// through memory.
fn every_count(
    numerics: &Numerics,
    what: &str,
    head: &mut Head,
    oracle: impl Fn(&[f32]) -> Vec<f32>,
) -> Outcome {
    for kind in FINITE {
        for tokens in TOKENS {
            let hidden = vector(kind, tokens * head.cols(), tokens as u64);
            let expected: Vec<f32> = hidden.chunks_exact(head.cols()).flat_map(&oracle).collect();
            let shape = format!("{} x {}", head.rows(), head.cols());
            for walk in Walk::ALL {
                head.set_walk(walk);
                let mut logits = vec![7.0; tokens * head.rows()];
                head.logits_on(numerics, &hidden, &mut logits).map_err(|error| error.to_string())?;
                compare(format!("{what}, {shape}, {kind:?}, {tokens} tokens, {walk:?}"), &logits, &expected)?;
            }
        }
    }
    Ok(())
}

/// Sixteen partial sums, each product rounded, folded 8, 4, 2, 1.
fn dot(row: &[f32], state: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    for (i, (weight, value)) in row.iter().zip(state).enumerate() {
        lanes[i % 16] += weight * value;
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

fn exact(numerics: &Numerics, matrix: &VocabMatrix) -> Outcome {
    let mut head = Head::new(matrix, HeadType::Exact, &engine()?).map_err(|error| error.to_string())?;
    let mut row = vec![0.0; matrix.cols()];
    let rows: Vec<Vec<f32>> = (0..matrix.rows())
        .map(|index| {
            matrix.row_to_f32(index, &mut row);
            row.clone()
        })
        .collect();
    every_count(numerics, &matrix.storage().to_string(), &mut head, |state| {
        rows.iter().map(|row| dot(row, state)).collect()
    })
}

fn floats(numerics: &Numerics, float: FloatType) -> Outcome {
    for rows in ROWS {
        for cols in [1, 15, 16, 17, 63, 64, 65, 100, 640] {
            let mut bytes = bytes(Bits::Random, rows * cols * float.size(), rows as u64);
            for value in bytes.chunks_exact_mut(float.size()) {
                // The exponent's top bit off: finite, and sums that stay so.
                value[float.size() - 1] &= 0xbf;
            }
            exact(numerics, &matrix(rows, cols, StorageType::Float(float), bytes)?)?;
        }
    }
    Ok(())
}

/// Blocks with finite scales.
fn blocks(kind: BlockType, rows: usize, cols: usize, bits: Bits) -> Result<VocabMatrix, String> {
    let row = kind.row_bytes(cols).ok_or("whole blocks")?;
    let mut bytes = bytes(bits, rows * row, cols as u64);
    let scale_at = if kind == BlockType::Q6K { 208 } else { 0 };
    for (index, block) in bytes.chunks_exact_mut(kind.bytes()).enumerate() {
        // The largest and the smallest scales, zero, and what is random.
        match index % 7 {
            0 => block[scale_at..scale_at + 2].copy_from_slice(&f16::MAX.to_le_bytes()),
            1 => block[scale_at..scale_at + 2].copy_from_slice(&[1, 0]),
            2 => block[scale_at..scale_at + 2].fill(0),
            _ => block[scale_at + 1] &= 0xbb,
        }
    }
    matrix(rows, cols, StorageType::Blocks(kind), bytes)
}

fn exact_blocks(numerics: &Numerics) -> Outcome {
    BlockType::ALL.into_iter().try_for_each(|kind| exact(numerics, &blocks(kind, 17, 512, Bits::Random)?))
}

/// The integers of a token, of at most this magnitude, and their scale.
fn integers(state: &[f32], amplitude: i64) -> (Vec<i64>, f32) {
    let largest = state.iter().fold(1e-5f32, |largest, v| largest.max(v.abs()));
    let scale = amplitude as f32 / largest;
    let integer = |v: &f32| ((v * scale).round_ties_even() as i64).clamp(-amplitude, amplitude);
    (state.iter().map(integer).collect(), scale)
}

/// The weights of a block as ggml writes them: integers, and the scale of each run of so many of them.
fn read_block(kind: BlockType, block: &[u8]) -> (Vec<i64>, Vec<f32>) {
    let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
    match kind {
        BlockType::Q4_0 => {
            let low = block[2..].iter().map(|byte| i64::from(byte & 15) - 8);
            let high = block[2..].iter().map(|byte| i64::from(byte >> 4) - 8);
            (low.chain(high).collect(), vec![half(0)])
        }
        BlockType::Q8_0 => (block[2..].iter().map(|byte| i64::from(*byte as i8)).collect(), vec![half(0)]),
        BlockType::Q6K => {
            let mut integers = vec![0; 256];
            for part in 0..2 {
                let (low, high) = (&block[64 * part..], &block[128 + 32 * part..]);
                for l in 0..32 {
                    let nibbles = [low[l] & 15, low[l + 32] & 15, low[l] >> 4, low[l + 32] >> 4];
                    for (quarter, nibble) in nibbles.into_iter().enumerate() {
                        let upper = high[l] >> (2 * quarter) & 3;
                        integers[128 * part + 32 * quarter + l] = i64::from(nibble | upper << 4) - 32;
                    }
                }
            }
            let factors = block[192..208].iter().map(|byte| half(208) * f32::from(*byte as i8));
            (integers, factors.collect())
        }
    }
}

fn stored_blocks(numerics: &Numerics, kind: BlockType) -> Outcome {
    let columns = [kind.weights(), 2 * kind.weights(), 5 * kind.weights()];
    for rows in ROWS {
        for cols in columns {
            for bits in [Bits::Random, Bits::Zeros, Bits::Ones] {
                let matrix = blocks(kind, rows, cols, bits)?;
                let mut head = Head::new(&matrix, HeadType::Stored, &engine()?).map_err(|e| e.to_string())?;
                let blocks = matrix.bytes().chunks_exact(kind.bytes());
                let blocks: Vec<_> = blocks.map(|block| read_block(kind, block)).collect();
                every_count(numerics, &format!("{kind:?}, {bits:?}"), &mut head, |state| {
                    let (q, scale) = integers(state, 32767);
                    let result = |row: &[(Vec<i64>, Vec<f32>)]| {
                        let mut total = 0.0f32;
                        for ((weights, scales), q) in row.iter().zip(q.chunks_exact(kind.weights())) {
                            let group = weights.len() / scales.len();
                            let groups = weights.chunks_exact(group).zip(q.chunks_exact(group));
                            for ((weights, q), scale) in groups.zip(scales) {
                                let sum: i64 = weights.iter().zip(q).map(|(weight, q)| weight * q).sum();
                                total += sum as f32 * scale;
                            }
                        }
                        total * (1.0 / scale)
                    };
                    blocks.chunks_exact(blocks.len() / rows).map(result).collect()
                })?;
            }
        }
    }
    Ok(())
}

fn int8_rows(numerics: &Numerics) -> Outcome {
    for rows in ROWS {
        for (cols, kind) in [
            (1, Kind::Plain),
            (3, Kind::Plain),
            (4, Kind::AnyExponent),
            (5, Kind::Tiny),
            (9, Kind::Huge),
            (64, Kind::Plain),
            (67, Kind::Huge),
            (70, Kind::Plain),
            (131, Kind::Plain),
            (2560, Kind::Ties),
        ] {
            let weights = vector(kind, rows * cols, 3);
            let bytes = weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
            let matrix = matrix(rows, cols, StorageType::Float(FloatType::F32), bytes)?;
            let mut head =
                Head::new(&matrix, HeadType::Int8, &engine()?).map_err(|error| error.to_string())?;
            let amplitude = 32767.min(i64::from(i32::MAX) / (127 * cols as i64));
            let quantized = |weights: &[f32]| -> (Vec<i64>, f32) {
                let step = weights.iter().fold(0.0f32, |most, weight| most.max(weight.abs())) / 127.0;
                // Steps that are no normal numbers count as nothing.
                match step < f32::MIN_POSITIVE {
                    true => (vec![0; cols], 0.0),
                    false => (weights.iter().map(|w| (w / step).round_ties_even() as i64).collect(), step),
                }
            };
            let rows: Vec<_> = weights.chunks_exact(cols).map(quantized).collect();
            every_count(numerics, &format!("int8 of {kind:?}"), &mut head, |state| {
                let (q, scale) = integers(state, amplitude);
                let result = |(weights, step): &(Vec<i64>, f32)| {
                    let sum: i64 = weights.iter().zip(&q).map(|(w, q)| w * q).sum();
                    sum as f32 * step * (1.0 / scale)
                };
                rows.iter().map(result).collect()
            })?;
        }
    }
    Ok(())
}
