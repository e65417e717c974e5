//! One sample of a kernel after the other.

use std::hint::black_box;
use std::time::Instant;

use super::{Case, Effort};
use crate::exact::Activations;
use crate::expanded::Expanded;
use crate::kernels::abi::{Problem, TILE_ROWS};
use crate::numerics::Numerics;
use crate::probe::stack::Stack;
use crate::shares::{Blocks, Shares, parts};
use crate::team::Team;

/// A kernel on its way through matrices in memory, so many that none is in a cache when its turn comes again.
pub struct Sampler<'a> {
    case: &'a Case,
    acts: &'a Activations,
    stack: Stack<'a>,
    /// Bytes of weights of a sample.
    bytes: usize,
    blocks: Blocks,
    /// Of the kernel's instruction set.
    numerics: Numerics,
}

impl<'a> Sampler<'a> {
    /// A sampler of a kernel that was checked with these operands.
    pub fn new(
        case: &'a Case,
        acts: &'a Activations,
        stack: Stack<'a>,
        effort: &Effort,
        blocks: Blocks,
    ) -> Self {
        let bytes = match case.is_streamed() {
            true => effort.window,
            false => effort.sample_macs.div_ceil(case.macs()) * stack.matrix(0).len(),
        };
        let numerics = Numerics::new(case.kernel.descriptor().isa).unwrap_or_else(|_| Numerics::portable());
        Sampler { case, acts, stack, bytes, blocks, numerics }
    }

    /// Products a second, shared out as the products of the same activations are.
    pub fn sample(&mut self, team: &Team<'_>) -> f64 {
        let turn = self.stack.next(self.bytes);
        let shares = self.shares(turn.len(), team.size());
        let (kernel, tile_bytes) = (&self.case.kernel, self.stack.tile_bytes());
        let descriptor = kernel.descriptor();
        let at_once = descriptor.tokens;
        let start = Instant::now();
        team.run(|member| {
            let (mut out, mut expanded) = (Vec::new(), Expanded::default());
            while let Some(claimed) = shares.claim(member) {
                for part in self.stack.parts(kernel, &turn, claimed) {
                    let own = &part.tiles;
                    let packed = &part.weights[own.start * tile_bytes..own.end * tile_bytes];
                    expanded.make(&self.numerics, descriptor.expanded, packed);
                    for token in (0..self.case.tokens).step_by(at_once) {
                        let problem = part.problem(self.acts, kernel, token);
                        for tiles in parts(own.clone(), at_once, descriptor.streams) {
                            let before = (tiles.start - own.start) * descriptor.tile_bytes(self.case.cols);
                            let problem = Problem { expanded: expanded.codes().get(before..), ..problem };
                            let rows = TILE_ROWS * tiles.len();
                            out.resize((at_once * rows).max(out.len()), 0);
                            let result = kernel.run(&problem, tiles, black_box(&mut out), rows);
                            result.expect("operands that were checked");
                        }
                    }
                }
            }
        });
        (turn.len() / self.stack.tiles()) as f64 / start.elapsed().as_secs_f64().max(1e-9)
    }

    fn shares(&self, tiles: usize, parts: usize) -> Shares {
        let descriptor = self.case.kernel.descriptor();
        if self.case.is_streamed() {
            let tile_bytes = self.stack.tile_bytes();
            Shares::streamed(self.blocks, tiles, tile_bytes, (descriptor.tokens, descriptor.streams), parts)
        } else {
            // As in the engine's products.
            let (read, call_bytes) =
                (descriptor.tile_bytes(self.case.cols), descriptor.tokens * self.case.cols);
            Shares::new(tiles, parts, self.blocks.chunk(read, descriptor.streams, call_bytes))
        }
    }
}
