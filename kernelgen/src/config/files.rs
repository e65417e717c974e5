//! Model configs on disk: single files, and whole directories of them.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Diagnostic};
use super::position::line_and_column;
use super::shapes::ModelShapes;
use super::validate::parse;

// A config is about 1 KiB; the bound is there for a path that leads to a device or to a model by mistake.
const MAX_FILE_BYTES: u64 = 1 << 20;

// Where `configs/` keeps what the tuner writes: TOML too, but no model shapes.
const TUNED_FOLDER: &str = "tuned";

/// Reads one model config.
///
/// # Errors
/// [`ConfigError::Io`] or [`ConfigError::TooLarge`] if the file cannot be read; [`ConfigError::Invalid`] if
/// it is not UTF-8 or not a valid model config (see [`parse`]).
pub fn load(path: &Path) -> Result<ModelShapes, ConfigError> {
    let io_error = |reason| ConfigError::Io { path: path.to_owned(), reason };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io_error)?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned(), limit: MAX_FILE_BYTES });
    }
    let text = str::from_utf8(&bytes).map_err(|error| not_utf8(path, &bytes, error.valid_up_to()))?;
    parse(text, path)
}

/// Reads every model config that `paths` name, in the order of [`model_files`].
///
/// # Errors
/// As [`load`] and [`model_files`]; [`ConfigError::Invalid`] also if two files give the same model name. It
/// holds the faults of all files, so that they can be mended in one go.
pub fn load_all(paths: &[PathBuf]) -> Result<Vec<ModelShapes>, ConfigError> {
    let mut models: Vec<ModelShapes> = Vec::new();
    let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
    let mut diagnostics = Vec::new();
    for path in model_files(paths)? {
        match load(&path) {
            Ok(model) => {
                if let Some(&first) = by_name.get(&model.name) {
                    diagnostics.push(duplicate_name(&models[first], &model));
                } else {
                    by_name.insert(model.name.clone(), models.len());
                    models.push(model);
                }
            }
            Err(ConfigError::Invalid(found)) => diagnostics.extend(found),
            Err(other) => return Err(other),
        }
    }
    if diagnostics.is_empty() { Ok(models) } else { Err(ConfigError::Invalid(diagnostics)) }
}

/// The files that [`load_all`] reads for `paths`; each once, however often it is reached.
///
/// A path to a file stands for itself, whatever it is called. A directory stands for every `*.toml` below it
/// in sorted order, except in hidden folders and in folders called `tuned`, which hold tuned profiles. Links
/// to directories are not followed.
///
/// # Errors
/// [`ConfigError::Io`] if a path does not exist or a directory cannot be listed, [`ConfigError::NoConfigs`]
/// if there is nothing to read below a directory.
pub fn model_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    for path in paths {
        let io_error = |reason| ConfigError::Io { path: path.clone(), reason };
        let found = if fs::metadata(path).map_err(io_error)?.is_dir() {
            toml_files_below(path)?
        } else {
            vec![path.clone()]
        };
        for file in found {
            let canonical =
                fs::canonicalize(&file).map_err(|reason| ConfigError::Io { path: file.clone(), reason })?;
            if seen.insert(canonical) {
                files.push(file);
            }
        }
    }
    Ok(files)
}

fn toml_files_below(directory: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(folder) = pending.pop() {
        collect_entries(&folder, &mut files, &mut pending)
            .map_err(|reason| ConfigError::Io { path: folder, reason })?;
    }
    if files.is_empty() {
        return Err(ConfigError::NoConfigs { path: directory.to_owned() });
    }
    files.sort();
    Ok(files)
}

fn collect_entries(folder: &Path, files: &mut Vec<PathBuf>, pending: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            if name != TUNED_FOLDER {
                pending.push(entry.path());
            }
        } else if entry.path().extension().is_some_and(|extension| extension == "toml") {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn not_utf8(path: &Path, bytes: &[u8], valid_up_to: usize) -> ConfigError {
    let valid = String::from_utf8_lossy(&bytes[..valid_up_to]);
    let (line, column) = line_and_column(&valid, valid.len());
    let message = format!("byte 0x{:02X} is not UTF-8, expected a UTF-8 text", bytes[valid_up_to]);
    ConfigError::Invalid(vec![Diagnostic { file: path.to_owned(), line, column, message }])
}

fn duplicate_name(first: &ModelShapes, second: &ModelShapes) -> Diagnostic {
    let message = format!(
        "name is {:?}, expected one that no other model has: {}:{}:{} took it",
        second.name,
        first.file.display(),
        first.line,
        first.column
    );
    Diagnostic { file: second.file.clone(), line: second.line, column: second.column, message }
}
