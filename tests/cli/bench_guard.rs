//! `tritforge bench --check` and `--record`. What was recorded is replaced by what no noise reaches.

use std::fs;
use std::path::Path;

use tritforge::bench::guard::Baseline;

use crate::command::{Finished, tritforge};

fn guard(what: &[&str], baseline: &Path) -> Finished {
    let file = ["--baseline", baseline.to_str().expect("UTF-8")];
    tritforge(["bench", "--quick"].iter().chain(what).chain(&file).copied())
}

/// Makes every ratio so many times what it was.
fn scale(baseline: &Path, factor: f64) {
    let mut read = Baseline::read(baseline).expect("a baseline");
    let ratios = read.cpus.iter_mut().flat_map(|entry| entry.ratios.values_mut());
    ratios.for_each(|recorded| recorded.ratio *= factor);
    read.write(baseline).expect("a file");
}

#[test]
fn a_recorded_cpu_is_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let baseline = folder.path().join("baseline.json");
    let printed = guard(&["--record", "-t", "1"], &baseline).success();
    assert!(printed.contains("ratios recorded in") && printed.contains("gemv__"), "{printed}");
    let recorded = Baseline::read(&baseline).expect("a baseline");
    let [entry] = &recorded.cpus[..] else { panic!("{recorded:?}") };
    assert_eq!((&entry.threads[..], entry.passes), (&[1][..], 1));
    assert!(
        ["gemv__", "decode__", "prefill__"].iter().all(|of| entry.ratios.keys().any(|k| k.starts_with(of)))
    );

    scale(&baseline, 1e-3);
    let table = guard(&["--check"], &baseline).success();
    assert!(entry.ratios.keys().all(|key| table.contains(key)), "{table}");
    scale(&baseline, 1e6);
    let fallen = guard(&["--check"], &baseline);
    assert!(fallen.stdout.contains("  fell"), "{fallen:?}");
    let error = fallen.error();
    assert!(error.contains(" ratios fell by more than their noise: ") && error.contains("gemv__"), "{error}");
}

#[test]
fn what_cannot_be_checked_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let baseline = folder.path().join("baseline.json");
    assert!(guard(&["--check"], &baseline).error().contains("baseline.json"));
    fs::write(&baseline, "{\"version\": 1, \"cpus\": []}").expect("a file");
    let error = guard(&["--check"], &baseline).error();
    assert!(error.contains("no ratios of this CPU") && error.contains("bench --record"), "{error}");
    fs::write(&baseline, "[]").expect("a file");
    for what in ["--check", "--record"] {
        assert!(guard(&[what], &baseline).error().contains("no baseline"));
    }
    for refused in [
        &["bench", "--check", "--record"][..],
        &["bench", "--check", "-t", "2"],
        &["bench", "--check", "-p", "16"],
        &["bench", "--record", "--json"],
    ] {
        tritforge(refused).refused();
    }
}
