use super::*;
use crate::engine::Engine;
use crate::format::{LoadOptions, load_path};
use crate::model::{Model, Session, Want};
use crate::tokenizer::TokenizerState;

const SMALL: &str = r#"
schema = 1
name = "small"
source = "made up"
activation = "relu2"
sub_norms = true
tied = true
[dims]
layers = 2
hidden = 128
ffn = 384
heads = 2
kv_heads = 1
head_dim = 64
vocab = 300
[matrices]
q_proj = { rows = 128, cols = 128 }
k_proj = { rows = 64, cols = 128 }
v_proj = { rows = 64, cols = 128 }
o_proj = { rows = 128, cols = 128 }
gate_proj = { rows = 384, cols = 128 }
up_proj = { rows = 384, cols = 128 }
down_proj = { rows = 128, cols = 384 }
embedding = { rows = 300, cols = 128 }
"#;

fn shapes(text: &str) -> ModelShapes {
    config::parse(text, Path::new("small.toml")).expect("a sound config")
}

fn bytes(shapes: &ModelShapes, seed: u64) -> Vec<u8> {
    let mut out = Vec::new();
    synth_to(shapes, &mut out, &SynthOptions { seed, ..SynthOptions::default() }).expect("a model");
    out
}

/// Writes, loads, runs: finite logits that are not all the same.
fn run(shapes: &ModelShapes, options: &SynthOptions) -> Model {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("small.gguf");
    let report = synth(shapes, &path, options).expect("a model");
    assert_eq!(report.bytes, path.metadata().expect("a file").len());
    let again = synth(shapes, &path, options).expect_err("the file is there");
    assert!(matches!(again, SynthError::NewFile(_)), "{again}");
    let raw = load_path(&path, &LoadOptions::default()).expect("a sound file");
    let engine = Engine::with_threads(1).expect("an engine");
    let model = Model::from_raw(raw, &engine).expect("a sound model");
    let mut session = Session::new(&model, &engine);
    let logits = session.forward(&[1, 2, 3], Want::LastLogits).expect("finite logits");
    let mean_square = logits.iter().map(|l| l * l).sum::<f32>() / logits.len() as f32;
    // Rows of norm one times a vector of mean square one.
    assert!((0.5..2.0).contains(&mean_square), "{mean_square}");
    model
}

#[test]
fn a_model_runs_says_what_it_is_and_tokenizes_any_text() {
    let model = run(&shapes(SMALL), &SynthOptions::default());
    assert_eq!(model.config.context, DEFAULT_CONTEXT);
    assert_eq!(model.config.name, "synthetic small");
    let said = model.source.metadata.iter().find(|(key, _)| key == "general.description");
    assert!(said.is_some_and(|(_, value)| value.contains("synthetic")), "{said:?}");
    let TokenizerState::Loaded(tokenizer) = &*model.tokenizer else { panic!("a tokenizer") };
    let text = "Es war einmal, \u{1f600}\n";
    let ids = tokenizer.encode(text, true).expect("every byte has a token");
    assert_eq!(ids.len(), text.len());
}

#[test]
fn without_sub_norms_untied_and_with_rows_that_do_not_fill_a_block() {
    let text = SMALL
        .replace("sub_norms = true", "sub_norms = false")
        .replace("tied = true", "tied = false")
        .replace("relu2", "silu")
        .replace("128", "160")
        + "lm_head = { rows = 300, cols = 160 }\n";
    let text = text.replace("head_dim = 64", "head_dim = 80").replace("rows = 64", "rows = 80");
    let model = run(&shapes(&text), &SynthOptions::default());
    assert!(!model.config.sub_norms && model.output.is_some());
}

#[test]
fn trits_have_their_proportions_and_bells_their_moments() {
    let mut random = Random::new(7, 3);
    let mut trits = vec![0i8; 1 << 20];
    random.fill_trits(&mut trits);
    let share = |wanted: i8| trits.iter().filter(|trit| **trit == wanted).count() as f64 / trits.len() as f64;
    // Four standard deviations of a share of a million draws are 0.002.
    for (trit, expected) in [(-1, 0.289), (0, 0.422), (1, 0.289)] {
        assert!((share(trit) - expected).abs() < 0.002, "{trit}: {}", share(trit));
    }
    let values: Vec<f64> = (0..1 << 18).map(|_| f64::from(random.bell())).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let variance = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
    assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean}, {variance}");
}

#[test]
fn the_head_has_the_type_that_was_asked_for() {
    let wide = shapes(
        &SMALL
            .replace("128", "256")
            .replace("head_dim = 64", "head_dim = 128")
            .replace("rows = 64", "rows = 128"),
    );
    let exact = bytes(&wide, 1).len();
    for head in StorageType::ALL {
        let model = run(&wide, &SynthOptions { head, ..SynthOptions::default() });
        assert_eq!(model.token_embd.storage(), head);
        let mut out = Vec::new();
        synth_to(&wide, &mut out, &SynthOptions { head, ..SynthOptions::default() }).unwrap();
        // 300 rows of 256 values against those of f16.
        let row = head.row_bytes(256).unwrap();
        assert_eq!(
            out.len() as isize - exact as isize,
            (300 * row).next_multiple_of(32) as isize - 300 * 512
        );
    }
    let q6_k = StorageType::Blocks(crate::format::BlockType::Q6K);
    let options = SynthOptions { head: q6_k, ..SynthOptions::default() };
    let error = synth_to(&shapes(SMALL), &mut Vec::new(), &options).unwrap_err().to_string();
    assert!(error.contains("token_embd") && error.contains("blocks of 256"), "{error}");
}

#[test]
fn the_seed_alone_decides() {
    let shapes = shapes(SMALL);
    assert!(bytes(&shapes, 1) == bytes(&shapes, 1));
    assert!(bytes(&shapes, 1) != bytes(&shapes, 2));
}

#[test]
fn what_cannot_be_run_is_refused() {
    let error =
        synth_to(&shapes(&SMALL.replace("relu2", "gelu_tanh")), &mut Vec::new(), &SynthOptions::default())
            .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("gelu_tanh") && text.contains("relu2 and silu"), "{text}");
}
