//! Storing the keys and values of a batch, each head by one thread.

use super::error::{ForwardError, Place};
use super::kv_cache::KvCache;
use super::layer::LayerPass;
use crate::numerics::kv_block::{HeadRows, NotStorable};

/// Elementary operations that storing a value takes: nearly each channel of a key goes to a line of its own, which comes from
/// memory.
const STORE_WORK: usize = 32;

/// The keys, or the values, of one head at consecutive positions of a block.
struct Piece<'a> {
    rows: HeadRows<'a>,
    /// The first position, and the token of the batch that is there.
    position: usize,
    first: usize,
    tokens: usize,
    /// The head's channels of the first token, those of the next `stride` elements on.
    channels: &'a [f32],
    stride: usize,
    /// The first token whose channels do not fit into the type of the cache.
    refused: Option<(usize, NotStorable)>,
}

impl LayerPass<'_> {
    /// Stores the keys and values of the batch, `[tokens][kv_heads][head_dim]` each.
    ///
    /// # Errors
    /// [`ForwardError::NotStorable`] where one of them does not fit into the type of the cache.
    pub(super) fn store(
        &self,
        caches: &mut [&mut KvCache],
        keys: &[f32],
        values: &[f32],
    ) -> Result<(), ForwardError> {
        let (kv_heads, head_dim) = (self.config.kv_heads, self.config.head_dim);
        let (stride, kv_type) = (kv_heads * head_dim, caches[0].kv_type());
        // As many as there are where each sequence has one token.
        let (mut pieces, mut first) = (Vec::with_capacity(2 * kv_heads * caches.len()), 0);
        for (sequence, cache) in caches.iter_mut().enumerate() {
            let rows = &self.rows[first..];
            let tokens = rows.iter().take_while(|row| row.sequence == sequence).count();
            let Some(start) = rows[..tokens].first().map(|row| row.position) else { continue };
            for (places, block) in cache.blocks_mut(self.layer, start..start + tokens) {
                for (head, rows) in block.heads_mut().enumerate() {
                    let source = if head < kv_heads { keys } else { values };
                    let channels = &source[first * stride + head % kv_heads * head_dim..];
                    let (position, tokens) = (places.start, places.len());
                    pieces.push(Piece { rows, position, first, tokens, channels, stride, refused: None });
                }
                first += places.len();
            }
        }
        assert_eq!(first, self.rows.len(), "one sequence after the other");
        let work = STORE_WORK * (keys.len() + values.len());
        self.team.chunks(&mut pieces, 1, work, |_, pieces| {
            for piece in pieces {
                for token in 0..piece.tokens {
                    let channels = &piece.channels[token * piece.stride..][..head_dim];
                    let stored =
                        self.numerics().store_head(&mut piece.rows, piece.position + token, channels);
                    if let Err(refused) = stored {
                        piece.refused = Some((piece.first + token, refused));
                        break;
                    }
                }
            }
        });
        // The first token's, and of one token the first head's: whoever came first.
        let refused = pieces.iter().filter_map(|piece| piece.refused).min_by_key(|(token, _)| *token);
        refused.map_or(Ok(()), |(_, NotStorable { part, value })| {
            let place = Place { layer: Some(self.layer), part };
            Err(ForwardError::NotStorable { place, value, kv_type })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::layer::Row;
    use super::*;
    use crate::engine::Engine;
    use crate::format::LoadOptions;
    use crate::model::Model;
    use crate::numerics::attention::CHUNK;
    use crate::numerics::kv_block::KvType;
    use crate::numerics::rope::RopeTable;

    /// Stores in layer 1 of two caches with room for 300 positions.
    fn store(
        kv_type: KvType,
        rows: &[Row],
        of: impl Fn(usize) -> Vec<f32>,
    ) -> (Vec<KvCache>, Result<(), String>) {
        let engine = Engine::with_threads(2).unwrap();
        let model = Model::from_raw(crate::demo::load(&LoadOptions::default()).unwrap(), &engine).unwrap();
        let (config, rope) = (&model.config, RopeTable::new(model.config.head_dim, 1e4));
        let mut caches = vec![KvCache::new(config, kv_type), KvCache::new(config, kv_type)];
        caches.iter_mut().for_each(|cache| cache.reserve(300).unwrap());
        let vectors = |part: usize| -> Vec<f32> { (0..rows.len()).flat_map(|t| of(2 * t + part)).collect() };
        let (keys, values) = (vectors(0), vectors(1));
        let result = engine.region(|team| {
            let (engine, weights) = (&engine, &model.layers[1]);
            let pass = LayerPass { config, engine, team, rope: &rope, weights, next: None, layer: 1, rows };
            pass.store(&mut caches.iter_mut().collect::<Vec<_>>(), &keys, &values)
        });
        (caches, result.map_err(|error| error.to_string()))
    }

    /// Positions of two sequences, the first's in two blocks, and more than one thread's work.
    fn rows() -> Vec<Row> {
        let first = (CHUNK - 60..CHUNK + 80).map(|position| Row { sequence: 0, position });
        first.chain((7..8).map(|position| Row { sequence: 1, position })).collect()
    }

    fn width() -> usize {
        let config = crate::demo::load(&LoadOptions::default()).unwrap().config;
        config.kv_heads * config.head_dim
    }

    #[test]
    fn each_position_gets_what_it_gets_alone() {
        let (rows, width) = (rows(), width());
        let vector = |index: usize| -> Vec<f32> {
            (0..width).map(|i| ((index * 7919 + i * 31) % 2003) as f32 * 0.01 - 10.0).collect()
        };
        for kv_type in KvType::ALL {
            let (mut together, result) = store(kv_type, &rows, vector);
            assert_eq!(result, Ok(()));
            let (mut alone, _) = store(kv_type, &[Row { sequence: 0, position: 0 }], |_| vec![0.0; width]);
            for (token, row) in rows.iter().enumerate() {
                let mut blocks = alone[row.sequence].blocks_mut(1, row.position..row.position + 1);
                let (place, block) = blocks.next().unwrap();
                let numerics = crate::numerics::Numerics::portable();
                numerics.store_kv(block, place.start, &vector(2 * token), &vector(2 * token + 1)).unwrap();
            }
            for (together, alone) in together.iter_mut().zip(&mut alone) {
                let blocks = together.blocks_mut(1, 0..300).zip(alone.blocks_mut(1, 0..300));
                for ((_, together), (_, alone)) in blocks {
                    assert_eq!(format!("{together:?}"), format!("{alone:?}"), "{kv_type}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error_with_its_place_the_first_of_all() {
        let (rows, width) = (rows(), width());
        // The values of token 90 and the keys of token 100.
        let vector = |index: usize| {
            let bad = [181, 200].contains(&index);
            vec![if bad { -65520.0 - index as f32 } else { 1.0 }; width]
        };
        let (_, result) = store(KvType::F16, &rows, vector);
        let error = result.unwrap_err();
        assert!(
            error.starts_with("layer 1, values: -65701 does not fit") && error.contains("f16"),
            "{error}"
        );
        assert_eq!(store(KvType::Int8, &rows, vector).1, Ok(()));
    }
}
