//! GPT-2's printable alphabet for bytes: 188 bytes stand for themselves, the other 68 for U+0100 and on.

/// Number of bytes in 0..=0x20, which come first among the 68.
const LOW: u32 = 0x21;
/// First byte of the range 0x7f..=0xa0, which comes next; 0xad is last.
const HIGH: u32 = 0x7f;

/// The alphabet, a character for each of the 256 bytes, in the order of its characters.
pub(crate) fn byte_alphabet() -> impl Iterator<Item = char> {
    ('!'..='\u{143}').filter(|c| byte_of(*c).is_some())
}

/// The byte that a character of the alphabet stands for.
pub(super) fn byte_of(c: char) -> Option<u8> {
    let code = u32::from(c);
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => Some(code as u8),
        0x100..0x121 => Some((code - 0x100) as u8),
        0x121..0x143 => Some((code - 0x100 - LOW + HIGH) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_library_alphabet_and_hits_every_byte_once() {
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let mut bytes: Vec<u8> = alphabet.iter().map(|&c| byte_of(c).unwrap()).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        // The well-known ones.
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
        assert_eq!(byte_of('ł'), Some(0xa0));
        assert_eq!(byte_of('Ń'), Some(0xad));
        assert_eq!(byte_of(' '), None);
        assert_eq!(byte_of('\u{144}'), None);
    }
}
