//! Sixteen columns of a row at a time: the generated packers' way to move weights between layouts, in a few operations
//! on words where one weight at a time takes a few each.
//!
//! Which columns lie in consecutive bytes, and which fields a byte has, is read off the layout's digits; a layout whose
//! digits do not allow it gets no such function, and its weights move one by one.

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use super::{Axis, Extent, FieldOrder, Layout, Padding, number};

/// Columns of a strip: the bytes of two words.
const STRIP: usize = 2 * WORD;
/// Bytes of a word.
const WORD: usize = 8;

impl Layout {
    /// The digit that counts consecutive columns in consecutive bytes of one bit field: the innermost one of the bytes,
    /// if it is also the innermost one of a column's index.
    fn run_digit(&self) -> Option<usize> {
        let digit = *self.byte_order.last()?;
        let axis = self.digits[digit].axis;
        let innermost = self.digits.iter().rposition(|d| d.axis == axis) == Some(digit);
        (innermost && axis != Axis::M).then_some(digit)
    }

    /// Code for the number of columns from `col` on that lie in consecutive bytes of one bit field, should the row go on.
    pub(super) fn emit_run(&self) -> TokenStream {
        match self.run_digit().map(|digit| self.digits[digit]) {
            None => quote!(1),
            Some(run) => match (run.extent, run.axis) {
                (Extent::Rest, _) => quote!(cols - col),
                (Extent::Fixed(n), axis) => {
                    let n = number(n);
                    let index = Self::emit_axis(axis, quote!(row), quote!(col), quote!((row * cols + col)));
                    quote!((#n - #index % #n))
                }
            },
        }
    }

    /// The functions that move strips: reading for layouts in which a strip is 16 consecutive bytes of one field, packing
    /// for those in which it fills whole bytes.
    pub(super) fn emit_strips(&self) -> TokenStream {
        let (read, pack) = (self.emit_read_strip(), self.emit_pack_strip());
        quote!(#read #pack)
    }

    fn emit_read_strip(&self) -> Option<TokenStream> {
        let whole = match self.digits[self.run_digit()?].extent {
            Extent::Fixed(n) => n.is_multiple_of(STRIP),
            Extent::Rest => true,
        };
        let (strip, word) = (number(STRIP), number(WORD));
        let mask = Literal::u64_unsuffixed(u64::from_ne_bytes([(1 << self.codes.bits) - 1; WORD]));
        whole.then(|| {
            quote! {
                /// Whether every row of `cols` columns is whole strips of 16, each in 16 bytes that follow each other.
                #[inline]
                pub const fn has_strips(cols: usize) -> bool {
                    cols.is_multiple_of(#strip)
                }
                /// The codes, whatever they are, of 16 columns of row `row` from `col` on, a multiple of 16: a byte each,
                /// in the order of their addresses.
                ///
                /// # Panics
                /// If `data` is too short.
                #[inline(always)]
                pub fn read_strip(data: &[u8], rows: usize, cols: usize, row: usize, col: usize) -> [u64; 2] {
                    let (byte, shift) = locate(rows, cols, row, col);
                    let words = data[byte..byte + #strip].as_chunks::<#word>().0;
                    // What a shift brings in from the next byte is outside of the mask.
                    [0, 1].map(|half| (u64::from_le_bytes(words[half]) >> shift) & #mask)
                }
            }
        })
    }

    fn emit_pack_strip(&self) -> Option<TokenStream> {
        let digit = self.run_digit()?;
        let Extent::Fixed(run) = self.digits[digit].extent else { return None };
        let fields = 8 / self.codes.bits as usize;
        // The field is the next digit of the column: a byte holds columns that are `run` apart.
        let of_columns = |&i: &usize| i < digit && self.digits[i].axis == Axis::K;
        let next = (0..digit).rev().find(of_columns) == Some(self.field);
        let fits = self.digits[digit].axis == Axis::K && next && run * fields == STRIP && 2 * run == WORD;
        let packs = fits && self.field_order == FieldOrder::LowFirst && self.padding == Padding::ZeroTrit;
        packs.then(|| {
            let bits = self.codes.bits;
            let (strip, run_bytes) = (number(STRIP), number(run));
            let second = Literal::u32_unsuffixed(bits * (WORD / run) as u32);
            let fold = Literal::u32_unsuffixed(8 * run as u32 - bits);
            quote! {
                /// Columns that [`pack_strip`] takes.
                pub const STRIP_COLS: usize = #strip;
                /// Writes the codes of 16 columns of row `row` from `col` on, a multiple of 16, over what was there:
                /// a byte each, in the order of their addresses.
                ///
                /// # Panics
                /// If `data` is too short.
                #[inline(always)]
                pub fn pack_strip(
                    data: &mut [u8],
                    rows: usize,
                    cols: usize,
                    row: usize,
                    col: usize,
                    codes: [u64; 2],
                ) {
                    let (byte, _) = locate(rows, cols, row, col);
                    let halves = codes[0] | codes[1] << #second;
                    let packed = halves | halves >> #fold;
                    data[byte..byte + #run_bytes].copy_from_slice(&packed.to_le_bytes()[..#run_bytes]);
                }
            }
        })
    }

    /// Code for packing as many columns of a row as whole strips hold; its value is their number.
    pub(super) fn emit_pack_strips(&self) -> TokenStream {
        if self.emit_pack_strip().is_none() {
            return quote!(0);
        }
        let word = number(WORD);
        quote! {{
            let strips = trits.as_chunks::<STRIP_COLS>().0;
            for (strip, trits) in strips.iter().enumerate() {
                let codes = trits.map(code);
                let words = codes.as_chunks::<#word>().0;
                let words = [0, 1].map(|half| u64::from_le_bytes(words[half]));
                pack_strip(data, rows, cols, row, strip * STRIP_COLS, words);
            }
            strips.len() * STRIP_COLS
        }}
    }
}
