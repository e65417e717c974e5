//! One transformer layer over a batch of tokens.

use super::config::{Activation, ModelConfig};
use super::error::{ForwardError, Place};
use super::kv_cache::KvCache;
use crate::engine::Engine;
use crate::numerics::Numerics;
use crate::numerics::parallel::for_each_chunk;
use crate::numerics::quantize::QuantizedActivations;
use crate::numerics::rope::RopeTable;
use crate::packed::{PackedLayerWeights, PackedTernaryWeights};

/// Working memory of a forward pass, kept from call to call. All are `[tokens][length of the vector]`.
#[derive(Default)]
pub(super) struct Buffers {
    /// The residual stream; in and out of each layer.
    pub states: Vec<f32>,
    pub normed: Vec<f32>,
    quantized: QuantizedActivations,
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    /// What attention returns: the heads, concatenated.
    mixed: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    /// What a sub-layer adds to the residual stream.
    delta: Vec<f32>,
}

/// The first `len` elements of `buffer`, which grows if need be. Their values are left from before.
pub(super) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// What one layer needs to know about the batch that passes through it.
pub(super) struct LayerPass<'a> {
    pub config: &'a ModelConfig,
    pub engine: &'a Engine,
    pub rope: &'a RopeTable,
    pub weights: &'a PackedLayerWeights,
    /// Index of the layer.
    pub layer: usize,
    /// Position of the first token.
    pub first: usize,
    /// Number of tokens.
    pub tokens: usize,
}

impl LayerPass<'_> {
    /// Takes `buffers.states` through the layer and stores its keys and values.
    pub fn run(&self, cache: &mut KvCache, buffers: &mut Buffers) -> Result<(), ForwardError> {
        self.attention(cache, buffers)?;
        self.feed_forward(buffers)
    }

    fn attention(&self, cache: &mut KvCache, b: &mut Buffers) -> Result<(), ForwardError> {
        let (config, weights, tokens) = (self.config, self.weights, self.tokens);
        let (width, kv_width) = (config.attention_width(), config.kv_width());
        let states = &mut b.states[..tokens * config.hidden];
        let normed = sized(&mut b.normed, states.len());
        self.norm("input_layernorm", states, &weights.input_layernorm, normed)?;
        self.quantize("input_layernorm", config.hidden, normed, &mut b.quantized)?;
        let query = sized(&mut b.query, tokens * width);
        let key = sized(&mut b.key, tokens * kv_width);
        let value = sized(&mut b.value, tokens * kv_width);
        self.linear("q_proj", &weights.q_proj, &b.quantized, query)?;
        self.linear("k_proj", &weights.k_proj, &b.quantized, key)?;
        self.linear("v_proj", &weights.v_proj, &b.quantized, value)?;

        let numerics = self.engine.numerics();
        let rows = query.chunks_exact_mut(width).zip(key.chunks_exact_mut(kv_width));
        for (t, ((query, key), value)) in rows.zip(value.chunks_exact(kv_width)).enumerate() {
            self.rope.rotate(numerics, self.first + t, query);
            self.rope.rotate(numerics, self.first + t, key);
            cache.store(self.layer, self.first + t, key, value);
        }

        let mixed = sized(&mut b.mixed, tokens * width);
        let queries_a_kv_head = config.heads / config.kv_heads;
        let work = 2 * mixed.len() * (self.first + tokens);
        let cache = &*cache;
        for_each_chunk(mixed, config.head_dim, work, |index, out| {
            let (token, head) = (index / config.heads, index % config.heads);
            let kv_head = head / queries_a_kv_head;
            let query = &query[index * config.head_dim..(index + 1) * config.head_dim];
            let visible = self.first + token + 1;
            numerics.attend(query, visible, &cache.head(self.layer, kv_head), out);
        });

        let delta = sized(&mut b.delta, states.len());
        let o_input = match &weights.inner_attn_ln {
            Some(norm) => {
                let normed = sized(&mut b.normed, mixed.len());
                self.norm("inner_attn_ln", mixed, norm, normed)?;
                normed
            }
            None => mixed,
        };
        self.quantize("attention", width, o_input, &mut b.quantized)?;
        self.linear("o_proj", &weights.o_proj, &b.quantized, delta)?;
        self.engine.numerics().add(states, delta);
        Ok(())
    }

    fn feed_forward(&self, b: &mut Buffers) -> Result<(), ForwardError> {
        let (config, weights, tokens) = (self.config, self.weights, self.tokens);
        let states = &mut b.states[..tokens * config.hidden];
        let normed = sized(&mut b.normed, states.len());
        self.norm("post_attention_layernorm", states, &weights.post_attention_layernorm, normed)?;
        self.quantize("post_attention_layernorm", config.hidden, normed, &mut b.quantized)?;
        let gate = sized(&mut b.gate, tokens * config.ffn);
        let up = sized(&mut b.up, tokens * config.ffn);
        self.linear("gate_proj", &weights.gate_proj, &b.quantized, gate)?;
        self.linear("up_proj", &weights.up_proj, &b.quantized, up)?;

        let gate_with_up = match config.activation {
            Activation::Relu2 => Numerics::relu2_gate,
            Activation::Silu => Numerics::silu_gate,
        };
        for_each_chunk(gate, config.ffn, tokens * config.ffn, |t, gate| {
            gate_with_up(self.engine.numerics(), gate, &up[t * config.ffn..(t + 1) * config.ffn]);
        });

        let delta = sized(&mut b.delta, states.len());
        let down_input = match &weights.ffn_layernorm {
            Some(norm) => {
                let normed = sized(&mut b.normed, gate.len());
                self.norm("ffn_layernorm", gate, norm, normed)?;
                normed
            }
            None => gate,
        };
        self.quantize("activation of the gate", config.ffn, down_input, &mut b.quantized)?;
        self.linear("down_proj", &weights.down_proj, &b.quantized, delta)?;
        self.engine.numerics().add(states, delta);
        Ok(())
    }

    fn place(&self, part: &'static str) -> Place {
        Place { layer: Some(self.layer), part }
    }

    fn norm(
        &self,
        part: &'static str,
        x: &[f32],
        weight: &[f32],
        out: &mut [f32],
    ) -> Result<(), ForwardError> {
        self.engine
            .numerics()
            .rms_norm_rows(x, weight, self.config.rms_norm_eps, out)
            .map_err(|_| ForwardError::NotFinite { place: self.place(part) })
    }

    fn quantize(
        &self,
        part: &'static str,
        cols: usize,
        x: &[f32],
        out: &mut QuantizedActivations,
    ) -> Result<(), ForwardError> {
        self.check_finite(part, x)?;
        out.requantize(self.engine.numerics(), cols, x);
        Ok(())
    }

    fn linear(
        &self,
        part: &'static str,
        weights: &PackedTernaryWeights,
        x: &QuantizedActivations,
        out: &mut [f32],
    ) -> Result<(), ForwardError> {
        self.engine
            .linear(weights, x, out)
            .map_err(|source| ForwardError::Kernel { place: self.place(part), source })?;
        // The integers are exact, but their scales may be damaged.
        self.check_finite(part, out)
    }

    fn check_finite(&self, part: &'static str, x: &[f32]) -> Result<(), ForwardError> {
        if self.engine.numerics().all_finite(x) {
            Ok(())
        } else {
            Err(ForwardError::NotFinite { place: self.place(part) })
        }
    }
}
