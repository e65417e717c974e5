//! [`HfDirectory`]: the files of a checkpoint beside its weights.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::config::{HfConfig, Ids, entries};
use super::load;
use super::shards::Shards;
use crate::format::error::FormatError;
use crate::format::raw_model::{LoadOptions, METADATA_SHOWN, RawModel, SourceInfo};
use crate::tokenizer::{DeclaredToken, DeclaredTokens, Tokenizer, TokenizerFile, TokenizerState};

/// A token in `tokenizer_config.json`: its text, or an object with its text.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum TokenText {
    Plain(String),
    Object { content: String },
}

impl TokenText {
    fn declared(self) -> DeclaredToken {
        match self {
            TokenText::Plain(text) | TokenText::Object { content: text } => DeclaredToken::Text(text),
        }
    }
}

/// The parts of `tokenizer_config.json` that matter.
#[derive(Clone, Default, Deserialize)]
struct TokenizerConfig {
    bos_token: Option<TokenText>,
    eos_token: Option<TokenText>,
    #[serde(default)]
    chat_template: Value,
}

#[derive(Default, Deserialize)]
struct GenerationConfig {
    eos_token_id: Option<Ids>,
}

/// A checkpoint directory with its small files read.
pub(crate) struct HfDirectory {
    path: PathBuf,
    config: HfConfig,
    metadata: Vec<(String, String)>,
    /// `tokenizer.json`, or why it cannot be used.
    tokenizer: Result<TokenizerFile, String>,
    declared: DeclaredTokens,
    chat_template: Option<String>,
}

impl HfDirectory {
    /// Reads everything but the weights.
    pub(crate) fn open(path: &Path) -> Result<Self, FormatError> {
        let config_path = path.join("config.json");
        let bytes =
            std::fs::read(&config_path).map_err(|error| FormatError::from(error).in_file(&config_path))?;
        let in_config = |error: serde_json::Error| FormatError::from(error).in_file(&config_path);
        let config: HfConfig = serde_json::from_slice(&bytes).map_err(in_config)?;
        let mut metadata = entries(&serde_json::from_slice(&bytes).map_err(in_config)?);
        metadata.truncate(METADATA_SHOWN);

        let beside: TokenizerConfig = optional_json(&path.join("tokenizer_config.json"))?.unwrap_or_default();
        let generation: GenerationConfig =
            optional_json(&path.join("generation_config.json"))?.unwrap_or_default();
        let bos = beside.bos_token.map(TokenText::declared);
        let mut stop: Vec<DeclaredToken> = Vec::new();
        for ids in [&config.eos_token_id, &generation.eos_token_id].into_iter().flatten() {
            stop.extend(ids.declared());
        }
        stop.extend(beside.eos_token.map(TokenText::declared));
        let declared = DeclaredTokens { bos: bos.or(config.bos_token_id.map(DeclaredToken::Id)), stop };

        let tokenizer_path = path.join("tokenizer.json");
        let tokenizer = match optional_file(&tokenizer_path)? {
            None => Err("the directory has no tokenizer.json".to_owned()),
            Some(json) => TokenizerFile::parse(json)
                .map_err(|error| FormatError::from(error).in_file(&tokenizer_path))?,
        };
        let template_path = path.join("chat_template.jinja");
        let chat_template = match optional_file(&template_path)? {
            Some(text) => Some(String::from_utf8_lossy(&text).into_owned()),
            None => beside.chat_template.as_str().map(str::to_owned),
        };
        Ok(Self { path: path.to_owned(), config, metadata, tokenizer, declared, chat_template })
    }

    /// Loads the tokenizer alone.
    pub(crate) fn load_tokenizer(&self, options: &LoadOptions) -> Result<TokenizerState, FormatError> {
        match &self.tokenizer {
            Ok(_) if options.pre.is_some() => Err(FormatError::PreNotApplicable),
            Ok(file) => Tokenizer::from_file(file, &self.declared)
                .map(TokenizerState::Loaded)
                .map_err(|error| FormatError::from(error).in_file(&self.path.join("tokenizer.json"))),
            Err(reason) => Ok(TokenizerState::Absent { reason: reason.clone() }),
        }
    }

    /// Loads the model.
    pub(crate) fn load(&self, options: &LoadOptions) -> Result<RawModel, FormatError> {
        let tokenizer = self.load_tokenizer(options)?;
        // `..` and the root have no name of their own.
        let name = self.path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let graph = self
            .config
            .graph(&name, options)
            .map_err(|error| error.in_file(&self.path.join("config.json")))?;
        let shards = Shards::open(&self.path)?;
        let source = SourceInfo {
            format: "Hugging Face".to_owned(),
            metadata: self.metadata.clone(),
            tensors: shards.infos(),
            file_bytes: shards.file_bytes(),
        };
        load::load(graph, shards, tokenizer, source).map_err(|error| error.in_file(&self.path))
    }

    /// `tokenizer.json`, or why it cannot be used.
    pub(crate) fn tokenizer_file(&self) -> Result<&TokenizerFile, &str> {
        self.tokenizer.as_ref().map_err(String::as_str)
    }

    /// The special tokens that the files declare.
    pub(crate) fn declared(&self) -> &DeclaredTokens {
        &self.declared
    }

    /// The chat template, if there is a single one.
    pub(crate) fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }
}

/// A file's bytes, or `None` where there is no such file.
fn optional_file(path: &Path) -> Result<Option<Vec<u8>>, FormatError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FormatError::from(error).in_file(path)),
    }
}

fn optional_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, FormatError> {
    let Some(bytes) = optional_file(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| FormatError::from(error).in_file(path))
}
