//! The options that say which model is used and how.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tritforge::demo;
use tritforge::engine::{Engine, EngineError};
use tritforge::format::{FormatError, LoadOptions, RawModel, load_path, load_tokenizer};
use tritforge::head::HeadType;
use tritforge::model::{Activation, KvType, Model, Profile, ProfileOptions};
use tritforge::tokenizer::{PreTokenizer, TokenizerState};
use tritforge::tuned;

use crate::progress;

/// Which model, and what its file leaves unsaid.
#[derive(clap::Args)]
pub struct ModelArgs {
    /// A GGUF file or a Hugging Face directory; the embedded demo model if left out or `demo`.
    pub model: Option<PathBuf>,

    /// Activation function of the feed-forward block, where the file does not name it: relu2 or silu.
    #[arg(long, value_name = "NAME")]
    pub act: Option<Activation>,

    /// Pre-tokenizer, where the file does not name it: llama-bpe, gpt-2 or qwen2.
    #[arg(long, value_name = "NAME")]
    pub pre: Option<PreTokenizer>,
}

impl ModelArgs {
    /// Reads the file; nothing is packed yet.
    pub fn load(&self) -> Result<RawModel, FormatError> {
        match self.path() {
            Some(path) => load_path(path, &self.options()),
            None => demo::load(&self.options()),
        }
    }

    /// Reads and packs it for a profile, with a bar on the terminal where that takes long.
    pub fn pack(
        &self,
        engine: &Engine,
        numerics: &NumericsArgs,
        default: Profile,
    ) -> Result<Model, Box<dyn std::error::Error>> {
        let since = Instant::now();
        let profile = numerics.numerics.unwrap_or(default);
        let options = ProfileOptions { profile, head: numerics.head, kv_type: numerics.kv };
        Ok(progress::pack(self.load()?, engine, options, since)?)
    }

    /// Reads the tokenizer alone, which a file of nothing but a vocabulary has as well.
    pub fn load_tokenizer(&self) -> Result<TokenizerState, FormatError> {
        match self.path() {
            Some(path) => load_tokenizer(path, &self.options()),
            None => Ok(demo::load(&self.options())?.tokenizer),
        }
    }

    /// The file named; `demo` is the embedded model where there is no such file.
    fn path(&self) -> Option<&Path> {
        self.model.as_deref().filter(|path| *path != Path::new("demo") || path.exists())
    }

    fn options(&self) -> LoadOptions {
        LoadOptions { act: self.act, pre: self.pre }
    }
}

/// How exactly it computes.
#[derive(clap::Args, Default)]
pub struct NumericsArgs {
    /// Numerics profile: exact (output head as stored, in f32 arithmetic, keys and values in f32), or fast (head of 8-bit
    /// integers, keys and values in f16, unless --head and --kv say otherwise). Each gives the same bits on every machine. If left out, exact for verify, else fast.
    #[arg(long, value_name = "PROFILE")]
    pub numerics: Option<Profile>,

    /// Output head of the fast profile: stored (weights as the file has them), int8 (with a scale a row) or q4_0.
    #[arg(long, value_name = "TYPE", value_parser = fast_head)]
    pub head: Option<HeadType>,

    /// Keys and values of the fast profile: f32, f16 or int8; f16 if left out.
    #[arg(long, value_name = "TYPE")]
    pub kv: Option<KvType>,
}

fn fast_head(name: &str) -> Result<HeadType, String> {
    match name.parse() {
        Ok(HeadType::Exact) => Err("exact is a profile: --numerics exact".to_owned()),
        Ok(head) => Ok(head),
        Err(error) => Err(error.to_string()),
    }
}

/// How the model is run.
#[derive(clap::Args)]
pub struct EngineArgs {
    /// Threads; as many as there are physical cores if left out.
    #[arg(long, short = 't', value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

impl EngineArgs {
    /// Chooses kernels and starts the threads.
    pub fn engine(&self) -> Result<Engine, EngineError> {
        match self.threads {
            Some(threads) => Engine::with_threads(threads.into()),
            None => Engine::new(),
        }
    }
}

/// Says on stderr what this CPU claims and does not do, and which tuned profiles are not followed. The results are right all
/// the same.
pub fn warn_of_faults(engine: &Engine) -> io::Result<()> {
    let mut err = io::stderr().lock();
    // What cannot be followed at all ended the command before.
    let refused = tuned::in_force().map_or(&[][..], |in_force| &in_force.refused);
    refused.iter().try_for_each(|profile| writeln!(err, "warning: tuned profile {profile}"))?;
    engine.faults().iter().try_for_each(|fault| writeln!(err, "warning: {fault}"))
}
