//! Operands that a kernel cannot take: each a typed error, and nothing is written.

use std::ops::Range;

use tritforge::kernels::abi::{Kernel, KernelError, Problem};
use tritforge_tests::{CANARY, Case, Placed, shared};

use crate::shape;

/// A call that must be refused: the operands, and the results' length and stride.
struct Refused<'a> {
    kernel: &'a Kernel,
    case: &'a Case,
}

impl Refused<'_> {
    fn rows(&self) -> usize {
        self.case.rows
    }

    /// Values that the results of all rows need.
    fn out_len(&self) -> usize {
        self.kernel.descriptor().tokens * self.rows()
    }

    fn call(
        &self,
        problem: &Problem<'_>,
        tiles: Range<usize>,
        (len, stride): (usize, usize),
        expected: &KernelError,
    ) -> Result<(), String> {
        let mut out = vec![CANARY; len];
        let found = self.kernel.run(problem, tiles, &mut out, stride);
        if found.as_ref() != Err(expected) {
            return Err(format!("{found:?} instead of {expected:?}"));
        }
        if out.iter().any(|value| *value != CANARY) {
            return Err(format!("results were written despite of {expected:?}"));
        }
        let message = expected.to_string();
        match message.starts_with(self.kernel.descriptor().name) {
            true => Ok(()),
            false => Err(format!("the message does not name the kernel: {message}")),
        }
    }

    /// A wrong problem, with tiles and results that would be right.
    fn problem(&self, problem: &Problem<'_>, expected: &KernelError) -> Result<(), String> {
        self.call(problem, 0..self.case.tiles(), (self.out_len(), self.rows()), expected)
    }

    fn length(&self, operand: &'static str, found: usize, needed: usize) -> KernelError {
        KernelError::Length { kernel: self.kernel.descriptor().name, operand, found, needed }
    }
}

/// Provokes every error.
pub fn refused(kernel: &Kernel) -> Result<(), String> {
    let case = shared(shape(kernel));
    let refused = Refused { kernel, case: &case };
    shapes(&refused)?;
    weights(&refused)?;
    activations(&refused)?;
    results(&refused)?;
    tiles(&refused)
}

fn shapes(refused: &Refused<'_>) -> Result<(), String> {
    let Refused { kernel, case } = *refused;
    let (name, expected) = (kernel.descriptor().name, kernel.descriptor().shape);
    let mut wrong = vec![(0, case.cols), (case.rows, 0), (0, 0)];
    if expected.is_some() {
        wrong.extend([(case.rows - 1, case.cols), (case.rows, case.cols + 1), (case.cols, case.rows + 1)]);
    }
    for (rows, cols) in wrong {
        let error = KernelError::Shape { kernel: name, found: (rows, cols), expected };
        refused.problem(&Problem { rows, cols, ..case.problem() }, &error)?;
    }
    if expected.is_none() {
        let k_max = kernel.descriptor().k_max;
        for cols in [k_max + 1, usize::MAX] {
            let error = KernelError::TooManyColumns { kernel: name, cols, k_max };
            refused.problem(&Problem { cols, ..case.problem() }, &error)?;
        }
        // A matrix that no memory could hold is short of weights, not an overflow.
        let rows = usize::MAX;
        let problem = Problem { rows, ..case.problem() };
        let error = refused.length("weights", case.weights.len(), usize::MAX);
        refused.call(&problem, 0..1, (refused.out_len(), case.rows), &error)?;
    }
    Ok(())
}

fn weights(refused: &Refused<'_>) -> Result<(), String> {
    let Refused { kernel, case } = *refused;
    for offset in [1, 4, 16, 32, 63] {
        let weights = Placed::copy_of(&case.weights, offset);
        let error = KernelError::MisalignedWeights { kernel: kernel.descriptor().name, offset };
        refused.problem(&Problem { weights: &weights, ..case.problem() }, &error)?;
    }
    let needed = case.weights.len();
    let short = Problem { weights: &case.weights[..needed - 1], ..case.problem() };
    refused.problem(&short, &refused.length("weights", needed - 1, needed))?;
    if kernel.descriptor().expanded.is_some() {
        let needed = 4 * case.weights.len();
        let codes = Placed::copy_of(&vec![1u8; needed - 1], 0);
        let short = Problem { expanded: Some(&codes), ..case.problem() };
        refused.problem(&short, &refused.length("expanded weights", needed - 1, needed))?;
        let codes = Placed::copy_of(&vec![1u8; needed], 3);
        let error = KernelError::MisalignedWeights { kernel: kernel.descriptor().name, offset: 3 };
        refused.problem(&Problem { expanded: Some(&codes), ..case.problem() }, &error)?;
    }
    Ok(())
}

fn activations(refused: &Refused<'_>) -> Result<(), String> {
    let Refused { kernel, case } = *refused;
    let (name, tokens) = (kernel.descriptor().name, kernel.descriptor().tokens);
    let act_stride = case.stride - 1;
    refused.problem(
        &Problem { act_stride, ..case.problem() },
        &refused.length("activation stride", act_stride, case.stride),
    )?;
    let needed = tokens * case.stride;
    let short = Problem { acts: &case.acts[..needed - 1], ..case.problem() };
    refused.problem(&short, &refused.length("activations", needed - 1, needed))?;
    let short = Problem { act_sums: &case.sums[..tokens - 1], ..case.problem() };
    refused.problem(&short, &refused.length("activation sums", tokens - 1, tokens))?;
    if let Some(run) = kernel.descriptor().interleaved {
        // Atoms that are no whole run have one each.
        let left = if run > 16 { case.stride % run / 16 } else { case.stride % run };
        let needed = tokens * (case.stride / run + left) * run;
        let interleaved = vec![0; needed - 1];
        let short = Problem { interleaved: Some(&interleaved), ..case.problem() };
        refused.problem(&short, &refused.length("interleaved activations", needed - 1, needed))?;
    }
    if tokens > 1 {
        let act_stride = usize::MAX;
        let error = refused.length("activations", case.acts.len(), usize::MAX);
        refused.problem(&Problem { act_stride, ..case.problem() }, &error)?;
    }
    // Of the shapes that are tried, those of the generic kernels have columns to pad.
    for padding in case.cols..case.stride {
        for token in 0..tokens {
            let mut acts = case.acts.clone();
            acts[token * case.stride + padding] = 1;
            let error = KernelError::Padding { kernel: name, token };
            refused.problem(&Problem { acts: &acts, ..case.problem() }, &error)?;
        }
    }
    Ok(())
}

fn results(refused: &Refused<'_>) -> Result<(), String> {
    let Refused { kernel, case } = *refused;
    let (all, rows, len) = (0..case.tiles(), case.rows, refused.out_len());
    let error = refused.length("output", len - 1, len);
    refused.call(&case.problem(), all.clone(), (len - 1, rows), &error)?;
    if kernel.descriptor().tokens > 1 {
        let error = refused.length("output stride", rows - 1, rows);
        refused.call(&case.problem(), all.clone(), (len, rows - 1), &error)?;
        let error = refused.length("output", len, usize::MAX);
        refused.call(&case.problem(), all, (len, usize::MAX), &error)?;
    }
    Ok(())
}

fn tiles(refused: &Refused<'_>) -> Result<(), String> {
    let Refused { kernel, case } = *refused;
    let tiles = case.tiles();
    #[expect(clippy::reversed_empty_ranges, reason = "what must be refused")]
    for found in [0..tiles + 1, tiles..tiles + 1, 1..0, 0..usize::MAX] {
        let error = KernelError::Tiles { kernel: kernel.descriptor().name, found: found.clone(), tiles };
        refused.call(&case.problem(), found, (refused.out_len(), case.rows), &error)?;
    }
    Ok(())
}
