//! `tritforge verify`.

use crate::command::{fixture, tritforge};

fn verify(model: &str, reference: &str, more: &[&str]) -> crate::command::Finished {
    let (model, reference) = (fixture(model), fixture(reference));
    tritforge([&["verify", &model, "--reference", &reference], more].concat())
}

const MODEL: &str = "oracle/bitnet-b158/packed";
const REFERENCE: &str = "oracle/bitnet-b158/reference.safetensors";

#[test]
fn agreement_passes() {
    let text = verify(MODEL, REFERENCE, &[]).success();
    for part in
        ["logits", "hidden.0", "hidden.3", "greedy", "largest", "mean", "top-1 100.00%", "identical", "PASS"]
    {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let demo =
        ["verify", "--reference", &fixture("demo/reference/reference.safetensors"), "--tolerance", "0.5"];
    assert!(tritforge(demo).success().contains("PASS"));
}

#[test]
fn differences_past_the_tolerance_fail() {
    for more in [&["--tolerance", "0"][..], &["--act", "silu"]] {
        let run = verify(MODEL, REFERENCE, more);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stdout.contains("FAIL") && !run.stdout.contains("PASS"), "{run:?}");
        assert_eq!(run.stderr, "");
    }
}

#[test]
fn what_is_no_reference_of_this_model_is_an_error() {
    for (reference, named) in [
        ("no/such/file.safetensors", "cannot read"),
        ("oracle/bitnet-b158/packed/config.json", "safetensors"),
        // Weights are safetensors as well.
        ("oracle/bitnet-b158/packed/model.safetensors", "model.embed_tokens.weight"),
        ("oracle/bitnet-1bitllm/reference.safetensors", "[33, 311]"),
        ("demo/reference/reference.safetensors", "ids 0 to 310"),
    ] {
        let error = verify(MODEL, reference, &[]).error();
        assert!(error.contains(named), "{reference}: {error}");
    }
}

#[test]
fn senseless_tolerances_are_refused() {
    for tolerance in ["-1", "nan", "inf", "small"] {
        let message = verify(MODEL, REFERENCE, &[&format!("--tolerance={tolerance}")]).refused();
        assert!(message.contains(tolerance), "{message}");
    }
    tritforge(["verify"]).refused();
}
