//! Keys and values of the positions seen so far.

use std::ops::Range;

use super::config::ModelConfig;
use super::error::ForwardError;
use crate::numerics::attention::{CHUNK, HeadBlocks};
use crate::numerics::kv_block::{KvBlock, KvShape, KvType};

/// The key/value cache of one sequence.
///
/// Memory comes for [`CHUNK`] positions of all layers, so that a short text in a model with a long context takes little; in it
/// lies a block for each layer, which is what one step of the attention reads.
///
/// Positions are never reused within a sequence: past the context's end there is an error.
#[derive(Debug)]
pub struct KvCache {
    context: usize,
    shape: KvShape,
    len: usize,
    /// `[layer][block]`
    layers: Vec<Vec<KvBlock>>,
}

impl KvCache {
    /// An empty cache for a sequence of at most `config.context` positions. Takes no memory yet.
    pub fn new(config: &ModelConfig, kv_type: KvType) -> Self {
        Self {
            context: config.context,
            shape: KvShape { kv_type, kv_heads: config.kv_heads, head_dim: config.head_dim },
            len: 0,
            layers: vec![Vec::new(); config.layers],
        }
    }

    /// How keys and values are stored.
    pub fn kv_type(&self) -> KvType {
        self.shape.kv_type
    }

    /// Positions in use.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when no position is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Greatest number of positions.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Bytes of memory held.
    pub fn resident_bytes(&self) -> usize {
        self.layers.iter().flatten().map(KvBlock::bytes).sum()
    }

    /// Bytes of the keys and values of one position in all layers: what decoding a token reads for each position before it.
    pub fn bytes_per_position(&self) -> usize {
        self.layers.len() * self.shape.position_bytes()
    }

    /// Forgets every position from `len` on, keeping the memory. Does nothing when fewer are in use.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Makes room for `wanted` more positions.
    ///
    /// # Errors
    /// [`ForwardError::ContextFull`] when they do not fit into the context, [`ForwardError::OutOfMemory`]
    /// when the system gives no more memory. The positions in use are untouched.
    pub fn reserve(&mut self, wanted: usize) -> Result<(), ForwardError> {
        let Some(end) = self.len.checked_add(wanted).filter(|end| *end <= self.context) else {
            return Err(ForwardError::ContextFull { used: self.len, wanted, context: self.context });
        };
        let layers = self.layers.len();
        while self.layers.first().is_some_and(|blocks| blocks.len() * CHUNK < end) {
            let refused = ForwardError::OutOfMemory { bytes: layers * self.shape.block_bytes() };
            let blocks = KvBlock::several(self.shape, layers).map_err(|_| refused)?;
            self.layers.iter_mut().zip(blocks).for_each(|(blocks, block)| blocks.push(block));
        }
        Ok(())
    }

    /// The blocks of `layer` that hold some positions, and which these are in each, counted from the block's first.
    ///
    /// # Panics
    /// When [`KvCache::reserve`] has not made room for the positions.
    pub fn blocks_mut(
        &mut self,
        layer: usize,
        positions: Range<usize>,
    ) -> impl Iterator<Item = (Range<usize>, &mut KvBlock)> {
        let blocks = positions.start / CHUNK..positions.end.div_ceil(CHUNK);
        let own = move |block: usize| {
            let first = block * CHUNK;
            positions.start.max(first) - first..positions.end.min(first + CHUNK) - first
        };
        blocks.clone().map(own).zip(&mut self.layers[layer][blocks])
    }

    /// Declares that `count` more positions have been stored in every layer.
    pub fn advance(&mut self, count: usize) {
        self.len += count;
    }

    /// Where the keys and values of one key/value head lie.
    pub fn head(&self, layer: usize, kv_head: usize) -> HeadBlocks<'_> {
        HeadBlocks { blocks: &self.layers[layer], kv_head }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Activation;
    use crate::numerics::Numerics;
    use crate::numerics::attention::{Queries, Workspace};

    fn cache(context: usize, kv_type: KvType) -> KvCache {
        let config = ModelConfig {
            name: String::new(),
            architecture: String::new(),
            hidden: 8,
            ffn: 8,
            layers: 2,
            heads: 4,
            kv_heads: 2,
            head_dim: 2,
            vocab: 8,
            context,
            rms_norm_eps: 1e-5,
            rope_theta: 1e4,
            activation: Activation::Silu,
            sub_norms: false,
        };
        KvCache::new(&config, kv_type)
    }

    #[test]
    fn what_is_stored_is_found_by_head_and_block() {
        let numerics = Numerics::portable();
        // Each of these positions has a key in a direction of its own, the others have none.
        let places = [0, 127, 128, 299];
        let direction = |place: usize| [(place as f32 * 1.5).cos(), (place as f32 * 1.5).sin()];
        for kv_type in KvType::ALL {
            let mut cache = cache(1000, kv_type);
            cache.reserve(300).unwrap();
            for position in 0..300 {
                let place = places.iter().position(|place| *place == position);
                let [x, y] = place.map_or([0.0; 2], direction);
                let value = [position as f32, 2.0, 7.0, -1.0];
                let (place, block) = cache.blocks_mut(1, position..position + 1).next().unwrap();
                numerics.store_kv(block, place.start, &[x, y, 0.0, 0.0], &value).unwrap();
            }
            cache.advance(300);
            let attend = |layer, kv_head, query: [f32; 2]| {
                let queries =
                    Queries { values: &query, stride: 2, tokens: 1, heads: 1, head_dim: 2, visible: 300 };
                let mut out = [9.0; 2];
                numerics.attend(&queries, &cache.head(layer, kv_head), &mut Workspace::default(), &mut out);
                out
            };
            for (place, position) in places.into_iter().enumerate() {
                let query = direction(place).map(|x| x * 1e3);
                // In int8 a head's channels share a scale.
                let largest = position.max(7) as f32;
                let near = |found: f32, expected: f32| (found - expected).abs() <= 0.01 * largest;
                let [first, second] = attend(1, 0, query);
                assert!(near(first, position as f32) && near(second, 2.0), "{kv_type}: {first} {second}");
                let [first, second] = attend(1, 1, query);
                assert!(near(first, 7.0) && near(second, -1.0), "{kv_type}: {first} {second}");
                assert_eq!(attend(0, 0, query), [0.0; 2]);
            }
        }
    }

    #[test]
    fn positions_are_found_in_their_blocks() {
        let mut cache = cache(1000, KvType::F32);
        cache.reserve(300).unwrap();
        let mut places = |positions| -> Vec<(usize, usize)> {
            cache.blocks_mut(0, positions).map(|(places, _)| (places.start, places.end)).collect()
        };
        assert_eq!(places(5..6), [(5, 6)]);
        assert_eq!(places(120..300), [(120, 128), (0, 128), (0, 44)]);
        assert_eq!(places(128..256), [(0, 128)]);
        let second = cache.blocks_mut(1, 130..131).next().unwrap().1.bytes();
        assert_eq!(second, cache.shape.block_bytes());
    }

    #[test]
    fn memory_is_counted() {
        // Two layers, three blocks of 128 positions, keys and values of two heads of sixteen channels, for so many there are
        // at least.
        for (kv_type, bytes) in [(KvType::F32, 64), (KvType::F16, 32), (KvType::Int8, 16 + 4)] {
            let mut cache = cache(1000, kv_type);
            assert_eq!((cache.resident_bytes(), cache.kv_type()), (0, kv_type));
            cache.reserve(300).unwrap();
            assert_eq!(cache.bytes_per_position(), 2 * 2 * 2 * bytes);
            assert_eq!(cache.resident_bytes(), 3 * 128 * cache.bytes_per_position());
        }
    }

    #[test]
    fn the_context_is_a_wall() {
        let mut cache = cache(130, KvType::F32);
        assert!(cache.is_empty());
        cache.reserve(130).unwrap();
        cache.advance(130);
        let error = cache.reserve(1).unwrap_err();
        assert!(error.to_string().contains("130 of 130 positions"), "{error}");
        assert!(matches!(cache.reserve(usize::MAX), Err(ForwardError::ContextFull { .. })));
        cache.truncate(100);
        assert_eq!(cache.len(), 100);
        cache.reserve(30).unwrap();
    }
}
