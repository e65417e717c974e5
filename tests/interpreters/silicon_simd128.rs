//! Runs what the WebAssembly kernels are made of.

use std::arch::wasm32::*;

use kernelgen::interp::models::Value;
use kernelgen::simd128_ops::{self as ops, Pair};
use tritforge_tests::CANARY;

/// The result of an instruction; a store's is what stands at its address afterwards.
pub fn run(name: &str, args: &[Value]) -> Option<Vec<u8>> {
    use Value::{Bytes, Pointer, Scalar};
    let mut memory = [CANARY; 4];
    Some(match (name, args) {
        ("v128_load", [Bytes(x)]) => bytes(load(x)),
        ("v128_store", [Pointer, Bytes(x)]) => {
            // SAFETY: the array has sixteen bytes.
            unsafe { v128_store(memory.as_mut_ptr().cast(), load(x)) };
            memory.iter().flat_map(|lane| lane.to_le_bytes()).collect()
        }
        ("simd128_ops::store_part", [Pointer, Scalar(left), Bytes(x)]) => {
            // SAFETY: the array has room for four values.
            unsafe { ops::store_part(memory.as_mut_ptr(), *left as i32, load(x)) };
            memory.iter().flat_map(|lane| lane.to_le_bytes()).collect()
        }
        ("i16x8_splat", [Scalar(x)]) => bytes(i16x8_splat(*x as i16)),
        ("i32x4_splat", [Scalar(x)]) => bytes(i32x4_splat(*x as i32)),
        ("v128_and", [Bytes(a), Bytes(b)]) => bytes(v128_and(load(a), load(b))),
        ("i32x4_add", [Bytes(a), Bytes(b)]) => bytes(i32x4_add(load(a), load(b))),
        ("i32x4_sub", [Bytes(a), Bytes(b)]) => bytes(i32x4_sub(load(a), load(b))),
        ("i16x8_shl", [Bytes(x), Scalar(by)]) => bytes(i16x8_shl(load(x), *by as u32)),
        ("i16x8_shr", [Bytes(x), Scalar(by)]) => bytes(i16x8_shr(load(x), *by as u32)),
        ("u16x8_shr", [Bytes(x), Scalar(by)]) => bytes(u16x8_shr(load(x), *by as u32)),
        ("i32x4_shr", [Bytes(x), Scalar(by)]) => bytes(i32x4_shr(load(x), *by as u32)),
        ("simd128_ops::pair", [Bytes(even), Bytes(odd)]) => both(ops::pair(load(even), load(odd))),
        ("simd128_ops::products", [Bytes(codes), Bytes(acts)]) => {
            both(ops::products(load_pair(codes), load_pair(acts)))
        }
        ("simd128_ops::sum", [Bytes(x)]) => bytes(ops::sum(load_pair(x))),
        _ => return None,
    })
}

fn load(bytes: &[u8]) -> v128 {
    assert_eq!(bytes.len(), 16);
    // SAFETY: there are sixteen bytes.
    unsafe { v128_load(bytes.as_ptr().cast()) }
}

fn load_pair(bytes: &[u8]) -> Pair {
    let (first, second) = bytes.split_at(16);
    Pair(load(first), load(second))
}

fn bytes(x: v128) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    // SAFETY: there is room for sixteen bytes.
    unsafe { v128_store(bytes.as_mut_ptr().cast(), x) };
    bytes
}

fn both(x: Pair) -> Vec<u8> {
    [bytes(x.0), bytes(x.1)].concat()
}
