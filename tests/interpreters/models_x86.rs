//! The models of the x86 intrinsics against the silicon: extreme and random operands, bit for bit.

use std::arch::x86_64::*;

use kernelgen::interp::models::{Value, model, stored};
use kernelgen::x86_ops::add_epi16__avx2;
use libtest_mimic::Trial;
use tritforge::kernels::ISAS;
use tritforge_tests::trials::{ignored, on_cpu};
use tritforge_tests::{CANARY, Placed, Random};

use crate::used::CHECKED_X86;

/// Random operands for each instruction, besides every combination of extreme ones.
const ROUNDS: usize = 100;
/// Bytes whose sums, products and shifts reach every end: zero, all ones, i8, i16 and i32 extremes.
const EXTREMES: [[u8; 4]; 7] = [
    [0x00; 4],
    [0xff; 4],
    [0x80; 4],
    [0x7f; 4],
    [0x00, 0x00, 0x00, 0x80],
    [0xff, 0xff, 0xff, 0x7f],
    [0x00, 0x80, 0x00, 0x80],
];

/// The one instruction of GFNI.
const AFFINE: &str = "_mm512_gf2p8affine_epi64_epi8";

/// One trial an instruction.
pub fn trials() -> Vec<Trial> {
    let isa = |id: &str| ISAS.iter().find(|isa| isa.id == id).expect("an ISA that kernels are generated for");
    let names = CHECKED_X86.iter().filter(|name| !name.starts_with("abi::"));
    names
        .map(|&name| {
            let trial = format!("models::{name}");
            if name == AFFINE && !is_x86_feature_detected!("gfni") {
                return ignored(trial, "this CPU lacks gfni", "this CPU lacks gfni");
            }
            let isa = isa(match name {
                "_mm256_dpbusd_avx_epi32" => "avxvnni",
                "_mm512_dpbusd_epi32" => "avx512vnni",
                _ if name.starts_with("_mm512") => "avx512bw",
                _ => "avx2",
            });
            on_cpu(trial, isa, move || compare(name))
        })
        .collect()
}

/// What an instruction takes.
enum Takes {
    Nothing,
    /// A scalar, sign extended from so many bits.
    Scalar(u32),
    /// Eight lanes as scalars.
    Lanes,
    /// A constant shift and a vector.
    Shift,
    /// A constant byte, a vector and one of matrices.
    Affine,
    /// So many vectors.
    Vectors(usize),
    /// An address, and for a partial store its mask, and a vector.
    Store {
        mask: Option<Mask>,
    },
}

/// How a partial store is told its lanes.
enum Mask {
    Bits,
    Vector,
}

fn takes(name: &str) -> Takes {
    match name {
        "_mm256_setzero_si256" | "_mm512_setzero_si512" => Takes::Nothing,
        "_mm256_set1_epi8" | "_mm512_set1_epi8" => Takes::Scalar(8),
        "_mm256_set1_epi16" | "_mm512_set1_epi16" => Takes::Scalar(16),
        "_mm256_set1_epi32" | "_mm512_set1_epi32" => Takes::Scalar(32),
        "_mm512_set1_epi64" => Takes::Scalar(64),
        AFFINE => Takes::Affine,
        "_mm256_setr_epi32" => Takes::Lanes,
        "_mm256_load_si256" | "_mm512_load_si512" => Takes::Vectors(1),
        "_mm256_dpbusd_avx_epi32" | "_mm512_dpbusd_epi32" => Takes::Vectors(3),
        "_mm256_storeu_si256" | "_mm512_store_si512" | "_mm512_storeu_si512" => Takes::Store { mask: None },
        "_mm256_maskstore_epi32" => Takes::Store { mask: Some(Mask::Vector) },
        "_mm512_mask_storeu_epi32" => Takes::Store { mask: Some(Mask::Bits) },
        _ if name.contains("_srli_") || name.contains("_srai_") => Takes::Shift,
        _ => Takes::Vectors(2),
    }
}

/// Operands of an instruction: every combination of extreme vectors, then random ones.
fn operands(name: &str) -> Vec<Vec<Value>> {
    let width = if name.starts_with("_mm512") { 64 } else { 32 };
    let mut random = Random::new(5);
    let extremes = EXTREMES.map(|word| Value::Bytes(word.repeat(width / 4)));
    let mut vector = || Value::Bytes((0..width).map(|_| random.bits() as u8).collect());
    let mut sets = Vec::new();
    let mut bits = Random::new(6);
    let mut scalar = |of: u32| {
        let (high, low) = (i64::from(bits.bits() as i32), i64::from(bits.bits()));
        Value::Scalar((high << 32 | low) >> (64 - of))
    };
    match takes(name) {
        Takes::Nothing => sets.push(Vec::new()),
        Takes::Scalar(of) => sets.extend((0..ROUNDS).map(|_| vec![scalar(of)])),
        Takes::Lanes => sets.extend((0..ROUNDS).map(|_| (0..8).map(|_| scalar(32)).collect())),
        Takes::Shift => {
            for by in [2, 4, 6] {
                let shift = |x: Value| vec![Value::Scalar(by), x];
                sets.extend(extremes.iter().cloned().map(shift));
                sets.extend((0..ROUNDS).map(|_| shift(vector())));
            }
        }
        Takes::Affine => {
            for constant in [0, 0x9c] {
                sets.extend((0..ROUNDS).map(|_| vec![Value::Scalar(constant), vector(), vector()]));
            }
        }
        Takes::Vectors(count) => {
            for combination in 0..extremes.len().pow(count as u32) {
                let digit = |i: usize| combination / extremes.len().pow(i as u32) % extremes.len();
                sets.push((0..count).map(|i| extremes[digit(i)].clone()).collect());
            }
            sets.extend((0..ROUNDS).map(|_| (0..count).map(|_| vector()).collect()));
        }
        Takes::Store { mask } => sets.extend((0..ROUNDS).map(|_| {
            let mask = mask.as_ref().map(|mask| match mask {
                Mask::Bits => Value::Scalar(i64::from(bits.bits() as u16)),
                Mask::Vector => vector(),
            });
            [Some(Value::Pointer), mask, Some(vector())].into_iter().flatten().collect()
        })),
    }
    sets
}

fn compare(name: &str) -> Result<(), String> {
    for args in operands(name) {
        let modelled = match takes(name) {
            Takes::Store { .. } => stored(name, &args).map(|lanes| {
                let kept = lanes.iter().map(|lane| lane.unwrap_or(CANARY));
                kept.flat_map(i32::to_le_bytes).collect()
            }),
            _ => model(name, &args).and_then(|value| match value {
                Value::Bytes(bytes) => Some(bytes),
                _ => None,
            }),
        };
        let real = match name {
            // SAFETY: the trial runs only where the CPU has these features; so do those below.
            "_mm256_dpbusd_avx_epi32" => unsafe { avxvnni(&args) },
            // SAFETY: as above.
            "_mm512_dpbusd_epi32" => unsafe { avx512vnni(&args) },
            // SAFETY: as above.
            AFFINE => unsafe { gfni(&args) },
            // SAFETY: as above.
            _ if name.starts_with("_mm512") => unsafe { avx512bw(name, &args) },
            // SAFETY: as above.
            _ => unsafe { avx2(name, &args) },
        };
        if real.is_none() || modelled != real {
            return Err(format!("{name}({args:?}) is modelled as {modelled:?}, it is {real:?}"));
        }
    }
    Ok(())
}

#[target_feature(enable = "avx")]
fn load256(bytes: &[u8]) -> __m256i {
    assert_eq!(bytes.len(), 32);
    // SAFETY: there are 32 bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx")]
fn bytes256(x: __m256i) -> Vec<u8> {
    let mut bytes = vec![0; 32];
    // SAFETY: the buffer has 32 bytes.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), x) };
    bytes
}

#[target_feature(enable = "avx512f")]
fn load512(bytes: &[u8]) -> __m512i {
    assert_eq!(bytes.len(), 64);
    // SAFETY: there are 64 bytes.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn bytes512(x: __m512i) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    // SAFETY: the buffer has 64 bytes.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), x) };
    bytes
}

/// Runs a 256-bit instruction; a store's result is what stands at its address afterwards.
#[target_feature(enable = "avx2")]
fn avx2(name: &str, args: &[Value]) -> Option<Vec<u8>> {
    use Value::{Bytes, Pointer, Scalar};
    let mut memory = [CANARY; 8];
    let result = match (name, args) {
        ("_mm256_setzero_si256", []) => _mm256_setzero_si256(),
        ("_mm256_set1_epi8", [Scalar(x)]) => _mm256_set1_epi8(*x as i8),
        ("_mm256_set1_epi16", [Scalar(x)]) => _mm256_set1_epi16(*x as i16),
        ("_mm256_set1_epi32", [Scalar(x)]) => _mm256_set1_epi32(*x as i32),
        (
            "_mm256_setr_epi32",
            &[Scalar(a), Scalar(b), Scalar(c), Scalar(d), Scalar(e), Scalar(f), Scalar(g), Scalar(h)],
        ) => {
            _mm256_setr_epi32(a as i32, b as i32, c as i32, d as i32, e as i32, f as i32, g as i32, h as i32)
        }
        ("_mm256_load_si256", [Bytes(x)]) => {
            let aligned = Placed::copy_of(x, 0);
            // SAFETY: 32 bytes at a multiple of 64.
            unsafe { _mm256_load_si256(aligned.as_ptr().cast()) }
        }
        ("_mm256_srli_epi16", [Scalar(2), Bytes(x)]) => _mm256_srli_epi16::<2>(load256(x)),
        ("_mm256_srli_epi16", [Scalar(4), Bytes(x)]) => _mm256_srli_epi16::<4>(load256(x)),
        ("_mm256_srli_epi16", [Scalar(6), Bytes(x)]) => _mm256_srli_epi16::<6>(load256(x)),
        ("_mm256_srai_epi32", [Scalar(2), Bytes(x)]) => _mm256_srai_epi32::<2>(load256(x)),
        ("_mm256_srai_epi32", [Scalar(4), Bytes(x)]) => _mm256_srai_epi32::<4>(load256(x)),
        ("_mm256_srai_epi32", [Scalar(6), Bytes(x)]) => _mm256_srai_epi32::<6>(load256(x)),
        ("_mm256_srai_epi16", [Scalar(2), Bytes(x)]) => _mm256_srai_epi16::<2>(load256(x)),
        ("_mm256_srai_epi16", [Scalar(4), Bytes(x)]) => _mm256_srai_epi16::<4>(load256(x)),
        ("_mm256_srai_epi16", [Scalar(6), Bytes(x)]) => _mm256_srai_epi16::<6>(load256(x)),
        ("_mm256_and_si256", [Bytes(a), Bytes(b)]) => _mm256_and_si256(load256(a), load256(b)),
        ("_mm256_cmpgt_epi32", [Bytes(a), Bytes(b)]) => _mm256_cmpgt_epi32(load256(a), load256(b)),
        ("_mm256_maddubs_epi16", [Bytes(a), Bytes(b)]) => _mm256_maddubs_epi16(load256(a), load256(b)),
        ("_mm256_madd_epi16", [Bytes(a), Bytes(b)]) => _mm256_madd_epi16(load256(a), load256(b)),
        ("x86_ops::add_epi16__avx2", [Bytes(a), Bytes(b)]) => add_epi16__avx2(load256(a), load256(b)),
        ("_mm256_add_epi32", [Bytes(a), Bytes(b)]) => _mm256_add_epi32(load256(a), load256(b)),
        ("_mm256_sub_epi32", [Bytes(a), Bytes(b)]) => _mm256_sub_epi32(load256(a), load256(b)),
        ("_mm256_storeu_si256", [Pointer, Bytes(x)]) => {
            // SAFETY: the memory has eight lanes.
            unsafe { _mm256_storeu_si256(memory.as_mut_ptr().cast(), load256(x)) };
            return Some(memory.iter().flat_map(|lane| lane.to_le_bytes()).collect());
        }
        ("_mm256_maskstore_epi32", [Pointer, Bytes(mask), Bytes(x)]) => {
            // SAFETY: the memory has eight lanes.
            unsafe { _mm256_maskstore_epi32(memory.as_mut_ptr(), load256(mask), load256(x)) };
            return Some(memory.iter().flat_map(|lane| lane.to_le_bytes()).collect());
        }
        _ => return None,
    };
    Some(bytes256(result))
}

/// Runs a 512-bit instruction; a store's result is what stands at its address afterwards.
#[target_feature(enable = "avx512f,avx512bw")]
fn avx512bw(name: &str, args: &[Value]) -> Option<Vec<u8>> {
    use Value::{Bytes, Pointer, Scalar};
    let mut memory = [CANARY; 16];
    let result = match (name, args) {
        ("_mm512_setzero_si512", []) => _mm512_setzero_si512(),
        ("_mm512_set1_epi8", [Scalar(x)]) => _mm512_set1_epi8(*x as i8),
        ("_mm512_set1_epi16", [Scalar(x)]) => _mm512_set1_epi16(*x as i16),
        ("_mm512_set1_epi32", [Scalar(x)]) => _mm512_set1_epi32(*x as i32),
        ("_mm512_set1_epi64", [Scalar(x)]) => _mm512_set1_epi64(*x),
        ("_mm512_load_si512", [Bytes(x)]) => {
            let aligned = Placed::copy_of(x, 0);
            // SAFETY: 64 bytes at a multiple of 64.
            unsafe { _mm512_load_si512(aligned.as_ptr().cast()) }
        }
        ("_mm512_srli_epi16", [Scalar(2), Bytes(x)]) => _mm512_srli_epi16::<2>(load512(x)),
        ("_mm512_srli_epi16", [Scalar(4), Bytes(x)]) => _mm512_srli_epi16::<4>(load512(x)),
        ("_mm512_srli_epi16", [Scalar(6), Bytes(x)]) => _mm512_srli_epi16::<6>(load512(x)),
        ("_mm512_srai_epi16", [Scalar(2), Bytes(x)]) => _mm512_srai_epi16::<2>(load512(x)),
        ("_mm512_srai_epi16", [Scalar(4), Bytes(x)]) => _mm512_srai_epi16::<4>(load512(x)),
        ("_mm512_srai_epi16", [Scalar(6), Bytes(x)]) => _mm512_srai_epi16::<6>(load512(x)),
        ("_mm512_srai_epi32", [Scalar(2), Bytes(x)]) => _mm512_srai_epi32::<2>(load512(x)),
        ("_mm512_srai_epi32", [Scalar(4), Bytes(x)]) => _mm512_srai_epi32::<4>(load512(x)),
        ("_mm512_srai_epi32", [Scalar(6), Bytes(x)]) => _mm512_srai_epi32::<6>(load512(x)),
        ("_mm512_and_si512", [Bytes(a), Bytes(b)]) => _mm512_and_si512(load512(a), load512(b)),
        ("_mm512_add_epi32", [Bytes(a), Bytes(b)]) => _mm512_add_epi32(load512(a), load512(b)),
        ("_mm512_sub_epi32", [Bytes(a), Bytes(b)]) => _mm512_sub_epi32(load512(a), load512(b)),
        ("_mm512_add_epi16", [Bytes(a), Bytes(b)]) => _mm512_add_epi16(load512(a), load512(b)),
        ("_mm512_maddubs_epi16", [Bytes(a), Bytes(b)]) => _mm512_maddubs_epi16(load512(a), load512(b)),
        ("_mm512_madd_epi16", [Bytes(a), Bytes(b)]) => _mm512_madd_epi16(load512(a), load512(b)),
        ("_mm512_storeu_si512", [Pointer, Bytes(x)]) => {
            // SAFETY: the memory has sixteen lanes.
            unsafe { _mm512_storeu_si512(memory.as_mut_ptr().cast(), load512(x)) };
            return Some(memory.iter().flat_map(|lane| lane.to_le_bytes()).collect());
        }
        ("_mm512_store_si512", [Pointer, Bytes(x)]) => {
            let mut aligned = Placed::copy_of(&memory, 0);
            // SAFETY: the memory has sixteen lanes and starts at a multiple of 64.
            unsafe { _mm512_store_si512(aligned.as_mut_ptr().cast(), load512(x)) };
            return Some(aligned.iter().flat_map(|lane| lane.to_le_bytes()).collect());
        }
        ("_mm512_mask_storeu_epi32", [Pointer, Scalar(mask), Bytes(x)]) => {
            // SAFETY: the memory has sixteen lanes.
            unsafe { _mm512_mask_storeu_epi32(memory.as_mut_ptr(), *mask as u16, load512(x)) };
            return Some(memory.iter().flat_map(|lane| lane.to_le_bytes()).collect());
        }
        _ => return None,
    };
    Some(bytes512(result))
}

/// `vgf2p8affineqb` on 512 bits.
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn gfni(args: &[Value]) -> Option<Vec<u8>> {
    let [Value::Scalar(constant), Value::Bytes(x), Value::Bytes(matrices)] = args else { return None };
    match constant {
        0 => Some(bytes512(_mm512_gf2p8affine_epi64_epi8::<0>(load512(x), load512(matrices)))),
        0x9c => Some(bytes512(_mm512_gf2p8affine_epi64_epi8::<0x9c>(load512(x), load512(matrices)))),
        _ => None,
    }
}

/// `vpdpbusd` on 256 bits, VEX encoded.
#[target_feature(enable = "avx2,avxvnni")]
fn avxvnni(args: &[Value]) -> Option<Vec<u8>> {
    let [Value::Bytes(acc), Value::Bytes(codes), Value::Bytes(acts)] = args else { return None };
    Some(bytes256(_mm256_dpbusd_avx_epi32(load256(acc), load256(codes), load256(acts))))
}

/// `vpdpbusd` on 512 bits.
#[target_feature(enable = "avx512f,avx512vnni")]
fn avx512vnni(args: &[Value]) -> Option<Vec<u8>> {
    let [Value::Bytes(acc), Value::Bytes(codes), Value::Bytes(acts)] = args else { return None };
    Some(bytes512(_mm512_dpbusd_epi32(load512(acc), load512(codes), load512(acts))))
}
