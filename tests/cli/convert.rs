//! `tritforge convert`, and what becomes of the files that it writes.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::command::{fixture, of_tests, tritforge};

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).into_os_string().into_string().expect("a path in UTF-8")
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().expect("a name in UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn reproduces_the_embedded_model_byte_for_byte() {
    let folder = folder();
    let out = path(&folder, "demo.gguf");
    let args = ["convert", &fixture("demo/packed"), &out, "--name", "tritforge demo storyteller"];
    let summary = tritforge(args).success();
    assert!(summary.contains("90 tensors") && summary.contains("largest rounding"), "{summary}");
    let expected = fs::read(of_tests("../runtime/models/demo.gguf")).expect("the embedded model");
    assert!(
        fs::read(&out).expect("the new file") == expected,
        "the file differs from runtime/models/demo.gguf"
    );
    assert_eq!(files(folder.path()), ["demo.gguf"]);
}

#[test]
fn the_head_is_stored_as_asked() {
    let folder = folder();
    let (checkpoint, out) = (fixture("demo/packed"), path(&folder, "model.gguf"));
    // 4096 rows of 256 weights: 32 and 256 to a block.
    let types = [
        ("stored", "BF16", 4096 * 256 * 2),
        ("f32", "F32", 4096 * 256 * 4),
        ("q8_0", "Q8_0", 4096 * 256 / 32 * 34),
        ("q6_k", "Q6_K", 4096 * 210),
        ("q4_0", "Q4_0", 4096 * 256 / 32 * 18),
    ];
    for (option, name, bytes) in types {
        tritforge(["convert", &checkpoint, &out, "--overwrite", "--head", option]).success();
        let shown = tritforge(["inspect", &out]).success();
        let line = shown.lines().find(|line| line.contains("token_embd.weight")).expect("the embedding");
        assert!(line.contains(name) && line.contains(&format!(" {bytes} bytes")), "{line}");
        assert!(shown.contains("tied head") && !shown.contains("untied"), "{shown}");
    }
    let text = tritforge(["run", &out, "-p", "Once upon a time", "-n", "20", "--seed", "1"]).success();
    assert!(text.starts_with("Once upon a time"), "{text}");

    let both = ["--overwrite", "--head", "q8_0", "--embedding", "f16"];
    let error = tritforge(["convert", &checkpoint, &out].into_iter().chain(both)).error();
    assert!(error.contains("q8_0") && error.contains("f16"), "{error}");
    tritforge(["convert", &checkpoint, &out, "--overwrite", "--head", "q3_k"]).refused();
    // Rows of 192 weights fill no block of 256.
    let small = fixture("oracle/bitnet-1bitllm/fp32");
    let error = tritforge(["convert", &small, &out, "--overwrite", "--head", "q6_k"]).error();
    assert!(error.contains("token_embd.weight") && error.contains("256"), "{error}");
}

#[test]
fn never_overwrites_unasked() {
    let folder = folder();
    let out = path(&folder, "model.gguf");
    fs::write(&out, "something dear").expect("a file is written");
    let checkpoint = fixture("oracle/bitnet-b158/packed");
    let error = tritforge(["convert", &checkpoint, &out]).error();
    assert!(error.contains("exists") && error.contains("model.gguf"), "{error}");
    assert_eq!(fs::read(&out).expect("the file"), b"something dear");
    assert_eq!(files(folder.path()), ["model.gguf"]);

    tritforge(["convert", &checkpoint, &out, "--overwrite"]).success();
    assert!(fs::read(&out).expect("the file").starts_with(b"GGUF"));
    assert_eq!(files(folder.path()), ["model.gguf"]);
}

#[test]
fn failure_leaves_nothing_behind() {
    let folder = folder();
    let out = path(&folder, "model.gguf");
    for (checkpoint, named) in [
        (fixture("oracle/llama-bitlinear/packed"), "sub-norms"),
        (fixture("demo/reference"), "config.json"),
        (fixture("no-such-checkpoint"), "no-such-checkpoint"),
    ] {
        let error = tritforge(["convert", &checkpoint, &out]).error();
        assert!(error.contains(named), "{error}");
        // Nor is an old file lost.
        fs::write(&out, "something dear").expect("a file is written");
        tritforge(["convert", &checkpoint, &out, "--overwrite"]).error();
        assert_eq!(fs::read(&out).expect("the file"), b"something dear");
        fs::remove_file(&out).expect("the file is there");
        assert!(files(folder.path()).is_empty());
    }
    // Weights that end too early are found out when the file is half written, or before.
    let checkpoint = path(&folder, "checkpoint");
    fs::create_dir(&checkpoint).expect("a folder");
    let source = fixture("oracle/bitnet-b158/packed");
    fs::copy(Path::new(&source).join("config.json"), Path::new(&checkpoint).join("config.json"))
        .expect("a copy");
    let mut weights = fs::read(Path::new(&source).join("model.safetensors")).expect("weights");
    let code_3 = weights.len() - 1;
    weights[code_3] |= 0b11;
    fs::write(Path::new(&checkpoint).join("model.safetensors"), weights).expect("a file is written");
    let error = tritforge(["convert", &checkpoint, &out]).error();
    assert!(error.contains("invalid code 3"), "{error}");
    assert_eq!(files(folder.path()), ["checkpoint"]);

    let nowhere = path(&folder, "no-such-folder/model.gguf");
    tritforge(["convert", &source, &nowhere]).error();
    assert_eq!(files(folder.path()), ["checkpoint"]);
}

#[test]
fn a_model_without_a_tokenizer_takes_ids_only() {
    let folder = folder();
    let out = path(&folder, "model.gguf");
    let run = tritforge(["convert", &fixture("oracle/bitnet-b158/packed"), &out]);
    let warned = run.stderr.starts_with("warning: ") && run.stderr.contains("tokenizer.json");
    assert!(warned && run.stderr.lines().count() == 1, "{}", run.stderr);
    run.success();
    for args in [&["run", &out, "-p", "Hello"][..], &["tokenize", &out, "Hello"]] {
        let error = tritforge(args).error();
        assert!(error.contains("token ids only") && error.contains("tokenizer"), "{error}");
    }
    assert!(tritforge(["inspect", &out]).success().contains("no tokenizer"));
    let reference = fixture("oracle/bitnet-b158/reference.safetensors");
    assert!(tritforge(["verify", &out, "--reference", &reference]).success().contains("PASS"));
}

#[test]
fn rows_that_other_engines_would_misread_are_warned_of() {
    let folder = folder();
    let out = path(&folder, "model.gguf");
    let run = tritforge(["convert", &fixture("oracle/bitnet-1bitllm/fp32"), &out]);
    let warning = run.stderr.lines().next().unwrap_or_default();
    let warned = warning.starts_with("warning: ") && warning.contains("multiple of 128");
    assert!(warned && warning.contains("other engines"), "{}", run.stderr);
    run.success();
    let reference = fixture("oracle/bitnet-1bitllm/reference.safetensors");
    let args = ["verify", &out, "--reference", &reference, "--tolerance", "0.1"];
    assert!(tritforge(args).success().contains("PASS"));
}
