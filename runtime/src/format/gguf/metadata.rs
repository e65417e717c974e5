//! Typed access to a file's metadata, with errors that name the key.

use super::reader::GgufFile;
use super::value::Value;
use crate::format::error::FormatError;
use crate::format::raw_model::shortened;

/// The metadata of one file, with the prefix of its architecture's own keys.
pub(super) struct Metadata<'a> {
    file: &'a GgufFile,
    architecture: &'a str,
}

impl<'a> Metadata<'a> {
    pub(super) fn new(file: &'a GgufFile, architecture: &'a str) -> Self {
        Self { file, architecture }
    }

    /// `<architecture>.<suffix>`.
    pub(super) fn own_key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.architecture)
    }

    /// A dimension of the architecture: a whole number above zero that fits a u32.
    pub(super) fn dimension(&self, suffix: &str) -> Result<usize, FormatError> {
        self.optional_dimension(suffix)?.ok_or_else(|| FormatError::MissingKey { key: self.own_key(suffix) })
    }

    /// As [`Self::dimension`], where the key may be absent.
    pub(super) fn optional_dimension(&self, suffix: &str) -> Result<Option<usize>, FormatError> {
        let key = self.own_key(suffix);
        let Some(value) = self.file.get(&key) else { return Ok(None) };
        match value.as_u64().and_then(|v| u32::try_from(v).ok()) {
            Some(dimension) if dimension > 0 => Ok(Some(dimension as usize)),
            _ => Err(bad(&key, &value, "a whole number from 1 to 4294967295")),
        }
    }

    /// A float of the architecture that must be there.
    pub(super) fn float(&self, suffix: &str) -> Result<f64, FormatError> {
        self.optional_float(suffix)?.ok_or_else(|| FormatError::MissingKey { key: self.own_key(suffix) })
    }

    /// A float of the architecture that may be absent.
    pub(super) fn optional_float(&self, suffix: &str) -> Result<Option<f64>, FormatError> {
        let key = self.own_key(suffix);
        let Some(value) = self.file.get(&key) else { return Ok(None) };
        match value.as_f64() {
            Some(float) if float.is_finite() => Ok(Some(float)),
            _ => Err(bad(&key, &value, "a finite f32 or f64")),
        }
    }

    /// A string under its whole key.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, FormatError> {
        let Some(value) = self.file.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| bad(key, &value, "a UTF-8 string"))
    }

    /// A bool under its whole key.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, FormatError> {
        match self.file.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(value) => Err(bad(key, &value, "a bool")),
        }
    }

    /// A token id under its whole key.
    pub(super) fn token(&self, key: &str) -> Result<Option<u32>, FormatError> {
        let Some(value) = self.file.get(key) else { return Ok(None) };
        match value.as_u64().and_then(|v| u32::try_from(v).ok()) {
            Some(id) => Ok(Some(id)),
            None => Err(bad(key, &value, "a token id")),
        }
    }
}

/// The error for a value that is not what it should be.
pub(super) fn bad(key: &str, value: &Value<'_>, expected: &str) -> FormatError {
    FormatError::BadKey {
        key: key.to_owned(),
        found: shortened(&value.to_string()),
        expected: expected.to_owned(),
    }
}
