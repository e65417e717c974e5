//! Codes and scales of the Hugging Face checkpoints, against an unpacking of the file's own bytes.

use safetensors::SafeTensors;
use tritforge::format::{LoadOptions, RawLayer, TernaryTensor, load_path};
use tritforge::model::Activation;
use tritforge::packed::Scales;

use crate::support::fixture;

/// The projections of a layer and their names in the checkpoint.
fn linears(layer: &RawLayer) -> [(&'static str, &TernaryTensor); 7] {
    [
        ("self_attn.q_proj", &layer.q_proj),
        ("self_attn.k_proj", &layer.k_proj),
        ("self_attn.v_proj", &layer.v_proj),
        ("self_attn.o_proj", &layer.o_proj),
        ("mlp.gate_proj", &layer.gate_proj),
        ("mlp.up_proj", &layer.up_proj),
        ("mlp.down_proj", &layer.down_proj),
    ]
}

/// The value of a bf16 scale: the upper half of an f32.
fn scale_in_file(file: &SafeTensors<'_>, name: &str) -> f32 {
    let bytes = file.tensor(&format!("{name}.weight_scale")).expect("a scale").data();
    f32::from_bits(u32::from(u16::from_le_bytes(bytes.try_into().expect("two bytes"))) << 16)
}

/// Checks every code of every layer; `factor` is what a file's scale means. Returns the number of matrices.
fn check(directory: &str, factor: fn(f32) -> f32) -> usize {
    let folder = fixture(directory);
    let model = load_path(&folder, &LoadOptions::default()).expect("a sound fixture");
    let bytes = std::fs::read(folder.join("model.safetensors")).expect("the weights");
    let file = SafeTensors::deserialize(&bytes).expect("a sound file");
    let mut matrices = 0;
    for (index, layer) in model.layers.iter().enumerate() {
        for (part, tensor) in linears(layer) {
            let name = format!("model.layers.{index}.{part}");
            let packed = file.tensor(&format!("{name}.weight")).expect("a matrix");
            let (blocks, cols) = (packed.shape()[0], packed.shape()[1]);
            assert_eq!((tensor.rows(), tensor.cols()), (4 * blocks, cols), "{name}");
            let mut trits = vec![9; cols];
            for row in 0..4 * blocks {
                // Rows lie in four blocks, one in each pair of bits, the first block in the lowest; code = trit + 1.
                let bytes = &packed.data()[row % blocks * cols..][..cols];
                let expected: Vec<i8> =
                    bytes.iter().map(|byte| (byte >> (2 * (row / blocks)) & 3) as i8 - 1).collect();
                tensor.unpack_row(row, &mut trits).expect("sound codes");
                assert!(trits == expected, "{name}, row {row}");
            }
            let scale = scale_in_file(&file, &name);
            assert_eq!(*tensor.scales(), Scales::PerTensor(factor(scale)), "{name}");
            matrices += 1;
        }
    }
    matrices
}

#[test]
fn llama_bitlinear_divides_by_its_scale() {
    assert_eq!(check("oracle/llama-bitlinear/packed", |scale| 1.0 / scale), 3 * 7);
}

#[test]
fn bitnet_b158_multiplies_by_its_scale() {
    assert_eq!(check("oracle/bitnet-b158/packed", |scale| scale), 3 * 7);
    assert_eq!(check("demo/packed", |scale| scale), 8 * 7);
}

#[test]
fn graphs_are_told_from_their_configuration() {
    let config = |name: &str| load_path(&fixture(name), &LoadOptions::default()).expect("a fixture").config;
    let b158 = config("oracle/bitnet-b158/packed");
    assert_eq!((b158.activation, b158.sub_norms, b158.kv_heads), (Activation::Relu2, true, 2));
    let onebit = config("oracle/bitnet-1bitllm/fp32");
    assert_eq!((onebit.activation, onebit.sub_norms, onebit.rope_theta), (Activation::Silu, true, 1e4));
    let llama = config("oracle/llama-bitlinear/packed");
    assert_eq!((llama.activation, llama.sub_norms, llama.head_dim), (Activation::Silu, false, 64));
}
