//! What every intrinsic that the back-ends use does, in plain Rust, from the vendors' descriptions. The tests
//! compare each model with the silicon wherever it has the instruction.

mod arm;
mod simd128;

/// A register's contents, or a scalar argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A vector register, lowest byte first.
    Bytes(Vec<u8>),
    /// A scalar, a mask or a constant.
    Scalar(i64),
    /// An address that only a store or a prefetch uses.
    Pointer,
}

/// The result of an instruction, or `None` where there is no model for it and these arguments.
pub fn model(name: &str, args: &[Value]) -> Option<Value> {
    use Value::{Bytes, Scalar};
    Some(match (name, args) {
        (
            "_mm512_load_si512" | "_mm256_load_si256" | "portable_ops::load" | "portable_ops::quad",
            [Bytes(x)],
        ) => Bytes(x.clone()),
        ("_mm512_setzero_si512", []) => Bytes(vec![0; 64]),
        ("_mm256_setzero_si256", []) => Bytes(vec![0; 32]),
        ("portable_ops::zero", []) => Bytes(vec![0; 64]),
        ("portable_ops::zero_narrow", []) => Bytes(vec![0; 128]),
        ("_mm512_set1_epi8", [Scalar(x)]) => Bytes(vec![*x as u8; 64]),
        ("_mm256_set1_epi8", [Scalar(x)]) => Bytes(vec![*x as u8; 32]),
        ("_mm512_set1_epi64", [Scalar(x)]) => Bytes(x.to_le_bytes().repeat(8)),
        ("_mm512_gf2p8affine_epi64_epi8", [Scalar(constant), Bytes(x), Bytes(matrices)]) => {
            affine(*constant as u8, x, matrices)
        }
        ("_mm512_set1_epi16", [Scalar(x)]) => Bytes((*x as i16).to_le_bytes().repeat(32)),
        ("_mm256_set1_epi16", [Scalar(x)]) => Bytes((*x as i16).to_le_bytes().repeat(16)),
        ("_mm512_set1_epi32", [Scalar(x)]) => Bytes((*x as i32).to_le_bytes().repeat(16)),
        ("_mm256_set1_epi32", [Scalar(x)]) => Bytes((*x as i32).to_le_bytes().repeat(8)),
        ("_mm256_setr_epi32", lanes) if lanes.len() == 8 => {
            let lanes: Option<Vec<i32>> = lanes
                .iter()
                .map(|lane| match lane {
                    Scalar(x) => Some(*x as i32),
                    _ => None,
                })
                .collect();
            from_i32(lanes?)
        }
        ("_mm512_and_si512" | "_mm256_and_si256", [Bytes(a), Bytes(b)]) => {
            Bytes(a.iter().zip(b).map(|(a, b)| a & b).collect())
        }
        ("portable_ops::and", [Scalar(mask), Bytes(x)]) => Bytes(x.iter().map(|x| x & *mask as u8).collect()),
        ("portable_ops::shift_right", [Scalar(by), Bytes(x)]) => Bytes(x.iter().map(|x| x >> by).collect()),
        ("_mm512_srli_epi16" | "_mm256_srli_epi16", [Scalar(by), Bytes(x)]) => {
            from_i16(i16s(x).map(|x| ((x as u16) >> by) as i16))
        }
        (
            "_mm512_srai_epi16" | "_mm256_srai_epi16" | "portable_ops::shift_narrow",
            [Scalar(by), Bytes(x)],
        ) => from_i16(i16s(x).map(|x| x >> by)),
        ("_mm512_srai_epi32" | "_mm256_srai_epi32", [Scalar(by), Bytes(x)]) => {
            from_i32(i32s(x).map(|x| x >> by))
        }
        ("_mm512_dpbusd_epi32" | "_mm256_dpbusd_avx_epi32", [Bytes(acc), Bytes(codes), Bytes(acts)]) => {
            dot(acc, codes, acts)
        }
        ("portable_ops::dot_narrow", [Bytes(codes), Bytes(acts)]) => from_i16(
            codes
                .iter()
                .zip(acts.iter().cycle())
                .map(|(c, a)| i16::from(*c).wrapping_mul(i16::from(*a as i8))),
        ),
        ("portable_ops::widen", [Bytes(acc), Bytes(narrow)]) => {
            let sums: Vec<i32> = i16s(narrow).map(i32::from).collect();
            from_i32(i32s(acc).zip(sums.chunks(4)).map(|(acc, four)| acc.wrapping_add(four.iter().sum())))
        }
        ("_mm512_maddubs_epi16" | "_mm256_maddubs_epi16", [Bytes(codes), Bytes(acts)]) => {
            let products: Vec<i32> =
                codes.iter().zip(acts).map(|(c, a)| i32::from(*c) * i32::from(*a as i8)).collect();
            let saturate = |sum: i32| sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            from_i16(products.chunks(2).map(|two| saturate(two[0] + two[1])))
        }
        ("_mm512_madd_epi16" | "_mm256_madd_epi16", [Bytes(a), Bytes(b)]) => {
            let products: Vec<i32> = i16s(a).zip(i16s(b)).map(|(a, b)| i32::from(a) * i32::from(b)).collect();
            from_i32(products.chunks(2).map(|two| two[0].wrapping_add(two[1])))
        }
        (
            "_mm512_add_epi16" | "x86_ops::add_epi16__avx2" | "portable_ops::add_narrow",
            [Bytes(a), Bytes(b)],
        ) => from_i16(i16s(a).zip(i16s(b)).map(|(a, b)| a.wrapping_add(b))),
        ("_mm512_add_epi32" | "_mm256_add_epi32", [Bytes(a), Bytes(b)]) => {
            from_i32(i32s(a).zip(i32s(b)).map(|(a, b)| a.wrapping_add(b)))
        }
        ("_mm512_sub_epi32" | "_mm256_sub_epi32", [Bytes(a), Bytes(b)]) => {
            from_i32(i32s(a).zip(i32s(b)).map(|(a, b)| a.wrapping_sub(b)))
        }
        ("portable_ops::sub_scalar", [Bytes(x), Scalar(y)]) => {
            from_i32(i32s(x).map(|x| x.wrapping_sub(*y as i32)))
        }
        ("_mm256_cmpgt_epi32", [Bytes(a), Bytes(b)]) => {
            from_i32(i32s(a).zip(i32s(b)).map(|(a, b)| if a > b { -1 } else { 0 }))
        }
        ("abi::tail_mask16", [Scalar(left)]) => Scalar((1 << (*left).clamp(0, 16)) - 1),
        _ => return arm::model(name, args).or_else(|| simd128::model(name, args)),
    })
}

/// The i32 lanes that a store writes, `None` for those that it leaves alone.
pub fn stored(name: &str, args: &[Value]) -> Option<Vec<Option<i32>>> {
    use Value::{Bytes, Pointer, Scalar};
    Some(match (name, args) {
        ("_mm512_store_si512" | "_mm512_storeu_si512" | "_mm256_storeu_si256", [Pointer, Bytes(x)]) => {
            i32s(x).map(Some).collect()
        }
        ("_mm512_mask_storeu_epi32", [Pointer, Scalar(mask), Bytes(x)]) => {
            i32s(x).enumerate().map(|(i, x)| (mask >> i & 1 == 1).then_some(x)).collect()
        }
        ("_mm256_maskstore_epi32", [Pointer, Bytes(mask), Bytes(x)]) => {
            i32s(mask).zip(i32s(x)).map(|(mask, x)| (mask < 0).then_some(x)).collect()
        }
        ("portable_ops::store", [Pointer, Scalar(left), Bytes(x)]) => {
            i32s(x).enumerate().map(|(i, x)| ((i as i64) < *left).then_some(x)).collect()
        }
        _ => return arm::stored(name, args).or_else(|| simd128::stored(name, args)),
    })
}

/// `vgf2p8affineqb`: bit i of each byte is the parity of those of its bits that byte 7 - i of the matrix of its eight bytes
/// has, turned over where bit i of the constant is set.
fn affine(constant: u8, x: &[u8], matrices: &[u8]) -> Value {
    let bytes = x.chunks_exact(8).zip(matrices.chunks_exact(8)).flat_map(|(bytes, matrix)| {
        bytes.iter().map(move |byte| {
            let parity = |i: usize| (byte & matrix[7 - i]).count_ones() as u8 & 1;
            (0..8).fold(constant, |bits, i| bits ^ parity(i) << i)
        })
    });
    Value::Bytes(bytes.collect())
}

/// `vpdpbusd`: unsigned bytes times signed bytes, four products added to each i32 without saturation.
fn dot(acc: &[u8], codes: &[u8], acts: &[u8]) -> Value {
    let products: Vec<i32> =
        codes.iter().zip(acts).map(|(c, a)| i32::from(*c) * i32::from(*a as i8)).collect();
    from_i32(i32s(acc).zip(products.chunks(4)).map(|(acc, four)| acc.wrapping_add(four.iter().sum())))
}

fn i16s(bytes: &[u8]) -> impl Iterator<Item = i16> + '_ {
    bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]))
}

fn i32s(bytes: &[u8]) -> impl Iterator<Item = i32> + '_ {
    bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn from_i16(lanes: impl IntoIterator<Item = i16>) -> Value {
    Value::Bytes(lanes.into_iter().flat_map(i16::to_le_bytes).collect())
}

fn from_i32(lanes: impl IntoIterator<Item = i32>) -> Value {
    Value::Bytes(lanes.into_iter().flat_map(i32::to_le_bytes).collect())
}
