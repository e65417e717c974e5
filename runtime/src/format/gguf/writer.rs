//! [`GgufWriter`]: writes a GGUF v3 container, deterministically.

use std::io::{self, Write};

use super::tensor_type::TensorType;
use super::value::ValueType;
use crate::format::strings::StringArray;

/// Data alignment of the files that we write, which is also the format's default.
const ALIGNMENT: u64 = 32;

struct Planned {
    name: String,
    /// Innermost first.
    dims: Vec<u64>,
    kind: TensorType,
    offset: u64,
    bytes: u64,
}

/// Collects metadata and tensor infos, then writes header and data in one pass.
///
/// Tensors are laid out as every reader accepts them: in the order in which they were announced, each at the
/// sum of the padded sizes before it.
#[derive(Default)]
pub(crate) struct GgufWriter {
    metadata: Vec<u8>,
    metadata_count: u64,
    tensors: Vec<Planned>,
    data_bytes: u64,
}

impl GgufWriter {
    fn key(&mut self, key: &str, kind: ValueType) {
        self.metadata_count += 1;
        self.string(key);
        self.metadata.extend((kind as u32).to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.metadata.extend((text.len() as u64).to_le_bytes());
        self.metadata.extend(text.as_bytes());
    }

    /// Adds a string.
    pub(crate) fn put_str(&mut self, key: &str, value: &str) {
        self.key(key, ValueType::String);
        self.string(value);
    }

    /// Adds a u32.
    pub(crate) fn put_u32(&mut self, key: &str, value: u32) {
        self.key(key, ValueType::U32);
        self.metadata.extend(value.to_le_bytes());
    }

    /// Adds an f32.
    pub(crate) fn put_f32(&mut self, key: &str, value: f32) {
        self.key(key, ValueType::F32);
        self.metadata.extend(value.to_le_bytes());
    }

    /// Adds a bool.
    pub(crate) fn put_bool(&mut self, key: &str, value: bool) {
        self.key(key, ValueType::Bool);
        self.metadata.push(u8::from(value));
    }

    /// Adds an array of strings.
    pub(crate) fn put_strings(&mut self, key: &str, values: &StringArray) {
        self.key(key, ValueType::Array);
        self.metadata.extend((ValueType::String as u32).to_le_bytes());
        self.metadata.extend((values.len() as u64).to_le_bytes());
        self.metadata.extend(values.encoded());
    }

    /// Adds an array of i32.
    pub(crate) fn put_i32s(&mut self, key: &str, values: impl ExactSizeIterator<Item = i32>) {
        self.key(key, ValueType::Array);
        self.metadata.extend((ValueType::I32 as u32).to_le_bytes());
        self.metadata.extend((values.len() as u64).to_le_bytes());
        self.metadata.extend(values.flat_map(i32::to_le_bytes));
    }

    /// Announces a tensor of `shape`, outermost dimension first.
    ///
    /// # Errors
    /// Why there is no such tensor, for one that does not fill its blocks.
    pub(crate) fn announce(
        &mut self,
        name: String,
        shape: &[usize],
        kind: TensorType,
    ) -> Result<(), &'static str> {
        let dims: Vec<u64> = shape.iter().rev().map(|&dim| dim as u64).collect();
        let row = dims.first().copied().unwrap_or(1);
        let bytes = kind.bytes(row, dims.iter().product())?;
        self.tensors.push(Planned { name, dims, kind, offset: self.data_bytes, bytes });
        self.data_bytes += bytes.next_multiple_of(ALIGNMENT);
        Ok(())
    }

    /// Number of tensors announced.
    pub(crate) fn tensor_count(&self) -> usize {
        self.tensors.len()
    }

    /// Writes the container; `data(index, out)` writes the bytes of the tensor announced as number `index`.
    ///
    /// # Errors
    /// Whatever the sink or `data` report, and a tensor that did not write exactly its size. Returns the
    /// bytes written.
    pub(crate) fn write<E: From<io::Error>>(
        &self,
        out: &mut dyn Write,
        mut data: impl FnMut(usize, &mut dyn Write) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut out = Counted { out, written: 0 };
        out.write_all(b"GGUF")?;
        out.write_all(&3u32.to_le_bytes())?;
        out.write_all(&(self.tensors.len() as u64).to_le_bytes())?;
        out.write_all(&self.metadata_count.to_le_bytes())?;
        out.write_all(&self.metadata)?;
        for tensor in &self.tensors {
            out.write_all(&(tensor.name.len() as u64).to_le_bytes())?;
            out.write_all(tensor.name.as_bytes())?;
            out.write_all(&(tensor.dims.len() as u32).to_le_bytes())?;
            for dim in &tensor.dims {
                out.write_all(&dim.to_le_bytes())?;
            }
            out.write_all(&tensor.kind.id().to_le_bytes())?;
            out.write_all(&tensor.offset.to_le_bytes())?;
        }
        out.pad()?;
        for (index, tensor) in self.tensors.iter().enumerate() {
            let start = out.written;
            data(index, &mut out)?;
            let written = out.written - start;
            if written != tensor.bytes {
                let message = format!("tensor {} wrote {written} bytes of {}", tensor.name, tensor.bytes);
                return Err(io::Error::other(message).into());
            }
            out.pad()?;
        }
        Ok(out.written)
    }
}

/// A sink that knows its position.
struct Counted<'a> {
    out: &'a mut dyn Write,
    written: u64,
}

impl Counted<'_> {
    /// Zeros up to the alignment.
    fn pad(&mut self) -> io::Result<()> {
        let zeros = [0; ALIGNMENT as usize];
        let missing = self.written.next_multiple_of(ALIGNMENT) - self.written;
        self.write_all(&zeros[..missing as usize])
    }
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::float::FloatType;

    #[test]
    fn writes_the_worked_example_but_for_its_array_type() {
        let mut writer = GgufWriter::default();
        writer.put_str("general.architecture", "llama");
        writer.put_i32s("k", [7, 8].into_iter());
        writer.announce("w".into(), &[2, 4], TensorType::Float(FloatType::F32)).unwrap();
        let mut bytes = Vec::new();
        let written = writer.write::<io::Error>(&mut bytes, |_, out| out.write_all(&[0; 32])).unwrap();
        assert_eq!(written, 192);
        let hex: String = bytes[..160].iter().map(|byte| format!("{byte:02x}")).collect();
        let text = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let expected = [
            "474755460300000001000000000000000200000000000000".to_owned(),
            "1400000000000000".into(),
            text("general.architecture"),
            "080000000500000000000000".into(),
            text("llama"),
            "01000000000000006b090000000500000002000000000000000700000008000000".into(),
            "0100000000000000770200000004000000000000000200000000000000000000000000000000000000".into(),
            "00".repeat(17),
        ];
        assert_eq!(hex, expected.concat());
    }

    #[test]
    fn a_tensor_must_write_its_size() {
        let mut writer = GgufWriter::default();
        assert!(writer.announce("x".into(), &[3, 10], TensorType::I2S).is_err());
        writer.announce("x".into(), &[2, 64], TensorType::I2S).unwrap();
        assert_eq!(writer.tensor_count(), 1);
        let result = writer.write::<io::Error>(&mut Vec::new(), |_, out| out.write_all(&[0; 63]));
        assert!(result.unwrap_err().to_string().contains("63 bytes of 64"));
    }
}
