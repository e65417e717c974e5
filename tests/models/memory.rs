//! What packed weights take in memory: the figures by hand, the packed layers themselves, and the padding.

use kernelgen::config::{ModelShapes, Role, load, load_all};
use tritforge::dense::{LayerWeights, Ternarize, pack_layer_weights, pack_matrix};
use tritforge::memory::{MatrixMemory, ScaleKind};
use tritforge_tests::configs;

const MIB: f64 = (1 << 20) as f64;

fn mib(bytes: usize) -> f64 {
    bytes as f64 / MIB
}

/// Every matrix of a model that `wanted` selects, as often as it is there.
fn sum(model: &ModelShapes, scales: ScaleKind, wanted: fn(Role) -> bool) -> MatrixMemory {
    let matrices = model.matrices.iter().filter(|matrix| wanted(matrix.role));
    let all = matrices.flat_map(|matrix| {
        let times = if matrix.role.is_ternary() { model.layers } else { 1 };
        std::iter::repeat_n(MatrixMemory::of(matrix.rows, matrix.cols, scales), times)
    });
    all.sum()
}

#[test]
fn a_layer_of_64_and_128() {
    // Weights: 4 * 64 * 64 + 3 * 64 * 128 = 40,960; rows: 4 * 64 + 2 * 128 + 64 = 576.
    let bare = MatrixMemory::of_layer(64, 128, ScaleKind::PerRow, 0);
    assert_eq!((bare.f32_bytes, bare.logical_bytes), (163_840, 10_240 + 2_304));
    let four_norms_of_64 = MatrixMemory::of_layer(64, 128, ScaleKind::PerRow, 4 * 64);
    assert_eq!((four_norms_of_64.f32_bytes, four_norms_of_64.logical_bytes), (163_840, 13_568));
    assert_eq!(format!("{:.1}", four_norms_of_64.ratio()), "12.1");
    let graph = MatrixMemory::of_layer(64, 128, ScaleKind::PerRow, 3 * 64 + 128);
    assert_eq!((graph.f32_bytes, graph.logical_bytes), (163_840, 13_824));
    // Every dimension is a multiple of 16, so nothing is padded.
    assert_eq!((four_norms_of_64.resident_bytes, graph.resident_bytes), (13_568, 13_824));
}

#[test]
fn a_layer_that_is_really_packed() {
    let (square, wide) = (vec![0.5; 64 * 64], vec![-0.25; 64 * 128]);
    let (norm, wide_norm) = ([1.0; 64], [1.0; 128]);
    let dense = |rule| LayerWeights {
        rule,
        q_proj: &square,
        k_proj: &square,
        v_proj: &square,
        o_proj: &square,
        gate_proj: &wide,
        up_proj: &wide,
        down_proj: &wide,
        input_layernorm: &norm,
        post_attention_layernorm: &norm,
        inner_attn_ln: &norm,
        ffn_layernorm: &wide_norm,
    };
    for (rule, scales) in [(Ternarize::RowMax, 576), (Ternarize::AbsMean, 7)] {
        let layer = pack_layer_weights(&dense(rule), 64, 128).expect("a sound layer");
        let memory = layer.memory();
        let expected = 10_240 + 4 * scales + 4 * (3 * 64 + 128);
        assert_eq!((memory.f32_bytes, memory.logical_bytes), (163_840, expected), "{rule:?}");
        // The figure is that of the bytes that are there.
        let data: usize = layer.projections().iter().map(|(_, weights)| weights.data().len()).sum();
        assert_eq!(memory.resident_bytes, data + 4 * scales + 4 * layer.norm_values(), "{rule:?}");
        assert_eq!(memory.resident_bytes, expected, "{rule:?}");
    }
    let per_row = pack_layer_weights(&dense(Ternarize::RowMax), 64, 128).expect("a sound layer");
    assert_eq!(per_row.memory().logical_bytes, 13_824);
}

#[test]
fn a_matrix_of_1536_by_1536() {
    let memory = MatrixMemory::of(1536, 1536, ScaleKind::PerRow);
    assert_eq!((memory.f32_bytes, memory.logical_bytes), (9_437_184, 589_824 + 6_144));
    assert_eq!(format!("{:.2} {:.2}", mib(memory.f32_bytes), mib(memory.logical_bytes)), "9.00 0.57");
    assert_eq!(format!("{:.1}", memory.ratio()), "15.8");
    let packed = pack_matrix(&vec![1.0; 1536 * 1536], 1536, 1536, Ternarize::RowMax).expect("a sound matrix");
    assert_eq!(packed.memory(), memory);
    assert_eq!(packed.data().len() + 6_144, memory.resident_bytes);
}

#[test]
fn the_728m_model() {
    let model = load(&configs().join("models/bitnet-b1.58-large.toml")).expect("a sound config");
    let everything = sum(&model, ScaleKind::PerRow, |_| true);
    // 24 * (4 * 1536^2 + 3 * 1536 * 4096) + 32002 * 1536 weights in 24 * 15,872 + 32,002 rows.
    assert_eq!(everything.f32_bytes, 4 * 728_632_320);
    assert_eq!(everything.logical_bytes, 182_158_080 + 4 * (24 * 15_872 + 32_002));
    let figures = [mib(everything.f32_bytes), mib(everything.logical_bytes)].map(|m| format!("{m:.0}"));
    assert_eq!(figures, ["2780", "175"]);
    assert_eq!(format!("{:.1}", everything.ratio()), "15.9");

    // What a file that can be loaded takes: an f16 embedding, one scale a matrix, f32 norms.
    let ternary = sum(&model, ScaleKind::PerTensor, Role::is_ternary);
    let embedding = model.matrix(Role::Embedding).expect("an embedding");
    let norms = model.layers * (3 * model.hidden + model.ffn) + model.hidden;
    let honest = ternary.with_f32_values(norms).logical_bytes + 2 * embedding.rows * embedding.cols;
    assert_eq!(honest, 169_869_312 + 4 * 24 * 7 + 841_728 + 98_310_144);
    let ratio = (everything.f32_bytes + 4 * norms) as f64 / honest as f64;
    assert_eq!(format!("{:.0} MiB, {ratio:.1}x", mib(honest)), "257 MiB, 10.8x");
}

#[test]
fn padding_is_at_most_two_percent_from_hidden_1024_up() {
    let models = load_all(&[configs().join("models")]).expect("sound configs");
    let (mut large, mut shapes) = (0, 0);
    for model in models.iter().filter(|model| model.hidden >= 1024) {
        large += 1;
        for (rows, cols) in model.ternary_shapes() {
            shapes += 1;
            let memory = MatrixMemory::of(rows, cols, ScaleKind::PerTensor);
            let padded = rows.next_multiple_of(16) * cols.next_multiple_of(16) / 4;
            assert_eq!(memory.resident_bytes, padded + 4, "{}: {rows}x{cols}", model.name);
            let padding = memory.resident_bytes as f64 / memory.logical_bytes as f64 - 1.0;
            assert!((0.0..=0.02).contains(&padding), "{}: {rows}x{cols} is padded by {padding}", model.name);
        }
    }
    // All but the demo, the smallest of TriLM and the small embedding models are that large.
    assert!(large >= 15 && shapes > large, "{large} models, {shapes} shapes");
}

#[test]
fn padding_of_a_small_matrix_is_counted() {
    let memory = MatrixMemory::of(17, 5, ScaleKind::PerRow);
    // 85 weights in 22 bytes; resident are 32 rows of 16 weights.
    assert_eq!((memory.f32_bytes, memory.logical_bytes, memory.resident_bytes), (340, 22 + 68, 128 + 68));
    let packed = pack_matrix(&[1.0; 85], 17, 5, Ternarize::RowMax).expect("a sound matrix");
    assert_eq!((packed.data().len(), packed.memory()), (128, memory));
    assert_eq!(packed.data().as_ptr() as usize % 64, 0);
}
