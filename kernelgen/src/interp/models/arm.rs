//! The intrinsics of the Arm back-ends, and the functions of [`crate::isa::Ops`] that they call. A pair of registers is
//! 32 bytes, the first register's before the second's.

use super::{Value, from_i16, from_i32, i16s, i32s};

/// The result of an instruction, or `None` where there is no model for it and these arguments.
pub fn model(name: &str, args: &[Value]) -> Option<Value> {
    use Value::{Bytes, Scalar};
    Some(match (name, args) {
        ("vld1q_s8", [Bytes(x)]) => Bytes(x.clone()),
        ("vdupq_n_s8", [Scalar(x)]) => Bytes(vec![*x as u8; 16]),
        ("vdupq_n_s32" | "neon_ops::quad", [Scalar(x)]) => Bytes((*x as i32).to_le_bytes().repeat(4)),
        ("vandq_s8", [Bytes(a), Bytes(b)]) => Bytes(a.iter().zip(b).map(|(a, b)| a & b).collect()),
        ("vshrq_n_s8", [Scalar(by), Bytes(x)]) => Bytes(x.iter().map(|x| (*x as i8 >> by) as u8).collect()),
        ("vshrq_n_s32", [Scalar(by), Bytes(x)]) => from_i32(i32s(x).map(|x| x >> by)),
        ("vaddq_s32", [Bytes(a), Bytes(b)]) => from_i32(i32s(a).zip(i32s(b)).map(|(a, b)| a.wrapping_add(b))),
        ("vsubq_s32", [Bytes(a), Bytes(b)]) => from_i32(i32s(a).zip(i32s(b)).map(|(a, b)| a.wrapping_sub(b))),
        ("neon_ops::sdot", [Bytes(acc), Bytes(codes), Bytes(acts)]) => {
            dot(acc, codes, acts, |code| (code as i8).into())
        }
        ("neon_ops::usdot", [Bytes(acc), Bytes(codes), Bytes(acts)]) => dot(acc, codes, acts, i32::from),
        ("neon_ops::zero_pair", []) => Bytes(vec![0; 32]),
        ("neon_ops::products", [Bytes(codes), Bytes(acts)]) => {
            from_i16(codes.iter().zip(acts).map(|(c, a)| i16::from(*c as i8) * i16::from(*a as i8)))
        }
        ("neon_ops::add_pair", [Bytes(a), Bytes(b)]) => {
            from_i16(i16s(a).zip(i16s(b)).map(|(a, b)| a.wrapping_add(b)))
        }
        ("neon_ops::shift_pair", [Scalar(by), Bytes(x)]) => from_i16(i16s(x).map(|x| x >> by)),
        ("neon_ops::widen", [Bytes(acc), Bytes(narrow)]) => {
            let sums: Vec<i32> = i16s(narrow).map(i32::from).collect();
            from_i32(i32s(acc).zip(sums.chunks(4)).map(|(acc, four)| acc.wrapping_add(four.iter().sum())))
        }
        _ => return None,
    })
}

/// The i32 lanes that a store writes, `None` for those that it leaves alone.
pub fn stored(name: &str, args: &[Value]) -> Option<Vec<Option<i32>>> {
    use Value::{Bytes, Pointer, Scalar};
    Some(match (name, args) {
        ("vst1q_s32", [Pointer, Bytes(x)]) => i32s(x).map(Some).collect(),
        ("neon_ops::store_part", [Pointer, Scalar(left), Bytes(x)]) => {
            i32s(x).enumerate().map(|(i, x)| ((i as i64) < *left).then_some(x)).collect()
        }
        _ => return None,
    })
}

/// Four products of codes and signed bytes added to each i32 without saturation.
fn dot(acc: &[u8], codes: &[u8], acts: &[u8], code: fn(u8) -> i32) -> Value {
    let products: Vec<i32> = codes.iter().zip(acts).map(|(c, a)| code(*c) * i32::from(*a as i8)).collect();
    from_i32(i32s(acc).zip(products.chunks(4)).map(|(acc, four)| acc.wrapping_add(four.iter().sum())))
}
