//! The two inner loops of attention: sixteen sums side by side for each of a few queries.
//!
//! What is loaded, sixteen keys of a channel or sixteen channels of a value, is used for all queries of a tile.

/// Elements that lie side by side, and lanes of a reduction.
pub const LANES: usize = 16;

/// Greatest number of queries that share what is loaded: eight registers of sums on CPUs with vectors of 256 bits.
pub const TILE: usize = 4;

/// Sixteen values side by side.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// Sixteen zeros.
    pub const ZERO: Lanes = Lanes([0.0; LANES]);
}

impl AsMut<[f32]> for Lanes {
    #[inline(always)]
    fn as_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// Lanes as one slice.
#[inline(always)]
pub fn flat(rows: &[Lanes]) -> &[f32] {
    // SAFETY: `Lanes` is `repr(C)` of 16 floats, whose size is a multiple of its alignment: there is nothing in between.
    unsafe { std::slice::from_raw_parts(rows.as_ptr().cast(), rows.len() * LANES) }
}

/// Lanes as one slice.
#[inline(always)]
pub fn flat_mut(rows: &mut [Lanes]) -> &mut [f32] {
    // SAFETY: as for `flat`; the floats are borrowed as mutably as the rows were.
    unsafe { std::slice::from_raw_parts_mut(rows.as_mut_ptr().cast(), rows.len() * LANES) }
}

#[inline(always)]
fn add_products<const QUERIES: usize>(sums: &mut [Lanes; QUERIES], factors: [f32; QUERIES], lanes: &Lanes) {
    for (sums, factor) in sums.iter_mut().zip(factors) {
        for (sum, value) in sums.0.iter_mut().zip(&lanes.0) {
            *sum += factor * *value;
        }
    }
}

#[inline(always)]
fn add<const QUERIES: usize>(sums: &mut [Lanes; QUERIES], others: &[Lanes; QUERIES]) {
    for (sums, others) in sums.iter_mut().zip(others) {
        for (sum, other) in sums.0.iter_mut().zip(&others.0) {
            *sum += *other;
        }
    }
}

/// The dot products of some queries with sixteen keys, each by the rule of [`super::super::Numerics::dot_rows`].
///
/// `keys` are the channels of a group of keys in the order of [`super::LANE_ORDER`], the lanes of the reduction one after
/// the other; `queries` the same channels of each query, `[channels][QUERIES]`. In that order a lane, once its sum is
/// complete, is due to be added to the one before it, whose turn in the fold has just come, and so on upwards.
#[inline(always)]
pub fn dots<const QUERIES: usize>(queries: &[[f32; QUERIES]], keys: &[Lanes]) -> [Lanes; QUERIES] {
    const LEVELS: usize = LANES.ilog2() as usize;
    let steps = keys.len() / LANES;
    let zero = [Lanes::ZERO; QUERIES];
    // Sums that wait for their partner, by the number of lanes in them.
    let mut waiting = [zero; LEVELS + 1];
    for (lane, (keys, queries)) in keys.chunks_exact(steps).zip(queries.chunks_exact(steps)).enumerate() {
        let mut sums = zero;
        for (key, query) in keys.iter().zip(queries) {
            add_products(&mut sums, *query, key);
        }
        let level = lane.trailing_ones() as usize;
        for partner in &waiting[..level] {
            add(&mut sums, partner);
        }
        waiting[level] = sums;
    }
    waiting[LEVELS]
}

/// Adds `weights[q][j] * values[j]` to the sums of each query q, j ascending: sixteen channels of the weighted sums.
#[inline(always)]
pub fn add_weighted<const QUERIES: usize>(
    weights: [&[f32]; QUERIES],
    values: &[Lanes],
    sums: &mut [Lanes; QUERIES],
) {
    let weights = weights.map(|weights| &weights[..values.len()]);
    let mut local = *sums;
    for (j, value) in values.iter().enumerate() {
        add_products(&mut local, std::array::from_fn(|q| weights[q][j]), value);
    }
    *sums = local;
}
