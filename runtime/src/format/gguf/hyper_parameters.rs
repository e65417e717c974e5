//! The keys that describe the graph of a model, as our files have them.

use super::load::{SUB_NORMS_KEY, activation_key};
use super::writer::GgufWriter;
use crate::model::config::{Activation, ModelConfig};

/// `general.file_type` of files whose weights are mostly I2_S.
const FILE_TYPE_I2_S: u32 = 40;

/// Writes everything about the graph of a model that `name` names.
///
/// Other engines tell the activation function by the architecture: `bitnet` means SiLU to all of them, and
/// `bitnet-b1.58` squared ReLU to those that do it right.
pub(crate) fn put_hyper_parameters(writer: &mut GgufWriter, config: &ModelConfig, name: &str) {
    let architecture = match config.activation {
        Activation::Relu2 => "bitnet-b1.58",
        Activation::Silu => "bitnet",
    };
    let key = |suffix: &str| format!("{architecture}.{suffix}");
    writer.put_str("general.architecture", architecture);
    writer.put_str("general.name", name);
    writer.put_u32("general.file_type", FILE_TYPE_I2_S);
    // The configuration has been validated: no dimension exceeds 2^24.
    for (suffix, value) in [
        ("vocab_size", config.vocab),
        ("context_length", config.context),
        ("embedding_length", config.hidden),
        ("block_count", config.layers),
        ("feed_forward_length", config.ffn),
        ("rope.dimension_count", config.head_dim),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
    ] {
        writer.put_u32(&key(suffix), value as u32);
    }
    if config.heads * config.head_dim != config.hidden {
        writer.put_u32(&key("attention.key_length"), config.head_dim as u32);
        writer.put_u32(&key("attention.value_length"), config.head_dim as u32);
    }
    writer.put_f32(&key("attention.layer_norm_rms_epsilon"), config.rms_norm_eps);
    writer.put_f32(&key("rope.freq_base"), config.rope_theta as f32);
    writer.put_str(&activation_key(architecture), config.activation.name());
    if !config.sub_norms {
        writer.put_bool(SUB_NORMS_KEY, false);
    }
}
