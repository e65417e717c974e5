//! Schedules: how a contraction is laid out in time. A schedule is data; it never changes a result.

use std::fmt;
use std::str::FromStr;

/// The most atoms in one iteration of a loop.
pub const UNROLL_LIMIT: usize = 64;
/// The greatest prefetch distance, in bytes.
pub const PREFETCH_LIMIT: usize = 1 << 20;
/// The most weight streams that are read in turn.
pub const STREAMS_LIMIT: usize = 8;
/// The greatest distance between widenings, in atoms.
pub const FOLD_LIMIT: usize = 1 << 12;

/// How the four codes of a byte are brought apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unpack {
    /// Mask only: field p stays where it is and counts 4^p times; one accumulator a field, shifted at the end.
    Mask,
    /// Shift every field down to bits 1:0; one accumulator.
    Shift,
    /// One shift by four bits, then masks 0x03 and 0x0C: fields count once or four times; two accumulators.
    Nibble,
    /// Not at all: they were brought apart before, for many calls, and stand one a byte in the cache; see
    /// [`crate::abi::expand`]. One accumulator.
    Expanded,
}

impl Unpack {
    const ALL: [(Unpack, char); 4] =
        [(Unpack::Mask, 'm'), (Unpack::Shift, 's'), (Unpack::Nibble, 'n'), (Unpack::Expanded, 'e')];

    /// For a field at bit `position`: by how much the byte is shifted first, and where the field then stands.
    pub fn shift_and_position(self, position: u32) -> (u32, u32) {
        match self {
            Unpack::Mask => (0, position),
            Unpack::Shift => (position, 0),
            Unpack::Nibble => (position & 4, position & 3),
            Unpack::Expanded => (0, 0),
        }
    }

    fn letter(self) -> char {
        Self::ALL.iter().find(|(u, _)| *u == self).map_or('?', |(_, c)| *c)
    }
}

/// One schedule. In kernel names it is written `u4c2mr1p4096`, with `t4` behind it where row tiles are worked on several
/// at a time, `t4b` where those share what is read of activations, `f32` where the distance between widenings is fixed by
/// hand, and `i` where activations are interleaved, `i2048` where they are asked for ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Schedule {
    /// Atoms in one iteration of the innermost loop (`u`).
    pub unroll: usize,
    /// Independent sets of accumulators, used in turn (`c`).
    pub chains: usize,
    /// How codes are brought apart (`m` mask, `s` shift, `n` nibble, `e` expanded).
    pub unpack: Unpack,
    /// Passes over a tile's columns, each with 16 / `row_split` of its rows (`r`).
    pub row_split: usize,
    /// Prefetch distance in the weight stream in bytes, expanded ones where they are; 0 for none (`p`).
    pub prefetch: usize,
    /// Row tiles, far apart, that are worked on in turn, an iteration of the innermost loop each (`t`): as many streams
    /// of weights.
    pub streams: usize,
    /// Whether activations are broadcast once for all streams (`b`), whose turns are then an atom each, all at once: fewer
    /// loads, more registers.
    pub shared: bool,
    /// Atoms between two widenings of narrow accumulators (`f`); `None` lets the range analysis find the greatest.
    pub fold: Option<usize>,
    /// Whether activations are read interleaved, four of each token in turn (`i`): one stream instead of one a token, which
    /// is more than there are address registers, and whose distances may be such that they push each other out of the cache.
    pub interleaved: bool,
    /// Prefetch distance in interleaved activations in bytes; 0 for none (the number behind the `i`).
    pub act_prefetch: usize,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = self.unpack.letter();
        write!(f, "u{}c{}{letter}r{}p{}", self.unroll, self.chains, self.row_split, self.prefetch)?;
        if self.streams > 1 {
            write!(f, "t{}{}", self.streams, if self.shared { "b" } else { "" })?;
        }
        self.fold.map_or(Ok(()), |fold| write!(f, "f{fold}"))?;
        match (self.interleaved, self.act_prefetch) {
            (false, _) => Ok(()),
            (true, 0) => f.write_str("i"),
            (true, distance) => write!(f, "i{distance}"),
        }
    }
}

/// A text that is no schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is no schedule: expected u<unroll>c<chains><m|s|n|e>r<row split>p<prefetch bytes>[t<streams, from 2>[b]][f<fold atoms>][i[<prefetch bytes>]], as in u4c2mr1p4096, with at most u{UNROLL_LIMIT}, p{PREFETCH_LIMIT}, t{STREAMS_LIMIT} and f{FOLD_LIMIT}"
)]
pub struct ScheduleSyntax {
    /// The text found.
    pub text: String,
}

impl FromStr for Schedule {
    type Err = ScheduleSyntax;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ScheduleSyntax { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Schedule> {
    let (unroll, rest) = number(text, 'u')?;
    let (chains, rest) = number(rest, 'c')?;
    let letter = rest.chars().next()?;
    let (unpack, _) = Unpack::ALL.iter().find(|(_, c)| *c == letter)?;
    let (row_split, rest) = number(&rest[letter.len_utf8()..], 'r')?;
    let (prefetch, rest) = number(rest, 'p')?;
    let optional = |rest, letter| match number(rest, letter) {
        Some((number, rest)) => (Some(number), rest),
        None => (None, rest),
    };
    let (streams, rest) = optional(rest, 't');
    let (shared, rest) = if streams.is_some() { flag(rest, 'b') } else { (false, rest) };
    let (fold, rest) = optional(rest, 'f');
    let (act_prefetch, rest) = optional(rest, 'i');
    let (interleaved, rest) = if act_prefetch.is_some() { (true, rest) } else { flag(rest, 'i') };
    // One stream is written by leaving it out, so that no schedule has two names.
    let counts = (1..=UNROLL_LIMIT).contains(&unroll)
        && chains > 0
        && row_split > 0
        && streams.is_none_or(|streams| (2..=STREAMS_LIMIT).contains(&streams));
    let distances = prefetch <= PREFETCH_LIMIT
        && act_prefetch.is_none_or(|distance| (1..=PREFETCH_LIMIT).contains(&distance))
        && fold.is_none_or(|fold| (1..=FOLD_LIMIT).contains(&fold));
    (rest.is_empty() && counts && distances).then_some(Schedule {
        unroll,
        chains,
        unpack: *unpack,
        row_split,
        prefetch,
        streams: streams.unwrap_or(1),
        shared,
        fold,
        interleaved,
        act_prefetch: act_prefetch.unwrap_or(0),
    })
}

/// Whether a letter comes next, and what is behind it.
fn flag(text: &str, letter: char) -> (bool, &str) {
    text.strip_prefix(letter).map_or((false, text), |rest| (true, rest))
}

/// A letter and the decimal number behind it.
fn number(text: &str, letter: char) -> Option<(usize, &str)> {
    let digits = text.strip_prefix(letter)?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    Some((digits[..end].parse().ok()?, &digits[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for text in [
            "u4c2mr1p4096",
            "u1c1sr2p0",
            "u8c1nr1p0f16",
            "u8c1nr1p2048t4",
            "u8c1nr1p2048t2f8",
            "u1c1sr1p0i",
            "u8c1nr1p0t2f8i",
            "u1c1sr1p2048t2bi",
            "u1c1nr1p0t3bf1",
            "u1c1er1p0t2bi",
            "u1c1er1p512t2bi1024",
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        let s: Schedule = "u4c2mr1p4096".parse().unwrap();
        assert_eq!((s.unroll, s.chains, s.unpack, s.row_split), (4, 2, Unpack::Mask, 1));
        assert_eq!((s.prefetch, s.streams, s.fold), (4096, 1, None));
        let s: Schedule = "u8c1nr1p2048t4f8".parse().unwrap();
        assert_eq!((s.streams, s.fold, s.interleaved), (4, Some(8), false));
        assert!("u8c1nr1p2048f8i".parse::<Schedule>().unwrap().interleaved);
        let shared = |text: &str| text.parse::<Schedule>().unwrap().shared;
        assert!(shared("u1c1sr1p2048t2b") && !shared("u1c1sr1p2048t2"));
        for bad in [
            "",
            "u4",
            "u4c2xr1p0",
            "u0c1mr1p0",
            "u4c2mr1p0f",
            "u4c2mr1p0f0",
            "u4c2mr1p0 ",
            "u99999999999999999999c1mr1p0",
            "u65c1mr1p0",
            "u4c2mr1p1048577",
            "u1c1sr1p0f4097",
            "u1c1sr1p0t1",
            "u1c1sr1p0t9",
            "u1c1sr1p0f8t2",
            "u1c1sr1p0if8",
            "u1c1sr1p0ii",
            "u1c1sr1p0i0",
            "u1c1sr1p0i1048577",
            "u1c1sr1p0b",
            "u1c1sr1p0t2bb",
            "u1c1sr1p0t2ib",
        ] {
            assert!(bad.parse::<Schedule>().is_err(), "{bad}");
        }
    }
}
