//! Hugging Face checkpoints: a directory with `config.json`, safetensors and perhaps a tokenizer.

mod config;
mod directory;
mod load;
mod shards;

pub(crate) use directory::HfDirectory;
