//! What a forward pass reads and computes, from what the model really holds.

use super::config::ModelConfig;
use super::weights::Model;
use crate::numerics::kv_block::KvShape;

impl Model {
    /// Bytes of packed ternary weights, padding included and scales left out: what every pass reads once.
    pub fn ternary_bytes(&self) -> usize {
        self.projections().map(|weights| weights.data().len()).sum()
    }

    /// Multiply-adds of the ternary projections for one token, padding left out.
    pub fn ternary_macs(&self) -> usize {
        self.projections().map(|weights| weights.rows() * weights.cols()).sum()
    }

    /// Bytes of the output head as it is kept: what a pass that returns logits reads once for a token, or for the tokens of
    /// several sequences.
    pub fn head_bytes(&self) -> usize {
        self.head.bytes_per_token()
    }

    /// Bytes of the keys and values of one position in all layers: what each later token of a sequence reads.
    pub fn kv_bytes_per_position(&self) -> usize {
        let ModelConfig { layers, kv_heads, head_dim, .. } = self.config;
        layers * KvShape { kv_type: self.kv_type, kv_heads, head_dim }.position_bytes()
    }

    fn projections(&self) -> impl Iterator<Item = &crate::packed::PackedTernaryWeights> {
        self.layers.iter().flat_map(|layer| layer.projections().map(|(_, weights)| weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::format::{FloatTensor, FloatType, SourceInfo, VocabMatrix};
    use crate::head::{Head, HeadType};
    use crate::model::{Activation, KvType, Profile};
    use crate::packed::{PackedLayerWeights, PackedTernaryWeights, Scales};
    use crate::tokenizer::TokenizerState;

    fn zeros(rows: usize, cols: usize) -> PackedTernaryWeights {
        let none = |_: usize, trits: &mut [i8]| {
            trits.fill(0);
            Ok::<(), std::convert::Infallible>(())
        };
        PackedTernaryWeights::from_rows(rows, cols, Scales::PerTensor(1.0), none).unwrap()
    }

    /// One layer of a model, and so many rows of its head in f16.
    fn slice(
        hidden: usize,
        ffn: usize,
        heads: usize,
        kv_heads: usize,
        head_dim: usize,
        vocab: usize,
    ) -> Model {
        let (width, kv_width) = (heads * head_dim, kv_heads * head_dim);
        let layer = PackedLayerWeights {
            q_proj: zeros(width, hidden),
            k_proj: zeros(kv_width, hidden),
            v_proj: zeros(kv_width, hidden),
            o_proj: zeros(hidden, width),
            gate_proj: zeros(ffn, hidden),
            up_proj: zeros(ffn, hidden),
            down_proj: zeros(hidden, ffn),
            input_layernorm: vec![1.0; hidden],
            post_attention_layernorm: vec![1.0; hidden],
            inner_attn_ln: None,
            ffn_layernorm: None,
        };
        let embedding = vec![0; vocab * hidden * 2];
        let token_embd =
            VocabMatrix::Float(FloatTensor::new(vocab, hidden, FloatType::F16, embedding.into()).unwrap());
        let engine = Engine::with_threads(1).unwrap();
        Model {
            config: ModelConfig {
                name: String::new(),
                architecture: String::new(),
                hidden,
                ffn,
                layers: 1,
                heads,
                kv_heads,
                head_dim,
                vocab,
                context: 4096,
                rms_norm_eps: 1e-5,
                rope_theta: 1e4,
                activation: Activation::Relu2,
                sub_norms: false,
            },
            profile: Profile::Exact,
            kv_type: KvType::F32,
            layers: [layer].into(),
            head: Head::new(&token_embd, HeadType::Exact, &engine).unwrap(),
            token_embd,
            output: None,
            output_norm: vec![1.0; hidden],
            tokenizer: TokenizerState::Absent { reason: String::new() }.into(),
            source: SourceInfo {
                format: String::new(),
                metadata: Vec::new(),
                tensors: Vec::new(),
                file_bytes: 0,
            },
        }
    }

    /// BitNet b1.58 2B-4T has 30 layers and a vocabulary of 128,256: a thirtieth and a 32nd of it are enough.
    #[test]
    fn the_figures_of_the_2b_4t_model() {
        let model = slice(2560, 6912, 20, 5, 128, 128_256 / 32);
        assert_eq!(30 * model.ternary_bytes(), 521_011_200);
        assert_eq!(30 * model.ternary_macs(), 2_084_044_800);
        assert_eq!(32 * model.head_bytes(), 656_670_720);
        assert_eq!(30 * model.kv_bytes_per_position(), 153_600);
    }

    /// Rows and columns that are no multiples of 16: bytes are padded, products are not.
    #[test]
    fn padding_is_read_but_not_computed() {
        let model = slice(20, 33, 2, 1, 10, 7);
        // 20 and 10 rows are padded to 32 and 16, 33 to 48; columns likewise, and the ten channels of a head.
        let padded = 32 * 32 + 2 * (16 * 32) + 32 * 32 + 2 * (48 * 32) + 32 * 48;
        assert_eq!(model.ternary_bytes(), padded / 4);
        assert_eq!(model.ternary_macs(), 20 * 20 + 2 * (10 * 20) + 20 * 20 + 3 * (33 * 20));
        assert_eq!((model.head_bytes(), model.kv_bytes_per_position()), (7 * 20 * 2, 2 * 16 * 4));
    }
}
