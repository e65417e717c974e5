//! Threads and block sizes.

use std::sync::atomic::{AtomicBool, Ordering};

use kernelgen::tuned::Settings;

use super::arena::{Arena, Ground, Place};
use super::contest::{WORTHWHILE, median};
use super::outcome::{Outcome, kernel_of};
use crate::engine::Engine;
use crate::exact::STREAMED_TOKENS;
use crate::kernels::abi::Kernel;
use crate::shares::Blocks;
use crate::team::Team;

/// KiB of a stream that are tried besides the default.
const STREAM_KIB: [usize; 3] = [256, 1024, 2048];
/// KiB of a chunk that are tried besides the default.
const CHUNK_KIB: [usize; 4] = [64, 128, 256, 512];
/// Samples of each.
const ROUNDS: usize = 15;

/// What is best with the winners of the contests; `None` where the caller has set `stop`.
pub fn settings(ground: &Ground<'_>, outcomes: &[Outcome], stop: &AtomicBool) -> Option<Settings> {
    let mut settings = Settings::default();
    let cost = |outcome: &&Outcome| outcome.ranked.first().map_or(f64::MAX, |winner| winner.cost);
    let cheapest = |wanted: &dyn Fn(usize) -> bool| {
        let fitting = outcomes.iter().filter_map(|outcome| Some((outcome, winner(outcome)?)));
        let fitting = fitting.filter(|(_, kernel)| wanted(kernel.descriptor().tokens));
        let per_token =
            |(outcome, kernel): &(&Outcome, Kernel)| cost(outcome) / kernel.descriptor().tokens as f64;
        fitting.min_by(|a, b| per_token(a).total_cmp(&per_token(b)))
    };
    let largest = |outcome: &Outcome| {
        outcome.places.iter().copied().max_by_key(|place| (place.rows * place.cols, place.threads))
    };
    if let Some((outcome, kernel)) = cheapest(&|tokens| tokens == 1)
        && let Some(place) = largest(outcome).filter(|place| super::arena::is_streamed(1, place.cols))
    {
        settings.threads = Some(threads(ground, &kernel, place, stop)?);
        let sizes = STREAM_KIB.map(|kib| Blocks { stream_bytes: kib << 10, ..Blocks::default() });
        let engine = ground.engine(place.threads);
        let rate = |arena: &mut Arena<'_>, team: &Team<'_>| arena.stream(&kernel, team);
        let best = best(ground, engine, &kernel, place, &sizes, rate, stop)?;
        settings.stream_kib = best.map(|index| STREAM_KIB[index]);
    }
    if let Some((outcome, kernel)) = cheapest(&|tokens| tokens > STREAMED_TOKENS)
        && let Some(place) = largest(outcome)
    {
        let sizes = CHUNK_KIB.map(|kib| Blocks { chunk_bytes: kib << 10, ..Blocks::default() });
        let rate = |arena: &mut Arena<'_>, _: &Team<'_>| arena.repeat(&kernel);
        let best = best(ground, ground.engine(1), &kernel, place, &sizes, rate, stop)?;
        settings.chunk_kib = best.map(|index| CHUNK_KIB[index]);
    }
    Some(settings)
}

/// The best of those that are linked.
fn winner(outcome: &Outcome) -> Option<Kernel> {
    outcome.ranked.iter().find_map(|kernel| kernel_of(&kernel.name))
}

/// The number of threads that streams weights the fastest: of about equal ones the fewest.
fn threads(ground: &Ground<'_>, kernel: &Kernel, place: Place, stop: &AtomicBool) -> Option<usize> {
    let engines = ground.engines;
    let arena = |engine: &Engine| {
        Arena::new(ground, Place { threads: engine.threads(), ..place }, 1, Blocks::default())
    };
    let mut arenas: Vec<Arena<'_>> = engines.iter().map(arena).collect();
    let mut rates = vec![Vec::new(); engines.len()];
    for _ in 0..ROUNDS {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        for ((engine, arena), rates) in engines.iter().zip(&mut arenas).zip(&mut rates) {
            rates.push(engine.region(|team| {
                arena.warm_up(kernel, team);
                arena.stream(kernel, team)
            }));
        }
    }
    let rates: Vec<f64> = rates.into_iter().map(|rates| median(rates.into_iter())).collect();
    let best = rates.iter().copied().fold(0.0, f64::max);
    let mut good = engines.iter().zip(&rates).filter(|(_, rate)| **rate * (1.0 + WORTHWHILE) >= best);
    good.next().map(|(engine, _)| engine.threads())
}

/// Which of some sizes is faster than the default by more than noise, and the fastest; the outer `None` where the caller
/// has set `stop`.
fn best(
    ground: &Ground<'_>,
    engine: &Engine,
    kernel: &Kernel,
    place: Place,
    sizes: &[Blocks],
    rate: impl Fn(&mut Arena<'_>, &Team<'_>) -> f64 + Sync,
    stop: &AtomicBool,
) -> Option<Option<usize>> {
    let tokens = kernel.descriptor().tokens;
    let all = std::iter::once(Blocks::default()).chain(sizes.iter().copied());
    let mut arenas: Vec<Arena<'_>> = all.map(|blocks| Arena::new(ground, place, tokens, blocks)).collect();
    arenas.iter_mut().for_each(|arena| arena.prepare(kernel));
    let mut ratios = vec![Vec::new(); sizes.len()];
    for _ in 0..ROUNDS {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        engine.region(|team| {
            arenas[0].warm_up(kernel, team);
            let default = rate(&mut arenas[0], team);
            for (arena, ratios) in arenas[1..].iter_mut().zip(&mut ratios) {
                ratios.push(rate(arena, team) / default);
            }
        });
    }
    let ratios: Vec<f64> = ratios.into_iter().map(|ratios| median(ratios.into_iter())).collect();
    let best = (0..ratios.len()).max_by(|&a, &b| ratios[a].total_cmp(&ratios[b]));
    Some(best.filter(|&best| ratios[best] > 1.0 + 2.0 * WORTHWHILE))
}
