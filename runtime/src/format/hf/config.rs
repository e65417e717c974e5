//! `config.json`: which graph, which dimensions, and what the ternary weights look like.

use serde::Deserialize;
use serde_json::Value;

use crate::format::error::FormatError;
use crate::format::raw_model::{LoadOptions, shortened};
use crate::model::config::ModelConfig;
use crate::tokenizer::DeclaredToken;

const ARCHITECTURE_NAMES: &str = "BitNetForCausalLM (Microsoft), BitnetForCausalLM (1bitLLM), and LlamaForCausalLM with \
     a quantization_config of quant_method bitnet";

/// One id or a list of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Ids {
    One(u32),
    Many(Vec<u32>),
}

impl Ids {
    /// The ids as declared tokens.
    pub(super) fn declared(&self) -> Vec<DeclaredToken> {
        match self {
            Ids::One(id) => vec![DeclaredToken::Id(*id)],
            Ids::Many(ids) => ids.iter().copied().map(DeclaredToken::Id).collect(),
        }
    }
}

/// The parts of `config.json` that decide what is computed. Absent and null are the same.
#[derive(Debug, Deserialize)]
pub(super) struct HfConfig {
    architectures: Option<Vec<String>>,
    #[serde(rename = "_name_or_path")]
    name_or_path: Option<String>,
    hidden_size: Option<u64>,
    intermediate_size: Option<u64>,
    num_hidden_layers: Option<u64>,
    num_attention_heads: Option<u64>,
    num_key_value_heads: Option<u64>,
    head_dim: Option<u64>,
    vocab_size: Option<u64>,
    max_position_embeddings: Option<u64>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_parameters: Option<Rope>,
    rope_scaling: Option<Rope>,
    partial_rotary_factor: Option<f64>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    tie_word_embeddings: Option<bool>,
    weight_bits: Option<u64>,
    input_bits: Option<u64>,
    quantization_config: Option<Quantization>,
    pub(super) bos_token_id: Option<u32>,
    pub(super) eos_token_id: Option<Ids>,
}

#[derive(Debug, Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
    /// The older name of `rope_type`.
    #[serde(rename = "type")]
    kind: Option<String>,
    partial_rotary_factor: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Quantization {
    quant_method: Option<String>,
    linear_class: Option<String>,
    quantization_mode: Option<String>,
    modules_to_not_convert: Option<Vec<String>>,
    use_rms_norm: Option<bool>,
}

/// How the linear layers' weights are stored, and what `weight_scale` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// U8, with the factor that multiplies (`autobitlinear`).
    PackedMultiply,
    /// U8, with the reciprocal of the factor (`bitlinear`).
    PackedDivide,
    /// Float masters, to be ternarised by absmean.
    Masters,
}

/// What `config.json` says, checked.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) config: ModelConfig,
    pub(super) weights: Weights,
    /// Whether the output head is the token embedding.
    pub(super) tied: bool,
}

impl HfConfig {
    /// The graph, or what about it is not supported. `name` names the model where the file does not.
    pub(super) fn graph(&self, name: &str, options: &LoadOptions) -> Result<Graph, FormatError> {
        let architecture = match self.architectures.as_deref() {
            Some([one]) => one.as_str(),
            other => {
                let found = format!("{:?}", other.unwrap_or_default());
                return Err(FormatError::Architecture {
                    found: shortened(&found),
                    supported: ARCHITECTURE_NAMES,
                });
            }
        };
        let sub_norms = match (architecture, &self.quantization_config) {
            ("BitNetForCausalLM" | "BitnetForCausalLM", _) => true,
            ("LlamaForCausalLM", Some(_)) => false,
            (found, quantization) => {
                let plain_llama = found == "LlamaForCausalLM" && quantization.is_none();
                let suffix = if plain_llama { " without a quantization_config" } else { "" };
                return Err(FormatError::Architecture {
                    found: shortened(found) + suffix,
                    supported: ARCHITECTURE_NAMES,
                });
            }
        };
        self.check_settings()?;
        let hidden = dimension("hidden_size", self.hidden_size)?;
        let heads = dimension("num_attention_heads", self.num_attention_heads)?;
        let optional = |key, value: Option<u64>, default| match value {
            None => Ok(default),
            value => dimension(key, value),
        };
        let head_dim = match self.head_dim {
            None if hidden.is_multiple_of(heads) => hidden / heads,
            None => {
                return Err(FormatError::Contradiction {
                    key: "num_attention_heads".into(),
                    value: heads.to_string(),
                    other: format!("hidden_size {hidden} is no multiple of it, and there is no head_dim"),
                });
            }
            value => dimension("head_dim", value)?,
        };
        let eps = self.rms_norm_eps.ok_or_else(|| missing("rms_norm_eps"))?;
        let vocab = dimension("vocab_size", self.vocab_size)?;
        let activation = match (options.act, self.hidden_act.as_deref()) {
            (Some(act), _) => act,
            (None, Some(act)) => act.parse().map_err(|_| FormatError::Setting {
                key: "hidden_act".into(),
                found: shortened(act),
                supported: "relu2 or silu",
            })?,
            (None, None) => {
                return Err(FormatError::NoActivation { architecture: architecture.to_owned(), vocab });
            }
        };
        let named = self.name_or_path.as_deref().filter(|name| !name.is_empty());
        let config = ModelConfig {
            name: named.map_or_else(|| name.to_owned(), shortened),
            architecture: architecture.to_owned(),
            hidden,
            ffn: dimension("intermediate_size", self.intermediate_size)?,
            layers: dimension("num_hidden_layers", self.num_hidden_layers)?,
            heads,
            kv_heads: optional("num_key_value_heads", self.num_key_value_heads, heads)?,
            head_dim,
            vocab,
            context: dimension("max_position_embeddings", self.max_position_embeddings)?,
            rms_norm_eps: eps as f32,
            rope_theta: self.theta()?,
            activation,
            sub_norms,
        };
        config.validate()?;
        // All three classes have an untied head unless the configuration says otherwise.
        let tied = self.tie_word_embeddings.unwrap_or(false);
        Ok(Graph { config, weights: self.weights()?, tied })
    }

    /// Refuses settings that change the graph in a way that is not computed here.
    fn check_settings(&self) -> Result<(), FormatError> {
        for (key, value) in [("attention_bias", self.attention_bias), ("mlp_bias", self.mlp_bias)] {
            if value == Some(true) {
                return Err(setting(key, "true", "false (linear layers without biases)"));
            }
        }
        for (key, value, only) in [("weight_bits", self.weight_bits, 1), ("input_bits", self.input_bits, 8)] {
            if let Some(bits) = value.filter(|&bits| bits != only) {
                return Err(setting(key, bits, "1 for weights (ternary) and 8 for inputs"));
            }
        }
        let ropes = [("rope_parameters", &self.rope_parameters), ("rope_scaling", &self.rope_scaling)];
        let partial = ropes.iter().filter_map(|(_, rope)| rope.as_ref()?.partial_rotary_factor);
        for factor in partial.chain(self.partial_rotary_factor) {
            if factor != 1.0 {
                return Err(setting("partial_rotary_factor", factor, "1.0 (heads that are rotated whole)"));
            }
        }
        for (key, rope) in ropes {
            let Some(rope) = rope else { continue };
            for kind in [&rope.rope_type, &rope.kind].into_iter().flatten() {
                if kind != "default" {
                    return Err(setting(
                        &format!("{key}.rope_type"),
                        shortened(kind),
                        "default (no scaling)",
                    ));
                }
            }
        }
        Ok(())
    }

    /// RoPE's base, which the two generations of the format keep in different places.
    fn theta(&self) -> Result<f64, FormatError> {
        let nested = self.rope_parameters.as_ref().and_then(|rope| rope.rope_theta);
        match (self.rope_theta, nested) {
            (Some(top), Some(nested)) if top != nested => Err(FormatError::Contradiction {
                key: "rope_theta".into(),
                value: top.to_string(),
                other: format!("rope_parameters.rope_theta is {nested}"),
            }),
            (Some(theta), _) | (None, Some(theta)) => Ok(theta),
            (None, None) => Err(missing("rope_theta")),
        }
    }

    fn weights(&self) -> Result<Weights, FormatError> {
        let Some(quantization) = &self.quantization_config else { return Ok(Weights::Masters) };
        let Quantization {
            quant_method,
            linear_class,
            quantization_mode,
            modules_to_not_convert,
            use_rms_norm,
        } = quantization;
        const METHOD: &str = "quantization_config.quant_method";
        match quant_method.as_deref() {
            Some("bitnet") => {}
            Some(other) => return Err(setting(METHOD, shortened(other), "bitnet")),
            None => return Err(missing(METHOD)),
        }
        if *use_rms_norm == Some(true) {
            const SUPPORTED: &str = "false (a norm inside every linear layer is not supported yet)";
            return Err(setting("quantization_config.use_rms_norm", "true", SUPPORTED));
        }
        if let Some(module) = modules_to_not_convert.iter().flatten().find(|module| *module != "lm_head") {
            const SUPPORTED: &str = "lm_head at most (every layer's projections are ternary)";
            return Err(setting("quantization_config.modules_to_not_convert", shortened(module), SUPPORTED));
        }
        let multiplies = match linear_class.as_deref() {
            Some("autobitlinear") => true,
            Some("bitlinear") | None => false,
            Some(other) => {
                let key = "quantization_config.linear_class";
                return Err(setting(key, shortened(other), "autobitlinear or bitlinear"));
            }
        };
        match quantization_mode.as_deref() {
            Some("online") => Ok(Weights::Masters),
            Some("offline") | None if multiplies => Ok(Weights::PackedMultiply),
            Some("offline") | None => Ok(Weights::PackedDivide),
            Some(other) => {
                let key = "quantization_config.quantization_mode";
                Err(setting(key, shortened(other), "offline (packed weights) or online (masters)"))
            }
        }
    }
}

fn dimension(key: &str, value: Option<u64>) -> Result<usize, FormatError> {
    let value = value.ok_or_else(|| missing(key))?;
    match usize::try_from(value) {
        Ok(value) if value > 0 => Ok(value),
        _ => Err(FormatError::BadKey {
            key: key.to_owned(),
            found: value.to_string(),
            expected: "a number above zero".into(),
        }),
    }
}

fn missing(key: &str) -> FormatError {
    FormatError::MissingKey { key: key.to_owned() }
}

fn setting(key: &str, found: impl ToString, supported: &'static str) -> FormatError {
    FormatError::Setting { key: key.to_owned(), found: found.to_string(), supported }
}

/// The top-level entries of a JSON object, printed.
pub(super) fn entries(value: &Value) -> Vec<(String, String)> {
    let object = value.as_object().into_iter().flatten();
    object.map(|(key, value)| (shortened(key), shortened(&value.to_string()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Activation;

    const GOOD: &str = r#"{"architectures": ["BitNetForCausalLM"], "hidden_size": 2560, "intermediate_size": 6912,
        "num_hidden_layers": 30, "num_attention_heads": 20, "num_key_value_heads": 5, "vocab_size": 128256,
        "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "hidden_act": "relu2",
        "tie_word_embeddings": true, "quantization_config": {"quant_method": "bitnet",
        "linear_class": "autobitlinear", "quantization_mode": "offline"}}"#;

    fn graph(json: &str) -> Result<Graph, FormatError> {
        serde_json::from_str::<HfConfig>(json)?.graph("name", &LoadOptions::default())
    }

    fn with(from: &str, to: &str) -> Result<Graph, FormatError> {
        assert!(GOOD.contains(from), "{from}");
        graph(&GOOD.replacen(from, to, 1))
    }

    #[test]
    fn reads_2b_4t() {
        let graph = graph(GOOD).unwrap();
        assert_eq!((graph.weights, graph.tied), (Weights::PackedMultiply, true));
        let config = graph.config;
        assert_eq!((config.head_dim, config.kv_heads, config.layers), (128, 5, 30));
        assert_eq!((config.activation, config.sub_norms), (Activation::Relu2, true));
        assert_eq!(config.rope_theta, 5e5);
    }

    #[test]
    fn weight_scale_means_what_the_linear_class_says() {
        let weights = |from, to| with(from, to).unwrap().weights;
        assert_eq!(weights("\"autobitlinear\"", "\"bitlinear\""), Weights::PackedDivide);
        assert_eq!(weights("\"linear_class\": \"autobitlinear\",", ""), Weights::PackedDivide);
        assert_eq!(weights("\"offline\"", "\"online\""), Weights::Masters);
        let no_quantization = GOOD.split(", \"quantization_config\"").next().unwrap().to_owned() + "}";
        assert_eq!(graph(&no_quantization).unwrap().weights, Weights::Masters);
    }

    #[test]
    fn class_defaults_and_both_places_of_theta() {
        assert!(!with("\"tie_word_embeddings\": true,", "").unwrap().tied);
        assert_eq!(with("\"num_key_value_heads\": 5,", "").unwrap().config.kv_heads, 20);
        let nested = with("\"rope_theta\": 500000.0", "\"rope_parameters\": {\"rope_theta\": 1e4}");
        assert_eq!(nested.unwrap().config.rope_theta, 1e4);
        let both = with(
            "\"rope_theta\": 500000.0",
            "\"rope_theta\": 1e4, \"rope_parameters\": {\"rope_theta\": 2e4}",
        );
        assert!(matches!(both, Err(FormatError::Contradiction { .. })));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for (from, to, named) in [
            ("\"BitNetForCausalLM\"", "\"GemmaForCausalLM\"", "GemmaForCausalLM"),
            ("\"quant_method\": \"bitnet\"", "\"quant_method\": \"gptq\"", "gptq"),
            ("\"relu2\"", "\"gelu\"", "gelu"),
            ("\"hidden_act\": \"relu2\",", "", "--act"),
            ("\"hidden_size\": 2560", "\"hidden_size\": 0", "hidden_size"),
            ("\"hidden_size\": 2560,", "", "hidden_size"),
            ("\"hidden_size\": 2560", "\"hidden_size\": 2561", "head_dim"),
            ("\"hidden_size\": 2560", "\"hidden_size\": \"2560\"", "2560"),
            ("\"rope_theta\"", "\"rope_scaling\": {\"type\": \"yarn\"}, \"rope_theta\"", "yarn"),
            ("\"rope_theta\"", "\"attention_bias\": true, \"rope_theta\"", "attention_bias"),
            ("\"rope_theta\"", "\"weight_bits\": 4, \"rope_theta\"", "weight_bits"),
            ("\"quant_method\"", "\"use_rms_norm\": true, \"quant_method\"", "use_rms_norm"),
            (
                "\"quant_method\"",
                "\"modules_to_not_convert\": [\"model.layers.0\"], \"quant_method\"",
                "model.layers.0",
            ),
        ] {
            let error = with(from, to).unwrap_err().to_string();
            assert!(error.contains(named), "{to}: {error}");
        }
        let llama = graph(&GOOD.replace("BitNetFor", "LlamaFor")).unwrap();
        assert!(!llama.config.sub_norms);
        let plain = GOOD.replace("BitNetFor", "LlamaFor").replace("quantization_config", "other");
        assert!(matches!(graph(&plain), Err(FormatError::Architecture { .. })));
    }
}
