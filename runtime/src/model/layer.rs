//! One transformer layer over a batch of tokens.

use std::sync::atomic::{AtomicBool, Ordering};

use super::attend::Attending;
use super::config::{Activation, ModelConfig};
use super::error::{ForwardError, Place};
use super::kv_cache::KvCache;
use super::stopwatch::{Part, Stopwatch};
use crate::engine::{Engine, EngineError};
use crate::numerics::Numerics;
use crate::numerics::quantize::{QuantizedActivations, QuantizedRow};
use crate::numerics::rope::RopeTable;
use crate::packed::{PackedLayerWeights, PackedTernaryWeights};
use crate::product::{Join, Product, run_all, run_joined};
use crate::room::Room;
use crate::team::Team;

/// Elementary operations that a value takes to be normalised and quantised: it is squared, compared, rounded and stored.
const QUANTIZE_WORK: usize = 4;

/// Working memory of a forward pass, kept from call to call. All are `[tokens][length of the vector]`.
#[derive(Default)]
pub(super) struct Buffers {
    /// The residual stream; in and out of each layer.
    pub states: Room<f32>,
    pub normed: Room<f32>,
    quantized: QuantizedActivations,
    query: Room<f32>,
    key: Room<f32>,
    value: Room<f32>,
    attending: Attending,
    /// What attention returns: the heads, concatenated.
    mixed: Room<f32>,
    gate: Room<f32>,
    /// What a sub-layer adds to the residual stream.
    delta: Room<f32>,
    /// Where the time goes.
    pub watch: Stopwatch,
}

/// Where a token of a batch belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Index of its sequence's cache.
    pub sequence: usize,
    /// Its position in the sequence.
    pub position: usize,
}

/// What one layer needs to know about the batch that passes through it.
pub(super) struct LayerPass<'a> {
    pub config: &'a ModelConfig,
    pub engine: &'a Engine,
    pub team: &'a Team<'a>,
    pub rope: &'a RopeTable,
    pub weights: &'a PackedLayerWeights,
    /// Those of the layer after it.
    pub next: Option<&'a PackedLayerWeights>,
    /// Index of the layer.
    pub layer: usize,
    /// The tokens of the batch; those of one sequence in ascending order.
    pub rows: &'a [Row],
}

impl LayerPass<'_> {
    /// Takes `buffers.states` through the layer and stores its keys and values.
    pub fn run(&self, caches: &mut [&mut KvCache], buffers: &mut Buffers) -> Result<(), ForwardError> {
        self.attention(caches, buffers)?;
        self.feed_forward(buffers)
    }

    fn attention(&self, caches: &mut [&mut KvCache], b: &mut Buffers) -> Result<(), ForwardError> {
        let (config, weights, tokens) = (self.config, self.weights, self.rows.len());
        let (hidden, width, kv_width) = (config.hidden, config.attention_width(), config.kv_width());
        let states = &mut b.states[..tokens * hidden];
        if self.layer == 0 {
            // Of the others, the layer before has done it.
            let norm = Some(&weights.input_layernorm[..]);
            self.quantize("input_layernorm", states, hidden, norm, &mut b.quantized)?;
        }
        b.watch.lap(Part::Rest);
        let query = b.query.sized(tokens * width);
        let key = b.key.sized(tokens * kv_width);
        let value = b.value.sized(tokens * kv_width);
        self.linear(
            &b.quantized,
            [
                ("q_proj", &weights.q_proj, &mut *query),
                ("k_proj", &weights.k_proj, &mut *key),
                ("v_proj", &weights.v_proj, &mut *value),
            ],
        )?;
        b.watch.lap(Part::Ternary);
        self.will_read(&[&weights.o_proj]);
        self.rotate(query, key);
        self.store(caches, key, value)?;
        b.watch.lap(Part::Rest);
        let mixed = b.mixed.sized(tokens * width);
        self.attend(caches, query, mixed, &mut b.attending);
        b.watch.lap(Part::Attention);

        let delta = b.delta.sized(states.len());
        let norm = weights.inner_attn_ln.as_deref();
        let part = if norm.is_some() { "inner_attn_ln" } else { "attention" };
        self.quantize(part, mixed, width, norm, &mut b.quantized)?;
        b.watch.lap(Part::Rest);
        self.linear(&b.quantized, [("o_proj", &weights.o_proj, &mut *delta)])?;
        b.watch.lap(Part::Ternary);
        self.will_read(&[&weights.gate_proj]);
        let norm = (&weights.post_attention_layernorm[..], self.place("post_attention_layernorm"));
        self.add_and_quantize(states, delta, norm, &mut b.quantized)?;
        b.watch.lap(Part::Rest);
        Ok(())
    }

    fn feed_forward(&self, b: &mut Buffers) -> Result<(), ForwardError> {
        let (config, weights, tokens) = (self.config, self.weights, self.rows.len());
        let states = &mut b.states[..tokens * config.hidden];
        let gate = b.gate.sized(tokens * config.ffn);
        let gate_with_up = match config.activation {
            Activation::Relu2 => Numerics::relu2_gate,
            Activation::Silu => Numerics::silu_gate,
        };
        let join: Join<'_> = &|gate, up| gate_with_up(self.numerics(), gate, up);
        let gate_proj = self.product("gate_proj", &weights.gate_proj, &b.quantized, gate)?;
        let up_proj = self.engine.unkept_product(&weights.up_proj, &b.quantized);
        let up_proj = up_proj.map_err(|e| self.refused("up_proj", e))?;
        run_joined(self.team, &gate_proj, &up_proj, join).map_err(|e| self.refused("gate_proj", e))?;
        self.check_finite("gate_proj", gate_proj.is_finite())?;
        self.check_finite("up_proj", up_proj.is_finite())?;
        b.watch.lap(Part::Ternary);
        self.will_read(&[&self.weights.down_proj]);

        let delta = b.delta.sized(states.len());
        let norm = weights.ffn_layernorm.as_deref();
        let part = if norm.is_some() { "ffn_layernorm" } else { "activation of the gate" };
        self.quantize(part, gate, config.ffn, norm, &mut b.quantized)?;
        b.watch.lap(Part::Rest);
        self.linear(&b.quantized, [("down_proj", &weights.down_proj, &mut *delta)])?;
        b.watch.lap(Part::Ternary);
        let Some(next) = self.next else {
            self.add(states, delta);
            return Ok(());
        };
        self.will_read(&[&next.q_proj, &next.k_proj, &next.v_proj]);
        let place = Place { layer: Some(self.layer + 1), part: "input_layernorm" };
        self.add_and_quantize(states, delta, (&next.input_layernorm, place), &mut b.quantized)
    }

    /// Has members that wait ask for what the next products begin with. Matrices that are multiplied in one step lie one
    /// behind the other.
    fn will_read(&self, matrices: &[&PackedTernaryWeights]) {
        let len = matrices.iter().map(|weights| weights.data().len()).sum();
        self.team.will_read(matrices[0].data().as_ptr(), len);
    }

    pub(super) fn numerics(&self) -> &Numerics {
        self.engine.numerics()
    }

    fn place(&self, part: &'static str) -> Place {
        Place { layer: Some(self.layer), part }
    }

    fn check_finite(&self, part: &'static str, finite: bool) -> Result<(), ForwardError> {
        if finite { Ok(()) } else { Err(ForwardError::NotFinite { place: self.place(part) }) }
    }

    fn refused(&self, part: &'static str, source: EngineError) -> ForwardError {
        ForwardError::Kernel { place: self.place(part), source }
    }

    /// Quantises `x` `[tokens][cols]`, normalised first where there is a norm, each token by one thread.
    fn quantize(
        &self,
        part: &'static str,
        x: &[f32],
        cols: usize,
        norm: Option<&[f32]>,
        out: &mut QuantizedActivations,
    ) -> Result<(), ForwardError> {
        let finite = AtomicBool::new(true);
        let mut rows: Vec<_> = x.chunks_exact(cols).zip(out.rows_mut(cols, x.len() / cols)).collect();
        self.team.chunks(&mut rows, 1, QUANTIZE_WORK * x.len(), |_, rows| {
            for (x, out) in rows {
                if !self.quantize_row(x, norm, out) {
                    finite.store(false, Ordering::Relaxed);
                }
            }
        });
        self.check_finite(part, finite.into_inner())
    }

    /// The residual connection and the quantised norm of its results: each token's while its states are at hand.
    fn add_and_quantize(
        &self,
        states: &mut [f32],
        delta: &[f32],
        (norm, place): (&[f32], Place),
        out: &mut QuantizedActivations,
    ) -> Result<(), ForwardError> {
        let hidden = self.config.hidden;
        let finite = AtomicBool::new(true);
        let work = QUANTIZE_WORK * states.len();
        let rows = out.rows_mut(hidden, states.len() / hidden);
        let mut rows: Vec<_> = states.chunks_exact_mut(hidden).zip(rows).collect();
        self.team.chunks(&mut rows, 1, work, |first, rows| {
            for (token, (states, out)) in (first..).zip(rows) {
                self.numerics().add(states, &delta[token * hidden..][..hidden]);
                if !self.quantize_row(states, Some(norm), out) {
                    finite.store(false, Ordering::Relaxed);
                }
            }
        });
        if finite.into_inner() { Ok(()) } else { Err(ForwardError::NotFinite { place }) }
    }

    /// Quantises one token, normalised first where there is a norm; false where a value is not finite.
    fn quantize_row(&self, x: &[f32], norm: Option<&[f32]>, out: &mut QuantizedRow<'_>) -> bool {
        let numerics = self.numerics();
        let Some(weight) = norm else {
            let finite = numerics.all_finite(x);
            if finite {
                out.quantize(numerics, x);
            }
            return finite;
        };
        out.quantize_normed(numerics, x, weight, self.config.rms_norm_eps).is_ok()
    }

    /// Products of the same activations, in one parallel step.
    fn linear<const N: usize>(
        &self,
        x: &QuantizedActivations,
        outputs: [(&'static str, &PackedTernaryWeights, &mut [f32]); N],
    ) -> Result<(), ForwardError> {
        let parts = outputs.each_ref().map(|(part, ..)| *part);
        let mut products = Vec::with_capacity(N);
        for (part, weights, y) in outputs {
            products.push(self.product(part, weights, x, y)?);
        }
        run_all(self.team, &products).map_err(|e| self.refused(parts[0], e))?;
        let mut all = parts.into_iter().zip(&products);
        all.try_for_each(|(part, product)| self.check_finite(part, product.is_finite()))
    }

    fn product<'a>(
        &'a self,
        part: &'static str,
        weights: &'a PackedTernaryWeights,
        x: &'a QuantizedActivations,
        y: &'a mut [f32],
    ) -> Result<Product<'a>, ForwardError> {
        self.engine.product(weights, x, y).map_err(|e| self.refused(part, e))
    }

    /// Turns queries and keys to their positions.
    fn rotate(&self, query: &mut [f32], key: &mut [f32]) {
        let (width, kv_width) = (self.config.attention_width(), self.config.kv_width());
        let work = query.len() + key.len();
        let mut tokens: Vec<_> =
            self.rows.iter().zip(query.chunks_exact_mut(width)).zip(key.chunks_exact_mut(kv_width)).collect();
        self.team.chunks(&mut tokens, 1, work, |_, tokens| {
            for ((row, query), key) in tokens {
                self.rope.rotate(self.numerics(), row.position, query);
                self.rope.rotate(self.numerics(), row.position, key);
            }
        });
    }

    /// The residual connection.
    fn add(&self, states: &mut [f32], delta: &[f32]) {
        let hidden = self.config.hidden;
        let work = states.len();
        self.team.chunks(states, hidden, work, |t, states| {
            self.numerics().add(states, &delta[t * hidden..][..hidden]);
        });
    }
}
