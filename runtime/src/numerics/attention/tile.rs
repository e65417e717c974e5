//! The two inner loops of attention: sixteen sums side by side for each of a few queries.
//!
//! What is loaded, sixteen keys of a channel or sixteen channels of a value, is used for all queries of a tile; and a
//! query's factor for one or two of these.

use std::mem::MaybeUninit;

use crate::lanes::{Has, LANES, Lanes};
use crate::numerics::kv_block::{LANE_ORDER, Row};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Sixteen values side by side.
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Sixteen(pub [f32; LANES]);

impl Sixteen {
    /// Sixteen zeros.
    pub const ZERO: Sixteen = Sixteen([0.0; LANES]);
}

impl AsMut<[f32]> for Sixteen {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// Rows of sixteen as one slice.
#[inline(always)]
pub fn flat(rows: &[Sixteen]) -> &[f32] {
    // SAFETY: `Sixteen` is `repr(C)` of 16 floats, whose size is a multiple of its alignment: there is nothing in between.
    unsafe { std::slice::from_raw_parts(rows.as_ptr().cast(), rows.len() * LANES) }
}

/// Rows of sixteen as one slice.
#[inline(always)]
pub fn flat_mut(rows: &mut [Sixteen]) -> &mut [f32] {
    // SAFETY: as for `flat`; the floats are borrowed as mutably as the rows were.
    unsafe { std::slice::from_raw_parts_mut(rows.as_mut_ptr().cast(), rows.len() * LANES) }
}

/// A sum for each of some queries and each of `B` vectors beside each other.
type Sums<L, const QUERIES: usize, const B: usize> = [[<L as Lanes>::Floats; B]; QUERIES];

/// `sums[q][b] + factors[q] * lanes[b]`; `EXACT` says that the products are.
///
/// # Safety
/// The CPU must have the instruction set of `L`; `factors` points to a float for each query, `apart` elements from one to
/// the next, `lanes` to a row for each vector, `beside` rows from one to the next.
#[inline(always)]
unsafe fn add_products<L: Lanes, R: Row, const EXACT: bool, const QUERIES: usize, const B: usize>(
    sums: &mut Sums<L, QUERIES, B>,
    (factors, apart): (*const f32, usize),
    (lanes, beside): (*const R, usize),
) {
    // SAFETY: as the caller promises.
    unsafe {
        let lanes: [L::Floats; B] = std::array::from_fn(|b| (*lanes.add(b * beside)).widen::<L>());
        for (q, sums) in sums.iter_mut().enumerate() {
            let factor = L::floats(*factors.add(q * apart));
            for (sum, lanes) in sums.iter_mut().zip(lanes) {
                *sum = match EXACT {
                    true => L::add_exact_product(*sum, factor, lanes),
                    false => L::add(*sum, L::mul(factor, lanes)),
                };
            }
        }
    }
}

/// The lanes in memory.
///
/// # Safety
/// The CPU must have the instruction set of `L`.
#[inline(always)]
unsafe fn stored<L: Lanes, const QUERIES: usize, const B: usize>(
    sums: Sums<L, QUERIES, B>,
) -> [[Sixteen; B]; QUERIES] {
    let mut rows = [[Sixteen::ZERO; B]; QUERIES];
    for (row, sum) in rows.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        // SAFETY: as the caller promises.
        unsafe { L::store(*sum, &mut row.0) };
    }
    rows
}

/// Rows in memory as lanes.
///
/// # Safety
/// The CPU must have the instruction set of `L`.
#[inline(always)]
unsafe fn load<L: Lanes, const B: usize>(rows: &[Sixteen; B]) -> [L::Floats; B] {
    // SAFETY: as the caller promises; a row is sixteen floats.
    rows.each_ref().map(|row| unsafe { L::f32s(row.0.as_ptr()) })
}

/// The dot products of some queries with sixteen keys of each of `B` groups, each by the rule of
/// [`super::super::Numerics::dot_rows`].
///
/// `keys` are the channels of one group of keys after the other, in the order of [`LANE_ORDER`], the lanes of the
/// reduction one after the other; `queries` begins with the channels of each query, in ascending order, `channels` apart and
/// as many, a multiple of sixteen. In the keys' order a lane, once its sum is
/// complete, is due to be added to the one before it, whose turn in the fold has just come, and so on upwards. `EXACT` says
/// that products are, so that a fused multiply-add gives the same bits.
///
/// Each is multiplied with its key's factor, where there are any, and with `scale`. Those of query q go to `out`, from
/// `q * apart` on, for as many queries as there is room for.
///
/// # Panics
/// When the keys, the queries or the factors are fewer, or the channels not whole rows of sixteen.
#[inline(always)]
pub(super) fn dots<L: Lanes, R: Row, const EXACT: bool, const QUERIES: usize, const B: usize>(
    _: Has<L>,
    (queries, channels): (&[f32], usize),
    Source { rows: keys, next }: Source<'_, R>,
    (factors, scale): (Option<&[f32]>, f32),
    (out, apart): (&mut [Sixteen], usize),
) {
    const LEVELS: usize = LANES.ilog2() as usize;
    assert!(
        queries.len() >= QUERIES * channels && channels.is_multiple_of(LANES),
        "all channels of the queries"
    );
    assert!(keys.len() >= B * channels, "all channels of the keys");
    assert!(factors.is_none_or(|factors| factors.len() >= B * LANES), "a factor a key");
    let (steps, queries) = (channels / LANES, queries.as_ptr());
    let lines = (B * steps * size_of::<R>()).div_ceil(LINE);
    // SAFETY: the CPU has the instruction set, queries and keys have all channels, and every key its factor. Of a
    // place's levels below the number of its trailing ones, each was written at one of the places before.
    unsafe {
        let zero = [[L::floats(0.0); B]; QUERIES];
        // Sums that wait for their partner, by the number of lanes in them: as many as there are ones at the end of the
        // place's number are there.
        let mut waiting = [const { MaybeUninit::<Sums<L, QUERIES, B>>::uninit() }; LEVELS + 1];
        let mut keys = keys.as_ptr();
        for (place, lane) in LANE_ORDER.into_iter().enumerate() {
            if let Some(next) = next {
                let start = next.wrapping_add(place * B * steps);
                (0..lines).for_each(|line| L::prefetch(start.cast(), line * LINE));
            }
            let mut sums = zero;
            for step in 0..steps {
                let factors = (queries.add(step * LANES + lane), channels);
                add_products::<L, R, EXACT, QUERIES, B>(&mut sums, factors, (keys, channels));
                keys = keys.add(1);
            }
            let level = place.trailing_ones() as usize;
            for partner in &waiting[..level] {
                let partner = partner.assume_init_ref();
                for (sum, other) in sums.as_flattened_mut().iter_mut().zip(partner.as_flattened()) {
                    *sum = L::add(*sum, *other);
                }
            }
            waiting[level].write(sums);
        }
        // The last place's number is all ones.
        let sums = waiting[LEVELS].assume_init_ref();
        let scale = L::floats(scale);
        for (q, sums) in sums.iter().enumerate() {
            let Some(rows) = out.get_mut(q * apart..) else { return };
            for (b, (row, sum)) in rows.iter_mut().zip(sums).enumerate() {
                let scaled = match factors {
                    Some(factors) => L::mul(*sum, L::f32s(factors.as_ptr().add(b * LANES))),
                    None => *sum,
                };
                L::store(L::mul(scaled, scale), &mut row.0);
            }
        }
    }
}

/// Keys or values that are multiplied.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, R> {
    /// They.
    pub rows: &'a [R],
    /// Where those begin that come after them, to be asked for meanwhile: any address, which is not read.
    pub next: Option<*const R>,
}

/// Where the weighted sums of some queries go, and what becomes of those that are there.
pub struct Target<'a> {
    /// Sixteen channels of query q for each of the strips beside each other, from row `q * apart` on.
    pub rows: &'a mut [Sixteen],
    /// Rows from one query to the next.
    pub apart: usize,
    /// For each query, what the sums that are there are multiplied with, and what those that are added to them. Where there
    /// are none, what is there is replaced.
    pub factors: Option<&'a [[f32; 2]]>,
}

/// `weights[q * apart + j] * values[b * beside + j]` for each query q, added up over the first `seen[q]` j, ascending:
/// sixteen channels of the weighted sums for each of `B` strips of values. `EXACT` says that the products are exact.
///
/// # Panics
/// When there are fewer weights, values, rows or factors, or a query sees less than the one before.
#[inline(always)]
pub(super) fn weighted<L: Lanes, R: Row, const EXACT: bool, const QUERIES: usize, const B: usize>(
    _: Has<L>,
    (weights, apart): (&[f32], usize),
    (Source { rows: values, next }, beside): (Source<'_, R>, usize),
    seen: &[usize; QUERIES],
    target: Target<'_>,
) {
    // What all see, the queries side by side; then what the later ones see beyond.
    let (common, most) = (seen[0], seen[QUERIES - 1]);
    assert!(seen.is_sorted() && weights.len() >= (QUERIES - 1) * apart + most, "a weight a value");
    assert!(values.len() >= (B - 1) * beside + most, "a value a weight");
    let (weights, values) = (weights.as_ptr(), values.as_ptr());
    let value = |j: usize| (values.wrapping_add(j), beside);
    let of_line = LINE / size_of::<R>();
    // SAFETY: the CPU has the instruction set, and every query has a weight for every value that it sees.
    unsafe {
        let mut common_sums: Sums<L, QUERIES, B> = [[L::floats(0.0); B]; QUERIES];
        if let Some(next) = next {
            for j in 0..common {
                if j.is_multiple_of(of_line) {
                    (0..B).for_each(|b| L::prefetch(next.wrapping_add(b * beside + j).cast(), 0));
                }
                add_products::<L, R, EXACT, QUERIES, B>(&mut common_sums, (weights.add(j), apart), value(j));
            }
        } else {
            for j in 0..common {
                add_products::<L, R, EXACT, QUERIES, B>(&mut common_sums, (weights.add(j), apart), value(j));
            }
        }
        let mut sums = common_sums;
        if common < most {
            // By way of memory: the sums of the loop above stay in registers only while nothing chooses among them.
            let mut rows = stored::<L, QUERIES, B>(common_sums);
            for (q, rows) in rows.iter_mut().enumerate() {
                let mut sums = [load::<L, B>(rows)];
                for j in common..seen[q] {
                    add_products::<L, R, EXACT, 1, B>(&mut sums, (weights.add(q * apart + j), 0), value(j));
                }
                [*rows] = stored::<L, 1, B>(sums);
            }
            sums = rows.each_ref().map(|rows| load::<L, B>(rows));
        }
        let rows = target.rows.chunks_mut(target.apart);
        assert!(rows.len() >= QUERIES, "a place for every query");
        let Some(factors) = target.factors else {
            for (rows, sums) in rows.zip(&sums) {
                for (row, sum) in rows.iter_mut().zip(sums) {
                    L::store(*sum, &mut row.0);
                }
            }
            return;
        };
        assert!(factors.len() >= QUERIES, "factors for every query");
        for ((rows, sums), [old, new]) in rows.zip(&sums).zip(factors) {
            let (old, new) = (L::floats(*old), L::floats(*new));
            for (row, sum) in rows.iter_mut().zip(sums) {
                let there = L::f32s(row.0.as_ptr());
                L::store(L::add(L::mul(there, old), L::mul(*sum, new)), &mut row.0);
            }
        }
    }
}
