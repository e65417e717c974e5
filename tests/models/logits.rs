//! Logits, hidden states, greedy continuations and perplexity against the oracles' references.

use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use tritforge::convert::{ConvertOptions, convert_to};
use tritforge::demo;
use tritforge::engine::Engine;
use tritforge::format::{LoadOptions, RawModel, load_gguf_bytes, load_path};
use tritforge::model::{Activation, Model};
use tritforge::verify::{Reference, ReferenceError, VerifyError, VerifyReport, perplexity, verify};

use crate::support::{fixture, tales};

/// Largest difference from a reference, in standard deviations: what the oracles state for models of random weights.
const TOLERANCE: f64 = 1e-3;

fn engine() -> Engine {
    Engine::with_threads(2).expect("an engine")
}

fn directory(name: &str) -> RawModel {
    load_path(&fixture(name), &LoadOptions::default()).expect("a sound fixture")
}

fn converted(name: &str) -> RawModel {
    let mut bytes = Vec::new();
    convert_to(&fixture(name), &mut bytes, &ConvertOptions::default()).expect("a fixture that GGUF can hold");
    load_gguf_bytes(bytes.into(), name, &LoadOptions::default()).expect("a file of our own")
}

fn reference(name: &str) -> Reference {
    Reference::load(&fixture(name)).expect("a sound reference")
}

fn compare(raw: RawModel, reference: &Reference) -> VerifyReport {
    let engine = engine();
    let model = Model::from_raw(raw, &engine).expect("a sound model");
    verify(&model, &engine, reference).expect("a reference of this model")
}

/// Compares, and checks that the reference covers the logits, the states around every layer and the continuation.
fn compare_all(raw: RawModel, reference: &Reference, greedy_tokens: usize) -> VerifyReport {
    let layers = raw.config.layers;
    let report = compare(raw, reference);
    let names: Vec<&str> = report.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    let hidden = (0..=layers).map(|layer| format!("hidden.{layer}"));
    let expected: Vec<String> = std::iter::once("logits".to_owned()).chain(hidden).collect();
    assert_eq!(names, expected);
    assert_eq!(report.greedy.map(|greedy| greedy.tokens), Some(greedy_tokens));
    report
}

fn agrees(raw: RawModel, reference_name: &str) {
    let report = compare_all(raw, &reference(reference_name), 16);
    assert!(report.passes(TOLERANCE), "{report}");
    assert_eq!(report.tensors[0].top1_agreement, Some(1.0));
}

const B158: &str = "oracle/bitnet-b158/reference.safetensors";

#[test]
fn bitnet_b158_from_packed_weights() {
    agrees(directory("oracle/bitnet-b158/packed"), B158);
}

#[test]
fn bitnet_b158_from_masters() {
    agrees(directory("oracle/bitnet-b158/bf16"), B158);
}

#[test]
fn bitnet_b158_from_the_gguf_of_its_packed_weights() {
    agrees(converted("oracle/bitnet-b158/packed"), B158);
}

#[test]
fn bitnet_b158_from_the_gguf_of_its_masters() {
    agrees(converted("oracle/bitnet-b158/bf16"), B158);
}

#[test]
fn bitnet_1bitllm_from_f32_masters() {
    agrees(directory("oracle/bitnet-1bitllm/fp32"), "oracle/bitnet-1bitllm/reference.safetensors");
}

#[test]
fn bitnet_1bitllm_from_its_gguf_whose_rows_do_not_fill_blocks() {
    // The file holds the f32 embedding as f16: up to 1.4e-3 deviations off, which moves activations over rounding ties.
    // Misplaced weights would be off by whole deviations, as in `another_graph_does_not_pass`.
    let reference = reference("oracle/bitnet-1bitllm/reference.safetensors");
    let report = compare_all(converted("oracle/bitnet-1bitllm/fp32"), &reference, 16);
    assert!(report.passes(0.1), "{report}");
    assert!(report.tensors[1].max_over_std < 2e-3, "{report}");
}

#[test]
fn llama_bitlinear_from_packed_weights() {
    agrees(directory("oracle/llama-bitlinear/packed"), "oracle/llama-bitlinear/reference.safetensors");
}

/// The tolerances that the demo's reference states: largest and mean difference, in standard deviations.
fn demo_tolerances() -> (f64, f64) {
    let path = fixture("demo/reference/reference.json");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).expect("the figures")).expect("JSON");
    let figure = |name: &str| json["tolerance"][name].as_f64().expect("a figure");
    (figure("max_over_std"), figure("mean_over_std"))
}

fn demo_agrees(raw: RawModel) {
    let (largest, mean) = demo_tolerances();
    let report = compare_all(raw, &reference("demo/reference/reference.safetensors"), 64);
    assert!(report.passes(largest), "{report}");
    assert!(report.tensors.iter().all(|tensor| tensor.mean_over_std <= mean), "{report}");
}

#[test]
fn demo_from_packed_weights() {
    demo_agrees(directory("demo/packed"));
}

#[test]
fn demo_from_the_embedded_gguf() {
    demo_agrees(demo::load(&LoadOptions::default()).expect("the demo model"));
}

#[test]
fn perplexity_of_the_held_out_tales() {
    let path = fixture("demo/reference/perplexity.json");
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).expect("the figures")).expect("JSON");
    let expected = json["float64"]["perplexity"].as_f64().expect("a figure");
    assert!((expected - 64.32666621323675).abs() < 1e-12);
    let documents: Vec<Vec<u32>> = tales().into_iter().map(|(_, ids)| ids).collect();
    assert_eq!(documents.len(), 14);
    let engine = engine();
    for raw in [directory("demo/packed"), demo::load(&LoadOptions::default()).expect("the demo model")] {
        let model = Model::from_raw(raw, &engine).expect("a sound model");
        let found = perplexity(&model, &engine, &documents, 512).expect("a perplexity");
        assert_eq!(found.tokens, 7067);
        assert!((found.perplexity / expected - 1.0).abs() < 2e-3, "{found:?}");
    }
}

#[test]
fn another_graph_does_not_pass() {
    let silu = LoadOptions { act: Some(Activation::Silu), pre: None };
    let raw = load_path(&fixture("oracle/bitnet-b158/packed"), &silu).expect("a sound fixture");
    assert!(!compare(raw, &reference(B158)).passes(TOLERANCE));

    let mut raw = directory("oracle/bitnet-b158/packed");
    raw.config.rope_theta = 10_000.0;
    assert!(!compare(raw, &reference(B158)).passes(TOLERANCE));

    let mut raw = directory("oracle/bitnet-b158/packed");
    raw.layers.swap(1, 2);
    let report = compare(raw, &reference(B158));
    assert!(!report.passes(TOLERANCE) && report.max_over_std() > 1.0, "{report}");
    // What comes before the damage is still right.
    let hidden = |index: usize| &report.tensors[1 + index];
    assert!(hidden(1).max_over_std <= TOLERANCE && hidden(2).max_over_std > TOLERANCE, "{report}");
}

/// A reference file of `input_ids` and one other tensor.
fn file_with(name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Result<Reference, ReferenceError> {
    let ids: Vec<u8> = [1i64, 2].iter().flat_map(|id| id.to_le_bytes()).collect();
    let mut tensors = vec![("input_ids", TensorView::new(Dtype::I64, vec![2], &ids).expect("ids"))];
    if !name.is_empty() {
        tensors.push((name, TensorView::new(dtype, shape.to_vec(), bytes).expect("a tensor")));
    }
    Reference::from_bytes(&serialize(tensors, None).expect("a file"))
}

#[test]
fn references_that_compare_nothing_are_errors() {
    let engine = engine();
    let model = Model::from_raw(directory("oracle/bitnet-b158/packed"), &engine).expect("a sound model");

    let error = file_with("", Dtype::F32, &[], &[]).expect_err("there is nothing to compare");
    assert!(matches!(error, ReferenceError::NothingToCompare), "{error}");

    let pooled: Vec<u8> = (0..128).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let embedding =
        file_with("embedding", Dtype::F32, &[128], &pooled).expect("a reference of another model");
    let error = verify(&model, &engine, &embedding).expect_err("there is no pooling");
    assert!(matches!(error, VerifyError::NoPooling), "{error}");
    assert!(error.to_string().contains("embedding"), "{error}");

    // One value a token more than this vocabulary has.
    let wide: Vec<u8> = (0..2 * 312).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let logits = file_with("logits", Dtype::F32, &[2, 312], &wide).expect("a reference of another model");
    let error = verify(&model, &engine, &logits).expect_err("another vocabulary").to_string();
    assert!(error.contains("[2, 312]") && error.contains("[2, 311]"), "{error}");

    for name in ["oracle/bitnet-1bitllm", "oracle/llama-bitlinear", "demo/reference"] {
        let other = reference(&format!("{name}/reference.safetensors"));
        assert!(verify(&model, &engine, &other).is_err(), "{name}");
    }
    assert!(matches!(Reference::load(Path::new("no/such/file")), Err(ReferenceError::Io { .. })));
}
