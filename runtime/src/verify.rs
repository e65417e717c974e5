//! Comparing a model with a reference: the same token ids in, the values that should come out.

mod perplexity;
mod reference;

pub use perplexity::{Perplexity, PerplexityError, perplexity};
pub use reference::{Reference, ReferenceError};

use crate::engine::Engine;
use crate::model::forward::LOGITS_BATCH;
use crate::model::{ForwardError, Model, Observer, Session, Want};
use crate::sampling::argmax;
use std::fmt;

/// Why a model could not be compared with a reference.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The reference has an `embedding`, which this model does not compute.
    #[error(
        "the reference has an `embedding`, but the model has no pooling: it returns logits and hidden states \
         only; use the reference of a text model"
    )]
    NoPooling,
    /// A tensor has another shape than the model's.
    #[error("{tensor} of the reference has the shape {found:?}; this model's is {expected:?}")]
    Shape {
        /// Name of the tensor.
        tensor: String,
        /// Shape in the reference.
        found: [usize; 2],
        /// Shape that the model computes.
        expected: [usize; 2],
    },
    /// Hidden states of a layer that the model does not have.
    #[error("the reference has {tensor}; this model has hidden.0 to hidden.{last}")]
    NoSuchLayer {
        /// Name of the tensor.
        tensor: String,
        /// The model's last one.
        last: usize,
    },
    /// A token id that the model does not have.
    #[error("element {index} of {tensor} is {id}; the model's vocabulary has ids 0 to {}", .vocab - 1)]
    IdOutOfRange {
        /// `input_ids` or `greedy`.
        tensor: &'static str,
        /// Index in it.
        index: usize,
        /// The id.
        id: i64,
        /// Size of the vocabulary.
        vocab: usize,
    },
    /// The forward pass failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Differences of one tensor, in units of the standard deviation of the reference tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorReport {
    /// Name of the tensor.
    pub name: String,
    /// `[tokens, vocab or hidden]`.
    pub shape: [usize; 2],
    /// Largest absolute difference.
    pub max_over_std: f64,
    /// Mean absolute difference.
    pub mean_over_std: f64,
    /// For logits, the fraction of the tokens whose largest logit is the same one.
    pub top1_agreement: Option<f64>,
}

/// The first place where a greedy continuation leaves the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GreedyMismatch {
    /// Index in `greedy`.
    pub index: usize,
    /// The reference's token.
    pub expected: u32,
    /// The model's token.
    pub found: u32,
}

/// The comparison of a greedy continuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GreedyReport {
    /// Number of tokens of the reference's continuation.
    pub tokens: usize,
    /// Where the model's leaves it; none when all tokens are the same.
    pub mismatch: Option<GreedyMismatch>,
}

/// The result of [`verify`].
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyReport {
    /// One entry a tensor: logits first, then hidden states in the order of the layers.
    pub tensors: Vec<TensorReport>,
    /// The greedy continuation, if the reference has one.
    pub greedy: Option<GreedyReport>,
}

impl VerifyReport {
    /// The largest difference of all tensors, in standard deviations; 0 when there are none.
    pub fn max_over_std(&self) -> f64 {
        self.tensors.iter().map(|t| t.max_over_std).fold(0.0, f64::max)
    }

    /// True when no difference is above `tolerance` (standard deviations) and the greedy continuation, if
    /// there is one, is identical. A NaN tolerance passes nothing.
    pub fn passes(&self, tolerance: f64) -> bool {
        self.max_over_std() <= tolerance && self.greedy.is_none_or(|g| g.mismatch.is_none())
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for t in &self.tensors {
            let shape = format!("{}x{}", t.shape[0], t.shape[1]);
            write!(f, "{:<10} {shape:>12}", t.name)?;
            write!(f, "  largest {:.2e} std  mean {:.2e} std", t.max_over_std, t.mean_over_std)?;
            if let Some(agreement) = t.top1_agreement {
                write!(f, "  top-1 {:.2}%", agreement * 100.0)?;
            }
            writeln!(f)?;
        }
        match &self.greedy {
            None => Ok(()),
            Some(GreedyReport { tokens, mismatch: None }) => {
                writeln!(f, "greedy     {tokens:>12}  identical")
            }
            Some(GreedyReport { tokens, mismatch: Some(m) }) => writeln!(
                f,
                "greedy     {tokens:>12}  differs at {}: {} instead of {}",
                m.index, m.found, m.expected
            ),
        }
    }
}

/// Feeds the reference's `input_ids` to `model` and compares every tensor that the reference has.
///
/// # Errors
/// [`VerifyError`]: an `embedding` reference, shapes or ids that are not this model's, a failed forward pass.
pub fn verify(model: &Model, engine: &Engine, reference: &Reference) -> Result<VerifyReport, VerifyError> {
    if reference.has_embedding {
        return Err(VerifyError::NoPooling);
    }
    let config = &model.config;
    let ids = token_ids("input_ids", &reference.input_ids, config.vocab)?;
    let greedy = token_ids("greedy", &reference.greedy, config.vocab)?;
    let comparison = |name: String, shape: [usize; 2], values, cols| {
        let expected = [ids.len(), cols];
        if shape != expected {
            return Err(VerifyError::Shape { tensor: name, found: shape, expected });
        }
        Ok(Comparison { name, cols, reference: values, largest: 0.0, sum: 0.0, same_top1: 0 })
    };
    let logits = match &reference.logits {
        Some(t) => Some(comparison("logits".into(), t.shape, &t.values[..], config.vocab)?),
        None => None,
    };
    let mut hidden = Vec::new();
    for (&index, tensor) in &reference.hidden {
        let name = format!("hidden.{index}");
        if index > config.layers {
            return Err(VerifyError::NoSuchLayer { tensor: name, last: config.layers });
        }
        hidden.push((index, comparison(name, tensor.shape, &tensor.values[..], config.hidden)?));
    }

    let mut comparer = Comparer { logits, hidden };
    let mut session = Session::new(model, engine).with_batch(LOGITS_BATCH);
    let mut logits = session.forward(&ids, Want::Everything(&mut comparer))?;
    let mut mismatch = None;
    for (index, &expected) in greedy.iter().enumerate() {
        let found = argmax(logits);
        if found != expected {
            mismatch = Some(GreedyMismatch { index, expected, found });
            break;
        }
        if index + 1 < greedy.len() {
            logits = session.forward(&[found], Want::LastLogits)?;
        }
    }
    let tensors = comparer.logits.into_iter().map(|c| c.report(true));
    let tensors = tensors.chain(comparer.hidden.into_iter().map(|(_, c)| c.report(false))).collect();
    let greedy = (!greedy.is_empty()).then_some(GreedyReport { tokens: greedy.len(), mismatch });
    Ok(VerifyReport { tensors, greedy })
}

fn token_ids(tensor: &'static str, ids: &[i64], vocab: usize) -> Result<Vec<u32>, VerifyError> {
    let checked = ids.iter().enumerate().map(|(index, &id)| match u32::try_from(id) {
        Ok(small) if (small as usize) < vocab => Ok(small),
        _ => Err(VerifyError::IdOutOfRange { tensor, index, id, vocab }),
    });
    checked.collect()
}

/// The running comparison of one tensor.
struct Comparison<'a> {
    name: String,
    cols: usize,
    reference: &'a [f32],
    /// Of the absolute differences.
    largest: f64,
    sum: f64,
    same_top1: usize,
}

impl Comparison<'_> {
    fn add(&mut self, first: usize, values: &[f32], count_top1: bool) {
        let reference = &self.reference[first * self.cols..][..values.len()];
        for (ours, theirs) in values.iter().zip(reference) {
            let difference = (f64::from(*ours) - f64::from(*theirs)).abs();
            self.largest = self.largest.max(difference);
            self.sum += difference;
        }
        if count_top1 {
            let rows = values.chunks_exact(self.cols).zip(reference.chunks_exact(self.cols));
            self.same_top1 += rows.filter(|(ours, theirs)| argmax(ours) == argmax(theirs)).count();
        }
    }

    fn report(self, is_logits: bool) -> TensorReport {
        let deviation = reference::standard_deviation(self.reference);
        let rows = self.reference.len() / self.cols;
        TensorReport {
            name: self.name,
            shape: [rows, self.cols],
            max_over_std: self.largest / deviation,
            mean_over_std: self.sum / self.reference.len() as f64 / deviation,
            top1_agreement: is_logits.then(|| self.same_top1 as f64 / rows as f64),
        }
    }
}

struct Comparer<'a> {
    logits: Option<Comparison<'a>>,
    /// By index of the layer.
    hidden: Vec<(usize, Comparison<'a>)>,
}

impl Observer for Comparer<'_> {
    fn hidden(&mut self, index: usize, first: usize, states: &[f32]) {
        if let Some((_, comparison)) = self.hidden.iter_mut().find(|(i, _)| *i == index) {
            comparison.add(first, states, false);
        }
    }

    fn logits(&mut self, first: usize, logits: &[f32]) {
        if let Some(comparison) = &mut self.logits {
            comparison.add(first, logits, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(max: f64, mismatch: Option<GreedyMismatch>) -> VerifyReport {
        let tensor = TensorReport {
            name: "logits".into(),
            shape: [2, 3],
            max_over_std: max,
            mean_over_std: max / 2.0,
            top1_agreement: Some(0.5),
        };
        VerifyReport { tensors: vec![tensor], greedy: Some(GreedyReport { tokens: 4, mismatch }) }
    }

    #[test]
    fn the_verdict_needs_small_differences_and_the_same_tokens() {
        assert!(report(9e-4, None).passes(1e-3));
        assert!(!report(1.1e-3, None).passes(1e-3));
        assert!(!report(9e-4, None).passes(f64::NAN));
        let mismatch = GreedyMismatch { index: 2, expected: 7, found: 9 };
        let report = report(0.0, Some(mismatch));
        assert!(!report.passes(1e-3));
        let text = report.to_string();
        assert!(text.contains("differs at 2: 9 instead of 7") && text.contains("top-1 50.00%"), "{text}");
    }

    #[test]
    fn differences_are_measured_over_the_batches() {
        // The standard deviation of (1, 3, 1, 3) is 1.
        let reference = [1.0, 3.0, 1.0, 3.0];
        let mut comparison = Comparison {
            name: "logits".into(),
            cols: 2,
            reference: &reference,
            largest: 0.0,
            sum: 0.0,
            same_top1: 0,
        };
        comparison.add(0, &[1.0, 3.5], true);
        comparison.add(1, &[2.5, 2.0], true);
        let report = comparison.report(true);
        assert_eq!((report.max_over_std, report.mean_over_std), (1.5, 0.75));
        assert_eq!((report.top1_agreement, report.shape), (Some(0.5), [2, 2]));
    }

    #[test]
    fn ids_outside_of_the_vocabulary_are_named() {
        assert_eq!(token_ids("greedy", &[0, 9], 10).unwrap(), [0, 9]);
        for bad in [-1, 10, 1 << 33] {
            let error = token_ids("greedy", &[0, bad], 10).unwrap_err().to_string();
            assert!(error.contains(&format!("element 1 of greedy is {bad}")), "{error}");
        }
    }
}
