//! The forward pass: tokens in, logits out, with everything in between in reach of an observer.
//!
//! One function serves the prefill of a prompt and the decoding of one token. No value depends on how the
//! tokens are divided over calls or batches: the integer products are exact, and every floating-point sum has
//! an order that the token's position fixes.

use std::sync::atomic::{AtomicBool, Ordering};

use super::batch::prompt_batch;
use super::error::{ForwardError, Place};
use super::kv_cache::KvCache;
use super::layer::{Buffers, LayerPass, Row};
use super::logits::Logits;
use super::stopwatch::{Part, Timings};
use super::weights::Model;
use crate::engine::Engine;
use crate::head;
use crate::numerics::kv_block::KvType;
use crate::numerics::rope::RopeTable;
use crate::team::Team;

/// Tokens that go through the layers together for those who want the logits of every token, which for a large vocabulary take
/// more than all else.
pub(crate) const LOGITS_BATCH: usize = 32;

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
    batch: usize,
    work: Work,
    logits: Logits,
}

impl<'m> Session<'m> {
    /// A session with an empty cache. Memory is taken as positions are used.
    pub fn new(model: &'m Model, engine: &'m Engine) -> Self {
        let config = &model.config;
        Self {
            model,
            engine,
            cache: KvCache::new(config, model.kv_type),
            batch: prompt_batch(config, engine),
            work: Work::new(RopeTable::new(config.head_dim, config.rope_theta)),
            logits: Logits::default(),
        }
    }

    /// Lets at most `batch` tokens (0 counts as 1) go through the layers together, instead of as many as suit the engine.
    #[must_use]
    pub fn with_batch(mut self, batch: usize) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// Stores keys and values in this type (f32 unless asked for another). The results of each type are the same bits
    /// everywhere, those of another type differ. Forgets every token that was fed.
    #[must_use]
    pub fn with_kv_type(mut self, kv_type: KvType) -> Self {
        self.cache = KvCache::new(&self.model.config, kv_type);
        self.logits.clear();
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

    /// How keys and values are stored.
    pub fn kv_type(&self) -> KvType {
        self.cache.kv_type()
    }

    /// Bytes that decoding a token reads from the key/value cache for each position before it.
    pub fn cache_bytes_per_position(&self) -> usize {
        self.cache.bytes_per_position()
    }

    /// Bytes that the key/value cache holds.
    pub fn cache_bytes(&self) -> usize {
        self.cache.resident_bytes()
    }

    /// Forgets every token from position `len` on; 0 starts a new sequence. Keeps the memory.
    pub fn truncate(&mut self, len: usize) {
        self.cache.truncate(len);
    }

    /// Takes the time of the passes from now on, beginning at zero, or stops to. Of sequences that are decoded together the
    /// first has the time of all.
    pub fn take_time(&mut self, on: bool) {
        self.work.buffers.watch.set(on);
    }

    /// Where the time has gone since [`Session::take_time`]; `None` where it is not taken. A pass over some tokens of a
    /// prompt, without logits, ends with its last ternary product.
    pub fn timings(&self) -> Option<Timings> {
        self.work.buffers.watch.timings()
    }

    /// The logits of the last token that was fed, `[vocab]`; empty before the first.
    pub fn logits(&self) -> &[f32] {
        self.logits.last()
    }

    /// Feeds `tokens` at the next positions and returns the logits of the last one, `[vocab]`.
    ///
    /// # Errors
    /// [`ForwardError`]: no tokens, an id outside of the vocabulary, the end of the context, a value that is
    /// not finite. The session is then as before the call, except that its logits may be gone and an observer may have been
    /// called.
    pub fn forward(&mut self, tokens: &[u32], mut want: Want<'_>) -> Result<&[f32], ForwardError> {
        if tokens.is_empty() {
            return Err(ForwardError::NoTokens);
        }
        check_ids(self.model, tokens)?;
        self.cache.reserve(tokens.len())?;
        let start = self.cache.len();
        self.work.rope.extend_to(start + tokens.len());
        let result = self.engine.region(|team| {
            tokens.chunks(self.batch).enumerate().try_for_each(|(index, batch)| {
                let is_last = (index + 1) * self.batch >= tokens.len();
                self.forward_batch(team, batch, is_last, &mut want)
            })
        });
        if let Err(error) = result {
            self.cache.truncate(start);
            self.logits.clear();
            return Err(error);
        }
        Ok(self.logits())
    }

    fn forward_batch(
        &mut self,
        team: &Team<'_>,
        batch: &[u32],
        is_last: bool,
        want: &mut Want<'_>,
    ) -> Result<(), ForwardError> {
        let (model, first) = (self.model, self.cache.len());
        let vocab = model.config.vocab;
        let rows: Vec<Row> =
            (first..).take(batch.len()).map(|position| Row { sequence: 0, position }).collect();
        let pass = Pass { model, engine: self.engine, team, ids: batch, rows: &rows };
        pass.layers(&mut [&mut self.cache], &mut self.work, want)?;
        self.cache.advance(batch.len());
        match want {
            Want::LastLogits if is_last => {
                pass.head(batch.len() - 1, &mut self.work, self.logits.room(vocab))?;
                self.logits.set_last(0..vocab);
            }
            Want::LastLogits => {}
            Want::Everything(observer) => {
                let logits = self.logits.room(batch.len() * vocab);
                pass.head(0, &mut self.work, logits)?;
                let config = &model.config;
                observer.hidden(
                    config.layers,
                    first,
                    &self.work.buffers.normed[..batch.len() * config.hidden],
                );
                observer.logits(first, logits);
                self.logits.set_last((batch.len() - 1) * vocab..batch.len() * vocab);
            }
        }
        Ok(())
    }
}

/// Feeds one token to each of several sequences in one pass, which reads the weights once for all of them: `tokens[i]` goes
/// to `sessions[i]`, whose [`Session::logits`] are then those of that token. The same bits as one session after the other.
///
/// # Errors
/// [`ForwardError`] as for [`Session::forward`], of whichever session it is, or sessions that do not belong together. The
/// sessions are then as before the call, except that their logits may be gone.
pub fn decode_together(sessions: &mut [Session<'_>], tokens: &[u32]) -> Result<(), ForwardError> {
    let together = ForwardError::Together { sessions: sessions.len(), tokens: tokens.len() };
    let Some(first) = sessions.first() else { return Err(together) };
    let (model, engine) = (first.model, first.engine);
    let same = |s: &Session<'_>| std::ptr::eq(s.model, model) && std::ptr::eq(s.engine, engine);
    if tokens.len() != sessions.len() || !sessions.iter().all(same) {
        return Err(together);
    }
    check_ids(model, tokens)?;
    let mut rows = Vec::with_capacity(sessions.len());
    for (sequence, session) in sessions.iter_mut().enumerate() {
        session.cache.reserve(1)?;
        rows.push(Row { sequence, position: session.cache.len() });
    }
    // The first last: the memory that they have shared stays with it.
    sessions.iter_mut().rev().for_each(|session| session.logits.clear());
    let vocab = model.config.vocab;
    let [first, rest @ ..] = &mut *sessions else { return Err(together) };
    // The working memory of the first serves them all.
    let work = &mut first.work;
    work.rope.extend_to(rows.iter().map(|row| row.position + 1).max().unwrap_or(0));
    let logits = first.logits.room(rows.len() * vocab);
    let mut caches = vec![&mut first.cache];
    caches.extend(rest.iter_mut().map(|session| &mut session.cache));
    let result = engine.region(|team| {
        let pass = Pass { model, engine, team, ids: tokens, rows: &rows };
        pass.layers(&mut caches, work, &mut Want::LastLogits)?;
        pass.head(0, work, logits)
    });
    if result.is_ok() {
        first.logits.set_last(0..vocab);
        for (index, session) in (1..).zip(rest) {
            session.logits = first.logits.beside(index * vocab..(index + 1) * vocab);
        }
        sessions.iter_mut().for_each(|session| session.cache.advance(1));
    }
    result
}

/// # Errors
/// [`ForwardError::TokenOutOfRange`] for the first id that the vocabulary does not have.
fn check_ids(model: &Model, ids: &[u32]) -> Result<(), ForwardError> {
    let vocab = model.config.vocab;
    match ids.iter().position(|&id| id as usize >= vocab) {
        Some(index) => Err(ForwardError::TokenOutOfRange { index, id: ids[index], vocab }),
        None => Ok(()),
    }
}

/// What a forward pass works with and keeps for the next.
struct Work {
    rope: RopeTable,
    buffers: Buffers,
    head_scratch: head::Scratch,
}

impl Work {
    fn new(rope: RopeTable) -> Self {
        Work { rope, buffers: Buffers::default(), head_scratch: head::Scratch::default() }
    }
}

/// One batch on its way through the model.
struct Pass<'a> {
    model: &'a Model,
    engine: &'a Engine,
    team: &'a Team<'a>,
    ids: &'a [u32],
    /// Where each token belongs.
    rows: &'a [Row],
}

impl Pass<'_> {
    /// From the ids to the states after the last layer, in `work.buffers.states`.
    fn layers(
        &self,
        caches: &mut [&mut KvCache],
        work: &mut Work,
        want: &mut Want<'_>,
    ) -> Result<(), ForwardError> {
        let (model, team) = (self.model, self.team);
        let (config, first) = (&model.config, self.rows[0].position);
        work.buffers.watch.start();
        let states = work.buffers.states.sized(self.ids.len() * config.hidden);
        team.chunks(states, config.hidden, self.ids.len() * config.hidden, |t, state| {
            model.token_embd.row_to_f32(self.ids[t] as usize, state);
        });
        for (layer, weights) in model.layers.iter().enumerate() {
            if let Want::Everything(observer) = want {
                observer.hidden(layer, first, &work.buffers.states[..self.ids.len() * config.hidden]);
            }
            let (engine, rope, rows) = (self.engine, &work.rope, self.rows);
            let next = model.layers.get(layer + 1);
            LayerPass { config, engine, team, rope, weights, next, layer, rows }
                .run(caches, &mut work.buffers)?;
        }
        Ok(())
    }

    /// Final norm and logits of the batch's tokens from `from` on, `[tokens][vocab]`.
    fn head(&self, from: usize, work: &mut Work, logits: &mut [f32]) -> Result<(), ForwardError> {
        let (model, team, numerics) = (self.model, self.team, self.engine.numerics());
        let config = &model.config;
        let not_finite = |part| ForwardError::NotFinite { place: Place { layer: None, part } };
        let states = &work.buffers.states[from * config.hidden..self.ids.len() * config.hidden];
        let normed = work.buffers.normed.sized(states.len());
        let finite = AtomicBool::new(true);
        team.chunks(normed, config.hidden, states.len(), |t, normed| {
            let state = &states[t * config.hidden..][..config.hidden];
            if numerics.rms_norm(state, &model.output_norm, config.rms_norm_eps, normed).is_err() {
                finite.store(false, Ordering::Relaxed);
            }
        });
        if !finite.into_inner() {
            return Err(not_finite("output_norm"));
        }
        work.buffers.watch.lap(Part::Rest);
        let finite = model.head.run(team, numerics, normed, logits, &mut work.head_scratch);
        work.buffers.watch.lap(Part::Head);
        if finite { Ok(()) } else { Err(not_finite("output")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::LoadOptions;

    #[test]
    fn sequences_decoded_together_get_the_bits_that_each_gets_alone() {
        let engine = Engine::with_threads(2).unwrap();
        let model = Model::from_raw(crate::demo::load(&LoadOptions::default()).unwrap(), &engine).unwrap();
        let prompts: [&[u32]; 3] = [&[5, 6, 7], &[300], &[9, 8, 7, 6, 5]];
        let fed = || -> Vec<Session<'_>> {
            let session = |prompt: &&[u32]| {
                let mut session = Session::new(&model, &engine);
                session.forward(prompt, Want::LastLogits).unwrap();
                session
            };
            prompts.iter().map(session).collect()
        };
        let (mut together, mut alone) = (fed(), fed());
        for step in 0..3 {
            let tokens = [step + 10, step + 20, step + 30];
            decode_together(&mut together, &tokens).unwrap();
            for ((alone, together), token) in alone.iter_mut().zip(&together).zip(tokens) {
                assert_eq!(alone.forward(&[token], Want::LastLogits).unwrap(), together.logits());
                assert_eq!(alone.position(), together.position());
            }
        }
        let before: Vec<usize> = together.iter().map(Session::position).collect();
        let error = decode_together(&mut together, &[1]).unwrap_err().to_string();
        assert!(error.starts_with("3 sessions and 1 tokens"), "{error}");
        assert!(decode_together(&mut [], &[]).is_err());
        let error = decode_together(&mut together, &[1, u32::MAX, 1]).unwrap_err();
        assert!(matches!(error, ForwardError::TokenOutOfRange { index: 1, .. }), "{error}");
        assert_eq!(together.iter().map(Session::position).collect::<Vec<_>>(), before);
    }
}
