//! Metadata values of GGUF.

use std::fmt;

/// Type of a metadata value, by its id in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ValueType {
    /// Unsigned, 1 byte.
    U8 = 0,
    /// Signed, 1 byte.
    I8 = 1,
    /// Unsigned, 2 bytes.
    U16 = 2,
    /// Signed, 2 bytes.
    I16 = 3,
    /// Unsigned, 4 bytes.
    U32 = 4,
    /// Signed, 4 bytes.
    I32 = 5,
    /// Float, 4 bytes.
    F32 = 6,
    /// One byte, 0 or 1.
    Bool = 7,
    /// u64 length and UTF-8 bytes.
    String = 8,
    /// i32 element type, u64 count, packed elements.
    Array = 9,
    /// Unsigned, 8 bytes.
    U64 = 10,
    /// Signed, 8 bytes.
    I64 = 11,
    /// Float, 8 bytes.
    F64 = 12,
}

impl ValueType {
    /// The type of an id, or `None` where there is none.
    pub fn from_id(id: u32) -> Option<Self> {
        use ValueType::*;
        [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64].get(id as usize).copied()
    }

    /// Bytes of a value, or `None` for strings and arrays, which say themselves.
    pub fn size(self) -> Option<usize> {
        match self {
            ValueType::U8 | ValueType::I8 | ValueType::Bool => Some(1),
            ValueType::U16 | ValueType::I16 => Some(2),
            ValueType::U32 | ValueType::I32 | ValueType::F32 => Some(4),
            ValueType::U64 | ValueType::I64 | ValueType::F64 => Some(8),
            ValueType::String | ValueType::Array => None,
        }
    }

    /// Name as error messages print it.
    pub fn name(self) -> &'static str {
        match self {
            ValueType::U8 => "u8",
            ValueType::I8 => "i8",
            ValueType::U16 => "u16",
            ValueType::I16 => "i16",
            ValueType::U32 => "u32",
            ValueType::I32 => "i32",
            ValueType::F32 => "f32",
            ValueType::Bool => "bool",
            ValueType::String => "string",
            ValueType::Array => "array",
            ValueType::U64 => "u64",
            ValueType::I64 => "i64",
            ValueType::F64 => "f64",
        }
    }
}

/// A metadata value, borrowed from the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Any unsigned type.
    Unsigned(u64),
    /// Any signed type.
    Signed(i64),
    /// f32, widened.
    F32(f32),
    /// f64.
    F64(f64),
    /// Bool.
    Bool(bool),
    /// String; not necessarily UTF-8.
    String(&'a [u8]),
    /// Array.
    Array(ArrayValue<'a>),
}

/// An array in the file: its elements' type, number and encoded bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ArrayValue<'a> {
    /// Type of each element; never an array.
    pub element: ValueType,
    /// Number of elements.
    pub count: usize,
    /// The encoded elements.
    pub bytes: &'a [u8],
    /// Where they start in the file.
    pub start: usize,
}

impl<'a> Value<'a> {
    /// A scalar of type `kind` from its little-endian bytes; `None` where the length is wrong or `kind` is
    /// not scalar.
    pub(super) fn scalar(kind: ValueType, bytes: &[u8]) -> Option<Value<'a>> {
        if kind.size() != Some(bytes.len()) {
            return None;
        }
        let mut wide = [0u8; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let unsigned = u64::from_le_bytes(wide);
        Some(match kind {
            ValueType::U8 | ValueType::U16 | ValueType::U32 | ValueType::U64 => Value::Unsigned(unsigned),
            ValueType::I8 => Value::Signed(i64::from(unsigned as i8)),
            ValueType::I16 => Value::Signed(i64::from(unsigned as i16)),
            ValueType::I32 => Value::Signed(i64::from(unsigned as i32)),
            ValueType::I64 => Value::Signed(unsigned as i64),
            ValueType::F32 => Value::F32(f32::from_bits(unsigned as u32)),
            ValueType::F64 => Value::F64(f64::from_bits(unsigned)),
            ValueType::Bool => Value::Bool(unsigned != 0),
            ValueType::String | ValueType::Array => return None,
        })
    }

    /// The value as a whole number that is not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::Unsigned(value) => Some(value),
            Value::Signed(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    /// The value as a float.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::F32(value) => Some(f64::from(value)),
            Value::F64(value) => Some(value),
            _ => None,
        }
    }

    /// The value as text.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Value::String(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

/// Elements of an array that are printed.
const ELEMENTS_SHOWN: usize = 6;

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unsigned(value) => write!(f, "{value}"),
            Value::Signed(value) => write!(f, "{value}"),
            Value::F32(value) => write!(f, "{value}"),
            Value::F64(value) => write!(f, "{value}"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::String(bytes) => {
                // A few hundred bytes are more than anyone prints of a value.
                f.write_str(&String::from_utf8_lossy(&bytes[..bytes.len().min(512)]))
            }
            Value::Array(array) => write!(f, "{array}"),
        }
    }
}

impl fmt::Display for ArrayValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}: [", self.count, self.element.name())?;
        let mut rest = self.bytes;
        for index in 0..self.count.min(ELEMENTS_SHOWN) {
            let separator = if index == 0 { "" } else { ", " };
            let taken = match self.element.size() {
                Some(size) => rest
                    .split_at_checked(size)
                    .and_then(|(bytes, tail)| Some((Value::scalar(self.element, bytes)?, tail))),
                None => rest.split_first_chunk::<8>().and_then(|(length, tail)| {
                    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
                    let (bytes, tail) = tail.split_at_checked(length)?;
                    Some((Value::String(bytes), tail))
                }),
            };
            let Some((value, tail)) = taken else { break };
            write!(f, "{separator}{value}")?;
            rest = tail;
        }
        f.write_str(if self.count > ELEMENTS_SHOWN { ", ...]" } else { "]" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_read_and_print() {
        assert_eq!(Value::scalar(ValueType::I16, &[0xfe, 0xff]), Some(Value::Signed(-2)));
        assert_eq!(Value::scalar(ValueType::U32, &[1, 2, 0, 0]), Some(Value::Unsigned(513)));
        assert_eq!(Value::scalar(ValueType::F32, &[0, 0, 0, 0x3f]), Some(Value::F32(0.5)));
        assert_eq!(Value::scalar(ValueType::U32, &[1, 2]), None);
        assert_eq!(Value::Signed(-1).as_u64(), None);
        assert_eq!(Value::F32(0.5).to_string(), "0.5");
        assert_eq!(ValueType::from_id(13), None);
        assert_eq!(ValueType::from_id(12), Some(ValueType::F64));
    }

    #[test]
    fn arrays_print_their_first_elements() {
        let bytes: Vec<u8> = (0..9u32).flat_map(u32::to_le_bytes).collect();
        let array = ArrayValue { element: ValueType::U32, count: 9, bytes: &bytes, start: 0 };
        assert_eq!(array.to_string(), "9 x u32: [0, 1, 2, 3, 4, 5, ...]");
        let strings = [1, 0, 0, 0, 0, 0, 0, 0, b'a', 0, 0, 0, 0, 0, 0, 0, 0];
        let array = ArrayValue { element: ValueType::String, count: 2, bytes: &strings, start: 0 };
        assert_eq!(array.to_string(), "2 x string: [a, ]");
    }
}
