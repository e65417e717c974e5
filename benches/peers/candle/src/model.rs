//! The BitNet graph out of candle's parts: quantised products, fused norms and rotations, attention for CPUs.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{D, DType, Device, Error, Module, Result, Tensor};
use candle_nn::attention::{AttnMask, flash_attn};
use candle_nn::kv_cache::KvCache;
use candle_nn::ops::rms_norm;
use candle_nn::rotary_emb::rope_thd;

/// Dimension of the cache along which positions lie: keys are (1, positions, heads, channels).
const POSITIONS: usize = 1;

/// A model and the keys and values of one sequence.
pub struct Model {
    facts: Facts,
    embedding: Arc<QTensor>,
    head: QMatMul,
    output_norm: Tensor,
    layers: Vec<Layer>,
    cos: Tensor,
    sin: Tensor,
    held: usize,
}

/// What the metadata says.
#[derive(Clone, Copy)]
struct Facts {
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    eps: f32,
    squared_relu: bool,
}

struct Layer {
    attn_norm: Tensor,
    q: QMatMul,
    k: QMatMul,
    v: QMatMul,
    attn_sub_norm: Tensor,
    output: QMatMul,
    ffn_norm: Tensor,
    gate: QMatMul,
    up: QMatMul,
    ffn_sub_norm: Tensor,
    down: QMatMul,
    cache: KvCache,
}

/// An open GGUF file.
struct Source {
    content: Content,
    file: BufReader<File>,
}

impl Model {
    /// Reads the file at `path`; the sequence may grow to `positions`.
    pub fn load(path: &Path, positions: usize) -> Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let content = Content::read(&mut file)?;
        let mut source = Source { content, file };
        let values = &source.content.metadata;
        let dimension = |key| Ok::<usize, Error>(value(values, key)?.to_u32()? as usize);
        let facts = Facts {
            heads: dimension("attention.head_count")?,
            kv_heads: dimension("attention.head_count_kv")?,
            head_dim: dimension("rope.dimension_count")?,
            eps: value(values, "attention.layer_norm_rms_epsilon")?.to_f32()?,
            squared_relu: match value(values, "hidden_act")?.to_string()?.as_str() {
                "relu2" => true,
                "silu" => false,
                other => return Err(Error::msg(format!("the activation {other} is neither relu2 nor silu"))),
            },
        };
        let (blocks, theta) = (dimension("block_count")?, value(values, "rope.freq_base")?.to_f32()?);
        let (cos, sin) = rotations(facts.head_dim, theta, positions)?;
        let embedding = Arc::new(source.tensor("token_embd.weight")?);
        let layers = (0..blocks).map(|index| Layer::load(&mut source, index, positions));
        let layers = layers.collect::<Result<Vec<_>>>()?;
        let output_norm = source.norm("output_norm.weight")?;
        // `QMatMul::from_arc` would make f32 of it.
        let head = QMatMul::QTensor(embedding.clone());
        Ok(Self { facts, embedding, head, output_norm, layers, cos, sin, held: 0 })
    }

    /// Number of token ids.
    pub fn vocab(&self) -> usize {
        self.embedding.shape().dims()[0]
    }

    /// Empties the sequence.
    pub fn forget(&mut self) {
        self.layers.iter_mut().for_each(|layer| layer.cache.reset());
        self.held = 0;
    }

    /// Appends tokens to the sequence; returns the most likely next one.
    pub fn feed(&mut self, tokens: &[u32]) -> Result<u32> {
        self.logits(tokens)?.argmax(D::Minus1)?.to_scalar()
    }

    /// Appends tokens to the sequence; returns the logits of the last one.
    pub fn logits(&mut self, tokens: &[u32]) -> Result<Tensor> {
        let count = tokens.len();
        let cos = self.cos.narrow(0, self.held, count)?;
        let sin = self.sin.narrow(0, self.held, count)?;
        let mut x = self.embedding.embedding(&Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?)?;
        for layer in &mut self.layers {
            x = layer.forward(&x, &self.facts, (&cos, &sin), self.held)?;
        }
        self.held += count;
        let last = x.narrow(1, count - 1, 1)?.contiguous()?;
        self.head.forward(&rms_norm(&last, &self.output_norm, self.facts.eps)?)?.flatten_all()
    }
}

impl Layer {
    fn load(source: &mut Source, index: usize, positions: usize) -> Result<Self> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        Ok(Self {
            attn_norm: source.norm(&name("attn_norm"))?,
            q: source.matrix(&name("attn_q"))?,
            k: source.matrix(&name("attn_k"))?,
            v: source.matrix(&name("attn_v"))?,
            attn_sub_norm: source.norm(&name("attn_sub_norm"))?,
            output: source.matrix(&name("attn_output"))?,
            ffn_norm: source.norm(&name("ffn_norm"))?,
            gate: source.matrix(&name("ffn_gate"))?,
            up: source.matrix(&name("ffn_up"))?,
            ffn_sub_norm: source.norm(&name("ffn_sub_norm"))?,
            down: source.matrix(&name("ffn_down"))?,
            cache: KvCache::new(POSITIONS, positions),
        })
    }

    fn forward(
        &mut self,
        x: &Tensor,
        facts: &Facts,
        (cos, sin): (&Tensor, &Tensor),
        held: usize,
    ) -> Result<Tensor> {
        let Facts { heads, kv_heads, head_dim, eps, squared_relu } = *facts;
        let count = x.dim(1)?;
        let normed = rms_norm(x, &self.attn_norm, eps)?;
        let split = |y: Tensor, heads| y.reshape((1, count, heads, head_dim));
        let q = rope_thd(&split(self.q.forward(&normed)?, heads)?, cos, sin)?;
        let k = rope_thd(&split(self.k.forward(&normed)?, kv_heads)?, cos, sin)?;
        let (k, v) = self.cache.append(&k, &split(self.v.forward(&normed)?, kv_heads)?)?;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let mixed = flash_attn::<f32>(&q, &k, &v, scale, AttnMask::causal_with_offset(held), None, None)?;
        let mixed = mixed.transpose(1, 2)?.reshape((1, count, heads * head_dim))?;
        let x = (x + self.output.forward(&rms_norm(&mixed, &self.attn_sub_norm, eps)?)?)?;

        let normed = rms_norm(&x, &self.ffn_norm, eps)?;
        let gate = self.gate.forward(&normed)?;
        let gate = if squared_relu { gate.relu()?.sqr()? } else { gate.silu()? };
        let hidden = (gate * self.up.forward(&normed)?)?;
        x + self.down.forward(&rms_norm(&hidden, &self.ffn_sub_norm, eps)?)?
    }
}

impl Source {
    fn tensor(&mut self, name: &str) -> Result<QTensor> {
        self.content.tensor(&mut self.file, name, &Device::Cpu)
    }

    fn matrix(&mut self, name: &str) -> Result<QMatMul> {
        QMatMul::from_qtensor(self.tensor(name)?)
    }

    fn norm(&mut self, name: &str) -> Result<Tensor> {
        self.tensor(name)?.dequantize(&Device::Cpu)
    }
}

/// The value of the architecture's `key`.
fn value<'a>(values: &'a HashMap<String, Value>, key: &str) -> Result<&'a Value> {
    let key = format!("bitnet.{key}");
    values.get(&key).ok_or_else(|| Error::msg(format!("the file has no {key}")))
}

/// Cosines and sines of the rotary embedding: a row for each position, a column for each pair of channels.
fn rotations(head_dim: usize, theta: f32, positions: usize) -> Result<(Tensor, Tensor)> {
    let pairs = head_dim / 2;
    let rates: Vec<f32> = (0..pairs).map(|pair| theta.powf(-(pair as f32) / pairs as f32)).collect();
    let rates = Tensor::from_vec(rates, (1, pairs), &Device::Cpu)?;
    let positions = Tensor::arange(0, positions as u32, &Device::Cpu)?.to_dtype(DType::F32)?.unsqueeze(1)?;
    let angles = positions.matmul(&rates)?;
    Ok((angles.cos()?, angles.sin()?))
}
