//! Sound files of a kind that is not supported: the error says what was found and what is supported.

use tritforge::format::{FormatError, LoadOptions, RawModel, load_gguf_bytes};
use tritforge::model::Activation;
use tritforge::tokenizer::PreTokenizer;

use crate::fields::Header;
use crate::sample::Checkpoint;

fn load(file: Vec<u8>, options: &LoadOptions) -> Result<RawModel, FormatError> {
    load_gguf_bytes(file.into(), "sample", options)
}

/// The sample with one field replaced by as many bytes.
fn with(field: &str, bytes: &[u8]) -> Vec<u8> {
    let mut file = Checkpoint::new().gguf();
    let range = Header::read(&file).field(field);
    file[range].copy_from_slice(bytes);
    file
}

fn error(field: &str, bytes: &[u8]) -> String {
    let result = load(with(field, bytes), &LoadOptions::default());
    result.err().expect("what is not supported").to_string()
}

fn names(error: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| error.contains(part)), "{error:?} does not name all of {parts:?}");
}

#[test]
fn tensor_types() {
    for (id, name) in [(12u32, "Q4_K"), (35, "TQ2_0"), (38, "TL1"), (999, "unknown")] {
        let found = error("blk.1.ffn_down.weight type", &id.to_le_bytes());
        names(&found, &["blk.1.ffn_down.weight", &id.to_string(), name, "I2_S (36)", "F16 (1)", "Q6_K (14)"]);
    }
    // One whose blocks are longer than the rows.
    let found = error("blk.1.ffn_down.weight type", &14u32.to_le_bytes());
    names(&found, &["blk.1.ffn_down.weight", "blocks of 256"]);
    // A type that is known, where it has no place: 16384 weights of f32 would not fit, of bf16 would neither.
    let found = error("blk.0.attn_norm.weight type", &36u32.to_le_bytes());
    names(&found, &["attn_norm"]);
}

#[test]
fn architectures() {
    let found = error("general.architecture value", b"falcon-h1-xl");
    names(&found, &["`falcon-h1-xl`", "bitnet, bitnet-b1.58 and bitnet-25"]);
}

#[test]
fn activation_functions() {
    let found = error("bitnet-b1.58.hidden_act value", b"gelu5");
    names(&found, &["gelu5", "relu2 or silu", "hidden_act"]);

    // Not named at all: the user is asked.
    let unnamed = with("bitnet-b1.58.hidden_act key", b"bitnet-b1.58.hidden_xxx");
    let found = load(unnamed.clone(), &LoadOptions::default()).err().expect("a question").to_string();
    names(&found, &["--act", "relu2", "silu"]);
    for act in [Activation::Relu2, Activation::Silu] {
        let options = LoadOptions { act: Some(act), pre: None };
        assert_eq!(load(unnamed.clone(), &options).expect("an answer").config.activation, act);
    }
}

#[test]
fn pre_tokenizers() {
    let found = error("tokenizer.ggml.pre value", b"deepseek3");
    names(&found, &["`deepseek3`", "llama-bpe, gpt-2, qwen2", "--pre"]);

    let unnamed = with("tokenizer.ggml.pre key", b"tokenizer.ggml.xxx");
    let found = load(unnamed.clone(), &LoadOptions::default()).err().expect("a question").to_string();
    names(&found, &["tokenizer.ggml.pre", "--pre", "llama-bpe, gpt-2, qwen2"]);
    let options = LoadOptions { act: None, pre: Some(PreTokenizer::LlamaBpe) };
    let model = load(unnamed, &options).expect("an answer");
    // Begin, `the` with its space before it, and `an`.
    assert_eq!(model.tokenizer.loaded().expect("a tokenizer").encode(" thean", true), Ok(vec![0, 100, 101]));
}

#[test]
fn tokenizers_of_other_kinds() {
    let model = load(with("tokenizer.ggml.model value", b"bert"), &LoadOptions::default());
    let model = model.expect("a model that takes ids");
    let found = model.tokenizer.loaded().err().expect("no tokenizer").to_string();
    names(&found, &["`bert`", "gpt2", "byte-level BPE"]);
}

#[test]
fn containers() {
    names(&error("magic", b"GGML"), &["not a GGUF file"]);
    names(&error("version", &1u32.to_le_bytes()), &["version 1", "2 and 3"]);
    names(&error("version", &4u32.to_le_bytes()), &["version 4", "2 and 3"]);
    names(&error("version", &3u32.to_be_bytes()), &["big-endian"]);
    let version_2 = with("version", &2u32.to_le_bytes());
    assert!(load(version_2, &LoadOptions::default()).is_ok());
}
