//! A contest: kernels of one operation on one instruction set, timed in turn at the same places.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kernelgen::tuned::Class;

use super::arena::{Arena, Ground, Place, check, is_streamed};
use super::outcome::{Outcome, Ranked, Refused};
use crate::kernels::abi::Kernel;
use crate::probe::bandwidth::ReadProbe;
use crate::probe::peak::PeakProbe;
use crate::probe::{MIB, Samples};
use crate::shares::Blocks;
use crate::team::Team;

/// Bytes of a sample of the read bandwidth.
const PROBE_WINDOW: usize = 16 * MIB;

/// The share by which a kernel has to be faster than the default one to take its place: less is as likely noise.
pub const WORTHWHILE: f64 = 0.01;
/// The share by which it may be slower at any place; or its noise, where that is more.
const BEARABLE: f64 = 0.02;

/// Rounds that are made whatever time is left.
pub const LEAST_ROUNDS: usize = 5;

/// A kernel in a contest.
#[derive(Debug)]
struct Contestant {
    kernel: Kernel,
    /// Weights a second, by place and round.
    rates: Vec<Vec<f64>>,
    /// Weights a second from the cache on one thread, by round.
    cached: Samples,
}

/// A contest under way.
#[derive(Debug)]
pub struct Contest<'a> {
    ground: &'a Ground<'a>,
    class: Class,
    arenas: Vec<Arena<'a>>,
    /// The default kernel comes first.
    contestants: Vec<Contestant>,
    refused: Vec<Refused>,
    /// Read probes, by place where weights come from memory.
    reads: Vec<ReadProbe<'a>>,
    peak: PeakProbe,
    streamed: bool,
}

impl<'a> Contest<'a> {
    /// A contest of kernels of the same operation and instruction set, the default one first. A kernel that is not bit-exact
    /// is refused and not timed; `None` where the default one is, or there are no places.
    pub fn new(
        ground: &'a Ground<'a>,
        kernels: &[Kernel],
        places: &[Place],
        class: Class,
        blocks: Blocks,
    ) -> Option<Self> {
        let (first, place) = (kernels.first()?.descriptor(), places.first()?);
        let (mut exact, mut refused) = (Vec::new(), Vec::new());
        for kernel in kernels {
            match check(kernel, ground.memory) {
                Ok(()) => exact.push(*kernel),
                Err(inexact) => {
                    let name = kernel.descriptor().name.to_owned();
                    refused.push(Refused { name, reason: inexact.to_string() });
                }
            }
        }
        if exact.first().is_none_or(|kernel| kernel.descriptor().name != first.name) {
            return None;
        }
        let mut arenas: Vec<Arena<'a>> =
            places.iter().map(|place| Arena::new(ground, *place, first.tokens, blocks)).collect();
        arenas.iter_mut().for_each(|arena| exact.iter().for_each(|kernel| arena.prepare(kernel)));
        let contestant =
            |kernel| Contestant { kernel, rates: vec![Vec::new(); places.len()], cached: Samples::default() };
        Some(Contest {
            ground,
            class,
            contestants: exact.into_iter().map(contestant).collect(),
            refused,
            reads: places.iter().map(|_| ReadProbe::new(ground.memory.bytes(), PROBE_WINDOW)).collect(),
            peak: PeakProbe::new(&[first.isa.id]),
            streamed: is_streamed(first.tokens, place.cols),
            arenas,
        })
    }

    /// Rounds until the time is up, at least [`LEAST_ROUNDS`], or until `stop` is set: then it returns false.
    pub fn run(&mut self, time: Duration, stop: &AtomicBool) -> bool {
        let start = Instant::now();
        let mut rounds = 0;
        while rounds < LEAST_ROUNDS || start.elapsed() < time {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            self.round(rounds);
            rounds += 1;
        }
        true
    }

    /// Every kernel once at every place, in an order that changes from round to round, and the probes.
    fn round(&mut self, round: usize) {
        let (streamed, count) = (self.streamed, self.contestants.len());
        for engine in self.ground.engines {
            let mut places: Vec<usize> = (0..self.arenas.len()).collect();
            places.retain(|index| self.arenas[*index].place().threads == engine.threads());
            let Some(&first) = places.first() else { continue };
            let (arenas, reads, peak) = (&mut self.arenas, &mut self.reads, &mut self.peak);
            let contestants = &mut self.contestants;
            engine.region(|team| {
                arenas[first].warm_up(&contestants[0].kernel, team);
                for index in places {
                    let arena = &mut arenas[index];
                    if streamed {
                        reads[index].sample(team);
                    }
                    // Beside what runs from the cache.
                    if !streamed || index == 0 {
                        peak.sample(&Team::solo());
                    }
                    for turn in 0..count {
                        let contestant = &mut contestants[(turn + round) % count];
                        if streamed {
                            contestant.rates[index].push(arena.stream(&contestant.kernel, team));
                        }
                        // From the cache, the first place speaks for all of the class.
                        if !streamed || index == 0 {
                            let rate = arena.repeat(&contestant.kernel);
                            contestant.cached.push(rate);
                            if !streamed {
                                contestant.rates[index].push(rate);
                            }
                        }
                    }
                }
            });
        }
    }

    /// The best so many kernels after the first `passed` ones, the best first.
    pub fn best(&self, count: usize, passed: usize) -> Vec<Kernel> {
        let mut order: Vec<usize> = (passed.min(self.contestants.len())..self.contestants.len()).collect();
        order.sort_by(|a, b| self.score(*b).total_cmp(&self.score(*a)));
        order.into_iter().take(count).map(|index| self.contestants[index].kernel).collect()
    }

    /// How fast a kernel is at each place, the default one being 1: medians over the rounds, in each of which both ran.
    fn relative(&self, index: usize) -> Vec<f64> {
        let (one, default) = (&self.contestants[index].rates, &self.contestants[0].rates);
        let places = one.iter().zip(default);
        places.map(|(one, default)| median(one.iter().zip(default).map(|(a, b)| a / b))).collect()
    }

    /// The geometric mean of [`Contest::relative`].
    fn score(&self, index: usize) -> f64 {
        let relative = self.relative(index);
        (relative.iter().map(|ratio| ratio.ln()).sum::<f64>() / relative.len() as f64).exp()
    }

    /// Kernels that are not exact.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// What was found so far, the winner first: the fastest on the whole that is nowhere slower than the default one by more
    /// than noise, and not the default one's equal.
    pub fn outcome(&self) -> Outcome {
        let descriptor = self.contestants[0].kernel.descriptor();
        let peak = self.peak.peak(descriptor.isa.id).map_or(f64::NAN, |peak| peak.rate.median);
        let mut ranked: Vec<Ranked> =
            (0..self.contestants.len()).map(|index| self.ranked(index, peak)).collect();
        // Where the default one holds its place, the others come after it.
        let rank = |kernel: &Ranked| {
            let is_default = kernel.name == descriptor.name;
            let bearable = BEARABLE.max(kernel.noise);
            let slower = kernel.relative.iter().any(|ratio| *ratio < 1.0 - bearable);
            let wins = kernel.score > 1.0 + WORTHWHILE && !slower;
            (!wins && !is_default, std::cmp::Reverse((kernel.score * 1e6) as u64))
        };
        ranked.sort_by_key(rank);
        Outcome {
            isa: descriptor.isa.id.to_owned(),
            operation: descriptor.operation.to_owned(),
            default: descriptor.name.to_owned(),
            class: self.class,
            places: self.arenas.iter().map(Arena::place).collect(),
            ranked,
            refused: self.refused.clone(),
        }
    }

    /// How much a kernel's rate at a place varies beside that of all kernels in the same round.
    fn noise(&self, index: usize, place: usize) -> f64 {
        let mean = |round: usize| {
            let all = self.contestants.iter().filter_map(|one| one.rates[place].get(round));
            all.sum::<f64>() / self.contestants.len() as f64
        };
        let rates = self.contestants[index].rates[place].iter().enumerate();
        rates.map(|(round, rate)| rate / mean(round)).collect::<Samples>().spread()
    }

    fn ranked(&self, index: usize, peak: f64) -> Ranked {
        let contestant = &self.contestants[index];
        let tokens = contestant.kernel.descriptor().tokens as f64;
        let places = self.arenas.iter().zip(&self.reads).zip(&contestant.rates);
        let of_probe = places.map(|((arena, read), rates)| {
            let rate = median(rates.iter().copied());
            match self.streamed {
                true => rate * arena.bytes_per_weight() / read.bandwidth().rate.median,
                false => rate * tokens / peak,
            }
        });
        let noise = (0..self.arenas.len()).map(|place| self.noise(index, place)).fold(0.0, f64::max);
        Ranked {
            name: contestant.kernel.descriptor().name.to_owned(),
            score: self.score(index),
            relative: self.relative(index),
            of_probe: of_probe.collect(),
            noise,
            cost: 256e9 / contestant.cached.rate().median.max(1.0),
        }
    }
}

/// The median; of an even number the mean of the two in the middle, of none 0.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    values.collect::<Samples>().rate().median
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::planted::{broken, sound};
    use crate::engine::Engine;
    use crate::probe::memory::WeightMemory;

    #[test]
    fn a_kernel_that_is_not_exact_is_refused_and_not_timed() {
        let (memory, engines) = (WeightMemory::new(40 * MIB), [Engine::with_threads(1).unwrap()]);
        let ground = Ground { memory: &memory, engines: &engines };
        let place = Place { rows: 64, cols: 512, threads: 1 };
        let contest = |kernels: &[Kernel]| {
            Contest::new(&ground, kernels, &[place], Class::Long, Blocks::default()).map(|mut contest| {
                contest.round(0);
                contest.outcome()
            })
        };
        let outcome = contest(&[sound(), broken()]).unwrap();
        let name = sound().descriptor().name;
        let [ranked] = &outcome.ranked[..] else { panic!("{outcome:?}") };
        assert_eq!((&*ranked.name, &*outcome.default), (name, name));
        assert!(ranked.of_probe[0] > 0.0 && ranked.cost > 0.0 && ranked.score == 1.0, "{ranked:?}");
        let [refused] = &outcome.refused[..] else { panic!("{outcome:?}") };
        assert_eq!(refused.name, broken().descriptor().name);
        assert!(refused.reason.contains(": row 0 of activation vector 0 is "), "{refused:?}");
        // Without a default one to compare with there is no contest.
        assert!(contest(&[broken(), sound()]).is_none() && contest(&[]).is_none());
    }

    #[test]
    fn a_contest_that_is_stopped_says_so() {
        let (memory, engines) = (WeightMemory::new(40 * MIB), [Engine::with_threads(1).unwrap()]);
        let ground = Ground { memory: &memory, engines: &engines };
        let place = Place { rows: 64, cols: 512, threads: 1 };
        let kernels = [sound()];
        let mut contest = Contest::new(&ground, &kernels, &[place], Class::Long, Blocks::default()).unwrap();
        assert!(!contest.run(Duration::from_secs(3600), &AtomicBool::new(true)));
    }
}
