//! Runs what the Arm kernels are made of.

use std::arch::aarch64::*;

use kernelgen::interp::models::Value;
use kernelgen::neon_ops as ops;
use tritforge_tests::CANARY;

/// The result of an instruction; a store's is what stands at its address afterwards. The CPU must have the instruction:
/// trials of those that it lacks are ignored.
pub fn run(name: &str, args: &[Value]) -> Option<Vec<u8>> {
    use Value::{Bytes, Pointer, Scalar};
    let mut memory = [CANARY; 4];
    // SAFETY: the trial runs only where the CPU has the feature; every address is that of an array as long as what is
    // read or written there.
    unsafe {
        Some(match (name, args) {
            ("vld1q_s8", [Bytes(x)]) => s8(load(x)),
            ("vst1q_s32", [Pointer, Bytes(x)]) => {
                vst1q_s32(memory.as_mut_ptr(), load32(x));
                memory.iter().flat_map(|lane| lane.to_le_bytes()).collect()
            }
            ("neon_ops::store_part", [Pointer, Scalar(left), Bytes(x)]) => {
                ops::store_part(memory.as_mut_ptr(), *left as i32, load32(x));
                memory.iter().flat_map(|lane| lane.to_le_bytes()).collect()
            }
            ("vdupq_n_s8", [Scalar(x)]) => s8(vdupq_n_s8(*x as i8)),
            ("vdupq_n_s32", [Scalar(x)]) => s32(vdupq_n_s32(*x as i32)),
            ("vandq_s8", [Bytes(a), Bytes(b)]) => s8(vandq_s8(load(a), load(b))),
            ("vaddq_s32", [Bytes(a), Bytes(b)]) => s32(vaddq_s32(load32(a), load32(b))),
            ("vsubq_s32", [Bytes(a), Bytes(b)]) => s32(vsubq_s32(load32(a), load32(b))),
            ("vshrq_n_s8", [Scalar(2), Bytes(x)]) => s8(vshrq_n_s8::<2>(load(x))),
            ("vshrq_n_s8", [Scalar(4), Bytes(x)]) => s8(vshrq_n_s8::<4>(load(x))),
            ("vshrq_n_s8", [Scalar(6), Bytes(x)]) => s8(vshrq_n_s8::<6>(load(x))),
            ("vshrq_n_s32", [Scalar(2), Bytes(x)]) => s32(vshrq_n_s32::<2>(load32(x))),
            ("vshrq_n_s32", [Scalar(4), Bytes(x)]) => s32(vshrq_n_s32::<4>(load32(x))),
            ("vshrq_n_s32", [Scalar(6), Bytes(x)]) => s32(vshrq_n_s32::<6>(load32(x))),
            ("neon_ops::quad", [Scalar(x)]) => s8(ops::quad(*x as i32)),
            ("neon_ops::sdot", [Bytes(acc), Bytes(codes), Bytes(acts)]) => {
                s32(ops::sdot(load32(acc), load(codes), load(acts)))
            }
            ("neon_ops::usdot", [Bytes(acc), Bytes(codes), Bytes(acts)]) => {
                s32(ops::usdot(load32(acc), load(codes), load(acts)))
            }
            ("neon_ops::zero_pair", []) => pair(ops::zero_pair()),
            ("neon_ops::products", [Bytes(codes), Bytes(acts)]) => {
                pair(ops::products(load(codes), load(acts)))
            }
            ("neon_ops::add_pair", [Bytes(a), Bytes(b)]) => pair(ops::add_pair(load_pair(a), load_pair(b))),
            ("neon_ops::shift_pair", [Scalar(2), Bytes(x)]) => pair(ops::shift_pair::<2>(load_pair(x))),
            ("neon_ops::shift_pair", [Scalar(4), Bytes(x)]) => pair(ops::shift_pair::<4>(load_pair(x))),
            ("neon_ops::shift_pair", [Scalar(6), Bytes(x)]) => pair(ops::shift_pair::<6>(load_pair(x))),
            ("neon_ops::widen", [Bytes(acc), Bytes(sums)]) => s32(ops::widen(load32(acc), load_pair(sums))),
            _ => return None,
        })
    }
}

fn load(bytes: &[u8]) -> int8x16_t {
    assert_eq!(bytes.len(), 16);
    // SAFETY: there are sixteen bytes, and every aarch64 CPU has NEON.
    unsafe { vld1q_s8(bytes.as_ptr().cast()) }
}

fn load32(bytes: &[u8]) -> int32x4_t {
    // SAFETY: every aarch64 CPU has NEON.
    unsafe { vreinterpretq_s32_s8(load(bytes)) }
}

fn load_pair(bytes: &[u8]) -> int16x8x2_t {
    let (first, second) = bytes.split_at(16);
    // SAFETY: every aarch64 CPU has NEON.
    unsafe { int16x8x2_t(vreinterpretq_s16_s8(load(first)), vreinterpretq_s16_s8(load(second))) }
}

fn s8(x: int8x16_t) -> Vec<u8> {
    let mut bytes = vec![0; 16];
    // SAFETY: there is room for sixteen bytes, and every aarch64 CPU has NEON.
    unsafe { vst1q_s8(bytes.as_mut_ptr().cast(), x) };
    bytes
}

fn s32(x: int32x4_t) -> Vec<u8> {
    // SAFETY: every aarch64 CPU has NEON.
    s8(unsafe { vreinterpretq_s8_s32(x) })
}

fn pair(x: int16x8x2_t) -> Vec<u8> {
    // SAFETY: every aarch64 CPU has NEON.
    let (first, second) = unsafe { (vreinterpretq_s8_s16(x.0), vreinterpretq_s8_s16(x.1)) };
    [s8(first), s8(second)].concat()
}
