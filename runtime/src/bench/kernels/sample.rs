//! One sample of a kernel after the other.

use std::hint::black_box;
use std::time::Instant;

use super::{Case, Effort};
use crate::exact::Activations;
use crate::expanded::Expanded;
use crate::kernels::abi::{ATOM_BYTES, ATOM_COLS, Problem, TILE_ROWS};
use crate::numerics::Numerics;
use crate::shares::{Blocks, Shares, by_matrix, parts};
use crate::team::Team;

/// A kernel on its way through matrices in memory, so many that none is in a cache when its turn comes again.
pub struct Sampler<'a> {
    case: &'a Case,
    acts: &'a Activations,
    matrices: Vec<&'a [u8]>,
    /// The matrix that is read next.
    next: usize,
    /// Matrices of a sample.
    count: usize,
    blocks: Blocks,
    /// Of the kernel's instruction set.
    numerics: Numerics,
}

impl<'a> Sampler<'a> {
    /// A sampler of a kernel that was checked with these operands.
    pub fn new(
        case: &'a Case,
        acts: &'a Activations,
        matrices: Vec<&'a [u8]>,
        effort: &Effort,
        blocks: Blocks,
    ) -> Self {
        let count = match case.is_streamed() {
            true => effort.window.div_ceil(matrices[0].len()),
            false => effort.sample_macs.div_ceil(case.macs()),
        };
        let numerics = Numerics::new(case.kernel.descriptor().isa).unwrap_or_else(|_| Numerics::portable());
        Sampler { case, acts, matrices, next: 0, count: count.max(1), blocks, numerics }
    }

    /// Products a second, shared out as the products of the same activations are: as if their matrices stood one below the
    /// other.
    pub fn sample(&mut self, team: &Team<'_>) -> f64 {
        let (first, all) = (self.next, self.matrices.len());
        self.next = (first + self.count) % all;
        let tiles = self.case.rows.div_ceil(TILE_ROWS);
        let shares = self.shares(self.count * tiles, team.size());
        let descriptor = self.case.kernel.descriptor();
        let at_once = descriptor.tokens;
        let tile_bytes = self.tile_bytes();
        let start = Instant::now();
        team.run(|member| {
            let (mut out, mut expanded) = (Vec::new(), Expanded::default());
            while let Some(claimed) = shares.claim(member) {
                for (index, own) in by_matrix(claimed, tiles) {
                    let matrix = self.matrices[(first + index) % all];
                    let packed = &matrix[own.start * tile_bytes..own.end * tile_bytes];
                    expanded.make(&self.numerics, descriptor.expanded, packed);
                    for token in (0..self.case.tokens).step_by(at_once) {
                        let problem = self.acts.problem(&self.case.kernel, matrix, token);
                        for part in parts(own.clone(), at_once, descriptor.streams) {
                            let before = (part.start - own.start) * descriptor.tile_bytes(self.case.cols);
                            let problem = Problem { expanded: expanded.codes().get(before..), ..problem };
                            let rows = TILE_ROWS * part.len();
                            out.resize((at_once * rows).max(out.len()), 0);
                            let result = self.case.kernel.run(&problem, part, black_box(&mut out), rows);
                            result.expect("operands that were checked");
                        }
                    }
                }
            }
        });
        self.count as f64 / start.elapsed().as_secs_f64().max(1e-9)
    }

    fn tile_bytes(&self) -> usize {
        self.case.cols.div_ceil(ATOM_COLS) * ATOM_BYTES
    }

    fn shares(&self, tiles: usize, parts: usize) -> Shares {
        let descriptor = self.case.kernel.descriptor();
        let tile_bytes = self.tile_bytes();
        if self.case.is_streamed() {
            Shares::streamed(self.blocks, tiles, tile_bytes, (descriptor.tokens, descriptor.streams), parts)
        } else {
            // As in the engine's products.
            let (read, call_bytes) =
                (descriptor.tile_bytes(self.case.cols), descriptor.tokens * self.case.cols);
            Shares::new(tiles, parts, self.blocks.chunk(read, descriptor.streams, call_bytes))
        }
    }
}
