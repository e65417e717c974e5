//! Help and version.

use crate::command::tritforge;

const COMMANDS: [(&str, &[&str]); 9] = [
    (
        "run",
        &[
            "--prompt",
            "--max-tokens",
            "--seed",
            "--greedy",
            "--temp",
            "--top-k",
            "--top-p",
            "--min-p",
            "--repeat-penalty",
            "--threads",
            "--verbose",
            "--act",
            "--pre",
            "256",
        ],
    ),
    ("inspect", &["MODEL"]),
    ("kernels", &["MODEL", "--verbose"]),
    ("convert", &["--overwrite", "--name", "--head", "--embedding", "--act", "q6_k"]),
    ("synth", &["--seed", "--head", "--overwrite", "q6_k"]),
    ("verify", &["--reference", "--tolerance", "--numerics", "--head", "0.001"]),
    ("tokenize", &["--file", "--no-special"]),
    (
        "bench",
        &[
            "--prompt",
            "--decode",
            "--depth",
            "--threads",
            "--batch",
            "--repetitions",
            "--profile",
            "--json",
            "--report",
            "--peers",
            "--check",
            "--record",
            "--baseline",
            "--quick",
            "512",
        ],
    ),
    (
        "tune",
        &[
            "--config",
            "--threads",
            "--isa",
            "--seconds",
            "--output",
            "--search",
            "--budget",
            "--resume",
            "--work",
        ],
    ),
];

#[test]
fn every_command_has_help() {
    let all = tritforge(["--help"]).success();
    for (command, options) in COMMANDS {
        assert!(all.contains(command), "{command}");
        for help in [&[command, "--help"][..], &[command, "-h"], &["help", command]] {
            let run = tritforge(help);
            assert_eq!(run.stderr, "");
            let text = run.success();
            assert!(text.contains("Usage: tritforge"), "{text}");
            for option in options {
                assert!(text.contains(option), "{help:?} does not tell of {option}");
            }
        }
    }
}

#[test]
fn without_a_command_help_is_shown_as_an_error() {
    let run = tritforge::<&str>([]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.contains("Usage: tritforge"), "{}", run.stderr);
    tritforge(["sing"]).refused();
}

#[test]
fn the_version_is_told() {
    let version = tritforge(["--version"]).success();
    assert_eq!(version, format!("tritforge {}\n", env!("CARGO_PKG_VERSION")));
}
