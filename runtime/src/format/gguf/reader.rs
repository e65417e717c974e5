//! [`GgufFile`]: the container, parsed and checked; nothing is copied out of it.
//!
//! Layout (versions 2 and 3): magic, u32 version, u64 tensor count, u64 metadata count, metadata, tensor
//! infos, zeros up to the alignment, tensor data. Entries are kept as offsets into the file and the counts
//! are checked against what the rest of the file could hold before anything is allocated, so the index of any
//! file is smaller than four times it.

use super::error::GgufError;
use super::tensor_type::{self, TensorType};
use super::value::{ArrayValue, Value, ValueType};
use crate::format::bytes::SharedBytes;
use crate::format::strings::StringArray;

/// Longest string and array of the format, in bytes and elements.
const LONGEST: u64 = 1 << 30;
/// Longest tensor name in bytes, without the terminating zero of C.
const LONGEST_TENSOR_NAME: usize = 63;
/// Data alignment where the metadata gives none.
const DEFAULT_ALIGNMENT: u64 = 32;
/// Shortest possible metadata entry: length field, one byte of key, type, one byte of value.
const SHORTEST_ENTRY: usize = 8 + 1 + 4 + 1;
/// Shortest possible tensor info: length field, one byte of name, dimension count, type, offset.
const SHORTEST_TENSOR: usize = 8 + 1 + 4 + 4 + 8;

const METADATA_KEY: &str = "metadata key";
const TENSOR_NAME: &str = "tensor name";

/// A key and where its value lies.
#[derive(Clone, Copy)]
struct Entry {
    key_at: usize,
    key_length: u32,
    kind: ValueType,
    value_at: usize,
}

/// A tensor of the file.
#[derive(Clone, Copy, Debug)]
pub struct GgufTensor {
    name_at: usize,
    name_length: u8,
    dim_count: u8,
    kind: TensorType,
    dims: [u64; 4],
    data_at: usize,
    data_length: usize,
}

impl GgufTensor {
    /// Storage type.
    pub fn kind(&self) -> TensorType {
        self.kind
    }

    /// Dimensions, innermost (contiguous) first, as the file gives them.
    pub fn dims(&self) -> &[u64] {
        &self.dims[..usize::from(self.dim_count)]
    }
}

/// A GGUF container whose structure has been checked throughout.
pub struct GgufFile {
    bytes: SharedBytes,
    version: u32,
    entries: Vec<Entry>,
    /// Indices into `entries`, by key.
    entries_by_key: Vec<u32>,
    tensors: Vec<GgufTensor>,
    /// Indices into `tensors`, by name.
    tensors_by_name: Vec<u32>,
}

impl GgufFile {
    /// Parses a container.
    ///
    /// Checked: magic, version, every length and count against the bytes that are left, value types, UTF-8
    /// and uniqueness of keys and names, at most four dimensions, no overflow in their product, alignment a
    /// power of two, every tensor aligned, inside the file and apart from all others. Gaps between tensors
    /// are accepted.
    ///
    /// # Errors
    /// [`GgufError`].
    pub fn parse(bytes: SharedBytes) -> Result<Self, GgufError> {
        let mut cursor = Cursor { bytes: &bytes, at: 0 };
        if !bytes.starts_with(b"GGUF") {
            return Err(GgufError::NotGguf { found: bytes[..bytes.len().min(4)].to_vec() });
        }
        cursor.at = 4;
        let version = cursor.u32("the version")?;
        if version != 0 && version & 0xffff == 0 {
            return Err(GgufError::BigEndian);
        }
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version { found: version });
        }
        let tensor_count = cursor.u64("the number of tensors")?;
        let entry_count = cursor.u64("the number of metadata entries")?;
        let entry_count = cursor.plausible("the number of metadata entries", entry_count, SHORTEST_ENTRY)?;
        let tensor_count = cursor.plausible("the number of tensors", tensor_count, SHORTEST_TENSOR)?;

        let mut entries = Vec::with_capacity(entry_count);
        for _ in 0..entry_count {
            entries.push(cursor.entry()?);
        }
        let key = |entry: &Entry| &bytes[entry.key_at..entry.key_at + entry.key_length as usize];
        let entries_by_key = sorted_index(&entries, METADATA_KEY, key)?;

        let mut infos = Vec::with_capacity(tensor_count);
        for _ in 0..tensor_count {
            infos.push(cursor.tensor_info()?);
        }
        let infos_end = cursor.at;
        let name =
            |tensor: &GgufTensor| &bytes[tensor.name_at..tensor.name_at + usize::from(tensor.name_length)];
        let tensors_by_name = sorted_index(&infos, TENSOR_NAME, name)?;

        let mut file =
            Self { bytes: bytes.clone(), version, entries, entries_by_key, tensors: infos, tensors_by_name };
        if let Some(parts) = file.get("split.count").and_then(|v| v.as_u64()).filter(|&parts| parts > 1) {
            return Err(GgufError::Split { parts });
        }
        file.place_tensors(infos_end)?;
        Ok(file)
    }

    /// Turns the offsets of the tensor infos into places in the file and checks them.
    fn place_tensors(&mut self, infos_end: usize) -> Result<(), GgufError> {
        let alignment = self.alignment()?;
        let data_start = (infos_end as u64).next_multiple_of(alignment);
        let available = (self.bytes.len() as u64).saturating_sub(data_start);
        for index in 0..self.tensors.len() {
            let tensor = self.tensors[index];
            let offset = tensor.data_at as u64;
            let bytes = tensor.data_length as u64;
            if !offset.is_multiple_of(alignment) {
                let tensor = self.name(&tensor).to_owned();
                return Err(GgufError::Misaligned { tensor, offset, alignment });
            }
            if offset.checked_add(bytes).is_none_or(|end| end > available) {
                let tensor = self.name(&tensor).to_owned();
                return Err(GgufError::OutOfFile { tensor, offset, bytes, available });
            }
            self.tensors[index].data_at = (data_start + offset) as usize;
        }
        let mut by_place: Vec<u32> = (0..self.tensors.len() as u32).collect();
        by_place.sort_unstable_by_key(|&index| {
            let tensor = &self.tensors[index as usize];
            (tensor.data_at, tensor.data_length)
        });
        // The tensors fill the data from end to end: a gap would mean that a size or a type is not what it says.
        let mut end = data_start as usize;
        let mut before: Option<&GgufTensor> = None;
        for tensor in by_place.iter().map(|&index| &self.tensors[index as usize]) {
            if let Some(before) = before.filter(|before| before.data_at + before.data_length > tensor.data_at)
            {
                let (first, second) = (self.name(before).to_owned(), self.name(tensor).to_owned());
                return Err(GgufError::Overlap { first, second });
            }
            self.check_gap(before, end, tensor.data_at)?;
            before = Some(tensor);
            end = (tensor.data_at + tensor.data_length).next_multiple_of(alignment as usize);
        }
        self.check_gap(before, end, self.bytes.len())
    }

    /// Refuses bytes between the padded end of a tensor and the start of the next one, or the file's end.
    fn check_gap(&self, before: Option<&GgufTensor>, end: usize, next: usize) -> Result<(), GgufError> {
        if next <= end {
            return Ok(());
        }
        let before = before
            .map_or_else(|| "the header".to_owned(), |tensor| format!("tensor `{}`", self.name(tensor)));
        Err(GgufError::Gap { before, bytes: next - end })
    }

    fn alignment(&self) -> Result<u64, GgufError> {
        let Some(position) = self.position("general.alignment") else {
            return Ok(DEFAULT_ALIGNMENT);
        };
        let entry = &self.entries[position];
        let value = self.value(entry);
        match (entry.kind, value) {
            (ValueType::U32, Value::Unsigned(alignment)) if alignment.is_power_of_two() => Ok(alignment),
            _ => Err(GgufError::Alignment { found: format!("{value} ({})", entry.kind.name()) }),
        }
    }

    /// Version of the format, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Size of the file in bytes.
    pub fn file_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Number of metadata entries.
    pub fn metadata_len(&self) -> usize {
        self.entries.len()
    }

    /// Metadata in file order.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.entries.iter().map(|entry| (self.key(entry), self.value(entry)))
    }

    /// The value of a metadata key.
    pub fn get(&self, key: &str) -> Option<Value<'_>> {
        self.position(key).map(|position| self.value(&self.entries[position]))
    }

    /// The strings of an array value, indexed in place; `None` for any other value.
    pub fn strings(&self, value: &Value<'_>) -> Option<StringArray> {
        match value {
            Value::Array(array) if array.element == ValueType::String => {
                let encoded = self.bytes.slice(array.start..array.start + array.bytes.len())?;
                StringArray::index(encoded, array.count)
            }
            _ => None,
        }
    }

    /// Tensors in file order.
    pub fn tensors(&self) -> &[GgufTensor] {
        &self.tensors
    }

    /// Position of a tensor in [`Self::tensors`].
    pub fn tensor_position(&self, name: &str) -> Option<usize> {
        let found = self.tensors_by_name.binary_search_by(|&index| {
            self.name(&self.tensors[index as usize]).as_bytes().cmp(name.as_bytes())
        });
        found.ok().map(|at| self.tensors_by_name[at] as usize)
    }

    /// A tensor's name.
    pub fn name(&self, tensor: &GgufTensor) -> &str {
        self.text(tensor.name_at, usize::from(tensor.name_length))
    }

    /// A tensor's bytes in the file, trailers included.
    pub fn data(&self, tensor: &GgufTensor) -> SharedBytes {
        self.bytes
            .slice(tensor.data_at..tensor.data_at + tensor.data_length)
            .expect("tensors were placed inside the file when it was parsed")
    }

    fn position(&self, key: &str) -> Option<usize> {
        let found = self.entries_by_key.binary_search_by(|&index| {
            self.key(&self.entries[index as usize]).as_bytes().cmp(key.as_bytes())
        });
        found.ok().map(|at| self.entries_by_key[at] as usize)
    }

    fn key(&self, entry: &Entry) -> &str {
        self.text(entry.key_at, entry.key_length as usize)
    }

    fn text(&self, at: usize, length: usize) -> &str {
        std::str::from_utf8(&self.bytes[at..at + length])
            .expect("names were checked when the file was parsed")
    }

    fn value(&self, entry: &Entry) -> Value<'_> {
        let mut cursor = Cursor { bytes: &self.bytes, at: entry.value_at };
        cursor.value(entry.kind).expect("values were checked when the file was parsed")
    }
}

/// Indices of `items` in the order of their names, or the error for two of one name.
fn sorted_index<'a, T>(
    items: &[T],
    what: &'static str,
    name: impl Fn(&T) -> &'a [u8],
) -> Result<Vec<u32>, GgufError> {
    let mut order: Vec<u32> = (0..items.len() as u32).collect();
    order.sort_unstable_by_key(|&index| name(&items[index as usize]));
    for pair in order.windows(2) {
        let (first, second) = (name(&items[pair[0] as usize]), name(&items[pair[1] as usize]));
        if first == second {
            return Err(GgufError::Duplicate { what, name: String::from_utf8_lossy(first).into_owned() });
        }
    }
    Ok(order)
}

/// A position in the file that never runs past its end.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, count: u64, what: &'static str) -> Result<&'a [u8], GgufError> {
        match usize::try_from(count).ok().filter(|&count| count <= self.left()) {
            Some(count) => {
                let taken = &self.bytes[self.at..self.at + count];
                self.at += count;
                Ok(taken)
            }
            None => Err(GgufError::Truncated { what, at: self.at, needed: count, left: self.left() }),
        }
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64, what)?);
        Ok(out)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// `count` as usize where that many items of at least `shortest` bytes fit into what is left.
    fn plausible(&self, what: &'static str, count: u64, shortest: usize) -> Result<usize, GgufError> {
        let limit = ((self.left() / shortest) as u64).min(LONGEST);
        if count > limit {
            return Err(GgufError::TooMany { what, found: count, limit });
        }
        Ok(count as usize)
    }

    fn string(&mut self, what: &'static str) -> Result<&'a [u8], GgufError> {
        let length = self.u64(what)?;
        if length > LONGEST {
            return Err(GgufError::TooMany { what: "a string's length", found: length, limit: LONGEST });
        }
        self.take(length, what)
    }

    fn name(&mut self, what: &'static str, longest: usize) -> Result<&'a str, GgufError> {
        let at = self.at;
        let bytes = self.string(what)?;
        let fail = |reason| GgufError::Name { what, at, reason };
        if bytes.is_empty() {
            return Err(fail("it is empty"));
        }
        if bytes.len() > longest {
            return Err(fail("it is too long"));
        }
        std::str::from_utf8(bytes).map_err(|_| fail("it is not UTF-8"))
    }

    fn entry(&mut self) -> Result<Entry, GgufError> {
        let key = self.name(METADATA_KEY, u32::MAX as usize)?;
        let key_at = self.at - key.len();
        let id = self.u32("a metadata value's type")?;
        let kind =
            ValueType::from_id(id).ok_or_else(|| GgufError::ValueType { key: key.to_owned(), found: id })?;
        let value_at = self.at;
        self.value(kind).map_err(|error| match error {
            // The cursor knows what is wrong with a value, but not whose value it is.
            GgufError::ValueType { found, .. } => GgufError::ValueType { key: key.to_owned(), found },
            GgufError::Bool { found, .. } => GgufError::Bool { key: key.to_owned(), found },
            other => other,
        })?;
        Ok(Entry { key_at, key_length: key.len() as u32, kind, value_at })
    }

    fn value(&mut self, kind: ValueType) -> Result<Value<'a>, GgufError> {
        const WHAT: &str = "a metadata value";
        match kind {
            ValueType::String => Ok(Value::String(self.string(WHAT)?)),
            ValueType::Array => Ok(Value::Array(self.array_value(WHAT)?)),
            ValueType::Bool => match self.take(1, WHAT)?[0] {
                bit @ 0..=1 => Ok(Value::Bool(bit == 1)),
                found => Err(GgufError::Bool { key: String::new(), found }),
            },
            scalar => {
                let size = scalar.size().unwrap_or_default() as u64;
                let bytes = self.take(size, WHAT)?;
                Value::scalar(scalar, bytes)
                    .ok_or_else(|| GgufError::ValueType { key: String::new(), found: scalar as u32 })
            }
        }
    }

    fn array_value(&mut self, what: &'static str) -> Result<ArrayValue<'a>, GgufError> {
        let id = self.u32("an array's element type")?;
        let element = ValueType::from_id(id)
            .filter(|&element| element != ValueType::Array)
            .ok_or_else(|| GgufError::ValueType { key: String::new(), found: id })?;
        let count = self.u64("an array's length")?;
        let count = self.plausible("an array's length", count, element.size().unwrap_or(8))?;
        let start = self.at;
        match element.size() {
            Some(size) => {
                self.take((count * size) as u64, what)?;
            }
            None => {
                for _ in 0..count {
                    self.string(what)?;
                }
            }
        }
        Ok(ArrayValue { element, count, bytes: &self.bytes[start..self.at], start })
    }

    /// A tensor info; the returned tensor's `data_at` is still relative to the data section.
    fn tensor_info(&mut self) -> Result<GgufTensor, GgufError> {
        const WHAT: &str = "a tensor info";
        let name = self.name(TENSOR_NAME, LONGEST_TENSOR_NAME)?;
        let name_at = self.at - name.len();
        let dim_count = self.u32(WHAT)?;
        if dim_count > 4 {
            return Err(GgufError::TooMany {
                what: "a tensor's number of dimensions",
                found: u64::from(dim_count),
                limit: 4,
            });
        }
        let mut dims = [1u64; 4];
        for dim in dims.iter_mut().take(dim_count as usize) {
            *dim = self.u64(WHAT)?;
        }
        let id = self.u32(WHAT)?;
        let kind = TensorType::from_id(id).ok_or_else(|| GgufError::TensorType {
            tensor: name.to_owned(),
            id,
            name: tensor_type::describe(id),
        })?;
        let offset = self.u64(WHAT)?;
        let fail = |reason| GgufError::Dimensions {
            tensor: name.to_owned(),
            dims: dims[..dim_count as usize].to_vec(),
            reason,
        };
        let elements = dims
            .iter()
            .try_fold(1u64, |product, &dim| product.checked_mul(dim))
            .filter(|&elements| elements <= i64::MAX as u64)
            .ok_or_else(|| fail("more elements than can be counted"))?;
        if elements == 0 {
            return Err(fail("there are no elements"));
        }
        let bytes = kind.bytes(dims[0], elements).map_err(fail)?;
        let (Ok(data_at), Ok(data_length)) = (usize::try_from(offset), usize::try_from(bytes)) else {
            return Err(fail("more bytes than this machine can address"));
        };
        Ok(GgufTensor {
            name_at,
            name_length: name.len() as u8,
            dim_count: dim_count as u8,
            kind,
            dims,
            data_at,
            data_length,
        })
    }
}

#[cfg(test)]
mod tests;
