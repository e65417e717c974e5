//! Configs on disk: which files are read, and what cannot be.

use std::path::{Path, PathBuf};

use crate::config::{ConfigError, load, load_all, model_files};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/tests/data");

fn data(path: &str) -> PathBuf {
    Path::new(DATA).join(path)
}

/// The message with the folder of the test files taken out of it and `/` between folders.
fn shortened(error: &ConfigError) -> String {
    error.to_string().replace(DATA, "").replace('\\', "/").replace("/collection/", "collection/")
}

#[test]
fn a_directory_means_every_config_below_it_in_sorted_order() {
    let files = model_files(&[data("collection")]).unwrap();
    assert_eq!(
        files,
        [data("collection/a.toml"), data("collection/deep/er/c.toml"), data("collection/z.toml")]
    );
    let models = load_all(&[data("collection")]).unwrap();
    let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["model-a", "model-c", "model-z"]);
    assert_eq!(models[1].file, data("collection/deep/er/c.toml"));
}

#[test]
fn a_file_that_is_reached_twice_is_read_once() {
    let files =
        model_files(&[data("collection/z.toml"), data("collection"), data("collection/a.toml")]).unwrap();
    assert_eq!(
        files,
        [data("collection/z.toml"), data("collection/a.toml"), data("collection/deep/er/c.toml")]
    );
}

#[test]
fn a_name_given_twice_is_an_error_that_names_both_files() {
    let error = load_all(&[data("collection/a.toml"), data("same-name.toml")]).unwrap_err();
    assert_eq!(
        shortened(&error),
        "/same-name.toml:3:8: name is \"model-a\", expected one that no other model has: collection/a.toml:2:8 took it"
    );
}

#[test]
fn faults_of_several_files_are_reported_together() {
    let files = ["not-utf8.toml", "collection/a.toml", "zero.toml", "same-name.toml"].map(data);
    let error = load_all(&files).unwrap_err();
    let places: Vec<_> =
        error.diagnostics().iter().map(|found| (found.file.clone(), found.line, found.column)).collect();
    assert_eq!(
        places,
        [(data("not-utf8.toml"), 2, 10), (data("zero.toml"), 9, 10), (data("same-name.toml"), 3, 8)]
    );
}

#[test]
fn text_that_is_not_utf8_is_refused_at_its_first_bad_byte() {
    let error = load(&data("not-utf8.toml")).unwrap_err();
    assert_eq!(shortened(&error), "/not-utf8.toml:2:10: byte 0xE9 is not UTF-8, expected a UTF-8 text");
}

#[test]
fn what_cannot_be_read_is_named() {
    let missing = data("missing.toml");
    for error in [load(&missing).unwrap_err(), load_all(std::slice::from_ref(&missing)).unwrap_err()] {
        assert!(matches!(&error, ConfigError::Io { path, .. } if *path == missing), "{error}");
        assert!(shortened(&error).starts_with("/missing.toml: cannot be read: "), "{error}");
    }
    assert!(matches!(load(&data("collection")), Err(ConfigError::Io { .. })), "a directory is no file");
}

#[test]
fn a_directory_without_configs_is_refused() {
    let error = load_all(&[data("no-configs")]).unwrap_err();
    assert!(matches!(&error, ConfigError::NoConfigs { path } if *path == data("no-configs")), "{error}");
}

#[test]
#[cfg(unix)]
fn an_endless_file_is_refused() {
    let error = load(Path::new("/dev/zero")).unwrap_err();
    assert!(matches!(error, ConfigError::TooLarge { limit: 1_048_576, .. }), "{error}");
}
