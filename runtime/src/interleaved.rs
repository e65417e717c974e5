//! Activations in the order in which some kernels read them: see [`interleave`].

use std::sync::Arc;

use crate::kernels::abi::{ATOM_COLS, interleave};
use crate::numerics::quantize::STRIDE_GRANULE;
use crate::os::Line;
use crate::room::Room;
use crate::spare::Spare;
use crate::team::Team;

/// The vectors of some calls, each call's for itself.
#[derive(Debug)]
pub(crate) struct Interleaved {
    /// As many as they take, or more.
    lines: Room<Line>,
    /// Where the memory goes back to.
    spare: Arc<Spare<Room<Line>>>,
    /// First vector and number of vectors of each call, and the bytes that are theirs.
    calls: Vec<Call>,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    first: usize,
    tokens: usize,
    start: usize,
    bytes: usize,
}

impl Interleaved {
    /// Of vectors of `cols` values, `stride` apart, those of each call: first vector and number of vectors. The memory is taken
    /// from `spare`, and given back in the end.
    ///
    /// # Panics
    /// When `acts` ends before the last vector, filled up to a multiple of 16, does.
    pub fn new(
        team: &Team<'_>,
        spare: &Arc<Spare<Room<Line>>>,
        acts: &[i8],
        stride: usize,
        cols: usize,
        calls: impl Iterator<Item = (usize, usize)>,
    ) -> Self {
        let padded = cols.next_multiple_of(ATOM_COLS);
        let mut start = 0;
        let calls: Vec<Call> = calls
            .map(|(first, tokens)| {
                let call = Call { first, tokens, start, bytes: tokens * padded };
                start += call.bytes.next_multiple_of(STRIDE_GRANULE);
                call
            })
            .collect();
        let mut lines = spare.take();
        let mut rest: &mut [i8] = bytemuck::cast_slice_mut(lines.sized(start / STRIDE_GRANULE));
        let mut parts: Vec<(usize, &mut [i8])> = Vec::with_capacity(calls.len());
        for call in &calls {
            let (part, behind) =
                std::mem::take(&mut rest).split_at_mut(call.bytes.next_multiple_of(STRIDE_GRANULE));
            parts.push((call.first, &mut part[..call.bytes]));
            rest = behind;
        }
        team.chunks(&mut parts, 1, start, |_, parts| {
            for (first, part) in parts {
                interleave(&acts[*first * stride..], stride, padded, part);
            }
        });
        Interleaved { lines, spare: Arc::clone(spare), calls }
    }

    /// Those of a call that begins with a vector; `None` where there is no such call.
    pub fn of(&self, first: usize, tokens: usize) -> Option<&[i8]> {
        let at = self.calls.binary_search_by_key(&first, |call| call.first).ok()?;
        let Call { tokens: found, start, bytes, .. } = self.calls[at];
        (found == tokens).then(|| &bytemuck::cast_slice(&self.lines)[start..start + bytes])
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

    #[test]
    fn four_of_each_vector_in_turn() {
        // Two calls of three vectors and one of one, which are filled up to a multiple of sixteen.
        for (cols, stride) in [(20, 48), (150, 160)] {
            check(cols, cols.next_multiple_of(ATOM_COLS), stride);
        }
    }

    fn check(cols: usize, padded: usize, stride: usize) {
        let mut acts = vec![99i8; 7 * stride];
        for token in 0..7 {
            let vector = &mut acts[token * stride..][..padded];
            vector.fill(0);
            (0..cols).for_each(|col| vector[col] = (token * 16 + (col + col / 16) % 16) as i8);
        }
        let calls = [(0, 3), (3, 3), (6, 1)];
        let spare = Arc::new(Spare::default());
        let mut room = Room::<Line>::default();
        room.sized(1000).fill(Line([77; STRIDE_GRANULE]));
        let place = room.as_ptr();
        spare.put(room);
        let made = Interleaved::new(&Team::solo(), &spare, &acts, stride, cols, calls.into_iter());
        assert_eq!(made.lines.as_ptr(), place, "what is there is used again");
        for (first, tokens) in calls {
            let found = made.of(first, tokens).unwrap();
            assert_eq!(found.len(), tokens * padded);
            for (place, value) in found.iter().enumerate() {
                let (quad, token) = (place / 4 / tokens, place / 4 % tokens);
                assert_eq!(*value, acts[(first + token) * stride + 4 * quad + place % 4], "{first} {place}");
            }
        }
        assert!(made.of(1, 3).is_none() && made.of(0, 2).is_none());
        drop(made);
        let back = spare.take();
        assert_eq!(back.as_ptr(), place);
    }
}
