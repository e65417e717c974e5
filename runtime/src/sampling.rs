//! Choosing the next token from logits.
//!
//! The stages come in llama.cpp's usual order: repetition penalty, top-k, top-p, min-p, temperature, draw.
//! Top-p and min-p look at the probabilities before the temperature. Equal logits rank by token id, lowest
//! first. The same seed and logits give the same token on every platform: the generator is PCG XSL RR 128/64
//! and the exponential is [`crate::numerics::exp`]'s.

use crate::numerics::exp::{LOG2_E, exp2};
use rand_core::Rng as _;
use rand_pcg::Pcg64;

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerOptions {
    /// 0 takes the most probable token (greedy); otherwise 0.001 to 1000, higher is more random.
    pub temperature: f32,
    /// Keep this many of the most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the fewest most probable tokens whose probabilities reach this sum, over 0 to 1; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least this times as probable as the most probable one, 0 to 1; 0 keeps all.
    pub min_p: f32,
    /// Logits of recent tokens are divided by this if positive and multiplied if negative, 0.01 to 100; 1
    /// does nothing.
    pub repeat_penalty: f32,
    /// How many of the latest tokens, prompt included, count as recent; 0 turns the penalty off.
    pub repeat_last_n: usize,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Default for SamplerOptions {
    /// llama.cpp's defaults: temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, no repetition penalty; seed
    /// 0.
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            seed: 0,
        }
    }
}

/// A sampling option outside of its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{option} is {found}; accepted is {accepted}")]
pub struct SamplerError {
    /// Name of the option.
    pub option: &'static str,
    /// Its value.
    pub found: f32,
    /// The accepted range in words.
    pub accepted: &'static str,
}

impl SamplerOptions {
    /// Checks every option against its range.
    ///
    /// # Errors
    /// [`SamplerError`] for the first option that is out of range.
    pub fn validate(&self) -> Result<(), SamplerError> {
        let t = self.temperature;
        let checks = [
            ("temperature", t, t == 0.0 || (1e-3..=1e3).contains(&t), "0 (greedy) or 0.001 to 1000"),
            ("top-p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "greater than 0, at most 1"),
            ("min-p", self.min_p, (0.0..=1.0).contains(&self.min_p), "0 to 1"),
            (
                "repetition penalty",
                self.repeat_penalty,
                (1e-2..=1e2).contains(&self.repeat_penalty),
                "0.01 to 100",
            ),
        ];
        for (option, found, ok, accepted) in checks {
            if !ok {
                return Err(SamplerError { option, found, accepted });
            }
        }
        Ok(())
    }
}

/// The index of the largest value, the lowest one of equals. A NaN is never chosen before a number.
///
/// # Panics
/// When `logits` is empty.
pub fn argmax(logits: &[f32]) -> u32 {
    assert!(!logits.is_empty(), "there is no largest of no logits");
    let (mut most, mut first) = (f32::NEG_INFINITY, 0);
    for (index, run) in logits.chunks(RUN).enumerate() {
        let largest = largest(run);
        if largest > most {
            (most, first) = (largest, index * RUN);
        }
    }
    let found = logits[first..].iter().position(|logit| *logit == most);
    found.map_or(0, |place| first + place) as u32
}

/// Logits of which the largest is sought before its place is.
const RUN: usize = 1024;

/// The largest number of some logits; minus infinity where there is none.
fn largest(logits: &[f32]) -> f32 {
    const LANES: usize = 16;
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = logits.as_chunks::<LANES>();
    for logits in whole {
        for (lane, logit) in lanes.iter_mut().zip(logits) {
            *lane = larger(*lane, *logit);
        }
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, larger)
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    logit: f32,
    /// Probability relative to the best candidate's.
    weight: f32,
}

/// Chooses tokens; keeps the random generator and working memory.
#[derive(Clone, Debug)]
pub struct Sampler {
    options: SamplerOptions,
    random: Pcg64,
    penalized: Vec<f32>,
    recent: Vec<u32>,
    candidates: Vec<Candidate>,
}

/// Stream of the generator: the constant that rand_pcg documents as its default.
const PCG_STREAM: u128 = 0x0a02_bdbf_7bb3_c0a7_ac28_fa16_a64a_bf96;

impl Sampler {
    /// A sampler in its initial state.
    ///
    /// # Errors
    /// [`SamplerError`] when an option is out of range.
    pub fn new(options: SamplerOptions) -> Result<Self, SamplerError> {
        options.validate()?;
        let random = Pcg64::new(u128::from(options.seed), PCG_STREAM);
        Ok(Self { options, random, penalized: Vec::new(), recent: Vec::new(), candidates: Vec::new() })
    }

    /// Chooses the token after `history` (prompt and generated tokens, oldest first) from finite `logits`,
    /// one for each token id.
    ///
    /// # Panics
    /// When `logits` is empty.
    pub fn sample(&mut self, logits: &[f32], history: &[u32]) -> u32 {
        self.penalized.clear();
        self.penalized.extend_from_slice(logits);
        self.penalize(history);
        if self.options.temperature == 0.0 {
            return argmax(&self.penalized);
        }
        self.candidates.clear();
        let candidates = self.penalized.iter().enumerate();
        self.candidates.extend(candidates.map(|(id, &logit)| Candidate {
            id: id as u32,
            logit,
            weight: 0.0,
        }));
        self.keep_top_k();
        self.keep_top_p();
        self.keep_min_p();
        self.draw()
    }

    fn penalize(&mut self, history: &[u32]) {
        let penalty = self.options.repeat_penalty;
        if penalty == 1.0 {
            return;
        }
        self.recent.clear();
        let first = history.len().saturating_sub(self.options.repeat_last_n);
        self.recent.extend_from_slice(&history[first..]);
        // A token counts once, however often it came.
        self.recent.sort_unstable();
        self.recent.dedup();
        for &id in &self.recent {
            if let Some(logit) = self.penalized.get_mut(id as usize) {
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
        }
    }

    fn keep_top_k(&mut self) {
        let k = self.options.top_k;
        if k > 0 && k < self.candidates.len() {
            self.candidates.select_nth_unstable_by(k - 1, by_rank);
            self.candidates.truncate(k);
        }
    }

    fn keep_top_p(&mut self) {
        if self.options.top_p == 1.0 {
            return;
        }
        self.weigh(1.0);
        // What weighs nothing adds nothing to the sum; most of a large vocabulary need not be sorted.
        self.candidates.retain(|c| c.weight > 0.0);
        self.candidates.sort_unstable_by(by_rank);
        let total: f64 = self.candidates.iter().map(|c| f64::from(c.weight)).sum();
        let wanted = total * f64::from(self.options.top_p);
        let mut reached = 0.0;
        let kept = self.candidates.iter().position(|c| {
            reached += f64::from(c.weight);
            reached >= wanted
        });
        if let Some(last) = kept {
            self.candidates.truncate(last + 1);
        }
    }

    fn keep_min_p(&mut self) {
        let min_p = self.options.min_p;
        if min_p > 0.0 {
            self.weigh(1.0);
            self.candidates.retain(|c| c.weight >= min_p);
        }
    }

    fn draw(&mut self) -> u32 {
        self.weigh(self.options.temperature);
        self.candidates.sort_unstable_by(by_rank);
        let total: f64 = self.candidates.iter().map(|c| f64::from(c.weight)).sum();
        // 53 random bits: every f64 in [0, 1) of that grid with equal probability.
        let uniform = (self.random.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
        let mut left = uniform * total;
        for candidate in &self.candidates {
            left -= f64::from(candidate.weight);
            if left < 0.0 {
                return candidate.id;
            }
        }
        // Only rounding leads here; the best candidate is always there.
        self.candidates[0].id
    }

    /// Sets each candidate's weight to exp((logit - best logit) / temperature).
    fn weigh(&mut self, temperature: f32) {
        let factor = (LOG2_E / f64::from(temperature)) as f32;
        let best = self.candidates.iter().fold(f32::NEG_INFINITY, |best, c| c.logit.max(best));
        for candidate in &mut self.candidates {
            candidate.weight = exp2((candidate.logit - best) * factor);
        }
    }
}

/// Highest logit first, then lowest id. A total order, so unstable sorting gives one result.
fn by_rank(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Draws with nothing but the options given switched on.
    fn plain() -> SamplerOptions {
        SamplerOptions { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplerOptions::default() }
    }

    fn counts(options: SamplerOptions, logits: &[f32], draws: usize) -> Vec<usize> {
        let mut sampler = Sampler::new(options).unwrap();
        let mut counts = vec![0; logits.len()];
        for _ in 0..draws {
            counts[sampler.sample(logits, &[]) as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_lowest_of_equals() {
        let options = SamplerOptions { temperature: 0.0, ..plain() };
        let mut sampler = Sampler::new(options).unwrap();
        assert_eq!(sampler.sample(&[1.0, 3.0, 3.0, -1.0], &[]), 1);
        assert_eq!(argmax(&[f32::NAN, -5.0, -4.0]), 2);
    }

    #[test]
    fn frequencies_follow_the_softmax_at_the_temperature() {
        // Weights 4 : 2 : 1 : 1 at temperature 1; 16 : 4 : 1 : 1 at 0.5.
        let logits = [4f32.ln(), 2f32.ln(), 0.0, 0.0];
        for (temperature, weights) in [(1.0, [4.0, 2.0, 1.0, 1.0]), (0.5, [16.0, 4.0, 1.0, 1.0])] {
            let draws = 20_000;
            let total: f64 = weights.iter().sum();
            let counted = counts(SamplerOptions { temperature, ..plain() }, &logits, draws);
            for (count, weight) in counted.iter().zip(weights) {
                let p = weight / total;
                let deviation = (draws as f64 * p * (1.0 - p)).sqrt();
                assert!((*count as f64 - draws as f64 * p).abs() < 4.5 * deviation, "{counted:?}");
            }
        }
    }

    #[test]
    fn each_stage_keeps_what_it_should() {
        // Probabilities 1/2, 1/4, 1/8, 1/8, the best in the middle.
        let logits = [2f32.ln(), 0.0, 4f32.ln(), 0.0];
        let kept = |options| {
            let counted = counts(options, &logits, 2000);
            (0..4).filter(|&id| counted[id] > 0).collect::<Vec<_>>()
        };
        assert_eq!(kept(plain()), [0, 1, 2, 3]);
        assert_eq!(kept(SamplerOptions { top_k: 1, ..plain() }), [2]);
        assert_eq!(kept(SamplerOptions { top_k: 2, ..plain() }), [0, 2]);
        assert_eq!(kept(SamplerOptions { top_k: 3, ..plain() }), [0, 1, 2]); // of the equal ones the lower id
        assert_eq!(kept(SamplerOptions { top_p: 0.4, ..plain() }), [2]);
        assert_eq!(kept(SamplerOptions { top_p: 0.6, ..plain() }), [0, 2]);
        assert_eq!(kept(SamplerOptions { top_p: 0.8, ..plain() }), [0, 1, 2]);
        assert_eq!(kept(SamplerOptions { min_p: 0.3, ..plain() }), [0, 2]);
        assert_eq!(kept(SamplerOptions { min_p: 1.0, ..plain() }), [2]);
        // Top-p counts before the temperature: a high one lets nothing more in.
        assert_eq!(kept(SamplerOptions { top_p: 0.6, temperature: 1000.0, ..plain() }), [0, 2]);
    }

    #[test]
    fn the_penalty_counts_a_recent_token_once_and_forgets_old_ones() {
        let greedy = SamplerOptions { temperature: 0.0, ..plain() };
        let options = SamplerOptions { repeat_penalty: 2.0, repeat_last_n: 3, ..greedy };
        let mut sampler = Sampler::new(options).unwrap();
        // 5 / 2 = 2.5 < 3, but one division only: 2.5 > 2.
        assert_eq!(sampler.sample(&[5.0, 3.0, 0.0], &[0, 0, 0]), 1);
        assert_eq!(sampler.sample(&[5.0, 2.0, 0.0], &[0, 0, 0]), 0);
        assert_eq!(sampler.sample(&[5.0, 3.0, 0.0], &[0, 2, 2, 2]), 0);
        // Negative logits are multiplied: -1 becomes -2.
        assert_eq!(sampler.sample(&[-1.0, -1.5], &[0]), 1);
    }

    #[test]
    fn a_seed_fixes_the_sequence_and_another_seed_changes_it() {
        let logits: Vec<f32> = (0..100).map(|i| (i % 10) as f32 * 0.1).collect();
        let draw = |seed| {
            let mut sampler = Sampler::new(SamplerOptions { seed, ..SamplerOptions::default() }).unwrap();
            (0..50).map(|_| sampler.sample(&logits, &[])).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn bad_options_are_named() {
        let bad = [
            (SamplerOptions { temperature: -1.0, ..plain() }, "temperature"),
            (SamplerOptions { temperature: f32::NAN, ..plain() }, "temperature"),
            (SamplerOptions { temperature: 1e-9, ..plain() }, "temperature"),
            (SamplerOptions { top_p: 0.0, ..plain() }, "top-p"),
            (SamplerOptions { top_p: 1.5, ..plain() }, "top-p"),
            (SamplerOptions { min_p: -0.1, ..plain() }, "min-p"),
            (SamplerOptions { repeat_penalty: 0.0, ..plain() }, "repetition penalty"),
            (SamplerOptions { repeat_penalty: f32::INFINITY, ..plain() }, "repetition penalty"),
        ];
        for (options, name) in bad {
            assert_eq!(Sampler::new(options).unwrap_err().option, name);
        }
    }
}
