//! What is measured of a kernel.

use crate::exact::STREAMED_TOKENS;
use crate::kernels::abi::Kernel;

/// A product that a kernel computes: of a matrix in memory with the tokens of one call, or with those of a prompt, part of
/// the matrix after part so that each stays in the cache for all tokens.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The kernel.
    pub kernel: Kernel,
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Tokens; those of a call, or of a prompt.
    pub tokens: usize,
}

impl Case {
    /// Every product that kernels are measured with: kernels of fixed shapes at theirs, the others at `generic`; those that
    /// take at most 8 tokens a call with these, those that take several with a prompt of at least `prompt` tokens.
    pub fn all(kernels: &[Kernel], generic: &[(usize, usize)], prompt: usize) -> Vec<Case> {
        let mut cases = Vec::new();
        for &kernel in kernels {
            let descriptor = kernel.descriptor();
            let shapes = descriptor.shape.map_or(generic.to_vec(), |shape| vec![shape]);
            let at_once = descriptor.tokens;
            // A kernel takes its tokens at once or not at all.
            let prompt = prompt.next_multiple_of(at_once);
            for (rows, cols) in shapes {
                let case = |tokens| Case { kernel, rows, cols, tokens };
                cases.extend((at_once <= STREAMED_TOKENS).then(|| case(at_once)));
                cases.extend((at_once > 1 && prompt > at_once).then(|| case(prompt)));
            }
        }
        cases
    }

    /// Multiply-adds.
    pub fn macs(&self) -> usize {
        self.rows * self.cols * self.tokens
    }

    /// Whether the weights are read from memory for one call, and not for a whole prompt.
    pub fn is_streamed(&self) -> bool {
        self.tokens == self.kernel.descriptor().tokens
    }
}
