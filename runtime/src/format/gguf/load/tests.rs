use super::*;
use crate::format::gguf::GgufWriter;
use crate::format::strings::StringArray;
use crate::packed::Scales;
use crate::tokenizer::{TokenizerError, TokenizerState};

#[derive(Clone)]
enum Entry {
    Str(&'static str),
    U32(u32),
    F32(f32),
    Bool(bool),
    Strings(Vec<String>),
    I32s(Vec<i32>),
}

const F32: TensorType = TensorType::Float(FloatType::F32);
const F16: TensorType = TensorType::Float(FloatType::F16);

/// A model of one layer: hidden and ffn 128, two heads of 64, one key-value head, 260 tokens. About 90 kB.
#[derive(Clone)]
struct Small {
    architecture: &'static str,
    entries: Vec<(String, Entry)>,
    tensors: Vec<(String, Vec<usize>, TensorType, Vec<u8>)>,
}

const VOCAB: usize = 260;

impl Small {
    fn new(architecture: &'static str) -> Self {
        let mut small = Self { architecture, entries: Vec::new(), tensors: Vec::new() };
        small.set("general.architecture", Entry::Str(architecture));
        for (key, value) in [
            ("embedding_length", 128),
            ("block_count", 1),
            ("feed_forward_length", 128),
            ("attention.head_count", 2),
            ("attention.head_count_kv", 1),
            ("context_length", 64),
        ] {
            small.own(key, Entry::U32(value));
        }
        small.own("attention.layer_norm_rms_epsilon", Entry::F32(1e-5));
        small.own("rope.freq_base", Entry::F32(1e4));
        small.own("hidden_act", Entry::Str("relu2"));

        small.set("tokenizer.ggml.model", Entry::Str("gpt2"));
        small.set("tokenizer.ggml.pre", Entry::Str("llama-bpe"));
        let mut texts: Vec<String> = bytes_alphabet();
        texts.extend(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "he"].map(String::from));
        small.set("tokenizer.ggml.tokens", Entry::Strings(texts));
        let kinds = (0..VOCAB).map(|id| if (256..259).contains(&id) { 3 } else { 1 }).collect();
        small.set("tokenizer.ggml.token_type", Entry::I32s(kinds));
        small.set("tokenizer.ggml.merges", Entry::Strings(vec!["h e".into()]));
        small.set("tokenizer.ggml.bos_token_id", Entry::U32(256));
        small.set("tokenizer.ggml.eos_token_id", Entry::U32(257));

        small.tensor("token_embd.weight", &[VOCAB, 128], F16, vec![0x11; VOCAB * 256]);
        for (name, rows) in [
            ("attn_q", 128),
            ("attn_k", 64),
            ("attn_v", 64),
            ("attn_output", 128),
            ("ffn_gate", 128),
            ("ffn_up", 128),
            ("ffn_down", 128),
        ] {
            small.tensor(&layer_tensor(0, name), &[rows, 128], TensorType::I2S, i2_s(rows * 128, 0.5));
        }
        for name in ["attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm"] {
            small.tensor(&layer_tensor(0, name), &[128], F32, f32s(&[1.0; 128]));
        }
        small.tensor("output_norm.weight", &[128], F32, f32s(&[1.0; 128]));
        small
    }

    fn set(&mut self, key: &str, entry: Entry) -> &mut Self {
        self.unset(key);
        self.entries.push((key.to_owned(), entry));
        self
    }

    fn own(&mut self, suffix: &str, entry: Entry) -> &mut Self {
        self.set(&format!("{}.{suffix}", self.architecture), entry)
    }

    fn unset(&mut self, key: &str) -> &mut Self {
        self.entries.retain(|(existing, _)| existing != key);
        self
    }

    fn tensor(&mut self, name: &str, shape: &[usize], kind: TensorType, bytes: Vec<u8>) -> &mut Self {
        self.tensors.retain(|(existing, ..)| existing != name);
        self.tensors.push((name.to_owned(), shape.to_vec(), kind, bytes));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut writer = GgufWriter::default();
        for (key, entry) in &self.entries {
            match entry {
                Entry::Str(text) => writer.put_str(key, text),
                Entry::U32(value) => writer.put_u32(key, *value),
                Entry::F32(value) => writer.put_f32(key, *value),
                Entry::Bool(value) => writer.put_bool(key, *value),
                Entry::Strings(texts) => writer.put_strings(key, &texts.iter().collect::<StringArray>()),
                Entry::I32s(values) => writer.put_i32s(key, values.iter().copied()),
            }
        }
        for (name, shape, kind, _) in &self.tensors {
            writer.announce(name.clone(), shape, *kind).unwrap();
        }
        let mut out = Vec::new();
        writer.write::<std::io::Error>(&mut out, |index, out| out.write_all(&self.tensors[index].3)).unwrap();
        out
    }

    fn load_with(&self, options: &LoadOptions) -> Result<RawModel, FormatError> {
        load(self.bytes().into(), "small", options)
    }

    fn load(&self) -> Result<RawModel, FormatError> {
        self.load_with(&LoadOptions::default())
    }

    fn error(&self) -> String {
        self.load().err().expect("the file is bad").to_string()
    }
}

#[test]
fn blocks_have_their_place_in_embedding_and_head_alone() {
    let q8_0 = TensorType::Blocks(crate::format::BlockType::Q8_0);
    let blocks = |rows: usize| [&[0x00, 0x3c][..], &[5; 32]].concat().repeat(rows * 4);
    let mut small = Small::new("bitnet-b1.58");
    small.tensor("token_embd.weight", &[VOCAB, 128], q8_0, blocks(VOCAB));
    let model = small.load().unwrap();
    assert_eq!(model.source.tensors.last().unwrap().type_name, "Q8_0");
    // A scale of 1 and codes of 5.
    assert!(model.token_embd.to_f32_vec().iter().all(|&value| value == 5.0));

    // A copy of the embedding is no head of its own; the same values in another type are.
    small.tensor("output.weight", &[VOCAB, 128], q8_0, blocks(VOCAB));
    assert!(small.load().unwrap().output.is_none());
    small.tensor("output.weight", &[VOCAB, 128], F16, [0x00, 0x45].repeat(VOCAB * 128));
    assert!(small.load().unwrap().output.is_some());

    let mut norm = small.clone();
    norm.tensor("output_norm.weight", &[128], q8_0, blocks(1));
    let error = norm.error();
    assert!(error.contains("output_norm.weight") && error.contains("F32, F16 or BF16"), "{error}");
    let mut linear = small.clone();
    linear.tensor("blk.0.ffn_up.weight", &[128, 128], q8_0, blocks(128));
    assert!(linear.error().contains("ffn_up") && linear.error().contains("I2_S"));
    small.tensor("output.weight", &[VOCAB, 128], TensorType::I2S, i2_s(VOCAB * 128, 0.5));
    let error = small.error();
    assert!(error.contains("output.weight") && error.contains("Q6_K"), "{error}");
}

fn bytes_alphabet() -> Vec<String> {
    let mut alphabet: Vec<char> =
        tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    alphabet.into_iter().map(String::from).collect()
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Packed weights of all four fields 2, 1, 0, 1 and a trailer whose unused bytes are not zero.
fn i2_s(elements: usize, scale: f32) -> Vec<u8> {
    let mut bytes = vec![0b10_01_00_01; elements / 4];
    bytes.extend(scale.to_le_bytes());
    bytes.extend([0xEE; 28]);
    bytes
}

#[test]
fn a_sound_file_loads() {
    let model = Small::new("bitnet-b1.58").load().unwrap();
    let config = &model.config;
    assert_eq!((config.head_dim, config.kv_heads, config.vocab, &*config.name), (64, 1, VOCAB, "small"));
    assert!(model.output.is_none());
    let mut trits = [0; 128];
    model.layers[0].k_proj.unpack_row(63, &mut trits).unwrap();
    // Fields from the high bits down hold elements 0.., 32.., 64.., 96..: codes 2, 1, 0, 1.
    let expected: Vec<i8> = [1, 0, -1, 0].into_iter().flat_map(|trit| [trit; 32]).collect();
    assert_eq!(trits[..], expected);
    assert_eq!(*model.layers[0].k_proj.scales(), Scales::PerTensor(0.5));
    let tokenizer = model.tokenizer.loaded().unwrap();
    assert_eq!(tokenizer.stop_tokens(), [257, 258]);
    assert_eq!(tokenizer.encode("he", true).unwrap(), [256, 259]);
    assert_eq!(model.source.tensors.len(), 13);
    assert_eq!(model.source.tensors[0].shape, [VOCAB, 128]);
}

#[test]
fn every_hyper_parameter_is_required_and_checked() {
    for suffix in [
        "embedding_length",
        "block_count",
        "feed_forward_length",
        "attention.head_count",
        "context_length",
        "attention.layer_norm_rms_epsilon",
        "rope.freq_base",
    ] {
        let key = format!("bitnet-25.{suffix}");
        let error = Small::new("bitnet-25").unset(&key).error();
        assert!(error.contains(&key) && error.contains("missing"), "{error}");
        let error = Small::new("bitnet-25").own(suffix, Entry::Str("12")).error();
        assert!(error.contains(&key), "{error}");
        let with = |entry| Small::new("bitnet-25").own(suffix, entry).load();
        if suffix.ends_with("epsilon") || suffix.ends_with("base") {
            for value in [0.0, f32::NAN, f32::INFINITY, -1.0] {
                assert!(with(Entry::F32(value)).is_err(), "{suffix} {value}");
            }
        } else {
            assert!(with(Entry::U32(0)).is_err() && with(Entry::U32(u32::MAX)).is_err(), "{suffix}");
            // All but the context's length show in the tensors.
            assert_eq!(with(Entry::U32(3)).is_ok(), suffix == "context_length", "{suffix}");
        }
    }
    assert!(Small::new("falcon").error().contains("bitnet, bitnet-b1.58 and bitnet-25"));
    assert!(Small::new("bitnet").unset("general.architecture").error().contains("general.architecture"));
}

#[test]
fn contradictions_are_named() {
    let with = |suffix, entry| Small::new("bitnet-b1.58").own(suffix, entry).error();
    assert!(with("vocab_size", Entry::U32(261)).contains("260 rows"));
    assert!(with("block_count", Entry::U32(100_000)).contains("only 13 tensors"));
    assert!(with("block_count", Entry::U32(2)).contains("13 tensors"));
    assert!(with("rope.dimension_count", Entry::U32(32)).contains("attn_q"));
    let mut small = Small::new("bitnet-b1.58");
    small.own("attention.key_length", Entry::U32(64)).own("rope.dimension_count", Entry::U32(32));
    assert!(small.error().contains("key_length"));
    assert!(with("attention.head_count_kv", Entry::U32(2)).contains("attn_k"));
    assert!(with("rope.scaling.type", Entry::Str("yarn")).contains("yarn"));
    assert!(with("rope.scaling.factor", Entry::F32(2.0)).contains("factor"));
    let mut linear = Small::new("bitnet-b1.58");
    linear.own("rope.scaling.type", Entry::Str("linear")).own("rope.scaling.factor", Entry::F32(1.0));
    assert!(linear.load().is_ok());
}

#[test]
fn the_activation_comes_from_the_user_the_file_or_2b_4t() {
    let mut small = Small::new("bitnet-b1.58");
    let silu = LoadOptions { act: Some(Activation::Silu), pre: None };
    assert_eq!(small.load_with(&silu).unwrap().config.activation, Activation::Silu);
    small.own("hidden_act", Entry::Str("gelu"));
    assert!(small.error().contains("gelu"));
    small.unset("bitnet-b1.58.hidden_act");
    let error = small.error();
    assert!(error.contains("--act") && error.contains("260"), "{error}");

    // The published file: 128,256 tokens, and neither activation nor pre-tokenizer.
    small.unset("tokenizer.ggml.pre");
    small.tensor("token_embd.weight", &[128_256, 128], F16, vec![0x11; 128_256 * 256]);
    let model = small.load().unwrap();
    assert_eq!(model.config.activation, Activation::Relu2);
    let tokenizer = model.tokenizer.loaded().unwrap();
    assert_eq!(tokenizer.encode("he", true).unwrap(), [256, 259]);
    let mut other = Small::new("bitnet");
    other.unset("bitnet.hidden_act");
    other.tensor("token_embd.weight", &[128_256, 128], F16, vec![0x11; 128_256 * 256]);
    assert!(other.error().contains("--act"));
}

#[test]
fn tokenizers_that_cannot_be_used_say_why() {
    let reason = |small: &Small| match small.load().unwrap().tokenizer {
        TokenizerState::Absent { reason } => reason,
        TokenizerState::Loaded(_) => panic!("loaded"),
    };
    let mut small = Small::new("bitnet-b1.58");
    assert!(reason(small.set("tokenizer.ggml.model", Entry::Str("llama"))).contains("`llama`"));
    assert!(reason(small.unset("tokenizer.ggml.model")).contains("no tokenizer"));

    let mut small = Small::new("bitnet-b1.58");
    small.unset("tokenizer.ggml.pre");
    assert!(small.error().contains("--pre"));
    let chosen = LoadOptions { act: None, pre: Some(PreTokenizer::Qwen2) };
    assert!(small.load_with(&chosen).is_ok());
    small.set("tokenizer.ggml.pre", Entry::Str("falcon_e"));
    let error = small.load().err().unwrap();
    assert!(matches!(error, FormatError::Tokenizer(TokenizerError::PreTokenizer { .. })), "{error}");
    for (key, entry) in [
        ("tokens", Entry::U32(7)),
        ("tokens", Entry::Strings(vec!["a".into(); 261])),
        ("tokens", Entry::Strings(vec!["a".into(); 3])),
        ("token_type", Entry::I32s(vec![1; 259])),
        ("token_type", Entry::I32s(vec![6; 260])),
        ("merges", Entry::I32s(vec![0])),
        ("bos_token_id", Entry::U32(260)),
        ("eos_token_id", Entry::Str("<|end_of_text|>")),
        ("add_bos_token", Entry::U32(1)),
    ] {
        let key = format!("tokenizer.ggml.{key}");
        assert!(Small::new("bitnet-b1.58").set(&key, entry).load().is_err(), "{key}");
    }
    let mut quiet = Small::new("bitnet-b1.58");
    quiet.set("tokenizer.ggml.add_bos_token", Entry::Bool(false));
    let model = quiet.load().unwrap();
    assert_eq!(model.tokenizer.loaded().unwrap().encode("he", true).unwrap(), [259]);
}

#[test]
fn heads_are_tied_when_they_repeat_the_embedding() {
    let mut small = Small::new("bitnet-25");
    small.tensor("output.weight", &[VOCAB, 128], F16, vec![0x11; VOCAB * 256]);
    assert!(small.load().unwrap().output.is_none());
    small.tensor("output.weight", &[VOCAB, 128], F16, vec![0x12; VOCAB * 256]);
    assert!(small.load().unwrap().output.is_some());
    small.tensor("output.weight", &[VOCAB, 64], F16, vec![0x12; VOCAB * 128]);
    assert!(small.error().contains("output.weight"));
}

#[test]
fn tensors_without_a_place_are_errors() {
    let mut small = Small::new("bitnet-b1.58");
    small.tensor("blk.0.attn_q.bias", &[128], F32, f32s(&[0.0; 128]));
    assert!(small.error().contains("blk.0.attn_q.bias"));
    let mut small = Small::new("bitnet-b1.58");
    small.tensor("rope_freqs.weight", &[32], F32, f32s(&[1.0; 32]));
    assert!(small.load().is_ok());
    small.tensor("rope_freqs.weight", &[32], F32, f32s(&[2.0; 32]));
    assert!(small.error().contains("rope_freqs"));
    let mut small = Small::new("bitnet-b1.58");
    small.tensors.retain(|(name, ..)| name != "blk.0.ffn_sub_norm.weight");
    assert!(small.error().contains("`blk.0.ffn_sub_norm.weight` is missing"));
}

#[test]
fn extra_scales_multiply_where_the_graph_has_them() {
    let with = |architecture| {
        let mut small = Small::new(architecture);
        small.tensor("blk.0.ffn_up.scale", &[1], F32, f32s(&[3.0]));
        small
    };
    let model = with("bitnet").load().unwrap();
    assert_eq!(*model.layers[0].up_proj.scales(), Scales::PerTensor(1.5));
    assert_eq!(*model.layers[0].gate_proj.scales(), Scales::PerTensor(0.5));
    assert!(with("bitnet-b1.58").error().contains("ffn_up.scale"));
}

#[test]
fn poisoned_values_are_errors() {
    for scale in [0.0, -0.5, f32::NAN, f32::NEG_INFINITY] {
        let mut small = Small::new("bitnet-b1.58");
        small.tensor("blk.0.ffn_up.weight", &[128, 128], TensorType::I2S, i2_s(128 * 128, scale));
        assert!(small.error().contains("scale"));
    }
    let mut small = Small::new("bitnet-b1.58");
    small.tensor("blk.0.ffn_norm.weight", &[128], F32, f32s(&[f32::NAN; 128]));
    assert!(small.error().contains("not finite"));
    small.tensor("blk.0.ffn_norm.weight", &[128], F16, [0, 0x3c].repeat(128));
    assert_eq!(small.load().unwrap().layers[0].post_attention_layernorm, [1.0; 128]);
    let mut invalid = i2_s(128 * 128, 0.5);
    invalid[32] = 0b01_11_01_01;
    small.tensor("blk.0.ffn_up.weight", &[128, 128], TensorType::I2S, invalid);
    let model = small.load().unwrap();
    let error = model.layers[0].up_proj.unpack_row(1, &mut [0; 128]).unwrap_err();
    assert!(matches!(error, FormatError::InvalidCode { row: 1, col: 32, code: 3, .. }), "{error}");
    small.tensor("blk.0.ffn_up.weight", &[128, 128], F16, vec![0; 128 * 256]);
    assert!(small.error().contains("I2_S"));
}

/// Loads whatever the bytes are and, where that works, reads all of it.
fn exercise(bytes: Vec<u8>) {
    let Ok(model) = load(bytes.into(), "fuzz", &LoadOptions::default()) else { return };
    for layer in &model.layers {
        for linear in [
            &layer.q_proj,
            &layer.k_proj,
            &layer.v_proj,
            &layer.o_proj,
            &layer.gate_proj,
            &layer.up_proj,
            &layer.down_proj,
        ] {
            let mut trits = vec![0; linear.cols()];
            let _ = (0..linear.rows()).try_for_each(|row| linear.unpack_row(row, &mut trits));
        }
    }
    let mut row = vec![0.0; model.token_embd.cols()];
    (0..model.token_embd.rows()).for_each(|index| model.token_embd.row_to_f32(index, &mut row));
    if let TokenizerState::Loaded(tokenizer) = &model.tokenizer {
        (0..300).for_each(|id| drop(tokenizer.decode_bytes(id)));
    }
}

#[test]
fn damaged_files_never_panic() {
    let whole = Small::new("bitnet-b1.58").bytes();
    assert!(whole.len() < 100_000);
    let header = whole.len() - VOCAB * 256 - 30_000;
    for length in (0..header).step_by(7).chain([whole.len() - 1, whole.len() - 128]) {
        exercise(whole[..length].to_vec());
    }
    // xorshift: any spread of places and values will do.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for round in 0..3000 {
        let mut bytes = whole.clone();
        // Most of the damage goes to the header, where it matters.
        let place = next(if round % 4 == 0 { whole.len() } else { header });
        match round % 3 {
            0 => bytes[place] = next(256) as u8,
            1 => bytes[place] ^= 1 << next(8),
            _ => bytes[place..(place + 8).min(whole.len())].fill(if round % 2 == 0 { 0xff } else { 0 }),
        }
        exercise(bytes);
    }
}
