//! Attention over caches of every type: one query, many that share what is loaded, and chunk by chunk.

use tritforge::model::KvType;
use tritforge::numerics::Numerics;
use tritforge::numerics::attention::{EXTRA, HeadBlocks, Queries, Workspace};
use tritforge::numerics::kv_block::{KvBlock, KvShape};

use super::operands::{Kind, compare, vector};
use super::oracle::{self, CHUNK};

/// Lengths of a head; those of known models are 64, 80, 100 and 128.
const HEAD_DIMS: [usize; 14] = [1, 2, 6, 15, 16, 17, 31, 32, 48, 64, 80, 100, 128, 200];

/// Keys in sight: either side of the ends of groups and chunks.
const VISIBLE: [usize; 9] = [1, 2, 3, 16, 127, 128, 129, 300, 513];

/// A cache of two heads: the second holds the keys and values, the first other numbers. So do the positions behind them.
///
/// # Errors
/// What cannot be stored.
fn blocks(
    numerics: &Numerics,
    kv_type: KvType,
    head_dim: usize,
    keys: &[f32],
    values: &[f32],
) -> Result<Vec<KvBlock>, String> {
    let shape = KvShape { kv_type, kv_heads: 2, head_dim };
    let positions = keys.len() / head_dim;
    let block = KvBlock::new(shape).map_err(|e| e.to_string())?;
    let mut blocks = vec![block; positions.div_ceil(CHUNK)];
    let other = if kv_type == KvType::F32 { f32::NAN } else { 60_000.0 };
    let others = vec![other; head_dim];
    for position in 0..blocks.len() * CHUNK {
        let of = |x: &[f32]| {
            let x = x.chunks(head_dim).nth(position).unwrap_or(&others);
            [&others[..], x].concat()
        };
        let stored =
            numerics.store_kv(&mut blocks[position / CHUNK], position % CHUNK, &of(keys), &of(values));
        stored.map_err(|e| format!("{kv_type}: {e:?}"))?;
    }
    Ok(blocks)
}

fn compare_with_oracle(
    numerics: &Numerics,
    kv_type: KvType,
    what: &str,
    query: &[f32],
    keys: &[f32],
    values: &[f32],
) -> Result<(), String> {
    let head_dim = query.len();
    let blocks = blocks(numerics, kv_type, head_dim, keys, values)?;
    let head = HeadBlocks { blocks: &blocks, kv_head: 1 };
    let visible = keys.len() / head_dim;
    let queries = Queries { values: query, stride: head_dim, tokens: 1, heads: 1, head_dim, visible };
    let mut out = vec![7.0; head_dim];
    numerics.attend(&queries, &head, &mut Workspace::default(), &mut out);
    let what = format!("{kv_type}, {what}, {visible} keys of {head_dim}");
    compare(what, &out, &oracle::attend(kv_type, query, keys, values))
}

/// Random heads of every length; keys that outweigh all others, in every chunk; values and scores that are not finite.
pub fn attend(numerics: &Numerics) -> Result<(), String> {
    for head_dim in HEAD_DIMS {
        for visible in VISIBLE {
            let len = visible * head_dim;
            let query: Vec<f32> = vector(Kind::Plain, head_dim, 1).iter().map(|q| q * 6.0).collect();
            let (keys, values) = (vector(Kind::Plain, len, 2), vector(Kind::Plain, len, 3));
            let extreme = vector(Kind::AnyExponent, len, 4);
            let tiny = vector(Kind::Tiny, len, 5);
            for kv_type in KvType::ALL {
                let compare = |what, query: &[f32], keys: &[f32], values: &[f32]| {
                    compare_with_oracle(numerics, kv_type, what, query, keys, values)
                };
                compare("random", &query, &keys, &values)?;
                if kv_type != KvType::F16 {
                    compare("values of any exponent", &query, &keys, &extreme)?;
                }
                compare("tiny keys", &query, &tiny, &values)?;
                compare("tiny queries", &tiny[..head_dim], &keys, &values)?;
                compare("tiny values", &query, &keys, &tiny)?;
            }
            for place in (0..visible).step_by(61) {
                let mut strong = keys.clone();
                let key = &mut strong[place * head_dim..(place + 1) * head_dim];
                key.copy_from_slice(&query.iter().map(|q| q * 40.0).collect::<Vec<f32>>());
                for kv_type in KvType::ALL {
                    compare_with_oracle(numerics, kv_type, "a strong key", &query, &strong, &values)?;
                }
                for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let at = place * head_dim + place % head_dim;
                    strong[at] = bad;
                    let compare = |what, keys: &[f32], values: &[f32]| {
                        compare_with_oracle(numerics, KvType::F32, what, &query, keys, values)
                    };
                    compare("a key that is not finite", &strong, &values)?;
                    let mut damaged = values.clone();
                    damaged[at] = bad;
                    compare("a value that is not finite", &keys, &damaged)?;
                }
            }
        }
    }
    Ok(())
}

/// Tokens at consecutive positions and their heads together, at once and chunk by chunk, against each query alone.
pub fn many_queries(numerics: &Numerics) -> Result<(), String> {
    let mut work = Workspace::default();
    for (head_dim, last) in [(16, 1), (20, 6), (128, 40), (32, 130), (100, 131), (64, 260)] {
        let (keys, values) =
            (vector(Kind::Plain, last * head_dim, 2), vector(Kind::Plain, last * head_dim, 3));
        for kv_type in KvType::ALL {
            let blocks = blocks(numerics, kv_type, head_dim, &keys, &values)?;
            let head = HeadBlocks { blocks: &blocks, kv_head: 1 };
            for (tokens, heads) in
                [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 7), (5, 1), (3, 2), (6, 3), (8, 4)]
            {
                if tokens > last {
                    continue;
                }
                // Between the heads of two tokens lie those of other key/value heads.
                let stride = (heads + 1) * head_dim;
                let query = vector(Kind::Plain, tokens * stride, 7);
                let visible = last + 1 - tokens;
                let queries = Queries { values: &query, stride, tokens, heads, head_dim, visible };
                let mut out = vec![7.0; tokens * stride];
                numerics.attend(&queries, &head, &mut work, &mut out);
                let (slot, chunks) = (tokens * heads * (head_dim + EXTRA), last.div_ceil(CHUNK));
                let mut parts = vec![f32::NAN; chunks * slot];
                for (chunk, part) in parts.chunks_mut(slot).enumerate() {
                    numerics.attend_chunk(&queries, &head, chunk, &mut work, part);
                }
                for (index, (token, head)) in
                    (0..tokens).flat_map(|token| (0..heads).map(move |head| (token, head))).enumerate()
                {
                    let (place, seen) = (token * stride + head * head_dim, visible + token);
                    let query = &query[place..place + head_dim];
                    let seen_len = seen * head_dim;
                    let expected = oracle::attend(kv_type, query, &keys[..seen_len], &values[..seen_len]);
                    let what =
                        format!("{kv_type}, token {token} of {tokens}, head {head} of {heads}, {seen} keys");
                    compare(&what, &out[place..place + head_dim], &expected)?;
                    let mut folded = vec![7.0; head_dim];
                    let parts = &parts[index * (head_dim + EXTRA)..];
                    numerics.fold_chunks(parts, slot, seen.div_ceil(CHUNK), &mut folded);
                    compare(format!("{what}, folded"), &folded, &expected)?;
                }
                if (0..tokens)
                    .any(|t| out[t * stride + heads * head_dim..][..head_dim].iter().any(|o| *o != 7.0))
                {
                    return Err("other heads were written to".to_owned());
                }
            }
        }
    }
    Ok(())
}

/// A chunk with a score that is not finite is not forgotten, whichever it is.
pub fn damaged_chunks(numerics: &Numerics) -> Result<(), String> {
    let (head_dim, visible) = (16, 3 * CHUNK);
    let query = vector(Kind::Plain, head_dim, 1);
    for chunk in 0..3 {
        let (mut keys, values) = (vector(Kind::Plain, visible * head_dim, 2), vec![1.0; visible * head_dim]);
        keys[(chunk * CHUNK + 77) * head_dim] = f32::INFINITY;
        let blocks = blocks(numerics, KvType::F32, head_dim, &keys, &values)?;
        let head = HeadBlocks { blocks: &blocks, kv_head: 1 };
        let queries = Queries { values: &query, stride: head_dim, tokens: 1, heads: 1, head_dim, visible };
        let mut parts = vec![0.0; 3 * (head_dim + EXTRA)];
        for (chunk, part) in parts.chunks_mut(head_dim + EXTRA).enumerate() {
            numerics.attend_chunk(&queries, &head, chunk, &mut Workspace::default(), part);
        }
        let mut out = vec![7.0; head_dim];
        numerics.fold_chunks(&parts, head_dim + EXTRA, 3, &mut out);
        compare(format!("chunk {chunk}"), &out, &vec![f32::NAN; head_dim])?;
    }
    Ok(())
}

/// What is stored is read back, through a query that looks at one position alone: its weight is 1.
pub fn store_kv(numerics: &Numerics) -> Result<(), String> {
    let head_dim = 40;
    let edges = [65519.9, -65504.0, 6.2e-5, 6.1e-5, 3e-8, 0.0, -0.0, 2049.0, 2051.0, 1.0004883, -1.0014648];
    for kind in [Kind::Plain, Kind::Tiny, Kind::Ties] {
        for seed in 0..20 {
            let mut value = vector(kind, head_dim, seed);
            value.iter_mut().zip(edges).skip(seed as usize % 3).for_each(|(value, edge)| *value = edge);
            for kv_type in KvType::ALL {
                let query = vec![1.0; head_dim];
                compare_with_oracle(numerics, kv_type, "a value", &query, &value, &value)?;
            }
        }
    }
    let shape = KvShape { kv_type: KvType::F16, kv_heads: 1, head_dim };
    for (kv_type, limit) in [(KvType::F16, 65520.0), (KvType::Int8, f32::INFINITY)] {
        let mut block = KvBlock::new(KvShape { kv_type, ..shape }).map_err(|e| e.to_string())?;
        for place in 0..head_dim {
            for bad in [limit, -limit, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let good = vec![1.0; head_dim];
                let mut damaged = good.clone();
                damaged[place] = bad;
                let results = [
                    ("keys", numerics.store_kv(&mut block, 5, &damaged, &good)),
                    ("values", numerics.store_kv(&mut block, 5, &good, &damaged)),
                ];
                for (part, result) in results {
                    let refusal = result.err().filter(|e| e.part == part);
                    let value = refusal.map_or(0.0, |refusal| refusal.value);
                    compare(format!("{kv_type}: {bad} among {part}"), &[value], &[bad])?;
                }
            }
        }
    }
    Ok(())
}
