//! The output head: how it is gone through, and what each precision costs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rand_core::Rng;
use rand_pcg::Pcg32;

use super::contest::{WORTHWHILE, median};
use crate::engine::Engine;
use crate::format::{FloatType, StorageType, VocabMatrix};
use crate::head::{Head, HeadError, HeadType, Scratch, Walk};

/// Rows and columns: more bytes in 8 bits than caches hold.
const SHAPE: (usize, usize) = (65_536, 2560);
/// Samples of each.
const ROUNDS: usize = 11;

/// The precisions: the choice is the user's, for it changes results.
const TYPES: [HeadType; 3] = [HeadType::Stored, HeadType::Int8, HeadType::Q4_0];

/// What a head costs.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadCost {
    /// Its format, as kernels' names have it.
    pub format: &'static str,
    /// Milliseconds for a token and 100,000 rows of 2560 columns.
    pub milliseconds: f64,
    /// Bytes a second that are read.
    pub bytes_per_second: f64,
}

/// What was found of heads.
pub struct HeadTuning {
    /// The walk that is the fastest on the whole, where that is not the default one.
    pub walk: Option<Walk>,
    /// What each precision costs with it on the last engine.
    pub costs: Vec<HeadCost>,
}

/// Times every precision with every walk on some engines; `None` where the caller has set `stop`.
///
/// # Errors
/// [`HeadError`] where a head cannot be made.
pub fn heads(engines: &[&Engine], stop: &AtomicBool) -> Result<Option<HeadTuning>, HeadError> {
    let Some(last) = engines.last() else { return Ok(None) };
    let matrix = matrix();
    let mut heads = Vec::new();
    for head_type in TYPES {
        heads.push(Head::new(&matrix, head_type, last)?);
    }
    let mut times = vec![vec![[const { Vec::new() }; Walk::ALL.len()]; heads.len()]; engines.len()];
    let (state, mut logits, mut scratch) = (vec![0.5; SHAPE.1], vec![0.0; SHAPE.0], Scratch::default());
    for round in 0..ROUNDS * engines.len() {
        let index = round % engines.len();
        let (engine, times) = (engines[index], &mut times[index]);
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        engine.region(|team| {
            // What wakes the threads is not timed.
            heads[0].run(team, engine.numerics(), &state, &mut logits, &mut scratch);
            for (head, times) in heads.iter_mut().zip(times) {
                for (walk, times) in Walk::ALL.into_iter().zip(times) {
                    head.set_walk(walk);
                    let start = Instant::now();
                    head.run(team, engine.numerics(), &state, &mut logits, &mut scratch);
                    times.push(start.elapsed().as_secs_f64().max(1e-9));
                }
            }
        });
    }
    let default = Walk::ALL.iter().position(|walk| *walk == Walk::default()).unwrap_or(0);
    // The geometric mean over engines and precisions of what a walk gains.
    let count = (engines.len() * heads.len()) as f64;
    let gain = |walk: usize| -> f64 {
        let each = times
            .iter()
            .flatten()
            .map(|times| median(times[default].iter().zip(&times[walk]).map(|(a, b)| a / b)));
        each.product::<f64>().powf(1.0 / count)
    };
    let best = (0..Walk::ALL.len()).max_by(|&a, &b| gain(a).total_cmp(&gain(b))).unwrap_or(default);
    let best = if gain(best) > 1.0 + WORTHWHILE { best } else { default };
    let costs = heads.iter().zip(times.last().into_iter().flatten()).map(|(head, times)| {
        let seconds = median(times[best].iter().copied());
        HeadCost {
            format: head.type_name(),
            milliseconds: seconds * 1e3 * 1e5 / SHAPE.0 as f64,
            bytes_per_second: head.bytes_per_token() as f64 / seconds,
        }
    });
    Ok(Some(HeadTuning { walk: (best != default).then_some(Walk::ALL[best]), costs: costs.collect() }))
}

/// Random binary16 weights, far below 1.
fn matrix() -> VocabMatrix {
    let (rows, cols) = SHAPE;
    let mut random = Pcg32::new(4, 4);
    let block: Vec<u8> =
        (0..1 << 20).map(|i| random.next_u32() as u8 & if i % 2 == 1 { 0x83 } else { 0xff }).collect();
    let bytes: Vec<u8> = block.iter().copied().cycle().take(2 * rows * cols).collect();
    VocabMatrix::new(rows, cols, StorageType::Float(FloatType::F16), bytes.into())
        .expect("the bytes of all rows")
}
