//! Products with the tokens of a prompt.

use std::hint::black_box;
use std::time::Instant;

use tritforge::engine::Engine;
use tritforge::exact::Activations;
use tritforge::expanded::Expanded;
use tritforge::kernels::abi::{ATOM_BYTES, ATOM_COLS, Kernel, Problem, TILE_ROWS};
use tritforge::kernels::layouts::i2a16;
use tritforge::numerics::Numerics;
use tritforge::probe::memory::WeightMemory;
use tritforge::probe::peak::PeakProbe;
use tritforge::probe::{Rate, Samples, marked};
use tritforge::shares::{Blocks, parts};
use tritforge_benches::check;

use crate::{Effort, row_name};

/// The feed-forward matrices of the 2B-4T model, which are most of it.
const SHAPES: [(usize, usize); 2] = [(6912, 2560), (2560, 6912)];

const HEADING: &str = "      shape tokens   GMAC/s    best     peak of peak";

/// The wanted rows of a kernel, under their heading; none where none is wanted.
pub fn measure(
    kernel: &Kernel,
    engine: &Engine,
    memory: &WeightMemory,
    effort: &Effort,
    wanted: &dyn Fn(&str) -> bool,
) -> Option<(&'static str, Vec<String>)> {
    let shapes = kernel.descriptor().shape.map_or(SHAPES.to_vec(), |shape| vec![shape]);
    let shapes = shapes.into_iter().filter(|shape| wanted(&row_name(kernel, *shape, 1)));
    let lines: Vec<String> = shapes.map(|shape| row(kernel, engine, shape, memory, effort)).collect();
    (!lines.is_empty()).then_some((HEADING, lines))
}

fn row(
    kernel: &Kernel,
    engine: &Engine,
    (rows, cols): (usize, usize),
    memory: &WeightMemory,
    effort: &Effort,
) -> String {
    let descriptor = kernel.descriptor();
    // A kernel takes its tokens at once or not at all.
    let tokens = effort.tokens.next_multiple_of(descriptor.tokens);
    let mut acts = Activations::new(tokens, (rows, cols));
    acts.prepare(kernel);
    let matrices = memory.matrices(i2a16::packed_bytes(rows, cols));
    check(kernel, &acts.problem(kernel, matrices[0], 0));
    let (mut peak, mut samples) = (PeakProbe::new(&[descriptor.isa.id]), Samples::default());
    for matrix in matrices.iter().cycle().take(effort.rounds) {
        engine.region(|team| peak.sample(team));
        let start = Instant::now();
        product(kernel, &acts, matrix, tokens, engine.blocks());
        let macs = (rows * cols * tokens) as f64;
        samples.push(macs / start.elapsed().as_secs_f64().max(1e-9));
    }
    let Rate { median, best, .. } = samples.rate();
    let peak = peak.samples(descriptor.isa.id).cloned().unwrap_or_default();
    let shape = format!("{rows}x{cols}");
    format!(
        "{shape:>11} {:>6} {:>8.1} {:>7.1} {:>8.1} {:>7}",
        tokens,
        median / 1e9,
        best / 1e9,
        peak.rate().median / 1e9,
        marked(samples.of(&peak))
    )
}

/// All tokens with a chunk of the weights, then all with the next.
fn product(kernel: &Kernel, acts: &Activations, matrix: &[u8], tokens: usize, blocks: Blocks) {
    let tiles = acts.rows.div_ceil(TILE_ROWS);
    let at_once = kernel.descriptor().tokens;
    let tile_bytes = acts.cols.div_ceil(ATOM_COLS) * ATOM_BYTES;
    let descriptor = kernel.descriptor();
    // As in the engine's products.
    let chunk = blocks.chunk(descriptor.tile_bytes(acts.cols), descriptor.streams, at_once * acts.cols);
    let mut out = vec![0; chunk * TILE_ROWS * at_once];
    let numerics = Numerics::new(kernel.descriptor().isa).expect("the instruction set of a kernel");
    let mut expanded = Expanded::default();
    for first in (0..tiles).step_by(chunk) {
        let part = first..(first + chunk).min(tiles);
        let packed = &matrix[part.start * tile_bytes..part.end * tile_bytes];
        expanded.make(&numerics, kernel.descriptor().expanded, packed);
        for token in (0..tokens).step_by(at_once) {
            let problem = acts.problem(kernel, matrix, token);
            for some in parts(part.clone(), at_once, descriptor.streams) {
                let before = (some.start - part.start) * descriptor.tile_bytes(acts.cols);
                let problem = Problem { expanded: expanded.codes().get(before..), ..problem };
                let rows = some.len() * TILE_ROWS;
                let result = kernel.run(&problem, some, black_box(&mut out), rows);
                result.expect("operands that were checked");
            }
        }
    }
}
