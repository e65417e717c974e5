//! The schedules that are tried.

use kernelgen::compile::{Kernel, compile};
use kernelgen::cpus::CostModel;
use kernelgen::isa::{self, Accumulate, Isa};
use kernelgen::layout;
use kernelgen::passes::cost::cost;
use kernelgen::schedule::{Schedule, Unpack};
use kernelgen::spec::{KernelSpec, Operation, Shape};

/// Atoms in an iteration. Three, because the text of four streams that widen their sums at each turn is too long with four.
const UNROLLS: [usize; 5] = [1, 2, 3, 4, 8];
const CHAINS: [usize; 2] = [1, 2];
const UNPACKS: [Unpack; 3] = [Unpack::Mask, Unpack::Shift, Unpack::Nibble];
const ROW_SPLITS: [usize; 2] = [1, 2];
const STREAMS: [usize; 4] = [1, 2, 3, 4];
/// The most tokens whose activations are always read vector by vector.
const ROW_TOKENS: usize = 4;
/// The prefetch distance at which structures are compared.
const FIRST_PREFETCH: usize = 3072;
/// Prefetch distances, in bytes.
const PREFETCHES: [usize; 8] = [0, 512, 1024, 2048, 3072, 4096, 6144, 8192];

/// Structures of each number of streams, interleaved or not, that are compiled: those of the least static cost. What is bound by memory is not
/// told apart by a static cost any finer.
const KEPT: usize = 5;
/// The most bytes of machine code, at nine an operation with its share of moves and addresses, and at seven where a kernel is one
/// region of assembly, which has no others: more crowds the caches of instructions.
const TEXT: usize = 7 << 10;
const OPERATION: usize = 9;
const OPERATION_OF_A_REGION: usize = 7;
/// How much greater than the least the static cost of a structure may be.
const COSTLY: f64 = 1.5;

/// An operation on an instruction set, as the compiler has it.
#[derive(Clone, Copy)]
pub struct Aim {
    isa: &'static dyn Isa,
    operation: Operation,
}

impl Aim {
    /// What is meant by an instruction set's id and an operation's name; `None` where the compiler does not know one.
    pub fn new(isa: &str, operation: &str) -> Option<Self> {
        Some(Aim { isa: isa::by_id(isa)?, operation: operation.parse().ok()? })
    }

    /// The kernel of a schedule; `None` where the compiler refuses it, its registers do not suffice or it is too long.
    pub fn kernel(self, schedule: Schedule) -> Option<Kernel> {
        let Aim { isa, operation } = self;
        let spec = KernelSpec { operation, layout: layout::i2a16(), shape: Shape::Any, schedule, isa };
        let kernel = compile(&spec).ok()?;
        let model = isa.typical_cpu().model(isa.vectors().bits);
        let endless = cost(&kernel.machine, isa, &CostModel { registers: usize::MAX, ..model });
        let spills = kernel.cost.cycles_per_256_weights > endless.cycles_per_256_weights;
        let operation = if kernel.machine.region.is_some() { OPERATION_OF_A_REGION } else { OPERATION };
        let is_short = kernel.cost.text_instructions * operation <= TEXT;
        (is_short && !spills).then_some(kernel)
    }

    /// How many schedules the space has, legal or not.
    pub fn size(self) -> usize {
        self.structures().count() * PREFETCHES.len()
    }

    fn structures(self) -> impl Iterator<Item = Schedule> {
        // Tiles have one way to unpack, and to read activations.
        let tiles = matches!(self.isa.atom().accumulate, Accumulate::Tile { .. });
        let unpacks = if tiles { &[Unpack::Shift][..] } else { &UNPACKS[..] };
        let (chains, splits) =
            if tiles { (&CHAINS[..1], &ROW_SPLITS[..1]) } else { (&CHAINS[..], &ROW_SPLITS[..]) };
        // Of fewer tokens each has an address register.
        let interleaved = match self.operation.tokens() {
            _ if tiles => &[true][..],
            0..=ROW_TOKENS => &[false],
            _ => &[false, true],
        };
        // One vector is broadcast into the product's operand by most.
        let several = self.operation.tokens() > 1;
        let streams = STREAMS.iter().flat_map(|&streams| {
            let shared = if streams > 1 && several { &[false, true][..] } else { &[false] };
            shared.iter().map(move |&shared| (streams, shared))
        });
        let mut all = Vec::new();
        for &unroll in &UNROLLS {
            for &chains in chains {
                for &unpack in unpacks {
                    for &row_split in splits {
                        for (streams, shared) in streams.clone() {
                            all.extend(interleaved.iter().map(|&interleaved| Schedule {
                                unroll,
                                chains,
                                unpack,
                                row_split,
                                prefetch: FIRST_PREFETCH,
                                streams,
                                shared,
                                fold: None,
                                interleaved,
                                // Beside packed weights it gains nothing.
                                act_prefetch: 0,
                            }));
                        }
                    }
                }
            }
        }
        all.into_iter()
    }

    /// The structures that are worth compiling, by their static cost.
    pub fn promising(self) -> Vec<Kernel> {
        let mut legal: Vec<Kernel> = self.structures().filter_map(|schedule| self.kernel(schedule)).collect();
        let cost = |kernel: &Kernel| kernel.cost.cycles_per_256_weights;
        legal.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
        let least = legal.first().map_or(0.0, cost);
        let mut kept: Vec<Kernel> = Vec::new();
        for kernel in legal {
            let reads = |kernel: &Kernel| {
                let Schedule { streams, shared, interleaved, .. } = kernel.spec.schedule;
                (streams, shared, interleaved)
            };
            let alike = kept.iter().filter(|other| reads(other) == reads(&kernel)).count();
            if cost(&kernel) <= COSTLY * least && alike < KEPT {
                kept.push(kernel);
            }
        }
        kept
    }

    /// The same schedule with all other prefetch distances.
    pub fn prefetches(self, schedule: Schedule) -> Vec<Kernel> {
        let others = PREFETCHES.into_iter().filter(|prefetch| *prefetch != schedule.prefetch);
        others.filter_map(|prefetch| self.kernel(Schedule { prefetch, ..schedule })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_promising_is_legal_cheap_and_of_every_number_of_streams() {
        let aim = Aim::new("avx2", "gemv").unwrap();
        let kernels = aim.promising();
        let cost = |kernel: &Kernel| kernel.cost.cycles_per_256_weights;
        let least = kernels.iter().map(cost).fold(f64::MAX, f64::min);
        assert!(kernels.iter().all(|kernel| cost(kernel) <= COSTLY * least));
        for streams in STREAMS {
            let alike = kernels.iter().filter(|kernel| kernel.spec.schedule.streams == streams).count();
            assert!((1..=KEPT).contains(&alike), "{streams} streams: {alike}");
        }
        assert_eq!(aim.prefetches(kernels[0].spec.schedule).len(), PREFETCHES.len() - 1);
        let interleaved = |kernel: &&Kernel| kernel.spec.schedule.interleaved;
        assert_eq!(kernels.iter().filter(interleaved).count(), 0);
        let kernels = Aim::new("avx512vnni", "gemm16").unwrap().promising();
        assert!((1..kernels.len()).contains(&kernels.iter().filter(interleaved).count()));
        // On tiles codes staged ahead too, and two row tiles that share activations.
        let kernels = Aim::new("amx", "gemm32").unwrap().promising();
        let found = |text: &str| kernels.iter().any(|kernel| kernel.spec.schedule.to_string() == text);
        assert!(found("u8c1sr1p3072t2bi") && found("u4c1sr1p3072i"));
        assert!(Aim::new("sse9", "gemv").is_none() && Aim::new("avx2", "gem").is_none());
    }
}
