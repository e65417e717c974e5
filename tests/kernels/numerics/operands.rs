//! Vectors to compute with: random ones of every length and magnitude, and the edges of f32.

use tritforge_tests::Random;

/// Every length that can meet another path through a loop, and those of known models.
pub fn lengths() -> impl Iterator<Item = usize> {
    (0..=70).chain([640, 2560, 5460, 6912, 8640])
}

/// What the values of a vector are like.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// From -1 to 1.
    Plain,
    /// Any exponent, subnormal ones included, but the two greatest.
    AnyExponent,
    /// Near the ends of the range: sums overflow.
    Huge,
    /// Below the smallest normal number, or zero of either sign.
    Tiny,
    /// Halves of odd integers, up to 127 with that as the greatest magnitude: quantised with a scale of 1 they are ties.
    Ties,
    /// Like `Plain`, with a NaN and infinities strewn in.
    NotFinite,
}

/// The finite ones.
pub const FINITE: [Kind; 5] = [Kind::Plain, Kind::AnyExponent, Kind::Huge, Kind::Tiny, Kind::Ties];

/// A vector of a kind, the same every time.
pub fn vector(kind: Kind, len: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed << 20 | len as u64);
    let mut values: Vec<f32> = (0..len).map(|_| value(kind, random.bits())).collect();
    match kind {
        Kind::Ties => values.iter_mut().take(1).for_each(|v| *v = 127.0),
        Kind::NotFinite => {
            let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
            let places: Vec<usize> = bad.iter().map(|_| random.bits() as usize % len.max(1)).collect();
            for (place, bad) in places.into_iter().zip(bad) {
                values.iter_mut().skip(place).take(1).for_each(|v| *v = bad);
            }
        }
        _ => {}
    }
    values
}

fn value(kind: Kind, bits: u32) -> f32 {
    const SIGN_AND_FRACTION: u32 = 0x807f_ffff;
    let with_exponent = |exponent: u32| f32::from_bits(bits & SIGN_AND_FRACTION | exponent << 23);
    match kind {
        Kind::Plain | Kind::NotFinite => (bits as i32 >> 8) as f32 / (1 << 23) as f32,
        Kind::AnyExponent => with_exponent((bits >> 23 & 0xff) % 253),
        Kind::Huge => with_exponent(250 + (bits >> 23) % 5),
        Kind::Tiny if bits.is_multiple_of(5) => with_exponent(0) * 0.0,
        Kind::Tiny => with_exponent(0),
        Kind::Ties => ((bits >> 8) % 253) as f32 - 126.5 + f32::from(bits.is_multiple_of(7)) * 0.5,
    }
}

/// Whether two results are the same: bit by bit, but for what a NaN looks like.
pub fn same(found: f32, expected: f32) -> bool {
    found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan())
}

/// Compares results.
///
/// # Errors
/// Which differs first.
pub fn compare(what: impl std::fmt::Display, found: &[f32], expected: &[f32]) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{what}: {} results, {} expected", found.len(), expected.len()));
    }
    match found.iter().zip(expected).position(|(found, expected)| !same(*found, *expected)) {
        None => Ok(()),
        Some(i) => Err(format!("{what}: element {i} is {:e}, expected {:e}", found[i], expected[i])),
    }
}
