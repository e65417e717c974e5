//! A small checkpoint of two layers with a tokenizer, made up on the spot, and its GGUF.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use serde_json::{Value, json};
use tritforge::convert::{ConvertOptions, convert_to};
use tritforge_tests::Random;

pub const LAYERS: usize = 2;
pub const HIDDEN: usize = 128;
pub const VOCAB: usize = 104;
/// Rows of k_proj and v_proj: one head of 32.
const KV: usize = 32;

const BEGIN: &str = "<|begin_of_text|>";
const END: &str = "<|end_of_text|>";
/// How Llama 3 splits text.
const SPLIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A tensor of a checkpoint.
#[derive(Clone)]
pub struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// A Hugging Face checkpoint in the form that its files have.
#[derive(Clone)]
pub struct Checkpoint {
    pub config: Value,
    pub tokenizer: Value,
    pub tensors: BTreeMap<String, Tensor>,
}

/// `values` in bf16, which holds all that are used here exactly.
fn bf16(shape: &[usize], values: impl Iterator<Item = f32>) -> Tensor {
    let bytes = values.flat_map(|value| ((value.to_bits() >> 16) as u16).to_le_bytes()).collect();
    Tensor { dtype: Dtype::BF16, shape: shape.to_vec(), bytes }
}

/// Random codes 0, 1 and 2, four rows to a byte.
fn packed(random: &mut Random, rows: usize, cols: usize) -> Tensor {
    let byte = |random: &mut Random| (0..4).fold(0, |byte, _| byte << 2 | (random.bits() % 3) as u8);
    let bytes = (0..rows / 4 * cols).map(|_| byte(random)).collect();
    Tensor { dtype: Dtype::U8, shape: vec![rows / 4, cols], bytes }
}

fn tensors() -> BTreeMap<String, Tensor> {
    let mut random = Random::new(6);
    let mut tensors = BTreeMap::new();
    let embedding: Vec<f32> = (0..VOCAB * HIDDEN).map(|_| (random.bits() % 65) as f32 / 32.0 - 1.0).collect();
    tensors.insert("model.embed_tokens.weight".into(), bf16(&[VOCAB, HIDDEN], embedding.into_iter()));
    let ones = || bf16(&[HIDDEN], std::iter::repeat_n(1.0, HIDDEN));
    tensors.insert("model.norm.weight".into(), ones());
    for layer in 0..LAYERS {
        let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
        for (part, rows) in [
            ("self_attn.q_proj", HIDDEN),
            ("self_attn.k_proj", KV),
            ("self_attn.v_proj", KV),
            ("self_attn.o_proj", HIDDEN),
            ("mlp.gate_proj", HIDDEN),
            ("mlp.up_proj", HIDDEN),
            ("mlp.down_proj", HIDDEN),
        ] {
            tensors.insert(name(part), packed(&mut random, rows, HIDDEN));
            tensors.insert(name(part) + "_scale", bf16(&[1], std::iter::once(0.125)));
        }
        for part in
            ["input_layernorm", "post_attention_layernorm", "self_attn.attn_sub_norm", "mlp.ffn_sub_norm"]
        {
            tensors.insert(name(part), ones());
        }
    }
    tensors
}

/// A byte-level tokenizer of the printable ASCII characters, space, newline and a few merges.
fn tokenizer() -> Value {
    let letters = ('!'..='~').chain(['Ġ', 'Ċ']).map(String::from);
    let merges = [["h", "e"], ["Ġ", "t"], ["Ġt", "he"], ["a", "n"]];
    let texts = [BEGIN, END].map(String::from).into_iter().chain(letters);
    let texts = texts.chain(merges.iter().map(|merge| merge.concat()));
    let vocab: serde_json::Map<String, Value> =
        texts.zip(0u32..).map(|(text, id)| (text, id.into())).collect();
    assert_eq!(vocab.len(), VOCAB - 2, "two ids are left without a token");
    let added = |id: u32, text: &str| {
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let begin = json!({"SpecialToken": {"id": BEGIN, "type_id": 0}});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [added(0, BEGIN), added(1, END)],
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, sequence("A")],
            "pair": [begin, sequence("A"), begin, sequence("B")],
            "special_tokens": {BEGIN: {"id": BEGIN, "ids": [0], "tokens": [BEGIN]}},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges},
    })
}

impl Checkpoint {
    /// A sound one.
    pub fn new() -> Self {
        let config = json!({
            "architectures": ["BitNetForCausalLM"], "hidden_act": "relu2", "hidden_size": HIDDEN,
            "intermediate_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
            "num_key_value_heads": 1, "vocab_size": VOCAB, "max_position_embeddings": 64,
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": true,
            "bos_token_id": 0, "eos_token_id": 1,
            "quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear",
                "quantization_mode": "offline"},
        });
        Checkpoint { config, tokenizer: tokenizer(), tensors: tensors() }
    }

    /// The bytes of `model.safetensors`.
    pub fn safetensors(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, tensor)| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
            (name, view.expect("bytes that fit the shape"))
        });
        serialize(views, None).expect("a file")
    }

    /// Writes the files of the checkpoint.
    pub fn write(&self, folder: &Path) {
        let write =
            |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).expect("a file is written");
        write("config.json", self.config.to_string().as_bytes());
        write("tokenizer.json", self.tokenizer.to_string().as_bytes());
        write("model.safetensors", &self.safetensors());
    }

    /// The checkpoint as a GGUF file.
    pub fn gguf(&self) -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        self.write(folder.path());
        let mut bytes = Vec::new();
        let options = ConvertOptions { name: Some("sample".into()), ..ConvertOptions::default() };
        let report =
            convert_to(folder.path(), &mut bytes, &options).expect("a checkpoint that GGUF can hold");
        assert_eq!((report.no_tokenizer, report.warnings.len()), (None, 0));
        assert!(bytes.len() <= 100_000, "{} bytes", bytes.len());
        bytes
    }
}
