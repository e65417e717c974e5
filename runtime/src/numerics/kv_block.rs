//! Keys and values as a cache keeps them: of [`CHUNK`] positions, in f32, f16 or int8, in the order in which attention
//! reads them.
//!
//! All is made of rows of sixteen elements. The keys of a head are groups of sixteen positions, in each a row a channel
//! (in the order of [`LANE_ORDER`]); its values are strips of sixteen channels, in each a row a position. A head's channels are filled up
//! with zeros to a multiple of sixteen. First come the keys of all heads, then the values.

mod f16;

use std::collections::TryReserveError;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::attention::CHUNK;
use super::attention::tile::Sixteen;
use super::exp::nearest_integer;
use super::reduce::{all_finite, max_abs};
pub use f16::F16_MAX;
use f16::{f16_bits, f16_magnitude};

use crate::lanes::{Has, LANES, Lanes};
use crate::os::AlignedBytes;

/// A head's key or value whose largest magnitude is below this is stored as zeros in int8.
pub const INT8_SMALLEST: f32 = super::attention::round::SMALLEST;

/// How far ahead of their use elements are asked for, in bytes: what stands beyond is the next group or strip in f16, of
/// which nothing in the addresses tells the CPU where it begins.
const AHEAD: usize = 4096;

/// How a cache stores keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KvType {
    /// 32 bits, as computed: profile `exact`.
    #[default]
    F32,
    /// IEEE 754 binary16, rounded to nearest, ties to even, subnormal numbers to zero. Half the memory.
    F16,
    /// int8 with an f32 scale for each position, head, key and value: a bit more than a quarter of the memory.
    Int8,
}

impl KvType {
    /// All there are, in descending precision.
    pub const ALL: [KvType; 3] = [KvType::F32, KvType::F16, KvType::Int8];

    /// Bytes of one head's key, or of its value, at one position.
    fn bytes(self, head_dim: usize) -> usize {
        let channels = head_dim.next_multiple_of(LANES);
        match self {
            KvType::F32 => 4 * channels,
            KvType::F16 => 2 * channels,
            KvType::Int8 => channels + size_of::<f32>(),
        }
    }
}

impl fmt::Display for KvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Int8 => "int8",
        })
    }
}

/// A name that is no [`KvType`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no KV cache of type {0:?}; there are f32, f16 and int8")]
pub struct UnknownKvType(String);

impl FromStr for KvType {
    type Err = UnknownKvType;

    fn from_str(name: &str) -> Result<Self, UnknownKvType> {
        let named = KvType::ALL.into_iter().find(|kv_type| kv_type.to_string() == name);
        named.ok_or_else(|| UnknownKvType(name.to_owned()))
    }
}

/// A key or value that the type of the cache cannot hold: it is not finite, or in f16 larger than [`F16_MAX`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NotStorable {
    /// `keys` or `values`.
    pub part: &'static str,
    /// The first such element.
    pub value: f32,
}

/// What blocks of a cache have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvShape {
    /// How elements are stored.
    pub kv_type: KvType,
    /// Heads with keys and values of their own.
    pub kv_heads: usize,
    /// Channels of a head, at least 1.
    pub head_dim: usize,
}

impl KvShape {
    /// Bytes of the keys and values of one position.
    pub fn position_bytes(&self) -> usize {
        2 * self.kv_heads * self.kv_type.bytes(self.head_dim)
    }

    /// Bytes of a block.
    pub fn block_bytes(&self) -> usize {
        CHUNK * self.position_bytes()
    }

    /// Rows of sixteen that one channel of each lane takes.
    fn steps(&self) -> usize {
        self.head_dim.div_ceil(LANES)
    }

    /// Rows of the keys, or of the values, of one head.
    fn head_rows(&self) -> usize {
        CHUNK * self.steps()
    }

    /// Rows of a block.
    fn rows(&self) -> usize {
        2 * self.kv_heads * self.head_rows()
    }
}

/// Where a lane of a dot product stands among those of a group of keys: in the order in which their sums are folded, 0, 8,
/// 4, 12, 2, ... (their bits reversed).
pub const LANE_ORDER: [usize; LANES] = [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15];

/// Where the elements of a head at one position go, among its rows.
struct Target {
    position: usize,
    steps: usize,
    is_key: bool,
}

impl Target {
    /// Stores sixteen channels.
    #[inline(always)]
    fn put<T: Copy, Row: AsMut<[T]>>(&self, rows: &mut [Row], strip: usize, values: &[T; LANES]) {
        if !self.is_key {
            rows[strip * CHUNK + self.position].as_mut().copy_from_slice(values);
            return;
        }
        let (group, lane) = (self.position / LANES, self.position % LANES);
        let len = self.steps * LANES;
        let rows = &mut rows[group * len..][..len];
        for (place, value) in LANE_ORDER.into_iter().zip(values) {
            rows[place * self.steps + strip].as_mut()[lane] = *value;
        }
    }
}

/// Calls `body(strip, values)` for each sixteen channels, the last filled up with zeros.
#[inline(always)]
fn for_strips(source: &[f32], mut body: impl FnMut(usize, [f32; LANES])) {
    let (strips, rest) = source.as_chunks::<LANES>();
    for (strip, values) in strips.iter().enumerate() {
        body(strip, *values);
    }
    if !rest.is_empty() {
        let mut values = [0.0; LANES];
        values[..rest.len()].copy_from_slice(rest);
        body(strips.len(), values);
    }
}

/// Sixteen elements, as a cache keeps them.
pub(super) trait Row: Copy {
    /// They in f32, exactly.
    ///
    /// # Safety
    /// The CPU must have the instruction set of `L`.
    unsafe fn widen<L: Lanes>(&self) -> L::Floats;
}

impl Row for Sixteen {
    #[inline(always)]
    unsafe fn widen<L: Lanes>(&self) -> L::Floats {
        // SAFETY: the caller promises the instruction set; a row is sixteen elements.
        unsafe { L::f32s(self.0.as_ptr()) }
    }
}

impl Row for [u16; LANES] {
    #[inline(always)]
    unsafe fn widen<L: Lanes>(&self) -> L::Floats {
        // SAFETY: as above.
        unsafe { L::f16s(self.as_ptr().cast()) }
    }
}

impl Row for [i8; LANES] {
    #[inline(always)]
    unsafe fn widen<L: Lanes>(&self) -> L::Floats {
        // SAFETY: as above.
        unsafe { L::i8s(self.as_ptr().cast()) }
    }
}

/// The keys of a head and its values, as a block has them.
#[derive(Debug)]
pub(super) enum Elements<'a> {
    F32([&'a [Sixteen]; 2]),
    F16([&'a [[u16; LANES]]; 2]),
    Int8([&'a [[i8; LANES]]; 2]),
}

/// The elements of a block.
enum Rows<'a> {
    F32(&'a [Sixteen]),
    F16(&'a [[u16; LANES]]),
    /// With the scales `[keys, values][kv_heads][CHUNK]`.
    Int8(&'a [[i8; LANES]], &'a [f32]),
}

/// The keys and values of [`CHUNK`] positions in one layer, of all heads.
#[derive(Debug)]
pub struct KvBlock {
    shape: KvShape,
    /// The rows, and behind them the scales, where there are any.
    memory: AlignedBytes,
}

impl Clone for KvBlock {
    fn clone(&self) -> Self {
        let mut memory = AlignedBytes::zeroed(self.memory.len());
        memory.copy_from_slice(&self.memory);
        KvBlock { shape: self.shape, memory }
    }

    fn clone_from(&mut self, other: &Self) {
        if self.shape == other.shape {
            self.memory.copy_from_slice(&other.memory);
        } else {
            *self = other.clone();
        }
    }
}

/// The keys of one head of a block, or its values, to be written.
#[derive(Debug)]
pub struct HeadRows<'a> {
    is_key: bool,
    head_dim: usize,
    rows: RowsMut<'a>,
}

/// The elements of [`HeadRows`].
#[derive(Debug)]
enum RowsMut<'a> {
    F32(&'a mut [Sixteen]),
    F16(&'a mut [[u16; LANES]]),
    /// With a scale a position.
    Int8(&'a mut [[i8; LANES]], &'a mut [f32]),
}

impl KvBlock {
    /// A block of zeros.
    ///
    /// # Errors
    /// When the system gives no memory.
    pub fn new(shape: KvShape) -> Result<Self, TryReserveError> {
        Ok(KvBlock { shape, memory: AlignedBytes::try_zeroed(shape.block_bytes(), 1)?.remove(0) })
    }

    /// So many blocks of zeros, those of all layers for example: behind each other, for one alone is smaller than the pages that
    /// suit a CPU that reads ahead.
    ///
    /// # Errors
    /// When the system gives no memory.
    pub fn several(shape: KvShape, count: usize) -> Result<Vec<Self>, TryReserveError> {
        let memory = AlignedBytes::try_zeroed(shape.block_bytes(), count)?;
        Ok(memory.into_iter().map(|memory| KvBlock { shape, memory }).collect())
    }

    /// The elements.
    #[inline(always)]
    fn rows(&self) -> Rows<'_> {
        match self.shape.kv_type {
            KvType::F32 => Rows::F32(bytemuck::cast_slice(&self.memory)),
            KvType::F16 => Rows::F16(bytemuck::cast_slice(&self.memory)),
            KvType::Int8 => {
                let (rows, scales) = self.memory.split_at(self.shape.rows() * LANES);
                Rows::Int8(bytemuck::cast_slice(rows), bytemuck::cast_slice(scales))
            }
        }
    }

    /// What it holds.
    pub fn shape(&self) -> KvShape {
        self.shape
    }

    /// Bytes of memory held.
    pub fn bytes(&self) -> usize {
        self.memory.len()
    }

    /// The keys of every head, then the values of every head: apart, so that threads can share them out.
    pub fn heads_mut(&mut self) -> impl Iterator<Item = HeadRows<'_>> {
        let KvShape { kv_type, kv_heads, head_dim } = self.shape;
        // Scales stand behind all rows.
        let scale_bytes = if kv_type == KvType::Int8 { CHUNK * size_of::<f32>() } else { 0 };
        let row_bytes = CHUNK * kv_type.bytes(head_dim) - scale_bytes;
        let (rows, scales) = self.memory.split_at_mut(2 * kv_heads * row_bytes);
        let mut scales = bytemuck::cast_slice_mut::<u8, f32>(scales).chunks_exact_mut(CHUNK);
        rows.chunks_exact_mut(row_bytes).enumerate().map(move |(head, rows)| {
            let rows = match kv_type {
                KvType::F32 => RowsMut::F32(bytemuck::cast_slice_mut(rows)),
                KvType::F16 => RowsMut::F16(bytemuck::cast_slice_mut(rows)),
                KvType::Int8 => {
                    let scales = scales.next().expect("scales of every head");
                    RowsMut::Int8(bytemuck::cast_slice_mut(rows), scales)
                }
            };
            HeadRows { is_key: head < kv_heads, head_dim, rows }
        })
    }

    /// The keys of a head, `[groups][channels][16 positions]`, and its values, `[strips][CHUNK positions][16 channels]`.
    #[inline(always)]
    pub(super) fn elements(&self, kv_head: usize) -> Elements<'_> {
        fn of<R>(rows: &[R], [keys, values]: [Range<usize>; 2]) -> [&[R]; 2] {
            [&rows[keys], &rows[values]]
        }
        let len = self.shape.head_rows();
        let places = [kv_head, self.shape.kv_heads + kv_head].map(|head| head * len..(head + 1) * len);
        match self.rows() {
            Rows::F32(rows) => Elements::F32(of(rows, places)),
            Rows::F16(rows) => Elements::F16(of(rows, places)),
            Rows::Int8(rows, _) => Elements::Int8(of(rows, places)),
        }
    }

    /// The keys of some groups of a head, `[groups][channels][16 positions]` in f32; for int8 without the scales. `scratch`
    /// has room for them.
    #[inline(always)]
    pub(super) fn key_groups<'a, L: Lanes>(
        &'a self,
        has: Has<L>,
        kv_head: usize,
        groups: Range<usize>,
        scratch: &'a mut [Sixteen],
    ) -> &'a [Sixteen] {
        let len = self.shape.steps() * LANES;
        let first = kv_head * self.shape.head_rows() + groups.start * len;
        self.widened(has, first, groups.len() * len, scratch)
    }

    /// Some strips of the values of a head, `[strips][CHUNK positions][16 channels]` in f32, the last strip's at the first
    /// positions; for int8 without the scales. `scratch` has room for them.
    #[inline(always)]
    pub(super) fn value_strips<'a, L: Lanes>(
        &'a self,
        has: Has<L>,
        kv_head: usize,
        strips: Range<usize>,
        positions: usize,
        scratch: &'a mut [Sixteen],
    ) -> &'a [Sixteen] {
        let head = (self.shape.kv_heads + kv_head) * self.shape.head_rows();
        let len = (strips.len() - 1) * CHUNK + positions;
        self.widened(has, head + strips.start * CHUNK, len, scratch)
    }

    /// The scales of a head's keys and of its values, one a position; none but in int8.
    #[inline(always)]
    pub(super) fn scales(&self, kv_head: usize) -> Option<[&[f32]; 2]> {
        let Rows::Int8(_, scales) = self.rows() else { return None };
        let of = |head: usize| &scales[head * CHUNK..(head + 1) * CHUNK];
        Some([of(kv_head), of(self.shape.kv_heads + kv_head)])
    }

    #[inline(always)]
    fn widened<'a, L: Lanes>(
        &'a self,
        has: Has<L>,
        first: usize,
        len: usize,
        scratch: &'a mut [Sixteen],
    ) -> &'a [Sixteen] {
        let scratch = &mut scratch[..len];
        match self.rows() {
            Rows::F32(rows) => return &rows[first..first + len],
            Rows::F16(rows) => widen_all(has, &rows[first..first + len], scratch),
            Rows::Int8(rows, _) => widen_all(has, &rows[first..first + len], scratch),
        }
        scratch
    }
}

/// Rows in f32.
#[inline(always)]
fn widen_all<L: Lanes, R: Row>(_: Has<L>, rows: &[R], wide: &mut [Sixteen]) {
    for (wide, row) in wide.iter_mut().zip(rows) {
        // SAFETY: the CPU has the instruction set.
        unsafe {
            L::prefetch(std::ptr::from_ref(row).cast(), AHEAD);
            L::store(row.widen::<L>(), &mut wide.0);
        }
    }
}

/// See [`super::Numerics::store_head`].
#[inline(always)]
pub(super) fn store(head: &mut HeadRows<'_>, position: usize, channels: &[f32]) -> Result<(), NotStorable> {
    assert!(position < CHUNK, "a position of the block");
    assert_eq!(channels.len(), head.head_dim, "the channels of a head");
    let (is_key, steps) = (head.is_key, head.head_dim.div_ceil(LANES));
    let target = Target { position, steps, is_key };
    let refused = |fits: fn(&f32) -> bool| {
        let value = channels.iter().copied().find(|value| !fits(value)).unwrap_or(f32::NAN);
        Err(NotStorable { part: if is_key { "keys" } else { "values" }, value })
    };
    match &mut head.rows {
        RowsMut::F32(rows) => for_strips(channels, |strip, values| target.put(rows, strip, &values)),
        RowsMut::F16(rows) => {
            let mut largest = 0;
            for_strips(channels, |strip, values| {
                let mut narrow = [0; LANES];
                for (narrow, value) in narrow.iter_mut().zip(values) {
                    let magnitude = f16_magnitude(value);
                    largest = largest.max(magnitude);
                    *narrow = f16_bits(value, magnitude);
                }
                target.put(rows, strip, &narrow);
            });
            if largest >= f16::INFINITE {
                return refused(|value| f16_magnitude(*value) < f16::INFINITE);
            }
        }
        RowsMut::Int8(rows, scales) => {
            if !all_finite(channels) {
                return refused(|value| value.is_finite());
            }
            let max = max_abs(channels);
            let tiny = max < INT8_SMALLEST;
            let (factor, scale) = if tiny { (0.0, 0.0) } else { (127.0 / max, max / 127.0) };
            scales[position] = scale;
            for_strips(channels, |strip, values| {
                let mut codes = [0; LANES];
                for (code, value) in codes.iter_mut().zip(values) {
                    // Of magnitude at most 127 and a rounding error.
                    *code = nearest_integer(value * factor) as i8;
                }
                target.put(rows, strip, &codes);
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::Numerics;

    #[test]
    fn names_are_read_back() {
        for kv_type in KvType::ALL {
            assert_eq!(kv_type.to_string().parse(), Ok(kv_type));
        }
        let error = "q4".parse::<KvType>().unwrap_err().to_string();
        assert_eq!(error, "there is no KV cache of type \"q4\"; there are f32, f16 and int8");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_first_such_value() {
        let store = |kv_type, keys: [f32; 4], values: [f32; 4]| {
            let mut block = KvBlock::new(KvShape { kv_type, kv_heads: 2, head_dim: 2 }).unwrap();
            Numerics::portable().store_kv(&mut block, 0, &keys, &values)
        };
        let good = [65519.9, -65504.0, 1e-30, 0.0];
        for kv_type in KvType::ALL {
            store(kv_type, good, good).unwrap();
        }
        let refused = store(KvType::F16, good, [0.0, 1.0, -65520.0, 2.0]);
        assert_eq!(refused, Err(NotStorable { part: "values", value: -65520.0 }));
        for kv_type in [KvType::F16, KvType::Int8] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let NotStorable { part, value } = store(kv_type, [1.0, bad, 0.0, 0.0], good).unwrap_err();
                assert_eq!((part, value.to_bits()), ("keys", bad.to_bits()));
            }
        }
        store(KvType::Int8, [f32::MAX; 4], [f32::MIN; 4]).unwrap();
    }

    #[test]
    fn each_channel_has_a_place_of_its_own() {
        for is_key in [true, false] {
            let steps = 3;
            let mut rows = vec![[0u16; LANES]; CHUNK * steps];
            for position in 0..CHUNK {
                let target = Target { position, steps, is_key };
                for strip in 0..steps {
                    let element = |c: usize| (1 + position * LANES * steps + strip * LANES + c) as u16;
                    target.put(&mut rows, strip, &std::array::from_fn(element));
                }
            }
            if is_key {
                // Position 17: the second of the second group. Lanes 0 and 8 meet first.
                assert_eq!(rows[16 * steps][1], 1 + 17 * 48);
                assert_eq!(rows[16 * steps + steps][1], 1 + 17 * 48 + 8);
            }
            let elements = rows.as_flattened_mut();
            elements.sort_unstable();
            assert!(elements.iter().enumerate().all(|(i, element)| usize::from(*element) == i + 1));
        }
    }
}
