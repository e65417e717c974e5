//! What operations cost beside each other.

use std::sync::atomic::{AtomicBool, Ordering};

use super::arena::{Arena, Ground};
use super::contest::median;
use super::outcome::{Outcome, kernel_of};
use crate::shares::Blocks;

/// Samples of each operation.
const ROUNDS: usize = 9;

/// Puts the costs of all outcomes on one scale: that of their default kernels timed in turn, from the cache on one thread.
///
/// Contests are held minutes apart on a machine that others slow down in between, and not all kernels by as much: on a Zen 3
/// those that read the second-level cache took a quarter longer in some minutes in which products from registers took a
/// sixteenth. Which kernels serve several tokens is decided by comparing their costs.
///
/// Returns whether it came to its end: false where the caller has set `stop`.
pub fn compare(ground: &Ground<'_>, outcomes: &mut [Outcome], stop: &AtomicBool) -> bool {
    let mut timed = Vec::new();
    for (index, outcome) in outcomes.iter().enumerate() {
        if let Some((kernel, place)) = kernel_of(&outcome.default).zip(outcome.places.first()) {
            let mut arena = Arena::new(ground, *place, kernel.descriptor().tokens, Blocks::default());
            arena.prepare(&kernel);
            timed.push((index, kernel, arena, Vec::new()));
        }
    }
    for _ in 0..ROUNDS {
        for (_, kernel, arena, rates) in &mut timed {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            rates.push(arena.repeat(kernel));
        }
    }
    for (index, _, _, rates) in timed {
        outcomes[index].set_default_cost(256e9 / median(rates.into_iter()).max(1.0));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::kernels::DESCRIPTORS;
    use crate::kernels::abi::Descriptor;
    use crate::probe::memory::WeightMemory;
    use crate::tune::arena::Place;
    use crate::tune::outcome::Ranked;
    use kernelgen::tuned::Class;

    /// Costs of another scale each, beyond any that are possible: afterwards both are measured ones, and a winner that took
    /// half the default one's time still does.
    #[test]
    fn costs_of_contests_come_on_one_scale() {
        let engines = [Engine::with_threads(1).unwrap()];
        let memory = WeightMemory::new(8 << 20);
        let ground = Ground { memory: &memory, engines: &engines };
        let outcome = |operation: &str, unit: f64| {
            let is_it = |d: &Descriptor| (d.isa.id, d.operation, d.shape) == ("portable", operation, None);
            let default = DESCRIPTORS.iter().find(|d| is_it(d)).unwrap().name.to_owned();
            let ranked = |name: &str, cost: f64| Ranked {
                name: name.to_owned(),
                score: 1.0,
                relative: vec![1.0],
                of_probe: vec![1.0],
                noise: 0.0,
                cost: cost * unit,
            };
            Outcome {
                isa: "portable".to_owned(),
                operation: operation.to_owned(),
                class: Class::Long,
                ranked: vec![ranked("faster", 0.5), ranked(&default, 1.0)],
                default,
                places: vec![Place { rows: 640, cols: 2560, threads: 1 }],
                refused: Vec::new(),
            }
        };
        let mut outcomes = [outcome("gemv", 1e12), outcome("gemm4", 1e-12)];
        assert!(!compare(&ground, &mut outcomes, &AtomicBool::new(true)));
        assert_eq!(outcomes[0].ranked[1].cost, 1e12);
        assert!(compare(&ground, &mut outcomes, &AtomicBool::new(false)));
        for outcome in outcomes {
            let [winner, default] = [0, 1].map(|index| outcome.ranked[index].cost);
            assert!(
                (winner * 2.0 / default - 1.0).abs() < 1e-9 && (1e-6..1e9).contains(&default),
                "{outcome:?}"
            );
        }
    }
}
