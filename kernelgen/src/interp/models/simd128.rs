//! The intrinsics of the WebAssembly back-end, and the functions of [`crate::isa::Ops`] that it calls. A pair of
//! registers is 32 bytes, the first register's before the second's.

use super::{Value, from_i16, from_i32, i16s, i32s};

/// The result of an instruction, or `None` where there is no model for it and these arguments.
pub fn model(name: &str, args: &[Value]) -> Option<Value> {
    use Value::{Bytes, Scalar};
    Some(match (name, args) {
        ("v128_load", [Bytes(x)]) => Bytes(x.clone()),
        ("i16x8_splat", [Scalar(x)]) => Bytes((*x as i16).to_le_bytes().repeat(8)),
        ("i32x4_splat", [Scalar(x)]) => Bytes((*x as i32).to_le_bytes().repeat(4)),
        ("v128_and", [Bytes(a), Bytes(b)]) => Bytes(a.iter().zip(b).map(|(a, b)| a & b).collect()),
        ("i16x8_shl", [Bytes(x), Scalar(by)]) => from_i16(i16s(x).map(|x| x << by)),
        ("i16x8_shr", [Bytes(x), Scalar(by)]) => from_i16(i16s(x).map(|x| x >> by)),
        ("u16x8_shr", [Bytes(x), Scalar(by)]) => from_i16(i16s(x).map(|x| (x as u16 >> by) as i16)),
        ("i32x4_shr", [Bytes(x), Scalar(by)]) => from_i32(i32s(x).map(|x| x >> by)),
        ("i32x4_add", [Bytes(a), Bytes(b)]) => from_i32(i32s(a).zip(i32s(b)).map(|(a, b)| a.wrapping_add(b))),
        ("i32x4_sub", [Bytes(a), Bytes(b)]) => from_i32(i32s(a).zip(i32s(b)).map(|(a, b)| a.wrapping_sub(b))),
        ("simd128_ops::pair", [Bytes(even), Bytes(odd)]) => Bytes([even.as_slice(), odd].concat()),
        ("simd128_ops::products", [Bytes(codes), Bytes(acts)]) => {
            let products: Vec<i32> =
                i16s(codes).zip(i16s(acts)).map(|(c, a)| i32::from(c) * i32::from(a)).collect();
            from_i32(products.chunks(2).map(|two| two[0].wrapping_add(two[1])))
        }
        ("simd128_ops::sum", [Bytes(pair)]) => {
            let (a, b) = pair.split_at(pair.len() / 2);
            from_i32(i32s(a).zip(i32s(b)).map(|(a, b)| a.wrapping_add(b)))
        }
        _ => return None,
    })
}

/// The i32 lanes that a store writes, `None` for those that it leaves alone.
pub fn stored(name: &str, args: &[Value]) -> Option<Vec<Option<i32>>> {
    use Value::{Bytes, Pointer, Scalar};
    Some(match (name, args) {
        ("v128_store", [Pointer, Bytes(x)]) => i32s(x).map(Some).collect(),
        ("simd128_ops::store_part", [Pointer, Scalar(left), Bytes(x)]) => {
            i32s(x).enumerate().map(|(i, x)| ((i as i64) < *left).then_some(x)).collect()
        }
        _ => return None,
    })
}
