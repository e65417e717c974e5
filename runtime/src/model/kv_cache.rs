//! Keys and values of the positions seen so far, in f32.

use super::config::ModelConfig;
use super::error::ForwardError;
use crate::numerics::attention::{CHUNK, HeadBlocks};

/// The key/value cache of one sequence.
///
/// Memory comes in blocks of [`CHUNK`] positions for one layer, so that a block is what one step of the
/// attention reads, and a short text in a model with a long context takes little. A block holds the keys
/// `[kv_heads][CHUNK][head_dim]` and after them the values in the same order.
///
/// Positions are never reused within a sequence: past the context's end there is an error.
#[derive(Debug)]
pub struct KvCache {
    context: usize,
    kv_heads: usize,
    head_dim: usize,
    len: usize,
    /// `[layer][block]`
    layers: Vec<Vec<Vec<f32>>>,
}

impl KvCache {
    /// An empty cache for a sequence of at most `config.context` positions. Takes no memory yet.
    pub fn new(config: &ModelConfig) -> Self {
        Self {
            context: config.context,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            len: 0,
            layers: vec![Vec::new(); config.layers],
        }
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
        let floats: usize = self.layers.iter().flatten().map(Vec::len).sum();
        floats * size_of::<f32>()
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
        let block_len = 2 * self.kv_heads * CHUNK * self.head_dim;
        for blocks in &mut self.layers {
            while blocks.len() * CHUNK < end {
                let mut block = Vec::new();
                block
                    .try_reserve_exact(block_len)
                    .map_err(|_| ForwardError::OutOfMemory { bytes: block_len * size_of::<f32>() })?;
                block.resize(block_len, 0.0);
                blocks.push(block);
            }
        }
        Ok(())
    }

    /// Writes the keys and values (`[kv_heads][head_dim]` each) of `position` in `layer`.
    ///
    /// # Panics
    /// When [`KvCache::reserve`] has not made room for the position.
    pub fn store(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let (head_dim, row) = (self.head_dim, position % CHUNK);
        let block = &mut self.layers[layer][position / CHUNK];
        let (key_half, value_half) = block.split_at_mut(self.kv_heads * CHUNK * head_dim);
        for (half, source) in [(key_half, keys), (value_half, values)] {
            for (head, source) in source.chunks_exact(head_dim).enumerate() {
                let start = (head * CHUNK + row) * head_dim;
                half[start..start + head_dim].copy_from_slice(source);
            }
        }
    }

    /// Declares that `count` more positions have been stored in every layer.
    pub fn advance(&mut self, count: usize) {
        self.len += count;
    }

    /// Where the keys and values of one key/value head lie.
    pub fn head(&self, layer: usize, kv_head: usize) -> HeadBlocks<'_> {
        let head_len = CHUNK * self.head_dim;
        let keys = kv_head * head_len;
        HeadBlocks { blocks: &self.layers[layer], keys, values: self.kv_heads * head_len + keys }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Activation;

    fn cache(context: usize) -> KvCache {
        KvCache::new(&ModelConfig {
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
        })
    }

    #[test]
    fn what_is_stored_is_found_by_head_and_block() {
        let mut cache = cache(1000);
        cache.reserve(300).unwrap();
        for position in 0..300 {
            let p = position as f32;
            cache.store(1, position, &[p, 0.1, p, 0.2], &[p, 0.3, p, 0.4]);
        }
        cache.advance(300);
        for position in [0, 127, 128, 299] {
            let p = position as f32;
            let row = (position % CHUNK) * 2;
            let (keys, values) = cache.head(1, 0).chunk(position / CHUNK, CHUNK * 2);
            assert_eq!((&keys[row..row + 2], &values[row..row + 2]), (&[p, 0.1][..], &[p, 0.3][..]));
            let (keys, values) = cache.head(1, 1).chunk(position / CHUNK, CHUNK * 2);
            assert_eq!((&keys[row..row + 2], &values[row..row + 2]), (&[p, 0.2][..], &[p, 0.4][..]));
            assert_eq!(cache.head(0, 0).chunk(position / CHUNK, CHUNK * 2).0[row], 0.0);
        }
        // Two layers, three blocks of 128 positions, keys and values of two heads of two floats.
        assert_eq!(cache.resident_bytes(), 2 * 3 * 128 * 2 * 2 * 2 * 4);
    }

    #[test]
    fn the_context_is_a_wall() {
        let mut cache = cache(130);
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
