//! Perplexity: how well a model predicts given texts.

use crate::engine::Engine;
use crate::model::forward::LOGITS_BATCH;
use crate::model::{ForwardError, Model, Observer, Session, Want};

/// The result of [`perplexity`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Perplexity {
    /// exp(nll / tokens).
    pub perplexity: f64,
    /// Negative log-likelihood of all predicted tokens together, natural logarithm.
    pub nll: f64,
    /// Number of predicted tokens.
    pub tokens: usize,
}

/// Why there is no perplexity.
#[derive(Debug, thiserror::Error)]
pub enum PerplexityError {
    /// No document has a token to predict.
    #[error("there is nothing to predict: every document has fewer than two tokens")]
    NothingToPredict,
    /// The forward pass failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Perplexity over `documents` (token ids, each with its begin-of-text token), each cut to its first
/// `max_len` ids and seen by itself. Every token but the first of a document is predicted from all before it.
/// Softmax and logarithm are f64.
///
/// # Errors
/// [`PerplexityError`]: nothing to predict, or a [`ForwardError`] (an id outside of the vocabulary, `max_len`
/// beyond the model's context).
pub fn perplexity(
    model: &Model,
    engine: &Engine,
    documents: &[Vec<u32>],
    max_len: usize,
) -> Result<Perplexity, PerplexityError> {
    let mut session = Session::new(model, engine).with_batch(LOGITS_BATCH);
    let (mut nll, mut tokens) = (0.0, 0);
    for document in documents {
        let ids = &document[..document.len().min(max_len)];
        let Some(predicted) = ids.get(1..).filter(|predicted| !predicted.is_empty()) else {
            continue;
        };
        session.truncate(0);
        let mut likelihood = Likelihood { predicted, vocab: model.config.vocab, nll: 0.0 };
        session.forward(ids, Want::Everything(&mut likelihood))?;
        nll += likelihood.nll;
        tokens += predicted.len();
    }
    if tokens == 0 {
        return Err(PerplexityError::NothingToPredict);
    }
    Ok(Perplexity { perplexity: libm::exp(nll / tokens as f64), nll, tokens })
}

struct Likelihood<'a> {
    /// The token after each position; the last position has none.
    predicted: &'a [u32],
    vocab: usize,
    nll: f64,
}

impl Observer for Likelihood<'_> {
    fn logits(&mut self, first: usize, logits: &[f32]) {
        for (row, &id) in
            logits.chunks_exact(self.vocab).zip(&self.predicted[first.min(self.predicted.len())..])
        {
            self.nll += negative_log_likelihood(row, id);
        }
    }
}

/// `-ln softmax(logits)[id]`.
fn negative_log_likelihood(logits: &[f32], id: u32) -> f64 {
    let max = f64::from(logits.iter().fold(f32::NEG_INFINITY, |max, logit| max.max(*logit)));
    let sum: f64 = logits.iter().map(|logit| libm::exp(f64::from(*logit) - max)).sum();
    libm::log(sum) + max - f64::from(logits[id as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihood_by_hand() {
        // Probabilities 1/2, 1/4, 1/4.
        let logits = [100.0 + std::f32::consts::LN_2, 100.0, 100.0];
        assert!((negative_log_likelihood(&logits, 0) - 2f64.ln()).abs() < 1e-5);
        assert!((negative_log_likelihood(&logits, 2) - 4f64.ln()).abs() < 1e-5);
        assert!((negative_log_likelihood(&[0.0; 8], 3) - 8f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn batches_line_up_with_what_they_predict() {
        let predicted = [1, 0];
        let mut likelihood = Likelihood { predicted: &predicted, vocab: 2, nll: 0.0 };
        // Three positions in two batches; the last predicts nothing.
        likelihood.logits(0, &[0.0, 0.0, 0.0, 0.0]);
        likelihood.logits(2, &[5.0, 0.0]);
        assert!((likelihood.nll - 2.0 * 2f64.ln()).abs() < 1e-15);
    }
}
