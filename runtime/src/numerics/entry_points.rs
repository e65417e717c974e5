//! The entry points: what of the numerics is compiled for every instruction set, and how it is called.

use super::attention::{self, HeadBlocks, Queries, Workspace};
use super::kv_block::{self, HeadRows, KvBlock, KvShape, NotStorable};
use super::rms_norm::NotFinite;
use super::versions::{function, functions, method, pointer, row, table, versions};
use super::{activation, quantize, reduce, residual, rope, scale};
use crate::cpu::{self, CpuError};
use crate::kernels::abi::{EXPANSION, IsaInfo};
use crate::lanes::{Has, of};

/// The float parts of a forward pass, compiled for one instruction set that this CPU has. That one exists is the
/// proof of that.
///
/// Every instruction set gives the same bits; what a NaN's are is nobody's promise.
#[derive(Clone, Copy, Debug)]
pub struct Numerics {
    versions: &'static Versions,
}

impl Numerics {
    /// Those of an instruction set.
    ///
    /// # Errors
    /// [`CpuError`] where the CPU lacks it.
    pub fn new(isa: &'static IsaInfo) -> Result<Self, CpuError> {
        let isa = cpu::by_id(isa.id)?;
        let versions = VERSIONS.iter().find(|versions| versions.isa.id == isa.id);
        Ok(versions.map_or_else(Self::portable, |versions| Self { versions }))
    }

    /// Those that every CPU can run.
    pub fn portable() -> Self {
        Self { versions: &VERSIONS[0] }
    }

    /// The instruction set.
    pub fn isa(&self) -> &'static IsaInfo {
        self.versions.isa
    }

    /// `out = softmax(q . k / sqrt(head_dim)) v` for each query q, over the keys that it sees. `out` is laid out as the
    /// queries are.
    ///
    /// The keys go in chunks of [`attention::CHUNK`]. Products are summed in lanes ([`Numerics::dot_rows`]), the
    /// exponentials likewise; in the weighted sum each channel adds its keys in ascending order. A score that is not
    /// finite makes all of a query's `out` NaN; a value that is not finite makes its channel so.
    ///
    /// # Panics
    /// When a query sees no key, the blocks are too few or of other heads, or the values or `out` too short.
    pub fn attend(
        &self,
        queries: &Queries<'_>,
        head: &HeadBlocks<'_>,
        work: &mut Workspace,
        out: &mut [f32],
    ) {
        self.attend_chunks(queries, head, None, work, out);
    }

    /// One chunk of the same, `[queries][head_dim + `[`attention::EXTRA`]`]`: the sums of weighted values, the greatest
    /// score and the sum of the weights; for a query that sees none of the chunk, what was there. `out` may be longer.
    ///
    /// # Panics
    /// As for [`Numerics::attend`].
    pub fn attend_chunk(
        &self,
        queries: &Queries<'_>,
        head: &HeadBlocks<'_>,
        chunk: usize,
        work: &mut Workspace,
        out: &mut [f32],
    ) {
        self.attend_chunks(queries, head, Some(chunk), work, out);
    }

    /// [`Numerics::store_head`] for the keys and values `[kv_heads][head_dim]` of all heads.
    ///
    /// # Errors
    /// As there.
    ///
    /// # Panics
    /// As there.
    pub fn store_kv(
        &self,
        block: &mut KvBlock,
        position: usize,
        keys: &[f32],
        values: &[f32],
    ) -> Result<(), NotStorable> {
        let KvShape { kv_heads, head_dim, .. } = block.shape();
        assert!(keys.len() == kv_heads * head_dim && values.len() == keys.len(), "all heads");
        let channels = keys.chunks_exact(head_dim).chain(values.chunks_exact(head_dim));
        let mut heads = block.heads_mut().zip(channels);
        heads.try_for_each(|(mut head, channels)| self.store_head(&mut head, position, channels))
    }
}

crate::kernels::with_float_isas! { versions!
    /// `out = x / sqrt(mean(x^2) + eps) * weight` for one row (Hugging Face's order: normalise, then weigh). The
    /// squares are summed as by [`Numerics::dot_rows`].
    ///
    /// # Errors
    /// [`NotFinite`] when the sum of squares is not finite; `out` is then unspecified.
    ///
    /// # Panics
    /// When the three lengths differ.
    fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) -> Result<(), NotFinite>
        = crate::numerics::rms_norm::rms_norm;

    /// Quantises one token's values to int8: `s = 127 / max(max|x|, 1e-5)`, `q = clamp(round_half_even(x * s), -128,
    /// 127)`; returns the sum of the q and s. The values must be finite, else what is returned says nothing.
    ///
    /// # Panics
    /// When the lengths differ.
    fn quantize_row(x: &[f32], q: &mut [i8]) -> (i32, f32) = quantize::quantize_row;

    /// What [`Numerics::quantize_row`] makes of what [`Numerics::rms_norm`] gives, which is nowhere stored.
    ///
    /// # Errors
    /// [`NotFinite`] when the sum of squares or a value of the norm is not finite; `q` is then unspecified.
    ///
    /// # Panics
    /// When the three lengths differ.
    fn quantize_normed(x: &[f32], weight: &[f32], eps: f32, q: &mut [i8]) -> Result<(i32, f32), NotFinite>
        = quantize::quantize_normed;

    /// Rotates each head in `heads` (`[any number][2 * cosines.len()]`) in place: element i and the one half a head
    /// further turn by the angle of cosine and sine i.
    ///
    /// # Panics
    /// When `cosines` is empty, `sines` has another length, or `heads` is not whole heads.
    fn rotate_heads(cosines: &[f32], sines: &[f32], heads: &mut [f32]) = rope::rotate_heads;

    /// [`Numerics::attend`], or [`Numerics::attend_chunk`] for `only` one chunk.
    ///
    /// # Panics
    /// As these.
    fn attend_chunks(
        queries: &Queries<'_>,
        head: &HeadBlocks<'_>,
        only: Option<usize>,
        work: &mut Workspace,
        out: &mut [f32],
    ) = attention::attend, with lanes;

    /// One query's `out` from the results of [`Numerics::attend_chunk`] for its chunks from the first on, each `stride`
    /// elements after the one before: what [`Numerics::attend`] gives.
    ///
    /// # Panics
    /// When there are no such results.
    fn fold_chunks(parts: &[f32], stride: usize, chunks: usize, out: &mut [f32]) = attention::fold_chunks;

    /// Stores the channels of one head at one position, counted from the block's first.
    ///
    /// # Errors
    /// [`NotStorable`] where one is not finite or does not fit into the block's type; not so in f32. What is stored at the
    /// position is then unspecified.
    ///
    /// # Panics
    /// When the position is not in the block, or there are more or fewer channels.
    fn store_head(head: &mut HeadRows<'_>, position: usize, channels: &[f32]) -> Result<(), NotStorable>
        = kv_block::store;

    /// `gate = relu(gate)^2 * up`, element by element (squared ReLU, BitNet b1.58-2B-4T). A NaN stays one.
    ///
    /// # Panics
    /// When the lengths differ.
    fn relu2_gate(gate: &mut [f32], up: &[f32]) = activation::relu2_gate;

    /// `gate = silu(gate) * up`, element by element, silu(x) = x / (1 + exp(-x)) (1bitLLM and Llama graphs).
    ///
    /// # Panics
    /// When the lengths differ.
    fn silu_gate(gate: &mut [f32], up: &[f32]) = activation::silu_gate;

    /// `states += delta`, element by element: the residual connection.
    ///
    /// # Panics
    /// When the lengths differ.
    fn add(states: &mut [f32], delta: &[f32]) = residual::add;

    /// `out[r] = rows[r] . x` for each row of `rows` `[out.len()][x.len()]`: each product rounded, product i added to
    /// lane `i % 16`, i ascending, the lanes folded 8, 4, 2, 1.
    ///
    /// # Panics
    /// When the lengths do not fit or `x` is empty.
    fn dot_rows(rows: &[f32], x: &[f32], out: &mut [f32]) = reduce::dot_rows;

    /// True when no element is infinite or NaN.
    fn all_finite(x: &[f32]) -> bool = reduce::all_finite;

    /// Brings the codes of packed weights apart, one a byte: see [`expand`](crate::kernels::abi::expand).
    ///
    /// # Panics
    /// When `codes` is not four times as long.
    fn expand(packed: &[u8], fields: [u32; EXPANSION], codes: &mut [u8]) = crate::kernels::abi::expand;

    /// `out[r] = (sums[r] as f32 * scale) * inverse`: the result of an integer product for a matrix with one scale;
    /// `inverse` is one over the activations' scale. True when no result is infinite or NaN.
    ///
    /// # Panics
    /// When the lengths differ.
    fn scale_by_tensor(sums: &[i32], scale: f32, inverse: f32, out: &mut [f32]) -> bool = scale::by_tensor;

    /// `out[r] = (sums[r] as f32 * scales[r]) * inverse`: the same for a matrix with a scale a row.
    ///
    /// # Panics
    /// When the lengths differ.
    fn scale_by_row(sums: &[i32], scales: &[f32], inverse: f32, out: &mut [f32]) -> bool = scale::by_row;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{DESCRIPTORS, ISAS};

    #[test]
    fn there_is_a_version_for_every_instruction_set_that_has_kernels_and_portable_is_the_first() {
        assert_eq!(Numerics::portable().isa().id, "portable");
        for isa in ISAS {
            let compiled = DESCRIPTORS.iter().any(|descriptor| descriptor.isa.id == isa.id);
            assert_eq!(VERSIONS.iter().any(|versions| versions.isa.id == isa.id), compiled, "{}", isa.id);
            match Numerics::new(isa) {
                Ok(numerics) => assert_eq!(numerics.isa().id, isa.id),
                Err(_) => assert!(!(isa.available)(), "{}", isa.id),
            }
        }
    }
}
