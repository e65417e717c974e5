//! What kernels of fixed shapes gain over the generic ones with the same schedule, per instruction set, operation and
//! class of shape: the figures of `kernelgen/src/schedules.toml`. One thread, weights in the cache, the two kernels in
//! turn; a kernel that is not bit-exact ends the run.

use std::hint::black_box;
use std::time::Instant;

use tritforge::probe::memory::WeightMemory;

/// The kernels that `build.rs` generates.
mod kernels {
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

use kernels::abi::{ATOM_COLS, Kernel, Problem, SHORT_COLS, TILE_ROWS};
use kernels::layouts::i2a16;
use kernels::{DESCRIPTORS, ISAS};

/// Samples of each kernel.
const ROUNDS: usize = 101;
/// Multiply-adds of a sample.
const SAMPLE: usize = 8 << 20;

/// A matrix product in memory.
struct Operands<'a> {
    rows: usize,
    cols: usize,
    weights: &'a [u8],
    acts: Vec<i8>,
    sums: Vec<i32>,
}

impl<'a> Operands<'a> {
    fn new((rows, cols): (usize, usize), tokens: usize, memory: &'a WeightMemory) -> Self {
        let stride = cols.next_multiple_of(ATOM_COLS);
        let mut acts = vec![0; tokens * stride];
        for (token, vector) in acts.chunks_mut(stride).enumerate() {
            vector[..cols].iter_mut().enumerate().for_each(|(i, q)| *q = (i * 89 + token * 31) as u8 as i8);
        }
        let sums = acts.chunks(stride).map(|x| x.iter().map(|q| i32::from(*q)).sum()).collect();
        let weights = memory.matrices(i2a16::packed_bytes(rows, cols))[0];
        Operands { rows, cols, weights, acts, sums }
    }

    fn run(&self, kernel: &Kernel, out: &mut [i32]) {
        let problem = Problem {
            rows: self.rows,
            cols: self.cols,
            weights: self.weights,
            acts: &self.acts,
            act_stride: self.cols.next_multiple_of(ATOM_COLS),
            interleaved: None,
            expanded: None,
            act_sums: &self.sums,
        };
        let tiles = 0..self.rows.div_ceil(TILE_ROWS);
        kernel.run(&problem, tiles, out, self.rows).expect("operands that fit the kernel");
    }

    /// The exact products of one token.
    fn naive(&self, token: usize) -> Vec<i32> {
        let acts = &self.acts[token * self.cols.next_multiple_of(ATOM_COLS)..][..self.cols];
        let mut trits = vec![0; self.cols];
        let row = |row| {
            i2a16::unpack_row(self.weights, self.rows, self.cols, row, &mut trits).expect("trits");
            trits.iter().zip(acts).map(|(w, q)| i32::from(*w) * i32::from(*q)).sum()
        };
        (0..self.rows).map(row).collect()
    }
}

fn main() {
    // Cargo passes `--bench` where it wants a measurement.
    let test = !std::env::args().any(|argument| argument == "--bench");
    let memory = WeightMemory::new(1 << 20);
    let generic = DESCRIPTORS.iter().filter(|d| d.shape.is_none()).filter_map(Kernel::new);
    let mut compared = 0;
    for generic in generic {
        let d = generic.descriptor();
        let twins = DESCRIPTORS
            .iter()
            .filter(|twin| (twin.isa.id, twin.tokens, twin.shape.is_some()) == (d.isa.id, d.tokens, true));
        let (mut short, mut long) = (Vec::new(), Vec::new());
        for fixed in twins.filter_map(Kernel::new) {
            let Some(shape) = fixed.descriptor().shape else { continue };
            let operands = Operands::new(shape, d.tokens, &memory);
            let class = if shape.1 <= SHORT_COLS { &mut short } else { &mut long };
            class.push(gain(&operands, &generic, &fixed, if test { 1 } else { ROUNDS }));
            compared += 1;
        }
        if !test {
            let (short, long) = (median(&mut short), median(&mut long));
            println!("[{}.{}] gain = {{ short = {short:.1}, long = {long:.1} }}", d.isa.id, d.operation);
        }
    }
    println!("{compared} kernels of fixed shapes compared with the generic ones");
    for isa in ISAS.iter().filter(|isa| !(isa.available)()) {
        println!("skipped {}: this CPU lacks it", isa.id);
    }
}

/// By how many per cent of its time the kernel for the shape is faster: medians of samples taken in turn.
fn gain(operands: &Operands<'_>, generic: &Kernel, fixed: &Kernel, rounds: usize) -> f64 {
    let (rows, tokens) = (operands.rows, fixed.descriptor().tokens);
    let mut out = vec![0; tokens * rows];
    for kernel in [generic, fixed] {
        operands.run(kernel, &mut out);
        for (token, found) in out.chunks(rows).enumerate() {
            assert_eq!(found, operands.naive(token), "{}", kernel.descriptor().name);
        }
    }
    let calls = (SAMPLE / (rows * operands.cols * tokens)).max(1);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (kernel, times) in [generic, fixed].into_iter().zip(&mut times) {
            let start = Instant::now();
            (0..calls).for_each(|_| operands.run(kernel, black_box(&mut out)));
            times.push(start.elapsed().as_secs_f64());
        }
    }
    let [generic, fixed] = times.map(|mut times| median(&mut times));
    100.0 * (generic / fixed - 1.0)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
