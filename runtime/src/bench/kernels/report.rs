//! What a bench of kernels found.

use serde::{Deserialize, Serialize};

use crate::exact::Inexact;
use crate::probe::{PLAUSIBLE, Rate};

/// All kernels that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct KernelReport {
    /// What was measured.
    pub tests: Vec<KernelTest>,
    /// Kernels that are not exact, and were therefore not timed.
    pub refused: Vec<Refused>,
    /// Ratios above 1.02: the probe was too low there.
    pub probe_faults: Vec<String>,
}

/// What bounds a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Roof {
    /// The read bandwidth, times the multiply-adds that a byte is good for.
    Bandwidth,
    /// What its instruction set multiplies from registers.
    Peak,
}

/// A kernel on a matrix, with some number of threads. Rates are a second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelTest {
    /// The kernel's name.
    pub kernel: String,
    /// `gemv` or `gemm<tokens>`: what a call computes.
    pub operation: String,
    /// Its instruction set.
    pub isa: String,
    /// How its loops are arranged.
    #[serde(default)]
    pub schedule: String,
    /// Whether it was made for the shape of this matrix, rather than for any.
    #[serde(default)]
    pub is_fixed: bool,
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Tokens that the matrix is read from memory for: those of one call, or of a prompt.
    pub tokens: usize,
    /// Threads.
    pub threads: usize,
    /// Multiply-adds for a byte of weights.
    pub macs_per_byte: f64,
    /// Bytes of weights.
    pub bytes_per_second: Rate,
    /// Multiply-adds.
    pub macs: Rate,
    /// Half the spread of the middle half of the samples, as a share of their median.
    pub noise: f64,
    /// The median of the read bandwidth probed in turn with it, in bytes.
    pub bandwidth: f64,
    /// The same of what its instruction set multiplies from registers.
    pub peak: f64,
    /// Which of the two bounds it.
    pub roof: Roof,
    /// The multiply-adds as a share of that bound, each sample of the one that was probed with it: the median.
    pub of_roof: f64,
}

/// A kernel that was not timed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its name.
    pub kernel: String,
    /// What is wrong with it.
    pub reason: String,
}

impl KernelTest {
    /// What a user would call it: `gemv 2560x2560, 2 threads`.
    pub fn title(&self) -> String {
        let (s, prompt) = (plural(self.threads), if self.is_prompt() { " of a prompt" } else { "" });
        let tokens = format!("{} token{}{prompt}", self.tokens, plural(self.tokens));
        format!("{}, {}x{}, {tokens}, {} thread{s}", self.kernel, self.rows, self.cols, self.threads)
    }

    /// Whether the tokens are those of a prompt rather than of one call.
    pub fn is_prompt(&self) -> bool {
        let at_once = self.operation.strip_prefix("gemm").and_then(|tokens| tokens.parse().ok()).unwrap_or(1);
        self.tokens > at_once
    }

    /// Whether that is the same product by the generic kernel with the schedule of this one, which is made for the shape.
    pub fn is_twin(&self, generic: &KernelTest) -> bool {
        fn product(test: &KernelTest) -> (&str, &str, &str, [usize; 4]) {
            let sizes = [test.rows, test.cols, test.tokens, test.threads];
            (&test.isa, &test.operation, &test.schedule, sizes)
        }
        self.is_fixed && !generic.is_fixed && product(self) == product(generic)
    }

    /// The fault of the probe that the ratio is proof of, if it is.
    pub fn probe_fault(&self) -> Option<String> {
        (self.of_roof > PLAUSIBLE).then(|| {
            let of = match self.roof {
                Roof::Bandwidth => "read bandwidth",
                Roof::Peak => "arithmetic peak",
            };
            format!("{}: {:.2} of the probed {of}", self.title(), self.of_roof)
        })
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

impl KernelReport {
    pub(super) fn refuse(&mut self, kernel: &str, reason: &Inexact) {
        let refused = Refused { kernel: kernel.to_owned(), reason: reason.to_string() };
        // Once, however many threads it was tried with.
        if !self.refused.contains(&refused) {
            self.refused.push(refused);
        }
    }

    /// Takes over what another one found.
    pub(in crate::bench) fn merge(&mut self, other: KernelReport) {
        self.tests.extend(other.tests);
        self.refused.extend(
            other.refused.into_iter().filter(|refused| !self.refused.contains(refused)).collect::<Vec<_>>(),
        );
        self.probe_faults.extend(other.probe_faults);
    }

    pub(in crate::bench) fn find_probe_faults(&mut self) {
        self.probe_faults = self.tests.iter().filter_map(KernelTest::probe_fault).collect();
    }
}
