//! The portable form: arrays, which the compiler vectorises with whatever the instruction set has.

use super::{LANES, Lanes, operations};

/// No instruction set in particular.
pub struct Portable;

/// What `each` makes of every lane.
macro_rules! each_lane {
    ($lane:ident => $value:expr) => {{
        let mut lanes = [Default::default(); LANES];
        for $lane in 0..LANES {
            lanes[$lane] = $value;
        }
        lanes
    }};
}

/// The bits of a binary16 value as f32: 2^-112 times too small, which one exact multiplication mends, infinities and NaN
/// apart.
#[inline(always)]
fn widen_f16(bits: u16) -> f32 {
    const EXPONENTS_APART: f32 = f32::from_bits((127 + 112) << 23);
    let sign = u32::from(bits & 0x8000) << 16;
    let magnitude = u32::from(bits & 0x7fff);
    let finite = f32::from_bits(magnitude << 13) * EXPONENTS_APART;
    let special = f32::from_bits(0x7f80_0000 | magnitude << 13);
    let value = if magnitude < 0x7c00 { finite } else { special };
    f32::from_bits(value.to_bits() | sign)
}

/// The little-endian word of two bytes.
///
/// # Safety
/// Two bytes must be readable at `from`.
#[inline(always)]
unsafe fn word(from: *const u8) -> u16 {
    // SAFETY: the caller promises two bytes.
    u16::from_le_bytes(unsafe { from.cast::<[u8; 2]>().read() })
}

impl Lanes for Portable {
    type Words = [[u16; 2]; LANES];
    type Sums = [i32; LANES];
    type Floats = [f32; LANES];

    operations! {
        fn words(from: *const u8) -> Self::Words {
            each_lane!(lane => [word(from.add(4 * lane)), word(from.add(4 * lane + 2))])
        }
        fn and(words: Self::Words, mask: u16) -> Self::Words {
            each_lane!(lane => [words[lane][0] & mask, words[lane][1] & mask])
        }
        fn or(words: Self::Words, other: Self::Words) -> Self::Words {
            each_lane!(lane => [words[lane][0] | other[lane][0], words[lane][1] | other[lane][1]])
        }
        const BITS: u32, fn shr(words: Self::Words) -> Self::Words {
            each_lane!(lane => [words[lane][0] >> BITS, words[lane][1] >> BITS])
        }
        const BITS: u32, fn shl(words: Self::Words) -> Self::Words {
            each_lane!(lane => [words[lane][0] << BITS, words[lane][1] << BITS])
        }

        fn sums(value: i32) -> Self::Sums { [value; LANES] }
        fn add_sums(sums: Self::Sums, other: Self::Sums) -> Self::Sums {
            each_lane!(lane => sums[lane].wrapping_add(other[lane]))
        }
        const BITS: u32, fn shr_sums(sums: Self::Sums) -> Self::Sums {
            each_lane!(lane => sums[lane] >> BITS)
        }
        fn dot(sums: Self::Sums, words: Self::Words, pair: *const i16) -> Self::Sums {
            let pair = [i32::from(*pair), i32::from(*pair.add(1))];
            // Only the least two words times the least two activations would leave i32, by one.
            each_lane!(lane => {
                let products = [i32::from(words[lane][0] as i16) * pair[0], i32::from(words[lane][1] as i16) * pair[1]];
                sums[lane].wrapping_add(products[0].wrapping_add(products[1]))
            })
        }

        fn floats(value: f32) -> Self::Floats { [value; LANES] }
        fn from_sums(sums: Self::Sums) -> Self::Floats { each_lane!(lane => sums[lane] as f32) }
        fn f32s(from: *const f32) -> Self::Floats { from.cast::<[f32; LANES]>().read() }
        fn le_f32s(from: *const u8) -> Self::Floats {
            each_lane!(lane => f32::from_le_bytes(from.add(4 * lane).cast::<[u8; 4]>().read()))
        }
        fn f16s(from: *const u8) -> Self::Floats { each_lane!(lane => widen_f16(word(from.add(2 * lane)))) }
        fn bf16s(from: *const u8) -> Self::Floats {
            each_lane!(lane => f32::from_bits(u32::from(word(from.add(2 * lane))) << 16))
        }
        fn i8s(from: *const u8) -> Self::Floats { each_lane!(lane => f32::from(*from.add(lane) as i8)) }
        fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats { each_lane!(lane => a[lane] * b[lane]) }
        fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats { each_lane!(lane => a[lane] + b[lane]) }
        fn add_exact_product(sum: Self::Floats, a: Self::Floats, b: Self::Floats) -> Self::Floats {
            // Elsewhere it would be a call of a function for every lane.
            if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                each_lane!(lane => a[lane].mul_add(b[lane], sum[lane]))
            } else {
                each_lane!(lane => a[lane] * b[lane] + sum[lane])
            }
        }
        fn store(floats: Self::Floats, to: &mut [f32; LANES]) { *to = floats; }

        // Nothing asks for memory on every architecture.
        fn prefetch(_from: *const u8, _ahead: usize) {}
    }
}
