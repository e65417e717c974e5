//! From dense weights to trits and scales, by examples worked out by hand.

use tritforge::dense::{DenseError, LayerWeights, Ternarize, pack_layer_weights, pack_matrix};
use tritforge::packed::{PackError, PackedTernaryWeights, Scales, packed_mat_vec};

fn trits(weights: &PackedTernaryWeights) -> Vec<Vec<i8>> {
    let rows = 0..weights.rows();
    rows.map(|row| {
        let mut trits = vec![9; weights.cols()];
        weights.unpack_row(row, &mut trits);
        trits
    })
    .collect()
}

#[test]
fn absmean_divides_by_the_mean_of_the_whole_matrix() {
    // |w| adds up to 3 over 6 weights: the mean is 0.5. A quotient of exactly 0.5 rounds to the even 0.
    let weights = [0.25, -0.125, 0.5, -1.0, 0.0, 1.125];
    let packed = pack_matrix(&weights, 2, 3, Ternarize::AbsMean).expect("a sound matrix");
    assert_eq!(*packed.scales(), Scales::PerTensor(0.5));
    assert_eq!(trits(&packed), [[0, 0, 1], [-1, 0, 1]]);

    // -0.5 ties to 0 as well, and what is a little larger does not: |w| adds up to 8 over 8 weights.
    let weights = [-0.5, 0.5, 0.515625, -0.515625, 2.0, -2.0, 1.96875, 0.0];
    let packed = pack_matrix(&weights, 4, 2, Ternarize::AbsMean).expect("a sound matrix");
    assert_eq!(*packed.scales(), Scales::PerTensor(1.0));
    assert_eq!(trits(&packed), [[0, 0], [1, -1], [1, -1], [1, 0]]);
}

#[test]
fn absmean_of_a_tiny_matrix_has_a_floor() {
    let packed = pack_matrix(&[0.0, 1e-9], 1, 2, Ternarize::AbsMean).expect("a sound matrix");
    assert_eq!(*packed.scales(), Scales::PerTensor(1e-5));
    assert_eq!(trits(&packed), [[0, 0]]);
}

#[test]
fn row_max_keeps_what_reaches_half_of_the_maximum() {
    let weights = [
        [1.0, -0.5, 0.49, 0.0],         // exactly half stays
        [-2.0, 1.0, -0.999, 0.0],       // the maximum is one of |w|
        [0.0, 0.0, 0.0, 0.0],           // nothing to scale by
        [0.003, 0.001, -0.0015, 0.002], // a row of its own size
    ];
    let packed = pack_matrix(weights.as_flattened(), 4, 4, Ternarize::RowMax).expect("a sound matrix");
    assert_eq!(*packed.scales(), Scales::PerRow(vec![1.0, 2.0, 1.0, 0.003]));
    assert_eq!(trits(&packed), [[1, -1, 0, 0], [-1, 1, 0, 0], [0; 4], [1, 0, -1, 1]]);

    let mut y = [f32::NAN; 4];
    packed_mat_vec(&packed, &[127.0, 1.0, 0.0, 2.0], &mut y).expect("a product");
    assert_eq!(y, [126.0, 2.0 * -126.0, 0.0, 129.0 * 0.003]);
}

/// A layer of hidden 2, inter 3, one head of 4 for queries and one of 2 for keys and values.
struct Dense {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    o: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
    down: Vec<f32>,
    norms: [Vec<f32>; 4],
}

impl Dense {
    fn new() -> Self {
        let ramp = |len: usize, first: f32| (0..len).map(|i| first + i as f32).collect();
        Dense {
            q: ramp(8, 1.0),
            k: ramp(4, -4.0),
            v: ramp(4, 1.0),
            o: ramp(8, -3.5),
            gate: ramp(6, 1.0),
            up: ramp(6, -6.0),
            down: ramp(6, 0.5),
            norms: [vec![1.0, 2.0], vec![3.0, 4.0], vec![5.0, 6.0, 7.0, 8.0], vec![9.0, 10.0, 11.0]],
        }
    }

    fn weights(&self, rule: Ternarize) -> LayerWeights<'_> {
        let [input_layernorm, post_attention_layernorm, inner_attn_ln, ffn_layernorm] = &self.norms;
        LayerWeights {
            rule,
            q_proj: &self.q,
            k_proj: &self.k,
            v_proj: &self.v,
            o_proj: &self.o,
            gate_proj: &self.gate,
            up_proj: &self.up,
            down_proj: &self.down,
            input_layernorm,
            post_attention_layernorm,
            inner_attn_ln,
            ffn_layernorm,
        }
    }

    /// The tensors that can be of a wrong length or hold a bad value, by name.
    fn tensors(&mut self) -> [(&'static str, &mut Vec<f32>); 11] {
        let [input, post, inner, ffn] = &mut self.norms;
        [
            ("q_proj", &mut self.q),
            ("k_proj", &mut self.k),
            ("v_proj", &mut self.v),
            ("o_proj", &mut self.o),
            ("gate_proj", &mut self.gate),
            ("up_proj", &mut self.up),
            ("down_proj", &mut self.down),
            ("input_layernorm", input),
            ("post_attention_layernorm", post),
            ("inner_attn_ln", inner),
            ("ffn_layernorm", ffn),
        ]
    }
}

#[test]
fn a_layer_is_packed_matrix_by_matrix() {
    let dense = Dense::new();
    let layer = pack_layer_weights(&dense.weights(Ternarize::RowMax), 2, 3).expect("a sound layer");
    let shapes = layer.projections().map(|(name, weights)| (name, weights.rows(), weights.cols()));
    let expected = [
        ("q_proj", 4, 2),
        ("k_proj", 2, 2),
        ("v_proj", 2, 2),
        ("o_proj", 2, 4),
        ("gate_proj", 3, 2),
        ("up_proj", 3, 2),
        ("down_proj", 2, 3),
    ];
    assert_eq!(shapes, expected);
    // Rows (1 2) (3 4) (5 6) (7 8): the lesser is at least half of the greater.
    assert_eq!(*layer.q_proj.scales(), Scales::PerRow(vec![2.0, 4.0, 6.0, 8.0]));
    assert_eq!(trits(&layer.q_proj), [[1, 1]; 4]);
    // Rows (-3.5 -2.5 -1.5 -0.5) and (0.5 1.5 2.5 3.5).
    assert_eq!(*layer.o_proj.scales(), Scales::PerRow(vec![3.5, 3.5]));
    assert_eq!(trits(&layer.o_proj), [[-1, -1, 0, 0], [0, 0, 1, 1]]);
    // Rows (-6 -5) (-4 -3) (-2 -1).
    assert_eq!(trits(&layer.up_proj), [[-1, -1]; 3]);
    assert_eq!(layer.input_layernorm, dense.norms[0]);
    assert_eq!(layer.post_attention_layernorm, dense.norms[1]);
    assert_eq!(layer.inner_attn_ln.as_ref(), Some(&dense.norms[2]));
    assert_eq!(layer.ffn_layernorm.as_ref(), Some(&dense.norms[3]));
    assert_eq!(layer.norm_values(), 2 + 2 + 4 + 3);

    let layer = pack_layer_weights(&dense.weights(Ternarize::AbsMean), 2, 3).expect("a sound layer");
    // 0.5 + 1.5 + ... + 5.5 = 18 over 6 weights: the mean is 3, and 1.5 / 3 ties to 0.
    assert_eq!(*layer.down_proj.scales(), Scales::PerTensor(3.0));
    assert_eq!(trits(&layer.down_proj), [[0, 0, 1], [1, 1, 1]]);
}

#[test]
fn layers_that_do_not_fit_together_are_errors() {
    for index in 0..11 {
        let mut dense = Dense::new();
        let (name, tensor) = dense.tensors().into_iter().nth(index).expect("one of eleven");
        tensor.push(1.0);
        let error = pack_layer_weights(&dense.weights(Ternarize::RowMax), 2, 3).expect_err(name);
        assert!(matches!(&error, DenseError::Length { tensor, .. } if *tensor == name), "{name}: {error}");
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut dense = Dense::new();
            let (_, tensor) = dense.tensors().into_iter().nth(index).expect("one of eleven");
            tensor[1] = value;
            let error = pack_layer_weights(&dense.weights(Ternarize::AbsMean), 2, 3).expect_err(name);
            let named = matches!(&error, DenseError::NotFinite { tensor, index: 1, .. } if *tensor == name);
            assert!(named, "{name}: {error}");
        }
    }
    let dense = Dense::new();
    for (hidden, inter) in [(0, 3), (3, 3), (2, 0), (2, 4), (2, usize::MAX)] {
        let result = pack_layer_weights(&dense.weights(Ternarize::RowMax), hidden, inter);
        assert!(result.is_err(), "hidden {hidden}, inter {inter}");
    }
}

#[test]
fn empty_matrices_and_senseless_scales_are_errors() {
    assert!(matches!(pack_matrix(&[], 0, 4, Ternarize::RowMax), Err(PackError::Shape { rows: 0, cols: 4 })));
    assert!(matches!(pack_matrix(&[], 4, 0, Ternarize::AbsMean), Err(PackError::Shape { .. })));
    let with = |scales| {
        PackedTernaryWeights::from_rows::<std::convert::Infallible>(2, 2, scales, |_, trits| {
            trits.fill(1);
            Ok(())
        })
        .map(|_| ())
    };
    assert_eq!(with(Scales::PerRow(vec![1.0])), Err(PackError::ScaleCount { found: 1, rows: 2 }));
    assert_eq!(with(Scales::PerRow(vec![1.0, 0.0])), Err(PackError::Scale { row: 1, value: 0.0 }));
    assert!(with(Scales::PerTensor(f32::NAN)).is_err() && with(Scales::PerTensor(f32::INFINITY)).is_err());
    assert!(with(Scales::PerRow(vec![1.0, 0.5])).is_ok());
}
