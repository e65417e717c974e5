//! Activations in the order in which some kernels read them: see [`interleave`].

use std::sync::Arc;

use crate::kernels::abi::{ATOM_COLS, Kernel, interleave, interleaved_len};
use crate::numerics::quantize::STRIDE_GRANULE;
use crate::os::Line;
use crate::room::Room;
use crate::spare::Spare;
use crate::team::Team;

/// Columns that a thread interleaves at a time: whole runs, some microseconds for a kernel's vectors.
const PIECE_COLS: usize = 1024;

/// The vectors of some calls, each call's for itself.
#[derive(Debug)]
pub(crate) struct Interleaved {
    /// As many as they take, or more.
    lines: Room<Line>,
    /// Where the memory goes back to.
    spare: Arc<Spare<Room<Line>>>,
    /// The vectors of each call, and the bytes that are theirs.
    calls: Vec<Call>,
}

/// The vectors of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vectors {
    /// The first.
    pub first: usize,
    /// How many.
    pub tokens: usize,
    /// The values of each that stand together.
    pub run: usize,
}

impl Vectors {
    /// Those that a kernel takes from one on, if it wants them interleaved.
    pub fn of(kernel: &Kernel, first: usize) -> Option<Self> {
        let descriptor = kernel.descriptor();
        descriptor.interleaved.map(|run| Vectors { first, tokens: descriptor.tokens, run })
    }
}

#[derive(Debug, Clone, Copy)]
struct Call {
    vectors: Vectors,
    start: usize,
    bytes: usize,
}

impl Interleaved {
    /// Of vectors of `cols` values, `stride` apart, those of each call. The memory is taken from `spare`, and given back in the end.
    ///
    /// # Panics
    /// When `acts` ends before the last vector, filled up to a multiple of 16, does.
    pub fn new(
        team: &Team<'_>,
        spare: &Arc<Spare<Room<Line>>>,
        acts: &[i8],
        stride: usize,
        cols: usize,
        calls: impl Iterator<Item = Vectors>,
    ) -> Self {
        let padded = cols.next_multiple_of(ATOM_COLS);
        let mut start = 0;
        let calls: Vec<Call> = calls
            .map(|vectors| {
                let bytes = vectors.tokens * interleaved_len(padded, vectors.run);
                let call = Call { vectors, start, bytes };
                start += call.bytes.next_multiple_of(STRIDE_GRANULE);
                call
            })
            .collect();
        let mut lines = spare.take();
        let mut rest: &mut [i8] = bytemuck::cast_slice_mut(lines.sized(start / STRIDE_GRANULE));
        let mut pieces = Vec::with_capacity(calls.len() * padded.div_ceil(PIECE_COLS));
        for Call { vectors: Vectors { first, tokens, run }, bytes, .. } in &calls {
            let (mut call, behind) =
                std::mem::take(&mut rest).split_at_mut(bytes.next_multiple_of(STRIDE_GRANULE));
            for col in (0..padded).step_by(PIECE_COLS) {
                let cols = PIECE_COLS.min(padded - col);
                let (out, further) = call.split_at_mut(tokens * interleaved_len(cols, *run));
                pieces.push((first * stride + col, cols, *run, out));
                call = further;
            }
            rest = behind;
        }
        team.chunks(&mut pieces, 1, start, |_, pieces| {
            for (from, cols, run, out) in pieces {
                interleave(&acts[*from..], stride, *cols, *run, out);
            }
        });
        Interleaved { lines, spare: Arc::clone(spare), calls }
    }

    /// Those of a call; `None` where there is no such call.
    pub fn of(&self, vectors: Vectors) -> Option<&[i8]> {
        let at = self.calls.binary_search_by_key(&vectors.first, |call| call.vectors.first).ok()?;
        let Call { vectors: found, start, bytes } = self.calls[at];
        (found == vectors).then(|| &bytemuck::cast_slice(&self.lines)[start..start + bytes])
    }
}

impl Drop for Interleaved {
    fn drop(&mut self) {
        self.spare.put(std::mem::take(&mut self.lines));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::abi::{QUAD, TILE_RUN};

    #[test]
    fn runs_of_each_vector_in_turn() {
        // Two calls of three vectors and one of one, which are filled up to a multiple of sixteen.
        for (cols, stride) in [(20, 48), (150, 160), (PIECE_COLS, PIECE_COLS), (2 * PIECE_COLS - 20, 2048)] {
            for run in [QUAD, TILE_RUN] {
                check(cols, cols.next_multiple_of(ATOM_COLS), stride, run);
            }
        }
    }

    fn check(cols: usize, padded: usize, stride: usize, run: usize) {
        let mut acts = vec![99i8; 7 * stride];
        for token in 0..7 {
            let vector = &mut acts[token * stride..][..padded];
            vector.fill(0);
            (0..cols).for_each(|col| vector[col] = (token * 16 + (col + col / 16) % 16) as i8);
        }
        let calls = [(0, 3), (3, 3), (6, 1)].map(|(first, tokens)| Vectors { first, tokens, run });
        let spare = Arc::new(Spare::default());
        let mut room = Room::<Line>::default();
        room.sized(1000).fill(Line([77; STRIDE_GRANULE]));
        let place = room.as_ptr();
        spare.put(room);
        let made = Interleaved::new(&Team::solo(), &spare, &acts, stride, cols, calls.into_iter());
        assert_eq!(made.lines.as_ptr(), place, "what is there is used again");
        for vectors in calls {
            let Vectors { first, tokens, .. } = vectors;
            let found = made.of(vectors).unwrap();
            // Whole runs, then each atom that is left over in one of its own, zeros behind it.
            let whole = padded / run;
            let left = padded % run / ATOM_COLS;
            assert_eq!(found.len(), tokens * (whole + left) * run);
            for (place, value) in found.iter().enumerate() {
                let (index, token, within) = (place / run / tokens, place / run % tokens, place % run);
                let col = match index.checked_sub(whole) {
                    None => Some(index * run + within),
                    Some(atom) if within < ATOM_COLS => Some(whole * run + atom * ATOM_COLS + within),
                    Some(_) => None,
                };
                let expected = col.map_or(0, |col| acts[(first + token) * stride + col]);
                assert_eq!(*value, expected, "{vectors:?} {place}");
            }
        }
        assert!(made.of(Vectors { first: 1, ..calls[0] }).is_none());
        assert!(made.of(Vectors { tokens: 2, ..calls[0] }).is_none());
        assert!(made.of(Vectors { run: run + 1, ..calls[0] }).is_none());
        drop(made);
        let back = spare.take();
        assert_eq!(back.as_ptr(), place);
    }
}
