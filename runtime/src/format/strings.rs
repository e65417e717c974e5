//! [`StringArray`]: an array of strings in GGUF's encoding, indexed in place.

use super::bytes::SharedBytes;

/// Strings as GGUF stores them (each a u64 byte length and its bytes), with an index but without copies.
///
/// A vocabulary of 128,256 tokens costs one offset a token this way. Tokenizers of other origin are brought
/// into the same form, so that there is one representation to read and to write.
#[derive(Clone, Debug)]
pub struct StringArray {
    encoded: SharedBytes,
    /// Where each string's length field starts.
    starts: Vec<usize>,
}

/// Bytes of the length field in front of each string.
const LENGTH_FIELD: usize = 8;

impl StringArray {
    /// Indexes `count` encoded strings that fill `encoded` exactly, or `None` where they do not.
    pub fn index(encoded: SharedBytes, count: usize) -> Option<Self> {
        if count > encoded.len() / LENGTH_FIELD {
            return None;
        }
        let mut starts = Vec::with_capacity(count);
        let mut at = 0usize;
        for _ in 0..count {
            starts.push(at);
            let field = encoded.get(at..at.checked_add(LENGTH_FIELD)?)?;
            let length = usize::try_from(u64::from_le_bytes(field.try_into().ok()?)).ok()?;
            at = at.checked_add(LENGTH_FIELD)?.checked_add(length)?;
        }
        (at == encoded.len()).then_some(Self { encoded, starts })
    }

    /// Number of strings.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The bytes of string `index`, which need not be UTF-8, or `None` past the end.
    pub fn bytes(&self, index: usize) -> Option<&[u8]> {
        let start = self.starts.get(index)? + LENGTH_FIELD;
        let end = self.starts.get(index + 1).copied().unwrap_or(self.encoded.len());
        Some(&self.encoded[start..end])
    }

    /// String `index`, or `None` past the end or where it is not UTF-8.
    pub fn get(&self, index: usize) -> Option<&str> {
        std::str::from_utf8(self.bytes(index)?).ok()
    }

    /// All strings' bytes in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|index| self.bytes(index))
    }

    /// The array's elements in GGUF's encoding, without the count.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

impl<S: AsRef<str>> FromIterator<S> for StringArray {
    fn from_iter<I: IntoIterator<Item = S>>(strings: I) -> Self {
        let mut encoded = Vec::new();
        let mut starts = Vec::new();
        for string in strings {
            let string = string.as_ref().as_bytes();
            starts.push(encoded.len());
            encoded.extend((string.len() as u64).to_le_bytes());
            encoded.extend(string);
        }
        Self { encoded: encoded.into(), starts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_what_it_encodes_and_nothing_else() {
        let array: StringArray = ["he", "", "Ġt"].into_iter().collect();
        let expected =
            [&[2, 0, 0, 0, 0, 0, 0, 0, b'h', b'e'][..], &[0; 8], &[3, 0, 0, 0, 0, 0, 0, 0], "Ġt".as_bytes()];
        assert_eq!(array.encoded(), expected.concat());
        let again = StringArray::index(array.encoded().to_vec().into(), 3).unwrap();
        assert_eq!(again.iter().collect::<Vec<_>>(), [b"he", &b""[..], "Ġt".as_bytes()]);
        assert_eq!(again.get(2), Some("Ġt"));
        assert_eq!(again.get(3), None);
        for (bytes, count) in
            [(vec![1, 0, 0, 0, 0, 0, 0, 0], 1), (vec![0; 9], 1), (vec![0xff; 8], 1), (vec![0; 8], 2)]
        {
            assert!(StringArray::index(bytes.into(), count).is_none());
        }
    }
}
