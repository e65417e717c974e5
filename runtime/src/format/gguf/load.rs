//! From a GGUF container to a [`RawModel`]: hyper-parameters, tensors, tokenizer.

use super::error::GgufError;
use super::metadata::Metadata;
use super::reader::{GgufFile, GgufTensor};
use super::tensor_type::{I2_S_TRAILER, TensorType};
use super::vocabulary;
use crate::format::bytes::SharedBytes;
use crate::format::error::FormatError;
use crate::format::float::{FloatTensor, FloatType};
use crate::format::raw_model::{
    LoadOptions, METADATA_SHOWN, RawLayer, RawModel, SourceInfo, TensorInfo, norm_from, shape_text, shortened,
};
use crate::format::ternary::TernaryTensor;
use crate::model::config::{Activation, ModelConfig};
use crate::tokenizer::{PreTokenizer, TokenizerState};

/// Architectures whose graph is supported. `llama`, which other ternary models use, permutes q and k.
const ARCHITECTURES: [&str; 3] = ["bitnet", "bitnet-b1.58", "bitnet-25"];
const ARCHITECTURE_NAMES: &str =
    "bitnet, bitnet-b1.58 and bitnet-25 (of other BitNet models, the Hugging Face directory can be loaded)";

/// Number of tokens by which BitNet b1.58 2B-4T is known: its published files name neither activation nor
/// pre-tokenizer.
const VOCABULARY_OF_2B_4T: usize = 128_256;

/// Our own key for the place of weights in an I2_S matrix whose rows are no multiple of 128.
pub(crate) const TAIL_KEY: &str = "tritforge.i2_s.tail";
/// Its one value: blocks run on over the flattened matrix, row ends notwithstanding.
pub(crate) const TAIL_FLAT: &str = "flat";

/// Our own key for graphs without norms in front of o_proj and down_proj: `false`.
pub(crate) const SUB_NORMS_KEY: &str = "tritforge.sub_norms";

/// Our own key for the activation function, `relu2` or `silu`.
pub(crate) fn activation_key(architecture: &str) -> String {
    format!("{architecture}.hidden_act")
}

/// Name of a tensor of layer `layer`.
pub(crate) fn layer_tensor(layer: usize, name: &str) -> String {
    format!("blk.{layer}.{name}.weight")
}

/// Reads the tokenizer alone, of a model or of a file that holds nothing else.
pub(in crate::format) fn load_tokenizer(
    bytes: SharedBytes,
    options: &LoadOptions,
) -> Result<TokenizerState, FormatError> {
    let file = GgufFile::parse(bytes)?;
    let architecture = file.get("general.architecture").and_then(|value| value.as_str()).unwrap_or_default();
    let metadata = Metadata::new(&file, architecture);
    let tokens = vocabulary::token_count(&file)?;
    let known_pre = is_2b_4t(architecture, tokens).then_some(PreTokenizer::LlamaBpe);
    vocabulary::read(&file, &metadata, tokens, options.pre, known_pre)
}

/// Loads a model from a container in memory.
pub(in crate::format) fn load(
    bytes: SharedBytes,
    name: &str,
    options: &LoadOptions,
) -> Result<RawModel, FormatError> {
    let file = GgufFile::parse(bytes)?;
    let found = file
        .get("general.architecture")
        .ok_or_else(|| FormatError::MissingKey { key: "general.architecture".into() })?;
    let architecture = found.as_str().unwrap_or_default();
    if !ARCHITECTURES.contains(&architecture) {
        let found = shortened(&found.to_string());
        return Err(FormatError::Architecture { found, supported: ARCHITECTURE_NAMES });
    }
    let metadata = Metadata::new(&file, architecture);
    let mut tensors = Tensors::new(&file);
    let config = read_config(&metadata, &mut tensors, architecture, name, options)?;
    let known_pre = is_2b_4t(architecture, config.vocab).then_some(PreTokenizer::LlamaBpe);
    let tokenizer = vocabulary::read(&file, &metadata, config.vocab, options.pre, known_pre)?;

    let token_embd = tensors.matrix("token_embd.weight", config.vocab, config.hidden)?;
    let output = match tensors.find("output.weight") {
        // Some writers repeat a tied embedding as the head.
        Some(_) => Some(tensors.matrix("output.weight", config.vocab, config.hidden)?)
            .filter(|output| output.dtype() != token_embd.dtype() || output.bytes() != token_embd.bytes()),
        None => None,
    };
    let output_norm = tensors.norm("output_norm.weight", config.hidden)?;
    let flat_tail = match metadata.text(TAIL_KEY)? {
        None => false,
        Some(TAIL_FLAT) => true,
        Some(other) => {
            return Err(FormatError::Setting {
                key: TAIL_KEY.into(),
                found: shortened(other),
                supported: "\"flat\"",
            });
        }
    };
    let layers = (0..config.layers)
        .map(|layer| read_layer(&mut tensors, &config, layer, flat_tail))
        .collect::<Result<Vec<_>, _>>()?;
    tensors.check_rope_factors()?;
    if let Some(error) = tensors.unused() {
        return Err(error);
    }
    let source = describe(&file);
    Ok(RawModel { config, token_embd, output, output_norm, layers, tokenizer, source })
}

fn read_config(
    metadata: &Metadata<'_>,
    tensors: &mut Tensors<'_>,
    architecture: &str,
    name: &str,
    options: &LoadOptions,
) -> Result<ModelConfig, FormatError> {
    let hidden = metadata.dimension("embedding_length")?;
    let heads = metadata.dimension("attention.head_count")?;
    let layers = metadata.dimension("block_count")?;
    // A layer has at least the nine tensors of a graph without sub-norms.
    if layers > tensors.file.tensors().len() / 9 {
        return Err(FormatError::Contradiction {
            key: metadata.own_key("block_count"),
            value: layers.to_string(),
            other: format!("the file has only {} tensors", tensors.file.tensors().len()),
        });
    }
    check_rope_scaling(metadata)?;
    let vocab = embedding_rows(tensors)?;
    if let Some(declared) = metadata.optional_dimension("vocab_size")?
        && declared != vocab
    {
        return Err(FormatError::Contradiction {
            key: metadata.own_key("vocab_size"),
            value: declared.to_string(),
            other: format!("the embedding has {vocab} rows"),
        });
    }
    let config = ModelConfig {
        name: metadata.text("general.name")?.map_or_else(|| name.to_owned(), shortened),
        architecture: architecture.to_owned(),
        hidden,
        ffn: metadata.dimension("feed_forward_length")?,
        layers,
        heads,
        kv_heads: metadata.optional_dimension("attention.head_count_kv")?.unwrap_or(heads),
        head_dim: head_dim(metadata, hidden, heads)?,
        vocab,
        context: metadata.dimension("context_length")?,
        rms_norm_eps: metadata.float("attention.layer_norm_rms_epsilon")? as f32,
        rope_theta: metadata.float("rope.freq_base")?,
        activation: activation(metadata, architecture, vocab, options)?,
        sub_norms: metadata.flag(SUB_NORMS_KEY)?.unwrap_or(true),
    };
    config.validate()?;
    Ok(config)
}

/// Rows of the token embedding, which are the vocabulary whatever the metadata say.
fn embedding_rows(tensors: &Tensors<'_>) -> Result<usize, FormatError> {
    let tensor = tensors.require("token_embd.weight")?;
    match tensors.shape(tensor)?[..] {
        [rows, _] => Ok(rows),
        ref shape => Err(FormatError::Shape {
            tensor: "token_embd.weight".into(),
            found: shape_text(shape),
            expected: "[vocabulary, hidden]".into(),
        }),
    }
}

fn head_dim(metadata: &Metadata<'_>, hidden: usize, heads: usize) -> Result<usize, FormatError> {
    let keys = ["attention.key_length", "attention.value_length", "rope.dimension_count"];
    let mut found: Option<(String, usize)> = None;
    for suffix in keys {
        let Some(value) = metadata.optional_dimension(suffix)? else { continue };
        match &found {
            Some((first, length)) if *length != value => {
                return Err(FormatError::Contradiction {
                    key: metadata.own_key(suffix),
                    value: value.to_string(),
                    other: format!("`{first}` is {length}; only heads that are rotated whole are supported"),
                });
            }
            Some(_) => {}
            None => found = Some((metadata.own_key(suffix), value)),
        }
    }
    match found {
        Some((_, head_dim)) => Ok(head_dim),
        None if hidden.is_multiple_of(heads) => Ok(hidden / heads),
        None => Err(FormatError::Contradiction {
            key: metadata.own_key("attention.head_count"),
            value: heads.to_string(),
            other: format!(
                "`embedding_length` {hidden} is no multiple of it, and no key gives the heads' size"
            ),
        }),
    }
}

fn check_rope_scaling(metadata: &Metadata<'_>) -> Result<(), FormatError> {
    const SUPPORTED: &str = "no scaling, or linear scaling by 1.0";
    let key = metadata.own_key("rope.scaling.type");
    if let Some(kind) = metadata.text(&key)?
        && !matches!(kind, "none" | "linear")
    {
        return Err(FormatError::Setting { key, found: shortened(kind), supported: SUPPORTED });
    }
    for suffix in ["rope.scaling.factor", "rope.scale_linear"] {
        if let Some(factor) = metadata.optional_float(suffix)?
            && factor != 1.0
        {
            return Err(FormatError::Setting {
                key: metadata.own_key(suffix),
                found: factor.to_string(),
                supported: SUPPORTED,
            });
        }
    }
    Ok(())
}

/// The activation function: the user's word, then the file's, then what is known of 2B-4T.
fn activation(
    metadata: &Metadata<'_>,
    architecture: &str,
    vocab: usize,
    options: &LoadOptions,
) -> Result<Activation, FormatError> {
    if let Some(act) = options.act {
        return Ok(act);
    }
    let key = activation_key(architecture);
    match metadata.text(&key)? {
        Some(name) => name.parse().map_err(|_| FormatError::Setting {
            key,
            found: shortened(name),
            supported: "relu2 or silu",
        }),
        None if is_2b_4t(architecture, vocab) => Ok(Activation::Relu2),
        None => Err(FormatError::NoActivation { architecture: architecture.to_owned(), vocab }),
    }
}

/// Whether this is BitNet b1.58 2B-4T or a model of its family: by architecture and the size of its
/// vocabulary.
fn is_2b_4t(architecture: &str, vocab: usize) -> bool {
    architecture != "bitnet" && vocab == VOCABULARY_OF_2B_4T
}

fn read_layer(
    tensors: &mut Tensors<'_>,
    config: &ModelConfig,
    layer: usize,
    flat_tail: bool,
) -> Result<RawLayer, FormatError> {
    let (hidden, ffn) = (config.hidden, config.ffn);
    let (q_rows, kv_rows) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let scaled = config.architecture == "bitnet";
    let sub_norm = |tensors: &mut Tensors<'_>, name, len| {
        let norm = || tensors.norm(&layer_tensor(layer, name), len);
        config.sub_norms.then(norm).transpose()
    };
    let mut linear = |name, rows, cols| tensors.ternary(layer, name, rows, cols, flat_tail, scaled);
    Ok(RawLayer {
        q_proj: linear("attn_q", q_rows, hidden)?,
        k_proj: linear("attn_k", kv_rows, hidden)?,
        v_proj: linear("attn_v", kv_rows, hidden)?,
        o_proj: linear("attn_output", hidden, q_rows)?,
        gate_proj: linear("ffn_gate", ffn, hidden)?,
        up_proj: linear("ffn_up", ffn, hidden)?,
        down_proj: linear("ffn_down", hidden, ffn)?,
        input_layernorm: tensors.norm(&layer_tensor(layer, "attn_norm"), hidden)?,
        post_attention_layernorm: tensors.norm(&layer_tensor(layer, "ffn_norm"), hidden)?,
        inner_attn_ln: sub_norm(tensors, "attn_sub_norm", q_rows)?,
        ffn_layernorm: sub_norm(tensors, "ffn_sub_norm", ffn)?,
    })
}

/// The tensors of a file, with a note of which have found their place.
struct Tensors<'a> {
    file: &'a GgufFile,
    used: Vec<bool>,
}

impl<'a> Tensors<'a> {
    fn new(file: &'a GgufFile) -> Self {
        Self { file, used: vec![false; file.tensors().len()] }
    }

    fn find(&self, name: &str) -> Option<&'a GgufTensor> {
        self.file.tensor_position(name).map(|position| &self.file.tensors()[position])
    }

    fn require(&self, name: &str) -> Result<&'a GgufTensor, FormatError> {
        self.find(name).ok_or_else(|| FormatError::MissingTensor { name: name.to_owned() })
    }

    /// A tensor's shape, outermost first, without trailing ones that the file may spell out.
    fn shape(&self, tensor: &GgufTensor) -> Result<Vec<usize>, FormatError> {
        let mut dims = tensor.dims();
        while let [rest @ .., 1] = dims
            && rest.len() > 1
        {
            dims = rest;
        }
        let shape: Result<Vec<usize>, _> = dims.iter().rev().map(|&dim| usize::try_from(dim)).collect();
        shape.map_err(|_| {
            FormatError::Gguf(GgufError::Dimensions {
                tensor: self.file.name(tensor).to_owned(),
                dims: dims.to_vec(),
                reason: "more than this machine can address",
            })
        })
    }

    /// Marks a tensor as used and checks its shape.
    fn take(&mut self, name: &str, expected: &[usize]) -> Result<&'a GgufTensor, FormatError> {
        let tensor = self.require(name)?;
        let shape = self.shape(tensor)?;
        // A single row or a single value comes with or without its outer dimension.
        let matches = shape == expected || (expected[0] == 1 && shape == expected[1..]);
        if !matches {
            return Err(FormatError::Shape {
                tensor: name.to_owned(),
                found: shape_text(&shape),
                expected: shape_text(expected),
            });
        }
        if let Some(position) = self.file.tensor_position(name) {
            self.used[position] = true;
        }
        Ok(tensor)
    }

    fn float_type(&self, tensor: &GgufTensor) -> Result<FloatType, FormatError> {
        match tensor.kind() {
            TensorType::Float(float) => Ok(float),
            TensorType::I2S => Err(FormatError::TensorType {
                tensor: self.file.name(tensor).to_owned(),
                found: tensor.kind().name().to_owned(),
                expected: "F32, F16 or BF16",
            }),
        }
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<FloatTensor, FormatError> {
        let tensor = self.take(name, &[rows, cols])?;
        let dtype = self.float_type(tensor)?;
        let bytes = self.file.data(tensor);
        let found = bytes.len();
        FloatTensor::new(rows, cols, dtype, bytes).ok_or_else(|| FormatError::TensorBytes {
            tensor: name.to_owned(),
            expected: rows.saturating_mul(cols).saturating_mul(dtype.size()),
            found,
        })
    }

    fn norm(&mut self, name: &str, length: usize) -> Result<Vec<f32>, FormatError> {
        let tensor = self.take(name, &[length])?;
        norm_from(name, self.float_type(tensor)?, length, self.file.data(tensor))
    }

    /// A linear layer's weights; `scaled` says whether the graph knows extra scale tensors beside them.
    fn ternary(
        &mut self,
        layer: usize,
        name: &str,
        rows: usize,
        cols: usize,
        flat_tail: bool,
        scaled: bool,
    ) -> Result<TernaryTensor, FormatError> {
        let weight = layer_tensor(layer, name);
        let tensor = self.take(&weight, &[rows, cols])?;
        if tensor.kind() != TensorType::I2S {
            return Err(FormatError::TensorType {
                tensor: weight,
                found: tensor.kind().name().to_owned(),
                expected: "I2_S (float weights: convert the original Hugging Face directory instead)",
            });
        }
        if !cols.is_multiple_of(128) && !flat_tail {
            return Err(FormatError::I2sTail { tensor: weight, cols, key: TAIL_KEY });
        }
        let data = self.file.data(tensor);
        let packed = data.len().saturating_sub(I2_S_TRAILER);
        let (Some(trits), Some(scale)) = (data.slice(0..packed), data.get(packed..packed + 4)) else {
            return Err(FormatError::TensorBytes {
                tensor: weight,
                expected: rows * cols / 4 + I2_S_TRAILER,
                found: data.len(),
            });
        };
        let mut scale = f32::from_le_bytes([scale[0], scale[1], scale[2], scale[3]]);
        let extra = format!("blk.{layer}.{name}.scale");
        if scaled && self.find(&extra).is_some() {
            // The graph multiplies the product by it, after the weights' own scale.
            let tensor = self.take(&extra, &[1])?;
            scale *= norm_from(&extra, self.float_type(tensor)?, 1, self.file.data(tensor))?[0];
        }
        TernaryTensor::from_i2_s(&weight, rows, cols, trits, scale)
    }

    /// Frequency factors are accepted where they change nothing.
    fn check_rope_factors(&mut self) -> Result<(), FormatError> {
        const NAME: &str = "rope_freqs.weight";
        let Some(position) = self.file.tensor_position(NAME) else { return Ok(()) };
        let tensor = &self.file.tensors()[position];
        let length = self.shape(tensor)?.iter().product();
        let factors = norm_from(NAME, self.float_type(tensor)?, length, self.file.data(tensor))?;
        if factors.iter().any(|&factor| factor != 1.0) {
            return Err(FormatError::Setting {
                key: NAME.into(),
                found: "a tensor of frequency factors".into(),
                supported: "no factors, or 1.0 throughout",
            });
        }
        self.used[position] = true;
        Ok(())
    }

    fn unused(&self) -> Option<FormatError> {
        let tensors = self.file.tensors().iter().zip(&self.used);
        FormatError::unused(tensors.filter(|(_, used)| !**used).map(|(tensor, _)| self.file.name(tensor)))
    }
}

/// What `inspect` prints of a file.
fn describe(file: &GgufFile) -> SourceInfo {
    let mut metadata: Vec<(String, String)> = file
        .metadata()
        .take(METADATA_SHOWN)
        .map(|(key, value)| (shortened(key), shortened(&value.to_string())))
        .collect();
    if file.metadata_len() > METADATA_SHOWN {
        metadata.push(("...".into(), format!("{} more", file.metadata_len() - METADATA_SHOWN)));
    }
    let tensors = file
        .tensors()
        .iter()
        .map(|tensor| TensorInfo {
            name: file.name(tensor).to_owned(),
            shape: tensor.dims().iter().rev().map(|&dim| dim as usize).collect(),
            type_name: tensor.kind().name(),
            bytes: file.data(tensor).len(),
        })
        .collect();
    SourceInfo {
        format: format!("GGUF v{}", file.version()),
        metadata,
        tensors,
        file_bytes: file.file_bytes() as u64,
    }
}

#[cfg(test)]
mod tests;
