//! Models and instruction sets that cannot be had: one line, and a non-zero exit code.

use std::fs;

use tritforge::cpu::ISA_VARIABLE;
use tritforge::kernels::ISAS;

use crate::command::{command, finish, fixture, of_tests, tritforge};

/// The commands that load a model, each with what else it must be given.
fn commands(model: &str) -> [Vec<String>; 5] {
    let reference = fixture("oracle/bitnet-b158/reference.safetensors");
    let with = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect();
    [
        with(&["run", model, "-p", "Once"]),
        with(&["inspect", model]),
        with(&["kernels", model]),
        with(&["verify", model, "--reference", &reference]),
        with(&["tokenize", model, "Once"]),
    ]
}

#[test]
fn models_that_are_not_there_or_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).into_os_string().into_string().expect("UTF-8");
    fs::create_dir(path("empty")).expect("a folder");
    fs::write(path("nothing.gguf"), b"").expect("a file is written");
    fs::write(path("text.gguf"), b"Once upon a time").expect("a file is written");
    let whole = fs::read(of_tests("../runtime/models/demo.gguf")).expect("the demo model");
    fs::write(path("half.gguf"), &whole[..whole.len() / 2]).expect("a file is written");
    fs::create_dir(path("broken")).expect("a folder");
    fs::write(path("broken/config.json"), "{\n\"hidden_size\": \n").expect("a file is written");
    for (name, named) in [
        ("missing.gguf", "missing.gguf"),
        ("empty", "config.json"),
        ("nothing.gguf", "not a GGUF file"),
        ("text.gguf", "not a GGUF file"),
        ("half.gguf", "half.gguf"),
        ("broken", "config.json"),
    ] {
        for args in commands(&path(name)) {
            let error = tritforge(&args).error();
            assert!(error.contains(named), "{args:?}: {error}");
        }
    }
}

#[test]
fn names_with_line_breaks_do_not_break_the_message() {
    let error = tritforge(["run", "no\nsuch\u{1b}[31mfile", "-p", "Once"]).error();
    assert!(error.contains("such"), "{error}");
    // Nor do names inside a file.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    let mut bytes = fs::read(of_tests("../runtime/models/demo.gguf")).expect("the demo model");
    let name = b"blk.3.ffn_up.weight";
    let at = bytes.windows(name.len()).position(|window| window == name).expect("the tensor's name");
    bytes[at + 5] = b'\n';
    fs::write(&path, bytes).expect("a file is written");
    let error = tritforge(["run", path.to_str().expect("UTF-8"), "-p", "Once"]).error();
    assert!(error.contains("ffn_up"), "{error}");
}

#[test]
fn instruction_sets_that_cannot_be_had() {
    let ids: Vec<&str> = ISAS.iter().map(|isa| isa.id).collect();
    for args in commands("demo").into_iter().take(4) {
        let error = finish(command(&args).env(ISA_VARIABLE, "sse9")).error();
        assert!(error.contains("'sse9'") && ids.iter().all(|id| error.contains(id)), "{args:?}: {error}");
        for isa in ISAS.iter().filter(|isa| !(isa.available)()) {
            let error = finish(command(&args).env(ISA_VARIABLE, isa.id)).error();
            assert!(error.contains("lacks") && error.contains(isa.id), "{args:?}: {error}");
        }
    }
    // An empty variable is none.
    let run = finish(command(["run", "-n", "1", "-p", "Once"]).env(ISA_VARIABLE, ""));
    run.success();
}
