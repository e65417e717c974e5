//! A model in memory and its forward pass.

mod attend;
pub(crate) mod batch;
pub mod config;
pub mod error;
pub mod forward;
pub mod kv_cache;
mod layer;
mod logits;
pub mod profile;
mod stopwatch;
mod store;
mod traffic;
pub mod weights;

pub use crate::numerics::kv_block::{KvType, UnknownKvType};
pub use crate::packing::LoadProgress;
pub use config::{Activation, ConfigError, ModelConfig};
pub use error::{ForwardError, ModelError, Place};
pub use forward::{Observer, Session, Want, decode_together};
pub use kv_cache::KvCache;
pub use profile::{Profile, ProfileOptions};
pub use stopwatch::Timings;
pub use weights::Model;
