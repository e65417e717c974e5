//! What this CPU says it has and does not do: kernels that died in a trial or returned wrong sums.

use std::fmt;

/// A kernel, or all kernels of an instruction set, that is not used because it does not work on this CPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kernel's name, or the id of the instruction set.
    pub subject: &'static str,
    /// What was wrong with it.
    pub finding: Finding,
}

/// What a trial of a kernel found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It ended the process that tried it: an illegal instruction, most likely.
    Died {
        /// The signal, where it is known.
        signal: Option<i32>,
    },
    /// A trial of a few milliseconds had not ended after ten seconds.
    TimedOut,
    /// Its sums are not those of the portable kernel.
    Wrong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.subject;
        match self.finding {
            Finding::Died { signal } => {
                write!(f, "{subject} does not work on this CPU, which says that it has it: a trial died")?;
                signal.map_or(Ok(()), |signal| write!(f, " of signal {signal}"))?;
            }
            Finding::TimedOut => write!(f, "{subject}: a trial had not ended after ten seconds")?,
            Finding::Wrong => write!(f, "{subject} disagrees with the portable one on this CPU")?,
        }
        write!(f, "; the next best is used instead")
    }
}
