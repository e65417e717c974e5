//! `tritforge run`.

use tritforge::cpu::{ISA_VARIABLE, available};
use tritforge::demo;
use tritforge::format::LoadOptions;

use crate::command::{Finished, command, finish, fixture, of_tests, takes, tale, tritforge, with_input};

const PROMPT: &str = "Once upon a time there was a king";

/// The prompt and at most 120 tokens after it with seed 1, as every machine must print them.
fn golden_of(profile: &str) -> String {
    std::fs::read_to_string(of_tests(&format!("golden/demo-seed-1-{profile}.txt"))).expect("the golden text")
}

/// The same of the profile that is used unless another is asked for.
fn golden() -> String {
    golden_of("fast")
}

#[test]
fn the_golden_text_on_every_instruction_set_and_number_of_threads() {
    assert_ne!(golden_of("exact"), golden_of("fast"));
    for (isa, profile) in available().into_iter().flat_map(|isa| [(isa, "exact"), (isa, "fast")]) {
        let golden = golden_of(profile);
        assert!(golden.starts_with(PROMPT) && golden.len() > 200);
        for threads in ["1", "2"] {
            let args = ["run", "--seed", "1", "-n", "120", "--threads", threads, "-p", PROMPT];
            let run = finish(command(args).args(["--numerics", profile]).env(ISA_VARIABLE, isa.id));
            assert_eq!(run.stdout, golden, "{}, {profile}, {threads} threads", isa.id);
            let line = run.stderr.strip_suffix('\n').expect("a line about speed");
            assert!(!line.contains('\n'), "{line}");
            let ending = format!("{threads} threads; {}", isa.id);
            assert!(line.starts_with("prompt: 9 tokens, ") && line.ends_with(&ending), "{line}");
            assert!(line.contains("decode: 119 tokens, ") && line.contains("tokens/s"), "{line}");
        }
    }
}

#[test]
fn the_golden_text_from_the_file_and_the_directory() {
    let golden = golden_of("exact");
    let embedded = of_tests("../runtime/models/demo.gguf");
    for model in [&embedded, &of_tests("fixtures/demo/packed")] {
        let model = model.to_str().expect("a path in UTF-8");
        let args = ["run", model, "--numerics", "exact", "--seed", "1", "-n", "120", "-p", PROMPT];
        // The directory's embedding is bf16, the file's f16; a text of this length is the same.
        assert_eq!(tritforge(args).success(), golden, "{model}");
    }
}

#[test]
fn another_seed_gives_another_text_and_the_same_one_the_same() {
    let with_seed = |seed| tritforge(["run", "--seed", seed, "-n", "40", "-p", PROMPT]).success();
    let (first, second) = (with_seed("1"), with_seed("2"));
    assert!(golden().starts_with(first.trim_end()));
    assert_ne!(first, second);
    assert_eq!(second, with_seed("2"));
}

#[test]
fn greedy_is_the_continuation_of_the_reference() {
    let figures = std::fs::read(fixture("demo/reference/reference.json")).expect("the figures");
    let figures: serde_json::Value = serde_json::from_slice(&figures).expect("JSON");
    let text = |name: &str| figures[name].as_str().expect("a text");
    let expected = format!("{}{}\n", text("prompt"), text("continuation"));
    for greedy in [&["--greedy"][..], &["--temp", "0"], &["--top-k", "1"]] {
        let args = [&["run", "-n", "64", "-p", text("prompt")], greedy].concat();
        assert_eq!(tritforge(args).success(), expected, "{greedy:?}");
    }
}

#[test]
fn no_tokens_echo_the_prompt() {
    let run = tritforge(["run", "-n", "0", "-p", PROMPT]);
    assert!(run.stderr.contains("decode: 0 tokens"), "{}", run.stderr);
    assert_eq!(run.success(), format!("{PROMPT}\n"));
}

#[test]
fn the_prompt_may_come_from_standard_input() {
    let run = with_input(["run", "--seed", "1", "-n", "120", "-p", "-"], PROMPT.as_bytes());
    assert_eq!(run.success(), golden());
    let error = with_input(["run", "-n", "1", "-p", "-"], b"caf\xe9").error();
    assert!(error.contains("UTF-8"), "{error}");
}

#[test]
fn an_empty_prompt_begins_a_text() {
    let text = tritforge(["run", "--seed", "1", "-n", "20", "-p", ""]).success();
    assert!(text.trim().len() > 20, "{text:?}");
}

#[test]
fn verbose_names_the_kernels() {
    for isa in available() {
        let run = finish(command(["run", "-v", "-n", "1", "-p", PROMPT]).env(ISA_VARIABLE, isa.id));
        assert!(run.stderr.contains("down_proj"), "{}", run.stderr);
        let ending = format!("__{}", isa.id);
        let head = run.stderr.lines().find(|line| line.starts_with("output "));
        assert!(head.is_some_and(|line| line.contains(" head_i8row_anyxany_") && line.ends_with(&ending)));
        let kernels: Vec<&str> = run.stderr.lines().filter(|line| line.contains("_i2a16_")).collect();
        assert!(kernels.len() >= 14 && kernels.iter().all(|line| takes(isa.id, line)), "{kernels:?}");
    }
}

/// A prompt of so many tokens.
fn long_prompt(tokens: usize) -> String {
    let model = demo::load(&LoadOptions::default()).expect("the demo model");
    let tokenizer = model.tokenizer.loaded().expect("a tokenizer");
    let text: String = (0..8).map(|index| tale(index).0).collect();
    let ids = tokenizer.encode(&text, true).expect("a text");
    let prompt = tokenizer.decode(&ids[..tokens]);
    assert_eq!(tokenizer.encode(&prompt, true).expect("a text"), ids[..tokens]);
    prompt
}

#[test]
fn the_end_of_the_context_is_said() {
    let prompt = long_prompt(1020);
    let Finished { code, stdout, stderr } = tritforge(["run", "--greedy", "-n", "100", "-p", &prompt]);
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with(&prompt) && stdout.len() > prompt.len() + 2);
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{stderr}");
    assert!(lines[0].contains("context of 1024 tokens is full"), "{stderr}");
    // Four more positions are fed, and one token is chosen behind the last.
    assert!(lines[1].contains("prompt: 1020 tokens") && lines[1].contains("decode: 4 tokens"), "{stderr}");
}

#[test]
fn a_prompt_may_fill_the_context_but_not_exceed_it() {
    let run = tritforge(["run", "--greedy", "-n", "100", "-p", &long_prompt(1024)]);
    let filled = run.stderr.contains("is full") && run.stderr.contains("decode: 0 tokens");
    assert!(filled, "{}", run.stderr);
    run.success();
    for tokens in [1025, 3000] {
        let error = tritforge(["run", "-n", "5", "-p", &long_prompt(tokens)]).error();
        let parts = ["context", "of 1024 positions", &tokens.to_string(), "shorten the prompt"];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn heads_of_each_profile() {
    let text = |more: &[&str]| {
        tritforge([&["run", "--seed", "1", "-n", "9", "-p", PROMPT], more].concat()).success()
    };
    assert_eq!(text(&[]), text(&["--numerics", "fast", "--head", "int8"]));
    assert_eq!(text(&[]), text(&["--kv", "f16"]));
    for other in [["--head", "stored"], ["--head", "q4_0"], ["--kv", "f32"], ["--kv", "int8"]] {
        assert!(text(&other).starts_with(PROMPT));
    }
    let error = tritforge(["run", "-p", PROMPT, "--numerics", "exact", "--kv", "int8"]).error();
    assert!(error.contains("exact keeps keys and values in f32, not int8"), "{error}");
    let error = tritforge(["run", "-p", PROMPT, "--numerics", "exact", "--head", "int8"]).error();
    assert!(error.contains("exact has no output head of type int8"), "{error}");
    for (option, named) in [
        (["--numerics", "quick"], "exact and fast"),
        (["--head", "int4"], "int8 and q4_0"),
        (["--head", "exact"], "--numerics exact"),
        (["--kv", "f8"], "f32, f16 and int8"),
    ] {
        let message = tritforge(["run", "-p", PROMPT].iter().chain(&option)).refused();
        assert!(message.contains(option[1]) && message.contains(named), "{message}");
    }
}

#[test]
fn options_out_of_range_are_errors() {
    for (option, named) in [
        ("--temp=-1", "temperature is -1"),
        ("--temp=nan", "temperature"),
        ("--top-p=1.5", "1.5"),
        ("--top-p=0", "0"),
        ("--min-p=-0.1", "-0.1"),
        ("--repeat-penalty=0", "0"),
        ("--repeat-penalty=inf", "inf"),
    ] {
        let error = tritforge(["run", option, "-p", PROMPT]).error();
        assert!(error.contains(named) && error.contains("accepted"), "{option}: {error}");
    }
    for args in [
        &["run"][..],
        &["run", "-p", PROMPT, "-n", "-1"],
        &["run", "-p", PROMPT, "-n", "many"],
        &["run", "-p", PROMPT, "--threads", "0"],
        &["run", "-p", PROMPT, "--threads", "100000"],
        &["run", "-p", PROMPT, "--greedy", "--temp", "1"],
        &["run", "-p", PROMPT, "--no-such-option"],
        &["run", "a", "b", "-p", PROMPT],
    ] {
        tritforge(args).refused();
    }
    for (option, named) in [(["--act", "gelu"], "relu2"), (["--pre", "tekken"], "llama-bpe, gpt-2, qwen2")] {
        let message = tritforge(["run", "-p", PROMPT].iter().chain(&option)).refused();
        assert!(message.contains(option[1]) && message.contains(named), "{message}");
    }
}
