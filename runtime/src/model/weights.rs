//! The weights of a model, packed for the kernels.

use std::sync::Arc;

use super::config::ModelConfig;
use super::error::ModelError;
use super::profile::{Profile, ProfileOptions};
use crate::engine::Engine;
use crate::format::{RawLayer, RawModel, SourceInfo, TernaryTensor, VocabMatrix};
use crate::head::{Head, HeadType};
use crate::numerics::kv_block::KvType;
use crate::packed::{PackedLayerWeights, PackedTernaryWeights};
use crate::packing::{LoadProgress, pack};
use crate::tokenizer::TokenizerState;

/// A model that is ready for a forward pass.
pub struct Model {
    /// How exactly it computes.
    pub profile: Profile,
    /// How sessions keep keys and values unless they are told otherwise.
    pub kv_type: KvType,
    /// Dimensions and constants, validated.
    pub config: ModelConfig,
    /// One set of packed projections and norms a layer; shared with what [`Model::with_profile`] makes.
    pub layers: Arc<[PackedLayerWeights]>,
    /// Embedding, `[vocab][hidden]`, as stored.
    pub token_embd: VocabMatrix,
    /// What the file has for the output head, `[vocab][hidden]`, as stored; none where that is the embedding (tied).
    pub output: Option<VocabMatrix>,
    /// Output head, `[vocab][hidden]`, made of one of the two.
    pub head: Head,
    /// Weights of the last norm, `[hidden]`.
    pub output_norm: Vec<f32>,
    /// The tokenizer that came with the model, or why there is none.
    pub tokenizer: Arc<TokenizerState>,
    /// What the model was loaded from.
    pub source: SourceInfo,
}

impl Model {
    /// Checks the tensors against the dimensions and packs every projection in the layout of the kernels, in parallel on
    /// the engine's threads. Compares the chosen kernels with the portable ones on some
    /// rows of every projection ([`Engine::check`]). The output head is that of the profile `exact`.
    ///
    /// # Errors
    /// [`ModelError`]: impossible dimensions, a tensor of the wrong shape, a norm that is not finite, a code
    /// that is no trit, a head that cannot be made. The message names the tensor.
    pub fn from_raw(raw: RawModel, engine: &Engine) -> Result<Self, ModelError> {
        Self::with_options(raw, engine, ProfileOptions::default(), &|_| ())
    }

    /// The same for a numerics profile, whose output head is made at load. A head that is packed is the only copy of it in
    /// memory, for what is not copied stays in the file's. `progress`, for whoever wants to show how far packing has come, is
    /// called on the engine's threads, many times a second, and should return at once.
    ///
    /// # Errors
    /// As [`Model::from_raw`], or types that the profile does not have.
    pub fn with_options(
        raw: RawModel,
        engine: &Engine,
        options: ProfileOptions,
        progress: &(dyn Fn(LoadProgress) + Sync),
    ) -> Result<Self, ModelError> {
        let types = Types::of(options, raw.output.as_ref().unwrap_or(&raw.token_embd))?;
        let RawModel { config, token_embd, output, output_norm, layers, tokenizer, source } = raw;
        config.validate()?;
        check_shape("token_embd", token_embd.rows(), token_embd.cols(), config.vocab, config.hidden)?;
        if let Some(output) = &output {
            check_shape("output", output.rows(), output.cols(), config.vocab, config.hidden)?;
        }
        check_norm("output_norm", &output_norm, config.hidden)?;
        if layers.len() != config.layers {
            return Err(ModelError::LayerCount { found: layers.len(), expected: config.layers });
        }
        let checked = layers.into_iter().enumerate().map(|(index, layer)| check_layer(index, layer, &config));
        let (norms, tensors): (Vec<_>, Vec<_>) = checked.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        let packed = pack(&tensors.iter().flatten().collect::<Vec<_>>(), engine, progress).map_err(
            |(index, source)| {
                let (layer, part) = (index / PROJECTIONS.len(), PROJECTIONS[index % PROJECTIONS.len()]);
                ModelError::Pack { tensor: tensor_name(layer, part), source }
            },
        )?;
        engine.check_all(&packed);
        let mut packed = packed.into_iter();
        let mut next = |_| packed.next().expect("every projection has been packed");
        let layers = norms.into_iter().map(|norms| layer_of(norms, std::array::from_fn(&mut next))).collect();
        let tokenizer = Arc::new(tokenizer);
        let Types { profile, head, kv_type } = types;
        let head = Head::new(output.as_ref().unwrap_or(&token_embd), head, engine)?;
        Ok(Self {
            profile,
            kv_type,
            config,
            layers,
            token_embd,
            output,
            head,
            output_norm,
            tokenizer,
            source,
        })
    }

    /// The same model with another numerics profile: the ternary weights and the tokenizer are shared with this one, only the
    /// output head is made anew, of what the file has.
    ///
    /// # Errors
    /// [`ModelError`]: types that the profile does not have, a head that cannot be made.
    pub fn with_profile(&self, engine: &Engine, options: ProfileOptions) -> Result<Self, ModelError> {
        let stored = self.output.as_ref().unwrap_or(&self.token_embd);
        let Types { profile, head, kv_type } = Types::of(options, stored)?;
        Ok(Self {
            profile,
            kv_type,
            config: self.config.clone(),
            layers: Arc::clone(&self.layers),
            token_embd: self.token_embd.clone(),
            output: self.output.clone(),
            head: Head::new(stored, head, engine)?,
            output_norm: self.output_norm.clone(),
            tokenizer: Arc::clone(&self.tokenizer),
            source: self.source.clone(),
        })
    }
}

/// A profile with all that it leaves open.
struct Types {
    profile: Profile,
    head: HeadType,
    kv_type: KvType,
}

impl Types {
    /// What is asked for, and the profile's own for the rest.
    fn of(options: ProfileOptions, stored: &VocabMatrix) -> Result<Self, ModelError> {
        let profile = options.profile;
        let head = options.head.unwrap_or(profile.head(stored));
        let kv_type = options.kv_type.unwrap_or(profile.kv_type());
        if (profile == Profile::Exact) != (head == HeadType::Exact) {
            return Err(ModelError::ProfileHead { profile, head });
        }
        if profile == Profile::Exact && kv_type != profile.kv_type() {
            return Err(ModelError::ProfileKvType { profile, kv_type });
        }
        Ok(Types { profile, head, kv_type })
    }
}

/// The projections of a layer, in the order of [`PackedLayerWeights::projections`].
const PROJECTIONS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

fn tensor_name(layer: usize, part: &str) -> String {
    format!("layer {layer}, {part}")
}

/// The norms of a layer, as [`PackedLayerWeights`] names them.
struct Norms {
    input_layernorm: Vec<f32>,
    post_attention_layernorm: Vec<f32>,
    inner_attn_ln: Option<Vec<f32>>,
    ffn_layernorm: Option<Vec<f32>>,
}

/// The norms and, in the order of [`PROJECTIONS`], the ternary tensors of a layer, which fit the dimensions.
fn check_layer(
    index: usize,
    raw: RawLayer,
    config: &ModelConfig,
) -> Result<(Norms, [TernaryTensor; 7]), ModelError> {
    let (hidden, ffn) = (config.hidden, config.ffn);
    let (attention, kv) = (config.attention_width(), config.kv_width());
    let norm = |part: &str, values: Vec<f32>, len: usize| {
        check_norm(&tensor_name(index, part), &values, len)?;
        Ok::<_, ModelError>(values)
    };
    let sub_norm = |part: &str, values: Option<Vec<f32>>, len: usize| match values {
        Some(values) if config.sub_norms => norm(part, values, len).map(Some),
        None if !config.sub_norms => Ok(None),
        values => Err(ModelError::SubNorm { tensor: tensor_name(index, part), found: values.is_some() }),
    };
    let norms = Norms {
        input_layernorm: norm("input_layernorm", raw.input_layernorm, hidden)?,
        post_attention_layernorm: norm("post_attention_layernorm", raw.post_attention_layernorm, hidden)?,
        inner_attn_ln: sub_norm("inner_attn_ln", raw.inner_attn_ln, attention)?,
        ffn_layernorm: sub_norm("ffn_layernorm", raw.ffn_layernorm, ffn)?,
    };
    let shapes = [
        (attention, hidden),
        (kv, hidden),
        (kv, hidden),
        (hidden, attention),
        (ffn, hidden),
        (ffn, hidden),
        (hidden, ffn),
    ];
    let RawLayer { q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj, .. } = raw;
    let tensors = [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj];
    for ((tensor, part), (rows, cols)) in tensors.iter().zip(PROJECTIONS).zip(shapes) {
        check_shape(&tensor_name(index, part), tensor.rows(), tensor.cols(), rows, cols)?;
    }
    Ok((norms, tensors))
}

/// A layer of norms and packed projections in the order of [`PROJECTIONS`].
fn layer_of(norms: Norms, projections: [PackedTernaryWeights; 7]) -> PackedLayerWeights {
    let [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj] = projections;
    let Norms { input_layernorm, post_attention_layernorm, inner_attn_ln, ffn_layernorm } = norms;
    PackedLayerWeights {
        q_proj,
        k_proj,
        v_proj,
        o_proj,
        gate_proj,
        up_proj,
        down_proj,
        input_layernorm,
        post_attention_layernorm,
        inner_attn_ln,
        ffn_layernorm,
    }
}

fn check_shape(
    tensor: &str,
    found_rows: usize,
    found_cols: usize,
    rows: usize,
    cols: usize,
) -> Result<(), ModelError> {
    if (found_rows, found_cols) == (rows, cols) {
        return Ok(());
    }
    Err(ModelError::Shape { tensor: tensor.into(), found_rows, found_cols, rows, cols })
}

fn check_norm(tensor: &str, values: &[f32], expected: usize) -> Result<(), ModelError> {
    if values.len() != expected {
        return Err(ModelError::NormLength { tensor: tensor.into(), found: values.len(), expected });
    }
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(ModelError::NormNotFinite { tensor: tensor.into(), index, value: values[index] }),
        None => Ok(()),
    }
}
