//! `tritforge bench --report`. How fast it finds the machine to be is not for a test to say.

use std::fs;

use tritforge::bench::survey::Survey;

use crate::command::tritforge;

/// Little of everything.
const SMALL: [&str; 9] = ["bench", "--quick", "-p", "2,5", "-n", "2", "--batch", "1,2", "-t"];

fn small<'a>(threads: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    SMALL.iter().copied().chain([threads]).chain(more.iter().copied()).collect()
}

#[test]
fn three_files_say_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, peers) = (folder.path().join("new").join("out"), folder.path().join("peers.json"));
    let comparison = r#"{"version": 1, "cpu": "a CPU", "more": 1, "cells": [
        {"model": "m", "threads": 2, "probe": {"before": 1.0, "after": 1.0}, "engines": {
            "tritforge": {"type": "i2_s", "bits_per_weight": 2.0,
                "prefill": {"median": 3.0, "min": 2.0, "max": 4.0}, "decode": {"median": 3.0, "min": 2.0, "max": 4.0}},
            "another": {"type": "tq2_0", "error": "cannot <load> it"}}}]}"#;
    fs::write(&peers, comparison).expect("a file");
    let (out_text, peers) = (out.to_str().expect("UTF-8"), peers.to_str().expect("UTF-8"));
    let printed = tritforge(small("1,2", &["--report", out_text, "--peers", peers])).success();
    let [json, markdown, html] = ["report.json", "report.md", "report.html"].map(|name| {
        assert!(printed.contains(name), "{printed}");
        fs::read_to_string(out.join(name)).expect("the file")
    });
    let survey: Survey = serde_json::from_str(&json).expect("the documented object");
    assert_eq!(survey.speed.tests.len(), 8);
    assert!(survey.kernels.refused.is_empty(), "{:?}", survey.kernels.refused);
    assert!(survey.kernels.tests.iter().any(|test| test.operation == "gemv" && test.threads == 2));
    assert_eq!(survey.precisions.tests.len(), 6);
    // Two rooflines, four plots of tokens a second, one of precisions, a prompt and decoding of the one program that ran.
    assert_eq!(html.matches("data-points=").count(), 9);
    assert_eq!(html.matches("data-points=\"0\"").count(), 0);
    for test in &survey.kernels.tests {
        assert!(html.contains(&test.kernel) && markdown.contains(&test.kernel.replace('_', "\\_")));
    }
    assert!(html.contains("cannot &lt;load&gt; it") && markdown.contains("cannot \\<load\\> it"));
}

#[test]
fn without_a_comparison_the_page_says_how_to_get_one() {
    let folder = tempfile::tempdir().expect("a folder");
    tritforge(small("1", &["--report", folder.path().to_str().expect("UTF-8")])).success();
    let html = fs::read_to_string(folder.path().join("report.html")).expect("the page");
    assert!(html.contains("Not measured") && html.contains("compare.py"));
    assert_eq!(html.matches("data-points=").count(), 6);
}

#[test]
fn what_cannot_be_read_or_written_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "{}").expect("a file");
    let file = file.to_str().expect("UTF-8");
    let below = format!("{file}/out");
    assert!(tritforge(small("1", &["--report", &below])).error().contains(&below));
    let error = tritforge(small("1", &["--report", "out", "--peers", file])).error();
    assert!(error.contains(file) && error.contains("no comparison"), "{error}");
    let error = tritforge(small("1", &["--report", "out", "--peers", "no-such-file"])).error();
    assert!(error.contains("no-such-file"), "{error}");
    fs::write(file, "{\"version\": 7}").expect("a file");
    assert!(tritforge(small("1", &["--report", "out", "--peers", file])).error().contains("version 7"));
    for refused in [
        &["bench", "--report"][..],
        &["bench", "--report", "out", "--json"],
        &["bench", "--report", "out", "--check"],
        &["bench", "--peers", "file"],
        &["bench", "--quick"],
    ] {
        tritforge(refused).refused();
    }
}
