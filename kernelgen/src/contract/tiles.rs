//! The contraction on tiles: codes are staged in memory, a tile of them for each stream, and multiplied with tiles of
//! activations that all streams share.

use super::{Builder, Unpacked, of_stream};
use crate::ir::{But, Count, Kind, Op, STAGE_HALF, Stmt, Var};
use crate::isa::Atom;
use crate::layout::ATOM_COLS;

/// Slots of the stage that make up a tile.
const SLOTS: usize = 16;

/// Streams at most.
const STREAMS: usize = 4;

/// Steps that codes are staged ahead of their products, at most.
const STEPS_AHEAD: usize = 2;

const _: () = assert!(STEPS_AHEAD * STREAMS * SLOTS <= 2 * STAGE_HALF, "what is staged fits the scratch");

/// Atoms past the cursors that are multiplied at once, and where they are staged.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// The first slot of the first stream.
    slots: usize,
    /// The first atom.
    atom: usize,
    /// Atoms: those of a tile, or one.
    atoms: usize,
}

impl Builder {
    /// What a contraction on tiles demands of the operation and the schedule.
    pub(super) fn check_tile(&self, atom: &Atom) -> Result<(), String> {
        let (tokens, tile_tokens) = (self.program.tokens, self.program.tile_tokens);
        let unroll = self.schedule.unroll;
        let step = atom.cols / ATOM_COLS;
        if !tokens.is_multiple_of(tile_tokens) {
            return Err(format!("{tokens} activation vectors are no whole tiles of {tile_tokens}"));
        }
        if ![step, STEPS_AHEAD * step].contains(&unroll) {
            return Err(format!(
                "an unroll of {unroll} is neither the {step} atoms of a tile nor {STEPS_AHEAD} times as many, staged that far ahead"
            ));
        }
        if !self.schedule.interleaved {
            return Err("tiles of activations are read interleaved: end the schedule with an 'i'".to_owned());
        }
        if self.schedule.act_prefetch > 0 {
            return Err("tiles of activations are not asked for ahead: an 'i' without a number".to_owned());
        }
        if self.schedule.streams > 1 && !self.schedule.shared {
            return Err(
                "row tiles share the tiles of activations: streams side by side, with a 'b'".to_owned()
            );
        }
        if self.schedule.streams > STREAMS {
            let found = self.schedule.streams;
            return Err(format!(
                "{found} streams are more than the {STREAMS} whose cursors fit the general registers"
            ));
        }
        if self.schedule.chains > 1 {
            return Err("a tile has one accumulator for each of its sums: one chain".to_owned());
        }
        if self.positions() != [0] {
            return Err("the codes of a tile must all have the scale one: unpack by shifts".to_owned());
        }
        Ok(())
    }

    /// A contraction on tiles: codes are staged, then multiplied with all activation vectors. They are staged as many steps
    /// before as the schedule unrolls: what is stored is only read once it has reached the cache, which would else be waited for.
    pub(super) fn tile_pass(&mut self, atom: &Atom, prefetch: bool) -> Vec<Stmt> {
        let mut body = Vec::new();
        let (step, unroll) = (atom.cols / ATOM_COLS, self.schedule.unroll);
        let tiles = (0..self.schedule.streams).map(|stream| {
            let tokens = (0..self.program.tokens).step_by(self.program.tile_tokens);
            let tile = tokens.map(|token| {
                let name = of_stream(format!("tile_t{token}"), stream);
                self.define(&mut body, Kind::Tile, name, Op::ZeroTile)
            });
            tile.collect()
        });
        let tiles: Vec<Vec<Var>> = tiles.collect();
        self.ahead(&tiles, step, prefetch, &mut body);
        if unroll > step {
            let mut whole = Vec::new();
            self.stage_all(Step { slots: 0, atom: 0, atoms: step }, prefetch, &mut whole);
            self.multiply(&tiles, Step { slots: 0, atom: 0, atoms: step }, None, &mut whole);
            self.repeat(self.count(Some(unroll), step), step, whole, &mut body);
        }
        self.tile_rest(&tiles, step, prefetch, &mut body);
        for (stream, tiles) in tiles.iter().enumerate() {
            for (i, &tile) in tiles.iter().enumerate() {
                body.push(Stmt::Spill { tile });
                for index in 0..self.program.tile_tokens {
                    let token = i * self.program.tile_tokens + index;
                    let name = of_stream(format!("total_t{token}"), stream);
                    let x = self.define(&mut body, Kind::Wide, name, Op::TileToken { tile, index });
                    self.finish(x, stream, token, &mut body);
                }
            }
        }
        body
    }

    /// Whole unrolls of steps, each of which is multiplied while the next unroll is staged, after the last one the first of the
    /// next row tiles, which so find it there: else a core would do nothing but stage at the start of each, nothing but multiply
    /// at its end. The last one of all is not followed. The steps of two are staged anew where they were multiplied before, a
    /// single one in the other half of the stage.
    fn ahead(&mut self, tiles: &[Vec<Var>], step: usize, prefetch: bool, body: &mut Vec<Stmt>) {
        let unroll = self.schedule.unroll;
        let slots = SLOTS * self.schedule.streams;
        let steps = |first_slot: usize, from: usize| {
            let steps = (0..unroll / step).map(move |i| (first_slot + i * slots, from + i * step));
            steps.map(move |(slots, atom)| Step { slots, atom, atoms: step }).collect::<Vec<_>>()
        };
        let is_single = unroll == step;
        let (these, next) = (steps(0, 0), steps(if is_single { STAGE_HALF } else { 0 }, unroll));
        let mut all = Vec::new();
        let mut begin = Vec::new();
        for &first in &these {
            self.stage_all(first, prefetch, &mut begin);
        }
        self.repeat(Count { but: But::First, ..self.count(None, unroll) }, 0, begin, &mut all);
        let mut each = Vec::new();
        for (&this, &next) in these.iter().zip(&next) {
            self.multiply(tiles, this, Some((next, prefetch)), &mut each);
        }
        if is_single {
            each.push(Stmt::SwapStage);
        }
        self.repeat(Count { but: But::LessLast, ..self.count(None, unroll) }, unroll, each, &mut all);
        let mut end = Vec::new();
        for &last in &these {
            self.multiply(tiles, last, None, &mut end);
        }
        self.repeat(Count { but: But::Last, ..self.count(None, unroll) }, unroll, end, &mut all);
        self.repeat(Count { but: But::Once, ..self.count(None, unroll) }, 0, all, body);
    }

    /// What is left of a whole step, one atom at a time, beside codes of zero.
    fn tile_rest(&mut self, tiles: &[Vec<Var>], step: usize, prefetch: bool, body: &mut Vec<Stmt>) {
        let one = Step { slots: 0, atom: 0, atoms: 1 };
        let of_an_atom = SLOTS / step;
        let mut all = Vec::new();
        for stream in 0..self.schedule.streams {
            let slots = of_an_atom..SLOTS;
            all.extend(slots.map(|slot| Stmt::ClearStage { slot: stream * SLOTS + slot }));
        }
        let mut each = Vec::new();
        self.stage_all(one, prefetch, &mut each);
        self.multiply(tiles, one, None, &mut each);
        self.repeat(self.count(Some(step), 1), 1, each, &mut all);
        self.repeat(Count { but: But::Once, ..self.count(Some(step), 1) }, 0, all, body);
    }

    /// A loop, or nothing where it never runs.
    fn repeat(&self, count: Count, atoms: usize, inner: Vec<Stmt>, body: &mut Vec<Stmt>) {
        let known = self.program.k_atoms.filter(|k_atoms| !count.is_of_call() || count.is_alone(*k_atoms));
        let fixed = known.map(|k_atoms| Count { fixed: None, ..count }.at(k_atoms));
        let count = Count { fixed, ..count };
        if count.fixed != Some(0) {
            body.push(Stmt::Repeat { count, atoms, body: inner });
        }
    }

    /// Stages some atoms of every stream.
    fn stage_all(&mut self, steps: Step, prefetch: bool, body: &mut Vec<Stmt>) {
        for stream in 0..self.schedule.streams {
            self.stage(stream, steps, prefetch, body);
        }
    }

    /// Stages some atoms of a stream.
    fn stage(
        &mut self,
        stream: usize,
        Step { slots, atom, atoms }: Step,
        prefetch: bool,
        body: &mut Vec<Stmt>,
    ) {
        let first = slots + stream * SLOTS;
        for atom in atom..atom + atoms {
            self.unpack(stream..stream + 1, atom, prefetch, body, |_, body, Unpacked { col, codes, .. }| {
                let slot = first + (col / 4) % SLOTS;
                body.extend(codes.into_iter().map(|codes| Stmt::Stage { codes, slot }));
            });
        }
    }

    /// Multiplies what is staged of a step with all activation vectors, each tile of them with all streams. Between the
    /// products the step's slots are filled anew, a stream's after the tile of codes has been read, and behind the loads that the
    /// next product waits for.
    fn multiply(
        &mut self,
        tiles: &[Vec<Var>],
        Step { slots, atom, atoms }: Step,
        next: Option<(Step, bool)>,
        body: &mut Vec<Stmt>,
    ) {
        let (streams, tokens) = (tiles.len(), tiles.first().map_or(0, Vec::len));
        let mut staged: Vec<Var> = Vec::new();
        let mut to_stage: Option<usize> = None;
        for tile in 0..tokens {
            let token = tile * self.program.tile_tokens;
            let load = Op::LoadActTile { token, col: atom * ATOM_COLS, atoms };
            let acts = self.define(body, Kind::ActTile, format!("acts{atom}_t{token}"), load);
            for (stream, tiles) in tiles.iter().enumerate() {
                if tile == 0 {
                    let name = of_stream(format!("staged{atom}"), stream);
                    let load = Op::LoadStage { first: slots + stream * SLOTS, slots: SLOTS };
                    staged.push(self.define(body, Kind::Staged, name, load));
                }
                self.stage_next(to_stage.take(), next, body);
                let acc = tiles[tile];
                let dot = Op::DotTile { acc, staged: staged[stream], acts, cols: atoms * ATOM_COLS };
                body.push(Stmt::Set(acc, dot));
                let done = tile * streams + stream;
                to_stage = done.is_multiple_of(tokens).then_some(done / tokens);
            }
        }
        self.stage_next(to_stage, next, body);
    }

    fn stage_next(&mut self, stream: Option<usize>, next: Option<(Step, bool)>, body: &mut Vec<Stmt>) {
        if let Some((stream, (next, prefetch))) = stream.zip(next) {
            self.stage(stream, next, prefetch, body);
        }
    }
}
