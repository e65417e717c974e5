use super::*;
use crate::engine::Engine;
use crate::format::gguf::GgufFile;
use crate::format::{LoadOptions, RawModel, load_gguf_bytes};
use crate::model::{Model, Session, Want};

const CONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/models");

fn bundled(name: &str) -> ModelShapes {
    config::load(&Path::new(CONFIGS).join(name)).unwrap()
}

/// A model of one layer whose down_proj leaves part of a block; `changes` replace parts of its config.
fn small(changes: &[(&str, &str)]) -> ModelShapes {
    let mut text = "
        schema = 1
        name = 'small'
        source = 'a test'
        activation = 'silu'
        sub_norms = false
        tied = false
        [dims]
        layers = 1
        hidden = 256
        ffn = 320
        heads = 4
        kv_heads = 2
        head_dim = 32
        vocab = 300
        [matrices]
        q_proj = { rows = 128, cols = 256 }
        k_proj = { rows = 64, cols = 256 }
        v_proj = { rows = 64, cols = 256 }
        o_proj = { rows = 256, cols = 128 }
        gate_proj = { rows = 320, cols = 256 }
        up_proj = { rows = 320, cols = 256 }
        down_proj = { rows = 256, cols = 320 }
        embedding = { rows = 300, cols = 256 }
        lm_head = { rows = 300, cols = 256 }"
        .to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    config::parse(&text, Path::new("small.toml")).unwrap()
}

fn made(shapes: &ModelShapes, options: &SynthOptions) -> (Vec<u8>, SynthReport) {
    let mut bytes = Vec::new();
    let report = synth_to(shapes, &mut bytes, options).unwrap();
    assert_eq!(report.bytes, bytes.len() as u64);
    (bytes, report)
}

fn load(bytes: Vec<u8>) -> RawModel {
    load_gguf_bytes(bytes.into(), "x", &LoadOptions::default()).unwrap()
}

/// Logits after a text, which must be finite and differ from token to token.
fn check_forward(raw: RawModel) {
    let engine = Engine::with_threads(1).unwrap();
    let model = Model::from_raw(raw, &engine).unwrap();
    let ids = model.tokenizer.loaded().unwrap().encode("A king, ÿ 12345\n", true).unwrap();
    assert_eq!(ids.len(), 1 + "A king, ÿ 12345\n".len());
    let mut session = Session::new(&model, &engine);
    let logits = session.forward(&ids, Want::LastLogits).unwrap();
    let count = logits.len() as f32;
    let mean = logits.iter().sum::<f32>() / count;
    let deviation = (logits.iter().map(|l| (l - mean).powi(2)).sum::<f32>() / count).sqrt();
    // The logits of a normed state of unit mean square, over rows of unit length.
    assert!((0.5..2.0).contains(&deviation), "{deviation}");
}

#[test]
fn a_model_of_the_demo_shapes_loads_and_has_its_proportions() {
    let shapes = bundled("demo.toml");
    let (bytes, report) = made(&shapes, &SynthOptions::default());
    assert_eq!((report.tensors, report.ternary_weights), (8 * 11 + 2, 6_291_456));
    let file = GgufFile::parse(bytes.clone().into()).unwrap();
    let text = |key: &str| file.get(key).unwrap().to_string();
    assert_eq!(text("general.name"), "synthetic demo");
    assert!(text("general.description").starts_with("Synthetic: random weights (seed 1)"));
    let raw = load(bytes);
    assert_eq!((raw.config.activation, raw.config.context), (Activation::Relu2, 1024));
    assert!(raw.output.is_none() && raw.config.sub_norms);

    let mut counts = [0usize; 3];
    for layer in &raw.layers {
        let linears = [
            (&layer.q_proj, 256, 256),
            (&layer.k_proj, 128, 256),
            (&layer.v_proj, 128, 256),
            (&layer.o_proj, 256, 256),
            (&layer.gate_proj, 768, 256),
            (&layer.up_proj, 768, 256),
            (&layer.down_proj, 256, 768),
        ];
        for (tensor, rows, cols) in linears {
            assert_eq!((tensor.rows(), tensor.cols()), (rows, cols), "{}", tensor.name());
            let mut trits = vec![9i8; cols];
            for row in 0..rows {
                tensor.unpack_row(row, &mut trits).unwrap();
                trits.iter().for_each(|&trit| counts[(trit + 1) as usize] += 1);
            }
        }
        for norm in [&layer.input_layernorm, layer.ffn_layernorm.as_ref().unwrap()] {
            assert!(norm.iter().all(|weight| (weight - 1.0).abs() < 0.2));
        }
    }
    let share = |count| count as f64 / report.ternary_weights as f64;
    // Five standard deviations of a share of six million weights are 0.001.
    for (count, expected) in counts.into_iter().zip([0.289, 0.422, 0.289]) {
        assert!((share(count) - expected).abs() < 0.001, "{}", share(count));
    }
    check_forward(raw);
}

#[test]
fn the_seed_decides_every_byte() {
    let shapes = small(&[]);
    let of_seed = |seed| made(&shapes, &SynthOptions { seed, ..SynthOptions::default() }).0;
    assert!(of_seed(1) == of_seed(1));
    assert!(of_seed(1) != of_seed(2));
}

#[test]
fn untied_heads_odd_rows_and_missing_contexts_are_made() {
    for head in [FloatType::F16, FloatType::Bf16, FloatType::F32] {
        let raw = load(made(&small(&[]), &SynthOptions { head, ..SynthOptions::default() }).0);
        assert_eq!(raw.config.context, DEFAULT_CONTEXT);
        assert_eq!((raw.config.sub_norms, raw.config.activation), (false, Activation::Silu));
        let output = raw.output.as_ref().unwrap();
        assert_eq!((output.dtype(), raw.token_embd.dtype()), (head, head));
        assert!(output.to_f32_vec() != raw.token_embd.to_f32_vec());
        check_forward(raw);
    }
}

#[test]
fn what_could_not_be_run_is_refused() {
    let refused = |shapes: &ModelShapes| {
        synth_to(shapes, &mut Vec::new(), &SynthOptions::default()).unwrap_err().to_string()
    };
    let error = refused(&bundled("bitnet-embedding-270m.toml"));
    assert!(error.contains("gelu_tanh") && error.contains("relu2 and silu"), "{error}");
    let error = refused(&small(&[("vocab = 300", "vocab = 257"), ("rows = 300", "rows = 257")]));
    assert!(error.contains("257 tokens") && error.contains("258"), "{error}");
    let error = refused(&small(&[
        ("kv_heads = 2", "kv_heads = 1"),
        ("head_dim = 32", "head_dim = 33"),
        ("rows = 128, cols = 256", "rows = 132, cols = 256"),
        ("rows = 64", "rows = 33"),
        ("rows = 256, cols = 128", "rows = 256, cols = 132"),
    ]));
    assert!(error.contains("head dimension is 33"), "{error}");
    let error = refused(&small(&[("ffn = 320", "ffn = 321"), ("320", "321"), ("256", "255")]));
    assert!(error.contains("attn_k") && error.contains("128"), "{error}");
}

#[test]
fn every_bundled_config_has_a_plan() {
    for path in config::model_files(&[CONFIGS.into()]).unwrap() {
        let shapes = config::load(&path).unwrap();
        match model_config(&shapes) {
            Ok(config) => {
                let mut writer = GgufWriter::default();
                for (name, tensor) in plan(&shapes, &config, FloatType::F16) {
                    let (shape, kind) = tensor.shape_and_kind();
                    writer.announce(name, &shape, kind).unwrap();
                }
            }
            Err(error) => assert!(matches!(error, SynthError::Activation { .. }), "{error}"),
        }
    }
}
