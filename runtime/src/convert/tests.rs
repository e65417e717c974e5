use super::*;
use crate::format::gguf::GgufFile;
use crate::format::{FormatError, RawLayer, SharedBytes, load_gguf_bytes, load_path};
use crate::new_file::NewFileError;
use crate::tokenizer::TokenizerState;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(FIXTURES).join(name)
}

fn converted(name: &str, options: &ConvertOptions) -> (Vec<u8>, ConvertReport) {
    let mut bytes = Vec::new();
    let report = convert_to(&fixture(name), &mut bytes, options).unwrap();
    (bytes, report)
}

fn linears(layer: &RawLayer) -> [&TernaryTensor; 7] {
    let RawLayer { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, .. } = layer;
    [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
}

/// Codes and scales of every linear layer, embedding and norms.
fn assert_same_weights(a: &RawModel, b: &RawModel) {
    assert_eq!(a.layers.len(), b.layers.len());
    for (a, b) in a.layers.iter().zip(&b.layers) {
        for (a, b) in linears(a).into_iter().zip(linears(b)) {
            assert_eq!((a.rows(), a.cols(), a.scales()), (b.rows(), b.cols(), b.scales()), "{}", a.name());
            let (mut left, mut right) = (vec![9; a.cols()], vec![9; a.cols()]);
            for row in 0..a.rows() {
                a.unpack_row(row, &mut left).unwrap();
                b.unpack_row(row, &mut right).unwrap();
                assert!(left == right, "{} row {row}", a.name());
            }
        }
        assert_eq!(a.input_layernorm, b.input_layernorm);
        assert_eq!(a.post_attention_layernorm, b.post_attention_layernorm);
        assert_eq!(a.inner_attn_ln, b.inner_attn_ln);
        assert_eq!(a.ffn_layernorm, b.ffn_layernorm);
    }
    assert_eq!(a.output_norm, b.output_norm);
    assert_eq!(a.output.is_some(), b.output.is_some());
}

#[test]
fn the_demo_model_survives_the_trip_and_is_laid_out_as_others_read_it() {
    let (bytes, report) = converted("demo/packed", &ConvertOptions::default());
    assert_eq!((report.bytes, report.tensors), (bytes.len() as u64, 8 * 11 + 2));
    assert_eq!((&report.no_tokenizer, report.warnings.len()), (&None, 0));

    // Strict readers want each tensor at the sum of the padded sizes before it.
    let file = GgufFile::parse(bytes.clone().into()).unwrap();
    let place = |tensor| file.data(tensor).as_ptr() as usize;
    let first = place(&file.tensors()[0]);
    let mut expected = first;
    for tensor in file.tensors() {
        assert_eq!(place(tensor), expected, "{}", file.name(tensor));
        expected += file.data(tensor).len().next_multiple_of(32);
    }
    let text = |key: &str| file.get(key).unwrap().to_string();
    assert_eq!(text("general.architecture"), "bitnet-b1.58");
    assert_eq!(text("general.file_type"), "40");
    assert_eq!(text("bitnet-b1.58.rope.freq_base"), "500000");
    assert_eq!(text("bitnet-b1.58.hidden_act"), "relu2");
    assert_eq!(text("tokenizer.ggml.pre"), "llama-bpe");
    assert_eq!(text("tokenizer.ggml.eos_token_id"), "1");
    assert_eq!(text("tokenizer.ggml.add_bos_token"), "true");
    let tensor = |name: &str| &file.tensors()[file.tensor_position(name).unwrap()];
    let down = tensor("blk.7.ffn_down.weight");
    assert_eq!((down.dims(), down.kind()), (&[768, 256][..], TensorType::I2S));
    let data = file.data(down);
    assert_eq!(data.len(), 768 * 256 / 4 + 32);
    assert!(data[768 * 256 / 4 + 4..].iter().all(|&byte| byte == 0));
    assert_eq!(tensor("token_embd.weight").kind(), TensorType::Float(FloatType::F16));
    assert_eq!(tensor("output_norm.weight").kind(), TensorType::Float(FloatType::F32));

    let ours = load_gguf_bytes(bytes.into(), "demo", &LoadOptions::default()).unwrap();
    let source = load_path(&fixture("demo/packed"), &LoadOptions::default()).unwrap();
    assert_same_weights(&ours, &source);
    assert_eq!(ours.config.activation, Activation::Relu2);
    assert_eq!((ours.config.head_dim, ours.config.context), (64, 1024));
    assert_eq!(ours.source.format, "GGUF v3");
    let (a, b) = (ours.token_embd.to_f32_vec(), source.token_embd.to_f32_vec());
    let largest = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert_eq!(largest, report.largest_rounding);
    assert!(largest < 1e-6, "{largest}");
    let TokenizerState::Loaded(tokenizer) = &ours.tokenizer else { panic!("no tokenizer") };
    let TokenizerState::Loaded(original) = &source.tokenizer else { panic!("no tokenizer") };
    assert_eq!(tokenizer.stop_tokens(), [1]);
    let lines = std::fs::read_to_string(fixture("demo/reference/heldout-tales.jsonl")).unwrap();
    for line in lines.lines() {
        let tale: serde_json::Value = serde_json::from_str(line).unwrap();
        let ids: Vec<u32> = serde_json::from_value(tale["ids"].clone()).unwrap();
        assert!(tokenizer.encode(tale["text"].as_str().unwrap(), true).unwrap() == ids);
        assert!(original.encode(tale["text"].as_str().unwrap(), true).unwrap() == ids);
    }
}

#[test]
fn the_embedded_model_is_what_the_packed_directory_converts_to() {
    let options = ConvertOptions { name: Some("tritforge demo storyteller".into()), ..Default::default() };
    let (bytes, _) = converted("demo/packed", &options);
    let embedded = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/models/demo.gguf")).unwrap();
    assert!(bytes == embedded);
}

#[test]
fn masters_and_packed_weights_give_the_same_file_but_for_its_name() {
    let options = ConvertOptions { name: Some("oracle".into()), ..ConvertOptions::default() };
    let (packed, report) = converted("oracle/bitnet-b158/packed", &options);
    assert!(report.no_tokenizer.is_some_and(|reason| reason.contains("tokenizer.json")));
    let (masters, _) = converted("oracle/bitnet-b158/bf16", &options);
    assert!(packed == masters);
}

#[test]
fn rows_that_do_not_fill_blocks_are_warned_of_and_read_back() {
    let (bytes, report) = converted("oracle/bitnet-1bitllm/fp32", &ConvertOptions::default());
    assert_eq!(report.warnings.len(), 1);
    assert!(report.warnings[0].contains("192"), "{}", report.warnings[0]);
    let ours = load_gguf_bytes(bytes.clone().into(), "x", &LoadOptions::default()).unwrap();
    assert_eq!((ours.config.activation, &*ours.config.architecture), (Activation::Silu, "bitnet"));
    let source = load_path(&fixture("oracle/bitnet-1bitllm/fp32"), &LoadOptions::default()).unwrap();
    assert_same_weights(&ours, &source);

    // Without the key nobody can know where the weights lie.
    let at = bytes.windows(TAIL_KEY.len()).position(|window| window == TAIL_KEY.as_bytes()).unwrap();
    let mut nameless = bytes;
    nameless[at] = b'T';
    let error = load_gguf_bytes(nameless.into(), "x", &LoadOptions::default()).err().unwrap();
    assert!(matches!(error, FormatError::I2sTail { cols: 192, .. }), "{error}");
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let error =
        convert_to(&fixture("oracle/llama-bitlinear/packed"), &mut Vec::new(), &ConvertOptions::default());
    assert!(matches!(error, Err(ConvertError::NoSubNorms { .. })));

    let f32s =
        |values: &[f32]| SharedBytes::from(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    let wide = FloatTensor::new(1, 2, FloatType::F32, f32s(&[1.0, 70000.0])).unwrap();
    let error = write_embedding("e", &wide, EmbeddingType::F16, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("bf16"), "{error}");
    let mut out = Vec::new();
    let rounding = write_embedding("e", &wide, EmbeddingType::Bf16, &mut out).unwrap();
    // 70000 lies between the bf16 values 69632 and 70144.
    assert_eq!((rounding, out), (144.0, [0x80, 0x3f, 0x89, 0x47].to_vec()));
}

#[test]
fn files_appear_whole_and_are_not_replaced_unasked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.gguf");
    let directory = fixture("oracle/bitnet-b158/packed");
    let mut options = ConvertOptions::default();
    let report = convert(&directory, &out, &options).unwrap();
    let first = std::fs::read(&out).unwrap();
    assert_eq!(first.len() as u64, report.bytes);
    assert!(matches!(
        convert(&directory, &out, &options),
        Err(ConvertError::NewFile(NewFileError::Exists { .. }))
    ));
    options.overwrite = true;
    options.name = Some("another name".into());
    convert(&directory, &out, &options).unwrap();
    let second = std::fs::read(&out).unwrap();
    assert!(first != second);
    // A failed conversion leaves nothing behind.
    assert!(
        convert(&fixture("oracle/llama-bitlinear/packed"), &folder.path().join("b.gguf"), &options).is_err()
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(convert(&directory, &folder.path().join("no/such/model.gguf"), &options).is_err());
}

#[test]
fn ends_of_turn_get_their_own_key() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("demo/packed")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    std::fs::write(folder.path().join("generation_config.json"), r#"{"eos_token_id": [1, 5]}"#).unwrap();
    let config =
        r#"{"bos_token": {"content": "<|begin_of_text|>"}, "eos_token": null, "chat_template": "{{ x }}"}"#;
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    let mut bytes = Vec::new();
    convert_to(folder.path(), &mut bytes, &ConvertOptions::default()).unwrap();
    let file = GgufFile::parse(bytes.clone().into()).unwrap();
    let text = |key: &str| file.get(key).unwrap().to_string();
    assert_eq!(text("tokenizer.ggml.eos_token_id"), "1");
    assert_eq!(text("tokenizer.ggml.eot_token_id"), "5");
    assert_eq!(text("tokenizer.chat_template"), "{{ x }}");
    let model = load_gguf_bytes(bytes.into(), "x", &LoadOptions::default()).unwrap();
    assert_eq!(model.tokenizer.loaded().unwrap().stop_tokens(), [1, 5]);
}
