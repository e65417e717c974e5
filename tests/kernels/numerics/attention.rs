//! Attention of one head, its keys and values among those of others.

use tritforge::numerics::Numerics;
use tritforge::numerics::attention::HeadBlocks;

use super::operands::{Kind, compare, vector};
use super::oracle::{self, CHUNK};

/// Lengths of a head; those of known models are 64, 80, 100 and 128.
const HEAD_DIMS: [usize; 14] = [1, 2, 6, 15, 16, 17, 31, 32, 48, 64, 80, 100, 128, 200];

/// Keys in sight: either side of the ends of chunks.
const VISIBLE: [usize; 9] = [1, 2, 3, 16, 127, 128, 129, 300, 513];

/// Blocks in which a head's keys and values lie between numbers that nobody may look at.
struct Blocks {
    blocks: Vec<Vec<f32>>,
    keys: usize,
    values: usize,
}

impl Blocks {
    fn new(head_dim: usize, keys: &[f32], values: &[f32]) -> Self {
        let (len, gap) = (CHUNK * head_dim, 3);
        let block = |(keys, values): (&[f32], &[f32])| {
            let mut block = vec![f32::NAN; gap];
            for part in [keys, values] {
                let end = block.len() + len + gap;
                block.extend(part);
                block.resize(end, f32::NAN);
            }
            block
        };
        let blocks = keys.chunks(len).zip(values.chunks(len)).map(block).collect();
        Blocks { blocks, keys: gap, values: gap + len + gap }
    }
}

fn compare_with_oracle(
    numerics: &Numerics,
    what: &str,
    query: &[f32],
    keys: &[f32],
    values: &[f32],
) -> Result<(), String> {
    let head_dim = query.len();
    let Blocks { blocks, keys: first_key, values: first_value } = Blocks::new(head_dim, keys, values);
    let head = HeadBlocks { blocks: &blocks, keys: first_key, values: first_value };
    let visible = keys.len() / head_dim;
    let mut out = vec![7.0; head_dim];
    numerics.attend(query, visible, &head, &mut out);
    let what = format!("{what}, {visible} keys of {head_dim}");
    compare(what, &out, &oracle::attend(query, keys, values))
}

/// Random heads of every length; keys that outweigh all others, in every chunk; values and scores that are not finite.
pub fn attend(numerics: &Numerics) -> Result<(), String> {
    for head_dim in HEAD_DIMS {
        for visible in VISIBLE {
            let len = visible * head_dim;
            let query: Vec<f32> = vector(Kind::Plain, head_dim, 1).iter().map(|q| q * 6.0).collect();
            let (keys, values) = (vector(Kind::Plain, len, 2), vector(Kind::Plain, len, 3));
            compare_with_oracle(numerics, "random", &query, &keys, &values)?;
            let extreme = vector(Kind::AnyExponent, len, 4);
            compare_with_oracle(numerics, "values of any exponent", &query, &keys, &extreme)?;
            let tiny = vector(Kind::Tiny, len, 5);
            compare_with_oracle(numerics, "tiny keys", &query, &tiny, &values)?;
            for place in (0..visible).step_by(61) {
                let mut strong = keys.clone();
                let key = &mut strong[place * head_dim..(place + 1) * head_dim];
                key.copy_from_slice(&query.iter().map(|q| q * 40.0).collect::<Vec<f32>>());
                compare_with_oracle(numerics, "a strong key", &query, &strong, &values)?;
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let at = place * head_dim + place % head_dim;
                    strong[at] = bad;
                    compare_with_oracle(numerics, "a key that is not finite", &query, &strong, &values)?;
                    let mut damaged = values.clone();
                    damaged[at] = bad;
                    compare_with_oracle(numerics, "a value that is not finite", &query, &keys, &damaged)?;
                }
            }
        }
    }
    Ok(())
}
