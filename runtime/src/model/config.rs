//! The dimensions and constants of a model graph, and what of them is sane.

use std::fmt;

/// The function that is applied to the gate of the feed-forward network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// relu(x)^2 (BitNet b1.58-2B-4T).
    Relu2,
    /// x / (1 + exp(-x)) (1bitLLM, Llama).
    Silu,
}

impl Activation {
    /// The name used in model files and on the command line: `relu2` or `silu`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu2 => "relu2",
            Self::Silu => "silu",
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for Activation {
    type Err = UnknownActivation;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "relu2" => Ok(Self::Relu2),
            "silu" => Ok(Self::Silu),
            _ => Err(UnknownActivation { found: name.chars().take(64).collect() }),
        }
    }
}

/// A name that is no activation function that this crate computes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("activation function \"{found}\" is unknown; supported are relu2 and silu")]
pub struct UnknownActivation {
    /// The name that was given, cut to 64 characters.
    pub found: String,
}

/// Dimensions and constants of a decoder-only transformer with ternary projections.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Name for people; not interpreted.
    pub name: String,
    /// The architecture as the file names it; not interpreted here.
    pub architecture: String,
    /// Length of the residual stream.
    pub hidden: usize,
    /// Length of the feed-forward network's hidden vector.
    pub ffn: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Elements a head; even. `heads * head_dim` need not be `hidden`.
    pub head_dim: usize,
    /// Number of token ids.
    pub vocab: usize,
    /// Greatest number of positions.
    pub context: usize,
    /// Added to the mean square in every RMS norm.
    pub rms_norm_eps: f32,
    /// Base of the rotary embedding's frequencies.
    pub rope_theta: f64,
    /// Function on the gate of the feed-forward network.
    pub activation: Activation,
    /// Whether there are norms in front of o_proj and down_proj (inner_attn_ln and ffn_layernorm).
    pub sub_norms: bool,
}

/// Largest value accepted for a length of a vector, and so for a row of a weight matrix: 2^20.
const MAX_WIDTH: usize = 1 << 20;
/// Largest number of layers accepted.
const MAX_LAYERS: usize = 4096;
/// Largest vocabulary and largest context accepted: 2^24.
const MAX_COUNT: usize = 1 << 24;

impl ModelConfig {
    /// Elements of all query heads together: rows of q_proj, columns of o_proj.
    pub fn attention_width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Elements of all key (or value) heads together: rows of k_proj and v_proj.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Checks that the graph can be computed: no dimension is zero or absurd, heads divide, constants are
    /// finite and sensible.
    ///
    /// # Errors
    /// [`ConfigError`] for the first thing that is wrong, with what was found and what is accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let ranges = [
            ("hidden size", self.hidden, MAX_WIDTH),
            ("feed-forward size", self.ffn, MAX_WIDTH),
            ("number of layers", self.layers, MAX_LAYERS),
            ("number of heads", self.heads, MAX_WIDTH),
            ("number of key/value heads", self.kv_heads, MAX_WIDTH),
            ("head dimension", self.head_dim, MAX_WIDTH),
            ("vocabulary size", self.vocab, MAX_COUNT),
            ("context length", self.context, MAX_COUNT),
        ];
        for (field, found, max) in ranges {
            if found == 0 || found > max {
                return Err(ConfigError::OutOfRange { field, found, max });
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(ConfigError::HeadsNotDivisible { heads: self.heads, kv_heads: self.kv_heads });
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(ConfigError::OddHeadDim { head_dim: self.head_dim });
        }
        // Both factors are at most 2^20, so this cannot overflow a 64-bit size; on 32 bits it saturates.
        let width = self.heads.saturating_mul(self.head_dim);
        if width > MAX_WIDTH {
            return Err(ConfigError::OutOfRange {
                field: "heads times head dimension",
                found: width,
                max: MAX_WIDTH,
            });
        }
        if !(self.rms_norm_eps > 0.0 && self.rms_norm_eps < 1.0) {
            return Err(ConfigError::BadConstant {
                field: "RMS norm epsilon",
                found: self.rms_norm_eps.into(),
                accepted: "greater than 0 and less than 1",
            });
        }
        if !(1.0..=1e12).contains(&self.rope_theta) {
            return Err(ConfigError::BadConstant {
                field: "RoPE theta",
                found: self.rope_theta,
                accepted: "1 to 1e12",
            });
        }
        Ok(())
    }
}

/// What makes a [`ModelConfig`] impossible to compute.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// A dimension is zero or larger than any real model's.
    #[error("the model's {field} is {found}; accepted are 1 to {max}")]
    OutOfRange {
        /// Which dimension.
        field: &'static str,
        /// Its value.
        found: usize,
        /// Largest accepted value.
        max: usize,
    },
    /// The query heads cannot share the key and value heads evenly.
    #[error("the model has {heads} heads and {kv_heads} key/value heads; the second must divide the first")]
    HeadsNotDivisible {
        /// Query heads.
        heads: usize,
        /// Key and value heads.
        kv_heads: usize,
    },
    /// The rotary embedding pairs the elements of a head.
    #[error("the model's head dimension is {head_dim}; it must be even for the rotary embedding")]
    OddHeadDim {
        /// Elements a head.
        head_dim: usize,
    },
    /// A constant is not a number or outside of what makes sense.
    #[error("the model's {field} is {found}; accepted is {accepted}")]
    BadConstant {
        /// Which constant.
        field: &'static str,
        /// Its value.
        found: f64,
        /// The accepted range in words.
        accepted: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> ModelConfig {
        ModelConfig {
            name: "test".into(),
            architecture: "bitnet-b1.58".into(),
            hidden: 256,
            ffn: 768,
            layers: 8,
            heads: 4,
            kv_heads: 2,
            head_dim: 64,
            vocab: 4096,
            context: 1024,
            rms_norm_eps: 1e-5,
            rope_theta: 5e5,
            activation: Activation::Relu2,
            sub_norms: true,
        }
    }

    #[test]
    fn a_real_config_passes_and_each_fault_is_named() {
        assert_eq!(good().validate(), Ok(()));
        type Change = fn(&mut ModelConfig);
        let faults: &[(Change, &str)] = &[
            (|c| c.hidden = 0, "hidden size is 0"),
            (|c| c.ffn = usize::MAX, "feed-forward size"),
            (|c| c.layers = 0, "number of layers"),
            (|c| c.heads = 0, "number of heads"),
            (|c| c.kv_heads = 0, "key/value heads"),
            (|c| c.kv_heads = 3, "must divide"),
            (|c| c.kv_heads = 8, "must divide"),
            (|c| c.head_dim = 63, "must be even"),
            (|c| (c.heads, c.head_dim) = (1 << 12, 1 << 12), "heads times head dimension"),
            (|c| c.vocab = 1 << 25, "vocabulary size"),
            (|c| c.context = 0, "context length"),
            (|c| c.rms_norm_eps = f32::NAN, "epsilon is NaN"),
            (|c| c.rms_norm_eps = 0.0, "epsilon is 0"),
            (|c| c.rope_theta = f64::INFINITY, "theta is inf"),
            (|c| c.rope_theta = 0.5, "theta is 0.5"),
        ];
        for (change, message) in faults {
            let mut config = good();
            change(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(message), "{error} does not say {message}");
        }
    }

    #[test]
    fn activation_names_go_both_ways() {
        for activation in [Activation::Relu2, Activation::Silu] {
            assert_eq!(activation.to_string().parse(), Ok(activation));
        }
        let error = "gelu".parse::<Activation>().unwrap_err().to_string();
        assert!(error.contains("gelu") && error.contains("relu2 and silu"));
    }
}
