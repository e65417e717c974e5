//! What a quantised embedding and head cost the demo model: the perplexity of the held-out tales.

use tritforge::convert::{ConvertOptions, StoreAs, convert_to};
use tritforge::demo;
use tritforge::engine::Engine;
use tritforge::format::{BlockType, LoadOptions, RawModel, StorageType, VocabMatrix, load_gguf_bytes};
use tritforge::model::Model;
use tritforge::verify::perplexity;

use crate::support::{fixture, tales};

/// Logarithm of the perplexity: nats a token.
fn nats(raw: RawModel, engine: &Engine) -> f64 {
    let documents: Vec<Vec<u32>> = tales().into_iter().map(|(_, ids)| ids).collect();
    let model = Model::from_raw(raw, engine).expect("a sound model");
    let found = perplexity(&model, engine, &documents, 512).expect("a perplexity");
    assert_eq!(found.tokens, 7067);
    found.perplexity.ln()
}

/// The demo model with this type of embedding and head.
fn tied(storage: StorageType) -> RawModel {
    let mut file = Vec::new();
    let options = ConvertOptions { head: Some(StoreAs::Type(storage)), ..ConvertOptions::default() };
    convert_to(&fixture("demo/packed"), &mut file, &options).expect("a model that GGUF can hold");
    let raw = load_gguf_bytes(file.into(), "demo", &LoadOptions::default()).expect("a file of our own");
    assert_eq!((raw.token_embd.storage(), raw.output.is_none()), (storage, true));
    raw
}

/// The demo model with its f16 embedding and a head of this matrix.
fn with_head(head: VocabMatrix) -> RawModel {
    RawModel { output: Some(head), ..demo::load(&LoadOptions::default()).expect("the demo model") }
}

/// Standard deviation of a logit's error, if every weight of the head is off by what rounding to the steps of `kind` gives:
/// a root mean square of 0.289 of a step. The state before the head has as many elements of unit mean square, times the
/// norm's weights.
fn logit_error(kind: BlockType) -> f64 {
    let raw = demo::load(&LoadOptions::default()).expect("the demo model");
    let (group, codes) = match kind {
        BlockType::Q4_0 => (32, 8.0),
        BlockType::Q6K => (16, 32.0),
        BlockType::Q8_0 => (32, 127.0),
    };
    let weights = raw.token_embd.to_f32_vec();
    let groups = weights.chunks_exact(group);
    let count = groups.len() as f64;
    let squares = groups.map(|group| group.iter().fold(0.0f64, |most, w| most.max(f64::from(*w).powi(2))));
    let step = (squares.sum::<f64>() / count).sqrt() / codes;
    let state: f64 = raw.output_norm.iter().map(|norm| f64::from(*norm).powi(2)).sum();
    step / 12f64.sqrt() * state.sqrt()
}

#[test]
fn no_type_costs_more_perplexity_than_its_steps() {
    let engine = Engine::with_threads(2).expect("an engine");
    let exact = nats(demo::load(&LoadOptions::default()).expect("the demo model"), &engine);
    println!("f16: perplexity {:.3}", exact.exp());
    for kind in [BlockType::Q8_0, BlockType::Q6K, BlockType::Q4_0] {
        let storage = StorageType::Blocks(kind);
        let tied = tied(storage);
        let head_alone = nats(with_head(tied.token_embd.clone()), &engine) - exact;
        let both = nats(tied, &engine) - exact;
        let error = logit_error(kind);
        println!(
            "{}: head {head_alone:+.5}, embedding and head {both:+.5} nats, perplexity {:.3}; a logit is off by {error:.5}",
            kind.name(),
            (exact + both).exp()
        );
        // A token's likelihood changes by the error of its logit less the mean one, which averages out over thousands of
        // tokens of hundreds of kinds: to less than a tenth. What stays is half the variance. Errors on both ends count
        // twice.
        let most = error / 10.0 + error * error / 2.0;
        assert!(head_alone.abs() < most, "{}: {head_alone} nats, {most}", kind.name());
        assert!(both.abs() < 2.0 * most, "{}: {both} nats, {most}", kind.name());
    }
}
