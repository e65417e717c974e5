//! From a byte offset to the line and column that a person sees.

/// Line and column, both counted from 1, of a byte offset into `text`; columns count characters, not bytes.
///
/// An offset past the end, or inside of a character, means the last position before it. A byte order mark at
/// the start takes no column, since no editor shows it.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let end = (0..=offset.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.bytes().filter(|&byte| byte == b'\n').count();
    let column = 1 + before[line_start..].trim_start_matches('\u{feff}').chars().count();
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters_from_one() {
        let text = "ab\nc\u{e9}d\r\n\ne";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, 2), (1, 3));
        assert_eq!(line_and_column(text, 3), (2, 1));
        // The second character of the line is two bytes long; its end is the third column.
        assert_eq!(line_and_column(text, 6), (2, 3));
        assert_eq!(line_and_column(text, 9), (3, 1));
        assert_eq!(line_and_column(text, 10), (4, 1));
    }

    #[test]
    fn offsets_that_are_no_character_or_past_the_end_stay_inside() {
        assert_eq!(line_and_column("\u{e9}x", 1), (1, 1));
        assert_eq!(line_and_column("a\nb", 99), (2, 2));
        assert_eq!(line_and_column("", 0), (1, 1));
    }

    #[test]
    fn a_byte_order_mark_takes_no_column() {
        assert_eq!(line_and_column("\u{feff}ab", 3), (1, 1));
        assert_eq!(line_and_column("\u{feff}ab", 4), (1, 2));
    }
}
