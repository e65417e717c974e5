//! What a bench found, as `tritforge bench --json` writes it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::probe::{PLAUSIBLE, Rate};

/// The version of [`Report`]: raised when a field changes its meaning or goes; new fields do not raise it.
pub const VERSION: u32 = 1;

/// Everything that a run of the bench found. Rates are a second, bytes are bytes, times are seconds; a [`Rate`] has the
/// median, the worst and the best of the repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// Version of this program.
    pub tritforge: String,
    /// The architecture it was built for, and the operating system: `x86_64 linux`.
    pub platform: String,
    /// The highest instruction set in use.
    pub isa: String,
    /// The model.
    pub model: ModelFacts,
    /// Repetitions of every test.
    pub repetitions: usize,
    /// What the machine can do, by the number of threads.
    pub probes: Vec<Probed>,
    /// What was measured.
    pub tests: Vec<Test>,
    /// Ratios above 1.02: the probe was too low there, so that neither they nor the others of that probe can be trusted.
    pub probe_faults: Vec<String>,
}

/// What a model is and holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Its name.
    pub name: String,
    /// Multiply-adds of the ternary projections for a token.
    pub ternary_macs: usize,
    /// Bytes of packed ternary weights, with padding.
    pub ternary_bytes: usize,
    /// Bytes of the output head.
    pub head_bytes: usize,
    /// Bytes of keys and values of one position.
    pub kv_bytes_per_position: usize,
    /// How the float parts are computed, and what the head and the cache are kept in.
    pub precision: Precision,
}

/// A numerics profile, and the types it keeps values in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Precision {
    /// `exact` or `fast`.
    pub profile: String,
    /// Type of the output head: `f16` for example.
    pub head: String,
    /// Type of the key/value cache.
    pub kv: String,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Precision { profile, head, kv } = self;
        write!(f, "{profile}, {head}, {kv}")
    }
}

/// What the machine can do with so many threads, probed in the pauses between the tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// Threads.
    pub threads: usize,
    /// Bytes read from memory.
    pub bandwidth: Rate,
    /// The way of reading that was fastest.
    pub variant: String,
    /// The arithmetic peaks of the instruction sets that the tests' kernels are of.
    pub peaks: Vec<ProbedPeak>,
}

/// An arithmetic peak.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbedPeak {
    /// The instruction set.
    pub isa: String,
    /// What was executed.
    pub instructions: String,
    /// Multiply-adds of int8 values.
    pub macs: Rate,
}

/// What is done with the tokens of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A prompt at the start of a context, all of it at once.
    Prefill,
    /// One token after the other, each chosen from the logits of the one before.
    Decode,
}

/// One test on some number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Threads.
    pub threads: usize,
    /// What was done.
    pub kind: Kind,
    /// Sequences together.
    pub sequences: usize,
    /// Tokens of each sequence.
    pub tokens: usize,
    /// Positions that each sequence held before.
    pub depth: usize,
    /// Names of the kernels that took part.
    pub kernels: Vec<String>,
    /// Tokens a second, of all sequences together.
    pub tokens_per_second: Rate,
    /// What is read from memory for a token; none for a prefill, which computes rather than reads.
    pub read: Option<Read>,
    /// Ternary multiply-adds a second.
    pub ternary_macs: Rate,
    /// The instruction set of the kernels that do most of them.
    pub isa: String,
    /// These as a share of the peak of that instruction set that was probed before and after each repetition: the median of
    /// the repetitions.
    pub of_peak: f64,
    /// Where the time goes, if it was asked for.
    pub breakdown: Option<Breakdown>,
}

/// What is read for a token, on average. What sequences share counts for each with its part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Read {
    /// Bytes of ternary weights.
    pub ternary: f64,
    /// Bytes of the output head.
    pub head: f64,
    /// Bytes of keys and values: n tokens after d positions see d + (n + 1) / 2 positions each, their own among them.
    pub kv: f64,
    /// Bytes a second, all three together.
    pub bytes_per_second: Rate,
    /// These as a share of the bandwidth that was probed before and after each repetition: the median of the repetitions.
    pub of_bandwidth: f64,
    /// A pass reads less than the probe does in a sample: it may come from caches, and the share then says nothing.
    pub cacheable: bool,
}

impl Test {
    /// What was done: `decode 128, 4 together`.
    pub(super) fn name(&self) -> String {
        let kind = match self.kind {
            Kind::Prefill => "prefill",
            Kind::Decode => "decode",
        };
        let mut name = format!("{kind} {}", self.tokens);
        if self.depth > 0 {
            name += &format!(" after {}", self.depth);
        }
        if self.sequences > 1 {
            name += &format!(", {} together", self.sequences);
        }
        name
    }
}

impl Read {
    /// Bytes for a token.
    pub fn bytes(&self) -> f64 {
        self.ternary + self.head + self.kv
    }
}

/// Seconds that a token takes, by the parts of the work; the mean of the repetitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// The ternary projections, with the activation function of the gate.
    pub ternary: f64,
    /// Attention over the cache.
    pub attention: f64,
    /// The output head.
    pub head: f64,
    /// Norms, quantisation and all else, the choice of the next token among it.
    pub rest: f64,
}

impl Report {
    /// The ratios that no machine can reach.
    pub(super) fn find_probe_faults(&mut self) {
        let mut found = Vec::new();
        for test in &self.tests {
            let from_memory = test.read.as_ref().filter(|read| !read.cacheable);
            let read = from_memory.map_or(0.0, |read| read.of_bandwidth);
            for (ratio, of) in [(read, "read bandwidth"), (test.of_peak, "arithmetic peak")] {
                if ratio > PLAUSIBLE {
                    let (threads, kind) = (test.threads, test.kind);
                    found.push(format!("{kind:?} on {threads} threads: {ratio:.2} of the probed {of}"));
                }
            }
        }
        self.probe_faults = found;
    }
}
