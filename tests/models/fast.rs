//! What the numerics profile `fast` costs the demo model: the perplexity of the held-out tales, and how far a logit moves.

use tritforge::demo;
use tritforge::engine::Engine;
use tritforge::format::LoadOptions;
use tritforge::head::HeadType;
use tritforge::model::{KvType, Model, Observer, Profile, ProfileOptions, Session, Want};
use tritforge::verify::perplexity;

use crate::support::tales;

/// What a forward pass shows: the states after the last norm, and the logits.
#[derive(Default)]
struct Seen {
    layers: usize,
    states: Vec<f32>,
    logits: Vec<f32>,
}

impl Observer for Seen {
    fn hidden(&mut self, index: usize, _: usize, states: &[f32]) {
        if index == self.layers {
            self.states.extend_from_slice(states);
        }
    }

    fn logits(&mut self, _: usize, logits: &[f32]) {
        self.logits.extend_from_slice(logits);
    }
}

fn seen(model: &Model, engine: &Engine, tokens: &[u32]) -> Seen {
    let mut seen = Seen { layers: model.config.layers, ..Seen::default() };
    Session::new(model, engine).forward(tokens, Want::Everything(&mut seen)).expect("logits");
    seen
}

fn model(engine: &Engine, options: ProfileOptions) -> Model {
    let raw = demo::load(&LoadOptions::default()).expect("the demo model");
    Model::with_options(raw, engine, options, &|_| ()).expect("a sound model")
}

fn perplexity_of(model: &Model, engine: &Engine) -> f64 {
    let documents: Vec<Vec<u32>> = tales().into_iter().map(|(_, ids)| ids).collect();
    let found = perplexity(model, engine, &documents, 512).expect("a perplexity");
    assert_eq!(found.tokens, 7067);
    found.perplexity
}

fn fast(head: Option<HeadType>, kv_type: Option<KvType>) -> ProfileOptions {
    ProfileOptions { profile: Profile::Fast, head, kv_type }
}

/// Keys and values are off by at most 2^-12 in f16 and 1/254 of a head's largest in int8, which a token's logits feel less
/// than a head in int8: no more than a hundredth of a nat.
#[test]
fn perplexity_and_logits_of_each_cache() {
    let engine = Engine::with_threads(2).expect("an engine");
    let exact = model(&engine, ProfileOptions::default());
    let exact_perplexity = perplexity_of(&exact, &engine);
    let tokens = &tales().swap_remove(0).1[..200];
    let expected = seen(&exact, &engine, tokens).logits;
    for (name, options) in [
        ("fast, stored head and a cache in f16", fast(Some(HeadType::Stored), None)),
        ("fast, stored head and a cache in int8", fast(Some(HeadType::Stored), Some(KvType::Int8))),
        ("fast", fast(None, None)),
    ] {
        let fast = model(&engine, options);
        let found = perplexity_of(&fast, &engine);
        let logits = seen(&fast, &engine, tokens).logits;
        let off = logits.iter().zip(&expected).map(|(found, exact)| (found - exact).abs());
        println!("{name}: perplexity {found:.3}, largest logit difference {:.4}", off.fold(0.0, f32::max));
        let nats = (found / exact_perplexity).ln().abs();
        assert!(nats < 0.01, "{name}: {nats} nats");
    }
}

#[test]
fn perplexity_and_logits_of_each_head() {
    let engine = Engine::with_threads(2).expect("an engine");
    let exact = model(&engine, ProfileOptions::default());
    let exact_perplexity = perplexity_of(&exact, &engine);
    println!("exact: perplexity {exact_perplexity:.3}");
    let tokens = &tales().swap_remove(0).1[..200];
    let expected = seen(&exact, &engine, tokens);
    let (hidden, vocab) = (exact.config.hidden, exact.config.vocab);
    let largest = |row: &[f32]| row.iter().fold(0.0f32, |most, w| most.max(w.abs()));
    let rows = exact.token_embd.to_f32_vec();
    for (head, group, codes, steps_off) in [
        // Rounded to the nearest step.
        (HeadType::Int8, hidden, 127.0, 0.5),
        // The steps go from -8 to 7: a weight as large as the largest, but of the other sign, is a whole one off.
        (HeadType::Q4_0, 32, 8.0, 1.0),
    ] {
        let fast = model(&engine, fast(Some(head), Some(KvType::F32)));
        let found = perplexity_of(&fast, &engine);
        let seen = seen(&fast, &engine, tokens);
        let mut farthest = 0.0f32;
        for (t, state) in expected.states.chunks_exact(hidden).enumerate() {
            // The states' own steps are a thirtieth of the weights' at most.
            let sum: f32 = state.iter().map(|value| value.abs()).sum();
            for (v, row) in rows.chunks_exact(hidden).enumerate() {
                let step = row.chunks_exact(group).map(largest).fold(0.0f32, f32::max) / codes;
                let bound = sum * step * steps_off * 1.05;
                let off = (seen.logits[t * vocab + v] - expected.logits[t * vocab + v]).abs();
                assert!(off <= bound, "{head}: logit {v} of token {t} is {off} off, at most {bound}");
                farthest = farthest.max(off);
            }
        }
        println!("fast, {head}: perplexity {found:.3}, largest logit difference {farthest:.4}");
        let nats = (found / exact_perplexity).ln().abs();
        // Half a step in eight costs a few hundredths of a nat, one in 127 a hundredth of that.
        assert!(nats < 4.0 * steps_off as f64 / f64::from(codes) / 8.0, "{head}: {nats} nats");
    }
}
