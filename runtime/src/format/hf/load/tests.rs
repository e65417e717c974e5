use std::fs;
use std::path::{Path, PathBuf};

use crate::format::{FormatError, LoadOptions, RawModel, load_path};
use crate::model::config::Activation;
use crate::packed::Scales;
use crate::tokenizer::PreTokenizer;

fn fixture(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures")).join(name)
}

fn loaded(name: &str) -> RawModel {
    load_path(&fixture(name), &LoadOptions::default()).unwrap()
}

/// A copy of a fixture to be damaged.
fn copied(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

#[test]
fn scales_multiply_or_divide_by_the_linear_class() {
    // weight_scale is the last tensor bytes of its kind; read it here by the format's definition.
    let stored = |name: &str, tensor: &str| {
        let file = fs::read(fixture(name).join("model.safetensors")).unwrap();
        let header = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let json: serde_json::Value = serde_json::from_slice(&file[8..8 + header]).unwrap();
        assert_eq!(json[tensor]["dtype"], "BF16");
        let at = 8 + header + json[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
        f32::from_bits(u32::from(u16::from_le_bytes([file[at], file[at + 1]])) << 16)
    };
    let tensor = "model.layers.1.mlp.down_proj.weight_scale";
    let multiply = loaded("oracle/bitnet-b158/packed");
    let scale = stored("oracle/bitnet-b158/packed", tensor);
    assert_eq!(*multiply.layers[1].down_proj.scales(), Scales::PerTensor(scale));
    let divide = loaded("oracle/llama-bitlinear/packed");
    let scale = stored("oracle/llama-bitlinear/packed", tensor);
    assert_eq!(*divide.layers[1].down_proj.scales(), Scales::PerTensor(1.0 / scale));
}

#[test]
fn the_three_classes_load_with_their_own_graphs() {
    let microsoft = loaded("demo/packed");
    assert_eq!(microsoft.config.activation, Activation::Relu2);
    assert!(microsoft.output.is_none() && microsoft.layers[0].inner_attn_ln.is_some());
    assert_eq!(microsoft.source.format, "Hugging Face");
    assert_eq!(microsoft.tokenizer.loaded().unwrap().stop_tokens(), [1]);
    let one_bit = loaded("oracle/bitnet-1bitllm/fp32");
    assert_eq!(one_bit.config.activation, Activation::Silu);
    assert_eq!(one_bit.layers[1].ffn_layernorm.as_ref().map(Vec::len), Some(452));
    let error = one_bit.tokenizer.loaded().err().unwrap().to_string();
    assert!(error.contains("no tokenizer.json"), "{error}");
    let llama = loaded("oracle/llama-bitlinear/packed");
    assert!(llama.output.is_some() && llama.layers[0].inner_attn_ln.is_none());
    assert_eq!((llama.config.head_dim, llama.config.hidden), (64, 320));
}

#[test]
fn missing_extra_and_contradicting_tensors_are_named() {
    let folder = copied("oracle/bitnet-b158/packed");
    let weights = folder.path().join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    let replace = |from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let at = whole.windows(from.len()).position(|window| window == from).unwrap();
        let mut bytes = whole.clone();
        bytes[at..at + from.len()].copy_from_slice(to);
        fs::write(&weights, bytes).unwrap();
        load_path(folder.path(), &LoadOptions::default()).err().unwrap().to_string()
    };
    let error = replace(b"\"model.norm.weight\"", b"\"model.norm.height\"");
    assert!(error.contains("`model.norm.weight` is missing"), "{error}");
    let error = replace(b"layers.2.mlp.ffn_sub_norm", b"layers.2.mlp.ffn_sub_morn");
    assert!(error.contains("layers.2.mlp.ffn_sub_norm.weight` is missing"), "{error}");
    fs::write(&weights, &whole).unwrap();

    let config_path = folder.path().join("config.json");
    let config = fs::read_to_string(&config_path).unwrap();
    let with = |from: &str, to: &str| {
        assert!(config.contains(from), "{from}");
        fs::write(&config_path, config.replace(from, to)).unwrap();
        load_path(folder.path(), &LoadOptions::default()).err().unwrap().to_string()
    };
    assert!(with("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 2").contains("model.layers.2"));
    assert!(with("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4000").contains("tensors"));
    assert!(with("\"intermediate_size\": 640", "\"intermediate_size\": 512").contains("[160, 128]"));
    assert!(with("\"offline\"", "\"online\"").contains("q_proj.weight"));
    assert!(
        with("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false").contains("lm_head.weight")
    );
    assert!(with("BitNetForCausalLM", "LlamaForCausalLM").contains("sub_norm"));
}

#[test]
fn options_and_directories_that_make_no_sense() {
    let pre = LoadOptions { act: None, pre: Some(PreTokenizer::Gpt2) };
    assert!(matches!(load_path(&fixture("demo/packed"), &pre), Err(FormatError::PreNotApplicable)));
    let silu = LoadOptions { act: Some(Activation::Silu), pre: None };
    assert_eq!(load_path(&fixture("demo/packed"), &silu).unwrap().config.activation, Activation::Silu);
    let empty = tempfile::tempdir().unwrap();
    let error = load_path(empty.path(), &LoadOptions::default()).err().unwrap().to_string();
    assert!(error.contains("config.json"), "{error}");
    let folder = copied("oracle/bitnet-b158/packed");
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let error = load_path(folder.path(), &LoadOptions::default()).err().unwrap().to_string();
    assert!(error.contains("no model.safetensors"), "{error}");
    assert!(load_path(&empty.path().join("none.gguf"), &LoadOptions::default()).is_err());
}
