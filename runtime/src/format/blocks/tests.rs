use serde::Deserialize;

use super::*;

/// What gguf-py, the format's own Python package, makes of some weights and reads in some blocks.
#[derive(Deserialize)]
struct Golden {
    /// Weights that were quantised, if the package can do that.
    #[serde(default)]
    input: Vec<f32>,
    /// Blocks as hexadecimal digits.
    bytes: String,
    /// Their weights.
    values: Vec<f32>,
    /// Blocks that no quantiser would make.
    #[serde(default)]
    any_bytes: String,
    #[serde(default)]
    any_values: Vec<f32>,
}

fn golden(kind: BlockType) -> Golden {
    let text = include_str!("../../../../tests/fixtures/blocks/gguf-py.json");
    let mut all: serde_json::Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(all[kind.name().to_lowercase()].take()).unwrap()
}

fn from_hex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn read(kind: BlockType, blocks: &[u8]) -> Vec<f32> {
    let mut weights = vec![f32::NAN; blocks.len() / kind.bytes() * kind.weights()];
    kind.dequantize(blocks, &mut weights);
    weights
}

fn quantised(kind: BlockType, weights: &[f32]) -> Vec<u8> {
    let mut blocks = Vec::new();
    kind.quantize(weights, &mut blocks);
    blocks
}

/// A bell-shaped sequence that every machine makes alike.
fn bell(count: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut draw = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    (0..count).map(|_| draw() + draw() + draw() + draw() - 2.0).collect()
}

#[test]
fn blocks_are_read_and_made_as_the_formats_own_package_does() {
    for kind in BlockType::ALL {
        let golden = golden(kind);
        let bytes = from_hex(&golden.bytes);
        assert!(bytes.len() >= 2 * kind.bytes(), "{}", kind.name());
        assert_eq!(read(kind, &bytes), golden.values, "{}", kind.name());
        let any = from_hex(&golden.any_bytes);
        assert_eq!(read(kind, &any), golden.any_values, "{}", kind.name());
        // The package does not quantise to Q6_K.
        assert_eq!(golden.input.is_empty(), kind == BlockType::Q6K);
        if !golden.input.is_empty() {
            assert_eq!(quantised(kind, &golden.input), bytes, "{}", kind.name());
        }
    }
}

#[test]
fn q4_0_by_hand() {
    // The largest magnitude 8 becomes -8 by a scale of -1; halves go up: 0.5 / -1 + 8.5 = 8.
    let mut weights = [0.0; 32];
    (weights[0], weights[1], weights[2], weights[16], weights[31]) = (8.0, 0.5, -8.0, 1.0, -7.0);
    let block = quantised(BlockType::Q4_0, &weights);
    assert_eq!(block[..2], half::f16::from_f32(-1.0).to_le_bytes());
    // Codes 0 and 7, 8 and 8, 15 (clipped from 16) and 8, then all 8 but the last high one, 15.
    assert_eq!(block[2..6], [0x70, 0x88, 0x8f, 0x88]);
    assert_eq!(block[17], 0xf8);
    let read = read(BlockType::Q4_0, &block);
    assert_eq!((read[0], read[1], read[2], read[16], read[31]), (8.0, 0.0, -7.0, 1.0, -7.0));
}

#[test]
fn q6_k_keeps_what_it_can_hold_exactly() {
    // Each group has its own power of two, and its largest weight is -32 of them.
    let weights: Vec<f32> = (0..512)
        .map(|i| {
            let integer = if i % 16 == 5 { -32 } else { (i * 7 + i / 16 * 5) % 63 - 31 };
            integer as f32 * 2f32.powi(-(i / 16 % 7))
        })
        .collect();
    let blocks = quantised(BlockType::Q6K, &weights);
    assert_eq!(read(BlockType::Q6K, &blocks), weights);
}

#[test]
fn every_bit_of_a_q6_k_code_belongs_to_one_weight() {
    let mut block = vec![0u8; 210];
    block[208..].copy_from_slice(&half::f16::ONE.to_le_bytes());
    block[192..208].fill(1);
    let base = read(BlockType::Q6K, &block);
    assert!(base.iter().all(|&weight| weight == -32.0));
    let mut steps = vec![0.0f32; 256];
    for bit in 0..192 * 8 {
        block[bit / 8] ^= 1 << (bit % 8);
        let changed: Vec<usize> = read(BlockType::Q6K, &block)
            .iter()
            .zip(&base)
            .enumerate()
            .filter(|(_, (a, b))| a != b)
            .map(|(i, _)| i)
            .collect();
        let [index] = changed[..] else { panic!("bit {bit} changes {changed:?}") };
        steps[index] += read(BlockType::Q6K, &block)[index] + 32.0;
        block[bit / 8] ^= 1 << (bit % 8);
    }
    // 1 + 2 + 4 + 8 + 16 + 32.
    assert!(steps.iter().all(|&sum| sum == 63.0));
}

#[test]
fn errors_are_within_the_steps() {
    let weights = bell(256 * 64);
    for kind in BlockType::ALL {
        let found = read(kind, &quantised(kind, &weights));
        let largest_of = |at: usize, width: usize| {
            let start = at / width * width;
            weights[start..start + width].iter().fold(0.0f32, |largest, w| largest.max(w.abs()))
        };
        let mut squares = 0.0f64;
        for (at, (found, weight)) in found.iter().zip(&weights).enumerate() {
            // The step between two codes, and the largest error in steps: half of one, what rounding the scale to f16 (one
            // in 2048) makes of the largest code, and for asymmetric codes the one that is missing.
            let (step, most) = match kind {
                BlockType::Q8_0 => (largest_of(at, 32) / 127.0, 0.5 + 127.0 / 2048.0),
                BlockType::Q4_0 => (largest_of(at, 32) / 8.0, 1.0 + 8.0 / 2048.0),
                // The scale of least squares is not bound to the largest weight: two steps at the clipped end, and half a
                // factor in 128 of the largest group's.
                BlockType::Q6K => {
                    (largest_of(at, 16) / 32.0, 2.0 + 32.0 * largest_of(at, 256) / largest_of(at, 16) / 256.0)
                }
            };
            let error = (found - weight).abs() / step;
            assert!(error <= most * 1.0001, "{}: weight {at} is off by {error} steps", kind.name());
            squares += f64::from(error * error);
        }
        // Rounding to a step has a root mean square error of 0.289 of it.
        let error = (squares / weights.len() as f64).sqrt();
        assert!((0.25..0.36).contains(&error), "{}: {error} steps", kind.name());
    }
}

#[test]
fn extremes_neither_panic_nor_turn_into_other_weights() {
    for kind in BlockType::ALL {
        let zeros = vec![0.0; kind.weights()];
        assert!(read(kind, &quantised(kind, &zeros)).iter().all(|&weight| weight == 0.0));
        // One value only, of either sign; then the smallest that there are.
        for value in [3.0f32, -3.0] {
            let found = read(kind, &quantised(kind, &vec![value; kind.weights()]));
            assert!(found.iter().all(|w| (w / value - 1.0).abs() < 1.0 / 7.0), "{}: {value}", kind.name());
        }
        for value in [f32::MIN_POSITIVE, 1e-45, -1e-20, 1e-15] {
            let found = read(kind, &quantised(kind, &vec![value; kind.weights()]));
            assert!(found.iter().all(|w| w.abs() <= 1e-7), "{}: {value}", kind.name());
        }
        // A scale that f16 cannot hold must not become a small one.
        for value in [f32::MAX, -1e20] {
            let found = read(kind, &quantised(kind, &vec![value; kind.weights()]));
            assert!(found.iter().all(|w| !w.is_finite()), "{}: {value}", kind.name());
        }
    }
}

#[test]
fn tensors_have_whole_rows_of_whole_blocks() {
    for kind in BlockType::ALL {
        let weights = bell(3 * 2 * kind.weights());
        let blocks = quantised(kind, &weights);
        let all = read(kind, &blocks);
        let cols = 2 * kind.weights();
        // At an odd address, as files may have it.
        let mut shifted = vec![0xaa];
        shifted.extend(&blocks);
        let view = SharedBytes::from(shifted).slice(1..blocks.len() + 1).unwrap();
        let tensor = BlockTensor::new(3, cols, kind, view.clone()).unwrap();
        assert_eq!((tensor.rows(), tensor.cols(), tensor.kind()), (3, cols, kind));
        let mut row = vec![0.0; cols];
        for index in 0..3 {
            tensor.row_to_f32(index, &mut row);
            assert_eq!(row, all[index * cols..(index + 1) * cols]);
        }
        assert_eq!(tensor.bytes(), blocks);
        assert!(BlockTensor::new(2, cols, kind, view.clone()).is_none());
        // As many blocks in all, but rows that do not fill theirs.
        assert!(BlockTensor::new(12, cols / 4, kind, view.clone()).is_none());
        assert!(BlockTensor::new(usize::MAX, cols, kind, view).is_none());
    }
}
