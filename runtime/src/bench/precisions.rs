//! What each numerics profile, output head and type of keys and values gains and costs on a model.

use serde::{Deserialize, Serialize};

use super::lane::{Lane, random_tokens};
use super::report::{Precision, Test};
use super::{BenchError, Options, precision};
use crate::engine::Engine;
use crate::head::HeadType;
use crate::model::{KvType, Model, ModelError, Profile, ProfileOptions, Session, Want};

/// Tokens of the text whose logits are compared.
const COMPARED: usize = 32;

/// What is compared: the profile `exact`, then every head and every type of keys and values that `fast` can have.
const PRECISIONS: [ProfileOptions; 6] = [
    ProfileOptions { profile: Profile::Exact, head: None, kv_type: None },
    fast(HeadType::Stored, KvType::F32),
    fast(HeadType::Stored, KvType::F16),
    fast(HeadType::Int8, KvType::F16),
    fast(HeadType::Int8, KvType::Int8),
    fast(HeadType::Q4_0, KvType::F16),
];

const fn fast(head: HeadType, kv_type: KvType) -> ProfileOptions {
    ProfileOptions { profile: Profile::Fast, head: Some(head), kv_type: Some(kv_type) }
}

/// A model in every precision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PrecisionReport {
    /// What was measured.
    pub tests: Vec<PrecisionTest>,
    /// What the model cannot be had in, and why.
    pub not_made: Vec<String>,
}

/// A model in one precision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrecisionTest {
    /// The precision.
    pub precision: Precision,
    /// Bytes of the output head.
    pub head_bytes: usize,
    /// Bytes of keys and values of one position.
    pub kv_bytes_per_position: usize,
    /// The largest difference of a logit from those of the profile `exact`, in their standard deviations, after some tokens
    /// that are drawn at random: what it costs a text is for a text to say.
    pub logit_difference: f64,
    /// A prompt and decoding, as the options have them.
    pub tests: Vec<Test>,
}

/// Measures the model in every precision with one engine, all in turn. The ternary weights are in memory once, the heads of
/// all precisions together. `tick` is called after each of [`steps`] steps.
///
/// # Errors
/// [`BenchError`] as [`run`](super::run). A head that cannot be made of the model's is no error: it is listed.
pub fn measure(
    memory: &[u8],
    model: &Model,
    engine: &Engine,
    options: &Options,
    tick: &mut dyn FnMut(),
) -> Result<PrecisionReport, BenchError> {
    let (mut models, mut not_made): (Vec<Model>, _) = (Vec::new(), Vec::new());
    for options in PRECISIONS {
        match model.with_profile(engine, options) {
            // Of a head that is stored in four bits, no other four bits are made.
            Ok(made) if models.iter().any(|known| precision(known) == precision(&made)) => {}
            Ok(made) => models.push(made),
            Err(error @ ModelError::Head(_)) => not_made.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    let mut lanes = Vec::new();
    for model in &models {
        lanes.push(Lane::new(model, engine, options, memory)?);
    }
    for _ in 0..options.repetitions {
        for lane in &mut lanes {
            lane.repeat()?;
        }
        tick();
    }
    let (mut tests, mut exact): (_, Option<Vec<f32>>) = (Vec::new(), None);
    for (model, lane) in models.iter().zip(&lanes) {
        let logits = logits(model, engine)?;
        tests.push(PrecisionTest {
            precision: precision(model),
            head_bytes: model.head_bytes(),
            kv_bytes_per_position: model.kv_bytes_per_position(),
            logit_difference: difference(exact.as_ref().unwrap_or(&logits), &logits),
            tests: lane.tests(),
        });
        // The first one is the exact one.
        exact.get_or_insert(logits);
    }
    Ok(PrecisionReport { tests, not_made })
}

/// Steps that [`measure`] takes.
pub fn steps(options: &Options) -> usize {
    options.repetitions
}

/// Logits after some tokens.
fn logits(model: &Model, engine: &Engine) -> Result<Vec<f32>, BenchError> {
    let tokens = random_tokens(model, COMPARED.min(model.config.context));
    Ok(Session::new(model, engine).forward(&tokens, Want::LastLogits)?.to_vec())
}

/// The largest difference from `exact`, in its standard deviations; 0 where all are the same, however little they vary.
fn difference(exact: &[f32], found: &[f32]) -> f64 {
    let count = exact.len() as f64;
    let mean = exact.iter().map(|&logit| f64::from(logit)).sum::<f64>() / count;
    let variance = exact.iter().map(|&logit| (f64::from(logit) - mean).powi(2)).sum::<f64>() / count;
    let largest = exact.iter().zip(found).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    if largest == 0.0 { 0.0 } else { largest / variance.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Kind, LEAST_PROBE_MIB};
    use crate::demo;
    use crate::format::LoadOptions;

    /// Bytes by hand: the demo has 4 layers of 2 key/value heads of 64 channels and a head of 4096 rows of 256 columns.
    #[test]
    fn the_demo_in_every_precision() {
        let engine = Engine::with_threads(2).unwrap();
        let model = Model::from_raw(demo::load(&LoadOptions::default()).unwrap(), &engine).unwrap();
        let (vocab, hidden) = (model.config.vocab, model.config.hidden);
        let options = Options { prompts: vec![3], decode: 2, repetitions: 2, ..Options::default() };
        let mut steps_taken = 0;
        let memory = vec![0; LEAST_PROBE_MIB << 20];
        let report = measure(&memory, &model, &engine, &options, &mut || steps_taken += 1).unwrap();
        assert_eq!(steps_taken, steps(&options));
        assert!(report.not_made.is_empty(), "{:?}", report.not_made);
        let found: Vec<(&str, &str, &str, usize)> = report
            .tests
            .iter()
            .map(|test| {
                let Precision { profile, head, kv } = &test.precision;
                (&profile[..], &head[..], &kv[..], test.head_bytes)
            })
            .collect();
        let (stored, int8, q4_0) = (2 * vocab * hidden, vocab * (hidden + 4), vocab * hidden / 32 * 18);
        assert_eq!(
            found,
            [
                ("exact", "f16", "f32", stored),
                ("fast", "f16", "f32", stored),
                ("fast", "f16", "f16", stored),
                ("fast", "i8row", "f16", int8),
                ("fast", "i8row", "int8", int8),
                ("fast", "q4_0", "f16", q4_0),
            ]
        );
        let differences: Vec<f64> = report.tests.iter().map(|test| test.logit_difference).collect();
        // A copy has the same bits; four bits cost more than eight.
        assert_eq!(differences[..2], [0.0, 0.0], "{differences:?}");
        assert!(differences[2] > 0.0 && differences[3] < differences[5], "{differences:?}");
        for test in &report.tests {
            let kinds: Vec<Kind> = test.tests.iter().map(|test| test.kind).collect();
            assert_eq!(kinds, [Kind::Prefill, Kind::Decode]);
        }
    }

    #[test]
    fn a_difference_is_in_standard_deviations() {
        // That of (1, 3, 1, 3) is 1.
        assert_eq!(difference(&[1.0, 3.0, 1.0, 3.0], &[1.0, 3.5, 0.75, 3.0]), 0.5);
        assert_eq!(difference(&[2.0, 2.0], &[2.0, 2.0]), 0.0);
    }
}
