//! `tritforge tune`, and what later runs make of its profile.

use std::path::Path;

use tempfile::tempdir;
use tritforge::tuned::PROFILE_VARIABLE;

use crate::command::{Finished, command, finish, tritforge};

/// `kernels -v` with this folder of configuration.
fn kernels(folder: &Path) -> Finished {
    finish(command(["kernels", "-v"]).env("XDG_CONFIG_HOME", folder))
}

/// `kernels -v` with this profile asked for.
fn named(profile: impl AsRef<std::ffi::OsStr>) -> Finished {
    finish(command(["kernels", "-v"]).env(PROFILE_VARIABLE, profile))
}

/// The portable kernels alone, for a moment: what is written, not what is fastest, is the matter here.
#[test]
#[cfg(target_os = "linux")]
fn a_profile_is_written_followed_on_this_cpu_and_not_on_another() {
    let folder = tempdir().expect("a folder for temporary files");
    let path = folder.path().join("tritforge/tuned.toml");
    let mut tune = command(["tune", "--isa", "portable", "--seconds", "1", "-t", "1"]);
    let table = finish(tune.env("XDG_CONFIG_HOME", folder.path())).success();
    assert!(table.contains(&format!("written to {}", path.display())), "{table}");
    assert!(table.contains("portable gemv") && table.contains("portable gemm4"), "{table}");

    let followed = kernels(folder.path());
    assert_eq!(followed.stderr, "");
    let followed = followed.success();
    for part in
        [&format!("{}: made on this CPU (", path.display()), "by `tritforge tune`", "__portable  (tuned; "]
    {
        assert!(followed.contains(part), "{part} is missing in {followed}");
    }

    // A copy from another machine: the model is another, all else the same.
    let text = std::fs::read_to_string(&path).expect("the profile");
    let model = text.lines().find(|line| line.starts_with("model = ")).expect("a model");
    std::fs::write(&path, text.replace(model, "model = \"family 0 model 0\"")).expect("it can be written");
    let foreign = kernels(folder.path());
    assert!(
        foreign.stderr.starts_with("warning: tuned profile ")
            && foreign.stderr.contains("made on another CPU")
    );
    let foreign = foreign.success();
    assert!(
        foreign.contains(&format!("not followed: {}: made on another CPU, ", path.display())),
        "{foreign}"
    );
    assert!(!foreign.contains(&format!("{}: made on this CPU", path.display())), "{foreign}");
    // Asked for by name, that of another model of the same maker is followed, and the reason given.
    assert!(
        named(&path)
            .success()
            .contains("made on another model of the same maker, with the same instruction sets")
    );

    std::fs::write(&path, "version = 7").expect("it can be written");
    let damaged = kernels(folder.path());
    assert!(damaged.stderr.contains("version 7, this program reads version 1"), "{}", damaged.stderr);
    damaged.success();
    // What is asked for by name has to be right.
    assert!(named(&path).error().contains("version 7"));
    assert!(named(folder.path().join("none")).error().contains("cannot be read"));
    let none = named("none");
    assert_eq!(none.stderr, "");
    assert!(none.success().contains("none: TRITFORGE_PROFILE=none"));
}

#[test]
fn what_cannot_be_tuned_is_an_error() {
    assert!(tritforge(["tune", "--isa", "sse9"]).error().contains("unknown instruction set 'sse9'"));
    assert!(tritforge(["tune", "--config", "none.toml"]).error().contains("none.toml"));
    assert!(tritforge(["tune", "--resume"]).refused().contains("--search"));
    assert!(tritforge(["tune", "--seconds", "0"]).refused().contains("0 is not in 1..=86400"));
}
