//! `tritforge synth`, and the models that it makes.

use std::fs;

use crate::command::{of_tests, tritforge};

fn config(name: &str) -> String {
    let path = of_tests("../configs/models").join(name);
    path.into_os_string().into_string().expect("a path in UTF-8")
}

#[test]
fn a_model_is_made_runs_and_is_the_same_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).into_os_string().into_string().expect("a path in UTF-8");
    let (first, second, other) = (path("first.gguf"), path("second.gguf"), path("other.gguf"));
    let line = tritforge(["synth", &config("demo.toml"), &first]).success();
    assert!(line.contains("90 tensors") && line.contains("synthetic demo"), "{line}");
    tritforge(["synth", &config("demo.toml"), &second, "--seed", "1", "--head", "f16"]).success();
    tritforge(["synth", &config("demo.toml"), &other, "--seed", "2"]).success();
    let bytes = |path: &str| fs::read(path).expect("the file");
    assert!(bytes(&first) == bytes(&second));
    assert!(bytes(&first) != bytes(&other));

    let text = tritforge(["run", &first, "-p", "hello", "-n", "8", "--seed", "1"]).success();
    assert!(text.starts_with("hello"), "{text}");
    let shown = tritforge(["inspect", &first]).success();
    assert!(shown.contains("random weights (seed 1)"), "{shown}");

    let quantised = path("quantised.gguf");
    tritforge(["synth", &config("demo.toml"), &quantised, "--head", "q4_0"]).success();
    // 4096 rows of 256 weights in blocks of 32, of 18 bytes each.
    let shown = tritforge(["inspect", &quantised]).success();
    assert!(shown.lines().any(|line| line.contains("token_embd.weight") && line.contains("Q4_0")), "{shown}");
    assert_eq!(bytes(&first).len() - bytes(&quantised).len(), 4096 * 256 * 2 - 4096 * 256 / 32 * 18);
    let text = tritforge(["run", &quantised, "-p", "hello", "-n", "8", "--seed", "1"]).success();
    assert!(text.starts_with("hello"), "{text}");
    let refused = tritforge(["synth", &config("demo.toml"), &quantised, "--head", "q5_k"]).refused();
    assert!(refused.contains("q5_k") && refused.contains("q6_k"), "{refused}");

    let error = tritforge(["synth", &config("demo.toml"), &first]).error();
    assert!(error.contains("exists"), "{error}");
    tritforge(["synth", &config("demo.toml"), &first, "--seed", "2", "--overwrite"]).success();
    assert!(bytes(&first) == bytes(&other));
}

#[test]
fn what_cannot_be_made_is_one_line_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("x.gguf").into_os_string().into_string().expect("a path in UTF-8");
    let error = tritforge(["synth", &config("bitnet-embedding-270m.toml"), &out]).error();
    assert!(error.contains("gelu_tanh"), "{error}");
    let error = tritforge(["synth", &config("no-such.toml"), &out]).error();
    assert!(error.contains("no-such.toml"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
}
