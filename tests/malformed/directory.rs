//! Hugging Face directories that are damaged or incomplete.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tritforge::engine::Engine;
use tritforge::format::{FormatError, LoadOptions, RawModel, load_path};
use tritforge::model::Model;
use tritforge_tests::Random;

use crate::sample::{Checkpoint, HIDDEN};

fn load(folder: &Path) -> Result<RawModel, FormatError> {
    load_path(folder, &LoadOptions::default())
}

/// The error for a checkpoint.
fn error(checkpoint: &Checkpoint) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    checkpoint.write(folder.path());
    load(folder.path()).err().expect("a bad checkpoint").to_string()
}

/// The error for the sound checkpoint with one file replaced, or removed.
fn error_with_file(name: &str, bytes: Option<&[u8]>) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    Checkpoint::new().write(folder.path());
    let path = folder.path().join(name);
    match bytes {
        Some(bytes) => fs::write(path, bytes).expect("a file is written"),
        None => fs::remove_file(path).expect("a file is removed"),
    }
    load(folder.path()).err().expect("a bad checkpoint").to_string()
}

fn names(error: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| error.contains(part)), "{error:?} does not name all of {parts:?}");
}

#[test]
fn a_sound_directory_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    Checkpoint::new().write(folder.path());
    let model = load(folder.path()).expect("a sound checkpoint");
    let ids = model.tokenizer.loaded().expect("a tokenizer").encode(" the", true);
    assert_eq!(ids, Ok(vec![0, 100]));
    assert!(Model::from_raw(model, &Engine::with_threads(1).expect("an engine")).is_ok());
}

#[test]
fn files_that_are_missing_or_no_json() {
    names(&error_with_file("config.json", None), &["config.json"]);
    names(&error_with_file("model.safetensors", None), &["model.safetensors", "not supported"]);
    for bytes in [&b""[..], b"{", b"[]", b"null", b"\xff\xfe{}", b"{\"hidden_size\": 128"] {
        names(&error_with_file("config.json", Some(bytes)), &["config.json"]);
    }
    for bytes in [&b""[..], b"{", b"{}", b"{\"model\": 7}", b"\xff"] {
        names(&error_with_file("tokenizer.json", Some(bytes)), &["tokenizer.json"]);
    }
    // Nesting without end is refused before it fills the stack.
    let deep = [&b"{\"x\":"[..], &vec![b'['; 100_000]].concat();
    names(&error_with_file("config.json", Some(&deep)), &["config.json"]);
    names(&error_with_file("tokenizer.json", Some(&deep)), &["tokenizer.json"]);
    let missing = load(Path::new("no/such/model")).err().expect("nothing there").to_string();
    names(&missing, &["no/such/model"]);
}

#[test]
fn settings_that_are_missing_senseless_or_contradict_the_tensors() {
    let sound = Checkpoint::new();
    for key in [
        "architectures",
        "hidden_act",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
        "max_position_embeddings",
        "rms_norm_eps",
        "rope_theta",
    ] {
        let huge = json!(1u64 << 40);
        for value in [Value::Null, json!(0), json!(-1), json!("many"), json!([]), huge, json!(1e300)] {
            let mut bad = sound.clone();
            bad.config[key] = value.clone();
            // Without a number of key/value heads there are as many as heads, which the tensors contradict.
            let error = error(&bad);
            assert!(!error.is_empty(), "{key} = {value}");
        }
    }
    for (key, value, named) in [
        ("hidden_size", json!(256), "[104, 256]"),
        ("intermediate_size", json!(256), "gate_proj"),
        ("num_hidden_layers", json!(3), "model.layers.2"),
        ("num_hidden_layers", json!(1), "model.layers.1"),
        ("num_key_value_heads", json!(2), "k_proj"),
        ("num_key_value_heads", json!(3), "3"),
        ("vocab_size", json!(105), "[105, 128]"),
        ("hidden_act", json!("gelu"), "relu2 or silu"),
        ("architectures", json!(["GemmaForCausalLM"]), "GemmaForCausalLM"),
        ("tie_word_embeddings", json!(false), "lm_head"),
        ("quantization_config", json!({"quant_method": "gptq"}), "gptq"),
        ("rope_scaling", json!({"type": "yarn", "factor": 4.0}), "yarn"),
    ] {
        let mut bad = sound.clone();
        bad.config[key] = value;
        names(&error(&bad), &[named]);
    }
}

#[test]
fn tensors_that_are_missing_left_over_or_of_another_shape_or_type() {
    let sound = Checkpoint::new();
    for name in sound.tensors.keys() {
        let mut bad = sound.clone();
        bad.tensors.remove(name);
        names(&error(&bad), &[name]);

        // The same bytes in another shape.
        let mut bad = sound.clone();
        let tensor = bad.tensors.get_mut(name).expect("the tensor");
        tensor.shape.push(1);
        names(&error(&bad), &[name]);
    }
    let mut bad = sound.clone();
    bad.tensors
        .insert("model.layers.0.self_attn.q_proj.bias".into(), sound.tensors["model.norm.weight"].clone());
    names(&error(&bad), &["q_proj.bias"]);

    let mut bad = sound.clone();
    let norm = bad.tensors.get_mut("model.norm.weight").expect("the norm");
    (norm.dtype, norm.bytes) = (safetensors::Dtype::I16, vec![0; 2 * HIDDEN]);
    names(&error(&bad), &["model.norm.weight", "I16", "BF16"]);
}

#[test]
fn scales_and_norms_of_zero_or_without_a_finite_value() {
    // In bf16: zero, NaN, infinity, minus one.
    for scale in [0x0000u16, 0x7fc0, 0x7f80, 0xbf80] {
        let mut bad = Checkpoint::new();
        let name = "model.layers.1.mlp.up_proj.weight";
        let tensor = bad.tensors.get_mut(&format!("{name}_scale")).expect("the scale");
        tensor.bytes = scale.to_le_bytes().to_vec();
        names(&error(&bad), &[name, "scale"]);
    }
    for (value, named) in [(0x0000u16, "zero"), (0x7fc0, "finite"), (0xff80, "finite")] {
        let mut bad = Checkpoint::new();
        let name = "model.layers.1.mlp.ffn_sub_norm.weight";
        let tensor = bad.tensors.get_mut(name).expect("the norm");
        tensor.bytes = value.to_le_bytes().repeat(HIDDEN);
        names(&error(&bad), &[name, named]);
    }
}

#[test]
fn tokenizers_that_the_library_would_panic_on() {
    let sound = Checkpoint::new();
    // A decoder is not needed, whatever it is.
    for decoder in [json!(7), json!({"type": "Nonsense"}), json!([[]]), json!({"type": "CTC"})] {
        let mut odd = sound.clone();
        odd.tokenizer["decoder"] = decoder;
        let folder = tempfile::tempdir().expect("a folder");
        odd.write(folder.path());
        let model = load(folder.path()).expect("a sound checkpoint");
        assert_eq!(model.tokenizer.loaded().expect("a tokenizer").encode(" the", false), Ok(vec![100]));
    }
    let table = json!({"type": "Precompiled", "precompiled_charsmap": 7});
    for normalizer in [table.clone(), json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, table]})] {
        let mut bad = sound.clone();
        bad.tokenizer["normalizer"] = normalizer;
        let folder = tempfile::tempdir().expect("a folder");
        bad.write(folder.path());
        let model = load(folder.path()).expect("a model that takes ids");
        let reason = model.tokenizer.loaded().err().expect("no tokenizer").to_string();
        names(&reason, &["Precompiled", "not supported"]);
    }
    for (path, value, named) in [
        ("/post_processor/single/0/SpecialToken/id", json!("<|start|>"), "post_processor"),
        ("/post_processor/single/1/Sequence/id", json!("B"), "post_processor"),
        ("/post_processor/special_tokens", json!({}), "post_processor"),
        ("/post_processor/type", json!("BertProcessing"), "TemplateProcessing"),
        ("/post_processor/special_tokens/<|begin_of_text|>/ids", json!([104]), "104"),
    ] {
        let mut bad = sound.clone();
        *bad.tokenizer.pointer_mut(path).expect("a place in the file") = value;
        names(&error(&bad), &["tokenizer.json", named]);
    }
    // An id that no token leads up to.
    let mut bad = sound;
    bad.tokenizer["added_tokens"][1]["content"] = json!("<|end_of_turn|>");
    names(&error(&bad), &["tokenizer.json", "<|end_of_turn|>"]);
}

#[test]
fn the_fourth_code_is_named_with_its_place() {
    let mut bad = Checkpoint::new();
    let name = "model.layers.1.mlp.up_proj.weight";
    // Row 64 + 5 lies in the third of the four blocks of 32 rows, at its row 5.
    bad.tensors.get_mut(name).expect("the matrix").bytes[5 * HIDDEN + 9] |= 0b11 << 4;
    let folder = tempfile::tempdir().expect("a folder");
    bad.write(folder.path());
    let model = load(folder.path()).expect("codes are read when they are packed");
    let error =
        Model::from_raw(model, &Engine::with_threads(1).expect("an engine")).err().expect("a bad code");
    names(&error.to_string(), &[name, "code 3", "row 69, column 9"]);
}

#[test]
fn truncated_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    Checkpoint::new().write(folder.path());
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).expect("the weights");
    let header = u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize;
    let mut random = Random::new(4);
    let mut places: Vec<usize> = (0..200).map(|_| random.bits() as usize % whole.len()).collect();
    places.extend([0, 1, 7, 8, 9, 8 + header - 1, 8 + header, whole.len() - 1]);
    for length in places {
        fs::write(&path, &whole[..length]).expect("a file is written");
        let error = load(folder.path()).err().expect("a truncated file").to_string();
        names(&error, &["model.safetensors"]);
    }
}

/// Flips in each of the three files.
const FLIPS: usize = 300;

#[test]
fn flipped_bytes_end_in_an_error_or_a_model() {
    let folder = tempfile::tempdir().expect("a folder");
    Checkpoint::new().write(folder.path());
    let engine = Engine::with_threads(1).expect("an engine");
    let mut random = Random::new(5);
    let (mut refused, mut loaded) = (0, 0);
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let path = folder.path().join(name);
        let whole = fs::read(&path).expect("a file");
        // Of the weights, the part that describes the others.
        let end = match name {
            "model.safetensors" => {
                8 + u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize
            }
            _ => whole.len(),
        };
        for _ in 0..FLIPS {
            let mut damaged = whole.clone();
            damaged[random.bits() as usize % end] ^= (random.bits() % 255 + 1) as u8;
            fs::write(&path, &damaged).expect("a file is written");
            match load(folder.path()) {
                Ok(model) => {
                    loaded += 1;
                    if let Ok(tokenizer) = model.tokenizer.loaded() {
                        let _ = tokenizer.encode("then the banana\n", true);
                    }
                    let _ = Model::from_raw(model, &engine);
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.to_string().is_empty());
                }
            }
        }
        fs::write(&path, &whole).expect("a file is written");
    }
    assert!(refused > 300 && loaded > 30, "{refused} refused, {loaded} loaded");
}
