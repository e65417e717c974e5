//! Where the time of a forward pass goes.

use std::time::{Duration, Instant};

/// The parts of a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The ternary projections; the gate with what is joined to it.
    Ternary,
    /// Queries against the cached keys, and the values by their weights.
    Attention,
    /// The output head.
    Head,
    /// Embedding, norms, quantisation, rotary embedding, cache writes, residual connections.
    Rest,
}

/// Time that forward passes took, by their parts, as the thread that leads them sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// The ternary projections, with the activation function of the gate.
    pub ternary: Duration,
    /// Attention over the cache.
    pub attention: Duration,
    /// The output head.
    pub head: Duration,
    /// Embedding, norms, quantisation, rotary embedding, cache writes, residual connections.
    pub rest: Duration,
}

/// Adds up [`Timings`] where it is asked to; else it does nothing.
#[derive(Debug, Default)]
pub(super) struct Stopwatch {
    timings: Option<Timings>,
    last: Option<Instant>,
}

impl Stopwatch {
    /// Begins at zero, or is switched off.
    pub fn set(&mut self, on: bool) {
        *self = Stopwatch { timings: on.then(Timings::default), last: None };
    }

    /// What has been added up; none where it is switched off.
    pub fn timings(&self) -> Option<Timings> {
        self.timings
    }

    /// A pass begins: what was before belongs to no part.
    pub fn start(&mut self) {
        if self.timings.is_some() {
            self.last = Some(Instant::now());
        }
    }

    /// The time since the last call belongs to `part`.
    pub fn lap(&mut self, part: Part) {
        let (Some(timings), Some(last)) = (&mut self.timings, self.last) else { return };
        let now = Instant::now();
        let of_part = match part {
            Part::Ternary => &mut timings.ternary,
            Part::Attention => &mut timings.attention,
            Part::Head => &mut timings.head,
            Part::Rest => &mut timings.rest,
        };
        *of_part += now - last;
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_to_the_part_that_ends_and_nowhere_when_off() {
        let mut watch = Stopwatch::default();
        watch.start();
        watch.lap(Part::Head);
        assert_eq!(watch.timings(), None);
        watch.set(true);
        // Before a pass has begun nothing counts.
        watch.lap(Part::Rest);
        assert_eq!(watch.timings(), Some(Timings::default()));
        let begun = Instant::now();
        watch.start();
        std::thread::sleep(Duration::from_millis(2));
        watch.lap(Part::Ternary);
        watch.lap(Part::Head);
        let took = begun.elapsed();
        let timings = watch.timings().unwrap();
        assert!(timings.ternary >= Duration::from_millis(2) && timings.ternary + timings.head <= took);
        assert_eq!((timings.attention, timings.rest), Default::default());
    }
}
