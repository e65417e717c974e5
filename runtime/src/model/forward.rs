//! The forward pass: tokens in, logits out, with everything in between in reach of an observer.
//!
//! One function serves the prefill of a prompt and the decoding of one token. No value depends on how the
//! tokens are divided over calls or batches: the integer products are exact, and every floating-point sum has
//! an order that the token's position fixes.

use super::error::{ForwardError, Place};
use super::kv_cache::KvCache;
use super::layer::{Buffers, LayerPass, sized};
use super::weights::Model;
use crate::engine::Engine;
use crate::numerics::head::head;
use crate::numerics::rope::RopeTable;

/// Tokens that go through the layers together unless [`Session::with_batch`] says otherwise. It bounds the
/// working memory of a long prompt and changes no result.
pub const DEFAULT_BATCH: usize = 32;

/// Receives intermediate results of a forward pass, batch by batch in the order of the positions.
pub trait Observer: Send {
    /// The input of layer `index`, `[tokens][hidden]`; for `index` equal to the number of layers, the states
    /// after the final norm. `first` is the position of the first token.
    fn hidden(&mut self, index: usize, first: usize, states: &[f32]) {
        let _ = (index, first, states);
    }

    /// Logits, `[tokens][vocab]`. `first` is the position of the first token.
    fn logits(&mut self, first: usize, logits: &[f32]) {
        let _ = (first, logits);
    }
}

/// How much of a forward pass the caller wants to see.
pub enum Want<'a> {
    /// The logits of the last token: what it takes to continue a text.
    LastLogits,
    /// Logits of every token, hidden states too, handed to the observer.
    Everything(&'a mut dyn Observer),
}

/// One sequence under way: a model, the engine that runs it, and the sequence's cache.
pub struct Session<'m> {
    model: &'m Model,
    engine: &'m Engine,
    cache: KvCache,
    rope: RopeTable,
    batch: usize,
    buffers: Buffers,
    logits: Vec<f32>,
    head_scratch: Vec<f32>,
}

impl<'m> Session<'m> {
    /// A session with an empty cache. Memory is taken as positions are used.
    pub fn new(model: &'m Model, engine: &'m Engine) -> Self {
        let config = &model.config;
        Self {
            model,
            engine,
            cache: KvCache::new(config),
            rope: RopeTable::new(config.head_dim, config.rope_theta),
            batch: DEFAULT_BATCH,
            buffers: Buffers::default(),
            logits: Vec::new(),
            head_scratch: Vec::new(),
        }
    }

    /// Lets at most `batch` tokens (0 counts as 1) go through the layers together.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// The model.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// The engine.
    pub fn engine(&self) -> &'m Engine {
        self.engine
    }

    /// Positions in use: the number of tokens fed so far.
    pub fn position(&self) -> usize {
        self.cache.len()
    }

    /// Positions that are left in the context.
    pub fn remaining(&self) -> usize {
        self.cache.context() - self.cache.len()
    }

    /// Bytes that the key/value cache holds.
    pub fn cache_bytes(&self) -> usize {
        self.cache.resident_bytes()
    }

    /// Forgets every token from position `len` on; 0 starts a new sequence. Keeps the memory.
    pub fn truncate(&mut self, len: usize) {
        self.cache.truncate(len);
    }

    /// Feeds `tokens` at the next positions and returns the logits of the last one, `[vocab]`.
    ///
    /// # Errors
    /// [`ForwardError`]: no tokens, an id outside of the vocabulary, the end of the context, a value that is
    /// not finite. The session is then as before the call, except that an observer may have been called.
    pub fn forward(&mut self, tokens: &[u32], mut want: Want<'_>) -> Result<&[f32], ForwardError> {
        let (engine, vocab) = (self.engine, self.model.config.vocab);
        if tokens.is_empty() {
            return Err(ForwardError::NoTokens);
        }
        if let Some(index) = tokens.iter().position(|&id| id as usize >= vocab) {
            return Err(ForwardError::TokenOutOfRange { index, id: tokens[index], vocab });
        }
        self.cache.reserve(tokens.len())?;
        let start = self.cache.len();
        self.rope.extend_to(start + tokens.len());
        let result = engine.pool().install(|| {
            tokens.chunks(self.batch).enumerate().try_for_each(|(index, batch)| {
                let is_last = (index + 1) * self.batch >= tokens.len();
                self.forward_batch(batch, is_last, &mut want)
            })
        });
        if let Err(error) = result {
            self.cache.truncate(start);
            return Err(error);
        }
        let end = match want {
            Want::LastLogits => vocab,
            Want::Everything(_) => ((tokens.len() - 1) % self.batch + 1) * vocab,
        };
        Ok(&self.logits[end - vocab..end])
    }

    fn forward_batch(
        &mut self,
        batch: &[u32],
        is_last: bool,
        want: &mut Want<'_>,
    ) -> Result<(), ForwardError> {
        let model = self.model;
        let (config, tokens, first) = (&model.config, batch.len(), self.cache.len());
        let states = sized(&mut self.buffers.states, tokens * config.hidden);
        for (&id, state) in batch.iter().zip(states.chunks_exact_mut(config.hidden)) {
            model.token_embd.row_to_f32(id as usize, state);
        }
        for (layer, weights) in model.layers.iter().enumerate() {
            if let Want::Everything(observer) = want {
                observer.hidden(layer, first, &self.buffers.states[..tokens * config.hidden]);
            }
            let (engine, rope) = (self.engine, &self.rope);
            LayerPass { config, engine, rope, weights, layer, first, tokens }
                .run(&mut self.cache, &mut self.buffers)?;
        }
        self.cache.advance(tokens);
        match want {
            Want::LastLogits if is_last => {
                self.finish(tokens - 1, tokens)?;
            }
            Want::LastLogits => {}
            Want::Everything(observer) => {
                self.finish(0, tokens)?;
                let normed = &self.buffers.normed[..tokens * config.hidden];
                observer.hidden(config.layers, first, normed);
                observer.logits(first, &self.logits[..tokens * config.vocab]);
            }
        }
        Ok(())
    }

    /// Final norm and logits of tokens `from..to` of the batch in `buffers.states`.
    fn finish(&mut self, from: usize, to: usize) -> Result<(), ForwardError> {
        let model = self.model;
        let config = &model.config;
        let not_finite = |part| ForwardError::NotFinite { place: Place { layer: None, part } };
        let states = &self.buffers.states[from * config.hidden..to * config.hidden];
        let normed = sized(&mut self.buffers.normed, states.len());
        let numerics = self.engine.numerics();
        numerics
            .rms_norm_rows(states, &model.output_norm, config.rms_norm_eps, normed)
            .map_err(|_| not_finite("output_norm"))?;
        let logits = sized(&mut self.logits, (to - from) * config.vocab);
        head(numerics, model.head(), normed, logits, &mut self.head_scratch);
        if numerics.all_finite(logits) { Ok(()) } else { Err(not_finite("output")) }
    }
}
