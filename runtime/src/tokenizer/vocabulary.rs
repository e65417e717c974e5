//! [`Vocabulary`]: the tokens by id.

use super::byte_level::byte_of;
use super::error::TokenizerError;
use crate::format::StringArray;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TokenKind {
    /// A piece of text in the byte-level alphabet.
    Normal = 1,
    /// Stands for what cannot be spelled.
    Unknown = 2,
    /// A mark such as the beginning of a text, which has no text of its own.
    Control = 3,
    /// A piece of text that is taken whole wherever it stands.
    UserDefined = 4,
    /// An id without a meaning.
    Unused = 5,
}

impl TokenKind {
    /// The kind with this id in GGUF's `tokenizer.ggml.token_type`. Kind 6, a single byte, belongs to
    /// SentencePiece.
    pub fn from_gguf(id: i32) -> Option<Self> {
        use TokenKind::*;
        [Normal, Unknown, Control, UserDefined, Unused].into_iter().find(|&kind| kind as i32 == id)
    }
}

/// The tokens of a byte-level BPE tokenizer, by id.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    texts: StringArray,
    kinds: Vec<TokenKind>,
}

impl Vocabulary {
    /// Tokens with their kinds, of which there must be one for each.
    ///
    /// # Errors
    /// A token that is not UTF-8, or another number of kinds.
    pub fn new(texts: StringArray, kinds: Vec<TokenKind>) -> Result<Self, TokenizerError> {
        if let Some(token) = (0..texts.len()).find(|&token| texts.get(token).is_none()) {
            return Err(TokenizerError::TokenText { token });
        }
        if kinds.len() != texts.len() {
            let reason = format!("{} tokens with {} kinds", texts.len(), kinds.len());
            return Err(TokenizerError::Build { reason });
        }
        Ok(Self { texts, kinds })
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty()
    }

    /// A token as the vocabulary spells it (byte-level alphabet for normal tokens).
    pub fn text(&self, id: u32) -> Option<&str> {
        self.texts.get(id as usize)
    }

    /// A token's kind.
    pub fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    /// Ids and spellings.
    pub(super) fn texts(&self) -> impl Iterator<Item = (u32, &str)> {
        (0..self.len() as u32).filter_map(|id| Some((id, self.text(id)?)))
    }

    /// The first token in use with this spelling.
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.find_all(&[text]).next()
    }

    /// The tokens in use with one of these spellings.
    pub(super) fn find_all(&self, texts: &[&str]) -> impl Iterator<Item = u32> {
        self.texts()
            .filter(|(id, text)| texts.contains(text) && self.kind(*id) != Some(TokenKind::Unused))
            .map(|(id, _)| id)
    }

    /// Marks a token as one without text.
    pub(super) fn make_control(&mut self, id: u32) {
        if let Some(kind) = self.kinds.get_mut(id as usize) {
            *kind = TokenKind::Control;
        }
    }

    /// The bytes that a token stands for.
    pub(super) fn decode(&self, id: u32) -> Vec<u8> {
        let (Some(text), Some(kind)) = (self.text(id), self.kind(id)) else { return Vec::new() };
        match kind {
            TokenKind::Control | TokenKind::Unused | TokenKind::Unknown => Vec::new(),
            TokenKind::UserDefined => text.as_bytes().to_vec(),
            TokenKind::Normal => {
                let mut bytes = Vec::with_capacity(text.len());
                for c in text.chars() {
                    match byte_of(c) {
                        Some(byte) => bytes.push(byte),
                        // Not spelled in the alphabet: the token is its own text.
                        None => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
                    }
                }
                bytes
            }
        }
    }

    /// The bytes that no normal token spells alone, so that merging could not start from them.
    pub(super) fn unspelled_bytes(&self) -> Vec<u8> {
        let mut spelled = [false; 256];
        for (id, text) in self.texts() {
            let mut chars = text.chars();
            if let (Some(c), None) = (chars.next(), chars.next())
                && self.kind(id) == Some(TokenKind::Normal)
                && let Some(byte) = byte_of(c)
            {
                spelled[usize::from(byte)] = true;
            }
        }
        (0..=255).filter(|&byte| !spelled[usize::from(byte)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_decode_by_their_kind() {
        let texts: StringArray = ["Ġthe", "<|eot_id|>", "Ä ł", "ÃŁ", "x"].into_iter().collect();
        use TokenKind::*;
        let vocabulary = Vocabulary::new(texts, vec![Normal, Control, UserDefined, Normal, Unused]).unwrap();
        assert_eq!(vocabulary.decode(0), b" the");
        assert_eq!(vocabulary.decode(1), b"");
        assert_eq!(vocabulary.decode(2), "Ä ł".as_bytes());
        assert_eq!(vocabulary.decode(3), "ß".as_bytes());
        assert_eq!(vocabulary.decode(4), b"");
        assert_eq!(vocabulary.decode(5), b"");
        assert_eq!(vocabulary.find("x"), None);
        assert_eq!(vocabulary.find("ÃŁ"), Some(3));
        assert_eq!(vocabulary.unspelled_bytes().len(), 256);
    }

    #[test]
    fn kinds_have_the_ids_of_gguf() {
        assert_eq!(TokenKind::from_gguf(3), Some(TokenKind::Control));
        assert_eq!(TokenKind::from_gguf(0), None);
        assert_eq!(TokenKind::from_gguf(6), None);
        assert!(Vocabulary::new(["a"].into_iter().collect(), Vec::new()).is_err());
    }
}
