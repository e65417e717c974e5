//! From typed values to [`ModelShapes`]: ranges, and every figure against the others.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;

use super::error::{ConfigError, Diagnostic};
use super::position::line_and_column;
use super::schema::{Config, Dims, Integer, Matrices, VersionOnly};
use super::shapes::{Activation, Matrix, ModelShapes, Role};

/// The version of the format that this compiler reads: `schema = 1`.
pub const SCHEMA_VERSION: u32 = 1;

/// The largest value of any dimension but the number of layers. No known model comes near it, so that a
/// larger one is taken for a mistake; and the number of elements of a whole model is sure to fit 63 bits.
pub const MAX_DIMENSION: usize = 1 << 24;

/// The largest number of layers.
pub const MAX_LAYERS: usize = 1 << 12;

const MAX_NAME_LENGTH: usize = 64;

/// Reads the text of one model config. `file` is what errors and the result call it; nothing is read from it.
///
/// # Errors
/// [`ConfigError::Invalid`] with the place of each fault. A syntax error, a value of the wrong type, a
/// missing or an unknown key ends the reading at once; values out of range and contradictions are all
/// reported together.
pub fn parse(text: &str, file: &Path) -> Result<ModelShapes, ConfigError> {
    let mut checker = Checker { text, file, diagnostics: Vec::new() };
    let version: VersionOnly = checker.deserialize()?;
    if version.schema.get_ref().0 != i128::from(SCHEMA_VERSION) {
        checker.report(
            version.schema.span().start,
            format!("schema is {}, expected {SCHEMA_VERSION}", version.schema.get_ref().0),
        );
        return Err(checker.into_error());
    }
    let config: Config = checker.deserialize()?;
    checker.check(&config).ok_or_else(|| checker.into_error())
}

/// The dimensions that are in range; `None` for those that are not and that nothing can be compared with.
struct CheckedDims {
    layers: Option<usize>,
    hidden: Option<usize>,
    ffn: Option<usize>,
    heads: Option<usize>,
    kv_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab: Option<usize>,
}

/// What one side of a matrix must be: the product of one or two dimensions, with their names.
struct Side {
    formula: &'static str,
    factors: [Option<usize>; 2],
}

impl Side {
    fn value(&self) -> Option<u64> {
        let [first, second] = self.factors;
        Some(first? as u64 * second? as u64)
    }
}

impl CheckedDims {
    /// What the rows and the columns of the matrix of a role must be.
    fn sides(&self, role: Role) -> (Side, Side) {
        let side = |formula, first, second| Side { formula, factors: [first, second] };
        let hidden = || side("hidden", self.hidden, Some(1));
        let ffn = || side("ffn", self.ffn, Some(1));
        let vocab = || side("vocab", self.vocab, Some(1));
        let queries = || side("heads * head_dim", self.heads, self.head_dim);
        let keys = || side("kv_heads * head_dim", self.kv_heads, self.head_dim);
        match role {
            Role::QProj => (queries(), hidden()),
            Role::KProj | Role::VProj => (keys(), hidden()),
            Role::OProj => (hidden(), queries()),
            Role::GateProj | Role::UpProj => (ffn(), hidden()),
            Role::DownProj => (hidden(), ffn()),
            Role::Embedding | Role::LmHead => (vocab(), hidden()),
        }
    }
}

struct Checker<'a> {
    text: &'a str,
    file: &'a Path,
    diagnostics: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(self.text).map_err(|error| {
            // Without a place the fault is one of the file as a whole.
            let offset = error.span().map_or(0, |span| span.start);
            let message = error.message().lines().collect::<Vec<_>>().join("; ");
            ConfigError::Invalid(vec![self.diagnostic(offset, message)])
        })
    }

    fn diagnostic(&self, offset: usize, message: String) -> Diagnostic {
        let (line, column) = line_and_column(self.text, offset);
        Diagnostic { file: self.file.to_owned(), line, column, message }
    }

    fn report(&mut self, offset: usize, message: String) {
        self.diagnostics.push(self.diagnostic(offset, message));
    }

    fn into_error(mut self) -> ConfigError {
        self.diagnostics.sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        ConfigError::Invalid(self.diagnostics)
    }

    /// `None` if anything was reported.
    fn check(&mut self, config: &Config) -> Option<ModelShapes> {
        self.check_name(&config.name);
        if let Some(title) = &config.title {
            self.check_text("title", title);
        }
        self.check_text("source", &config.source);
        let activation = self.check_activation(&config.activation);
        let dims = self.check_dims(&config.dims.0);
        let context = config.dims.0.context.as_ref();
        let context = context.and_then(|context| self.check_range("context", context, MAX_DIMENSION));
        let matrices = self.check_matrices(config, &dims);
        if !self.diagnostics.is_empty() {
            return None;
        }
        let (line, column) = line_and_column(self.text, config.name.span().start);
        Some(ModelShapes {
            name: config.name.get_ref().clone(),
            title: config.title.as_ref().map(|title| title.get_ref().clone()),
            source: config.source.get_ref().clone(),
            file: self.file.to_owned(),
            line,
            column,
            activation: activation?,
            sub_norms: config.sub_norms,
            tied: *config.tied.get_ref(),
            layers: dims.layers?,
            hidden: dims.hidden?,
            ffn: dims.ffn?,
            heads: dims.heads?,
            kv_heads: dims.kv_heads?,
            head_dim: dims.head_dim?,
            vocab: dims.vocab?,
            context,
            matrices,
        })
    }

    fn check_name(&mut self, name: &Spanned<String>) {
        let text = name.get_ref();
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        if text.is_empty() || text.len() > MAX_NAME_LENGTH || !text.chars().all(allowed) {
            let message = format!(
                "name is {text:?}, expected 1 to {MAX_NAME_LENGTH} lower-case letters, digits, `.`, `-` and `_`"
            );
            self.report(name.span().start, message);
        }
    }

    fn check_text(&mut self, key: &str, text: &Spanned<String>) {
        if text.get_ref().trim().is_empty() {
            self.report(text.span().start, format!("{key} is empty, expected a text"));
        }
    }

    fn check_activation(&mut self, name: &Spanned<String>) -> Option<Activation> {
        let found = Activation::ALL.into_iter().find(|activation| activation.name() == name.get_ref());
        if found.is_none() {
            let known = Activation::ALL.map(Activation::name).join(", ");
            self.report(
                name.span().start,
                format!("activation is {:?}, expected one of {known}", name.get_ref()),
            );
        }
        found
    }

    fn check_range(&mut self, what: &str, number: &Spanned<Integer>, max: usize) -> Option<usize> {
        let Integer(value) = *number.get_ref();
        let in_range = usize::try_from(value).ok().filter(|value| (1..=max).contains(value));
        if in_range.is_none() {
            self.report(
                number.span().start,
                format!("{what} is {value}, expected a whole number from 1 to {max}"),
            );
        }
        in_range
    }

    fn check_dims(&mut self, dims: &Dims) -> CheckedDims {
        let checked = CheckedDims {
            layers: self.check_range("layers", &dims.layers, MAX_LAYERS),
            hidden: self.check_range("hidden", &dims.hidden, MAX_DIMENSION),
            ffn: self.check_range("ffn", &dims.ffn, MAX_DIMENSION),
            heads: self.check_range("heads", &dims.heads, MAX_DIMENSION),
            kv_heads: self.check_range("kv_heads", &dims.kv_heads, MAX_DIMENSION),
            head_dim: self.check_range("head_dim", &dims.head_dim, MAX_DIMENSION),
            vocab: self.check_range("vocab", &dims.vocab, MAX_DIMENSION),
        };
        if let (Some(heads), Some(kv_heads)) = (checked.heads, checked.kv_heads)
            && heads % kv_heads != 0
        {
            self.report(
                dims.kv_heads.span().start,
                format!("kv_heads is {kv_heads}, expected a divisor of heads = {heads}"),
            );
        }
        checked
    }

    fn check_matrices(&mut self, config: &Config, dims: &CheckedDims) -> Vec<Matrix> {
        self.check_head(&config.matrices.0, &config.tied);
        let mut matrices = Vec::with_capacity(Role::ALL.len());
        for role in Role::ALL {
            let Some(shape) = config.matrices.0.get(role) else { continue };
            let (expected_rows, expected_cols) = dims.sides(role);
            let rows = self.check_side(role, "rows", &shape.get_ref().0.rows, &expected_rows);
            let cols = self.check_side(role, "cols", &shape.get_ref().0.cols, &expected_cols);
            if let (Some(rows), Some(cols)) = (rows, cols) {
                let (line, column) = line_and_column(self.text, shape.span().start);
                matrices.push(Matrix { role, rows, cols, line, column });
            }
        }
        matrices
    }

    fn check_head(&mut self, matrices: &Matrices, tied: &Spanned<bool>) {
        match (matrices.get(Role::LmHead), *tied.get_ref()) {
            (Some(head), true) => {
                let message =
                    "lm_head is given, expected none since tied = true makes the embedding the output head";
                self.report(head.span().start, message.to_owned());
            }
            (None, false) => {
                let message =
                    "tied is false, expected a matrix lm_head (vocab x hidden) beside the embedding";
                self.report(tied.span().start, message.to_owned());
            }
            _ => {}
        }
    }

    fn check_side(
        &mut self,
        role: Role,
        key: &str,
        number: &Spanned<Integer>,
        expected: &Side,
    ) -> Option<usize> {
        let value = self.check_range(&format!("{role}.{key}"), number, MAX_DIMENSION)?;
        match expected.value() {
            Some(expected_value) if expected_value != value as u64 => {
                let formula = expected.formula;
                self.report(
                    number.span().start,
                    format!("{role}.{key} is {value}, expected {formula} = {expected_value}"),
                );
                None
            }
            _ => Some(value),
        }
    }
}
