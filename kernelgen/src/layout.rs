//! Layouts as values: a bijection (row, column) -> (byte, bit field) built from split, permute and pad.
//!
//! A layout is the only description of where a weight lies. The packer, the unpacker, the loads of the kernels
//! and the bijection test are all derived from it, so that no second place can disagree.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote};

mod strips;

/// What a split divides: the row index m, the column index k, or the flattened index m * cols + k.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// The row index m, 0..rows.
    M,
    /// The column index k, 0..cols.
    K,
    /// m * cols + k, 0..rows*cols.
    Flat,
}

/// The extent of one digit of a split index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A constant number of values.
    Fixed(usize),
    /// Whatever the axis leaves after the fixed digits.
    Rest,
}

/// One digit of a split index. The digits of an axis are listed outermost first, like those of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    /// The index that is split.
    pub axis: Axis,
    /// How many values the digit takes.
    pub extent: Extent,
}

/// Which end of a byte the first field stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldOrder {
    /// Field 0 in bits 1:0.
    LowFirst,
    /// Field 0 in bits 7:6.
    HighFirst,
}

/// What happens where the split does not divide the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// The matrix is extended with the zero trit.
    ZeroTrit,
    /// The layout cannot hold such a matrix.
    Refused,
}

/// Codes of the three trits. All formats of two bits a weight that we read or write use this map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeMap {
    /// Bits a code.
    pub bits: u32,
    /// The code of -1, of 0 and of +1.
    pub codes: [u8; 3],
}

/// The map -1 -> 0, 0 -> 1, +1 -> 2; code 3 is unused.
pub const OFFSET_CODES: CodeMap = CodeMap { bits: 2, codes: [0, 1, 2] };

/// A bijection between the weights of a (padded) matrix and the bit fields of a byte string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Name, as in kernel names and as module name of the generated packer.
    pub name: &'static str,
    /// What it is and where it is defined, for the generated documentation.
    pub about: &'static str,
    /// All digits; those of one axis outermost first.
    pub digits: Vec<Digit>,
    /// Indices into `digits`: the bytes' order, outermost first. Holds every digit but `field`.
    pub byte_order: Vec<usize>,
    /// Index into `digits`: which digit selects the field within a byte.
    pub field: usize,
    /// Which end of the byte field 0 stands at.
    pub field_order: FieldOrder,
    /// Code of each trit.
    pub codes: CodeMap,
    /// Behaviour where the split does not divide the matrix.
    pub padding: Padding,
}

/// Where one weight lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Byte index.
    pub byte: usize,
    /// Shift of the code within the byte, in bits.
    pub shift: u32,
}

const fn m(extent: Extent) -> Digit {
    Digit { axis: Axis::M, extent }
}
const fn k(extent: Extent) -> Digit {
    Digit { axis: Axis::K, extent }
}
const fn flat(extent: Extent) -> Digit {
    Digit { axis: Axis::Flat, extent }
}

/// Rows of a tile of the resident layout.
pub const TILE_ROWS: usize = 16;
/// Columns of an atom of the resident layout: the granule that K is padded to.
pub const ATOM_COLS: usize = 16;
/// Bytes of an atom of the resident layout.
pub const ATOM_BYTES: usize = 64;

use Extent::{Fixed, Rest};

/// The resident layout: atoms of 16 rows x 16 columns in 64 bytes, the atoms of a row tile consecutive in k.
/// Byte 4r+j of an atom holds columns j, 4+j, 8+j, 12+j of row r, lowest bits first, so that each field of the
/// 64 bytes is an operand of a four-way dot product over 16 rows.
pub fn i2a16() -> Layout {
    Layout {
        name: "i2a16",
        about: "Resident layout: atoms of 16 rows x 16 columns, two bits a weight, one linear stream a row tile.",
        digits: vec![m(Rest), m(Fixed(16)), k(Rest), k(Fixed(4)), k(Fixed(4))],
        byte_order: vec![0, 2, 1, 4],
        field: 3,
        field_order: FieldOrder::LowFirst,
        codes: OFFSET_CODES,
        padding: Padding::ZeroTrit,
    }
}

/// GGUF type 36 (I2_S) in its canonical form: blocks of 128 of the flattened matrix, 32 bytes a block, the first
/// 32 weights in bits 7:6. The scale that follows the codes is not part of the layout.
pub fn i2_s() -> Layout {
    Layout {
        name: "i2_s",
        about: "GGUF I2_S (type 36), canonical 128-block layout over the flattened matrix, without the scale.",
        digits: vec![flat(Rest), flat(Fixed(4)), flat(Fixed(32))],
        byte_order: vec![0, 2],
        field: 1,
        field_order: FieldOrder::HighFirst,
        codes: OFFSET_CODES,
        padding: Padding::Refused,
    }
}

/// The packed U8 tensors of Hugging Face BitNet checkpoints: shape [rows/4, cols], four row blocks a quarter of
/// the matrix apart in one byte, the first block in the low bits.
pub fn hf_u8() -> Layout {
    Layout {
        name: "hf_u8",
        about: "Hugging Face packed BitNet weights: U8 [rows/4, cols], row blocks rows/4 apart, low bits first.",
        digits: vec![m(Fixed(4)), m(Rest), k(Rest)],
        byte_order: vec![1, 2],
        field: 0,
        field_order: FieldOrder::LowFirst,
        codes: OFFSET_CODES,
        padding: Padding::Refused,
    }
}

/// Every layout that the generator emits a packer for.
pub fn all() -> Vec<Layout> {
    vec![i2a16(), i2_s(), hf_u8()]
}

/// The layout of this name, if there is one.
pub fn by_name(name: &str) -> Option<Layout> {
    all().into_iter().find(|layout| layout.name == name)
}

impl Layout {
    fn axis_len(axis: Axis, rows: usize, cols: usize) -> usize {
        match axis {
            Axis::M => rows,
            Axis::K => cols,
            Axis::Flat => rows * cols,
        }
    }

    /// Product of the fixed digits of an axis.
    fn granule(&self, axis: Axis) -> usize {
        self.digits
            .iter()
            .filter(|d| d.axis == axis)
            .map(|d| match d.extent {
                Fixed(n) => n,
                Rest => 1,
            })
            .product()
    }

    /// The extent of a digit for a matrix of `rows` x `cols`, the padding counted in.
    pub fn extent(&self, digit: usize, rows: usize, cols: usize) -> usize {
        match self.digits[digit].extent {
            Fixed(n) => n,
            Rest => {
                let axis = self.digits[digit].axis;
                Self::axis_len(axis, rows, cols).div_ceil(self.granule(axis))
            }
        }
    }

    /// Whether the layout can hold a matrix of this shape.
    pub fn holds(&self, rows: usize, cols: usize) -> bool {
        self.padding == Padding::ZeroTrit
            || self
                .digits
                .iter()
                .all(|d| Self::axis_len(d.axis, rows, cols).is_multiple_of(self.granule(d.axis)))
    }

    /// Bytes of a matrix of `rows` x `cols`, padding included.
    pub fn packed_bytes(&self, rows: usize, cols: usize) -> usize {
        self.byte_order.iter().map(|&d| self.extent(d, rows, cols)).product()
    }

    /// Rows and columns with their padding: what the bijection covers.
    pub fn padded_shape(&self, rows: usize, cols: usize) -> (usize, usize) {
        if self.padding == Padding::Refused {
            return (rows, cols);
        }
        (rows.next_multiple_of(self.granule(Axis::M)), cols.next_multiple_of(self.granule(Axis::K)))
    }

    /// The value of a digit for one weight.
    fn digit_value(&self, digit: usize, rows: usize, cols: usize, row: usize, col: usize) -> usize {
        let axis = self.digits[digit].axis;
        let index = match axis {
            Axis::M => row,
            Axis::K => col,
            Axis::Flat => row * cols + col,
        };
        let mut inner = 1;
        for (i, d) in self.digits.iter().enumerate().skip(digit + 1) {
            if d.axis == axis {
                inner *= self.extent(i, rows, cols);
            }
        }
        (index / inner) % self.extent(digit, rows, cols)
    }

    /// Where the weight at (`row`, `col`) of a `rows` x `cols` matrix lies. Defined over the padded shape.
    pub fn locate(&self, rows: usize, cols: usize, row: usize, col: usize) -> Place {
        let byte = self
            .byte_order
            .iter()
            .fold(0, |at, &d| at * self.extent(d, rows, cols) + self.digit_value(d, rows, cols, row, col));
        Place { byte, shift: self.shift(self.digit_value(self.field, rows, cols, row, col)) }
    }

    /// The bit position of a field.
    fn shift(&self, field: usize) -> u32 {
        let fields = 8 / self.codes.bits;
        match self.field_order {
            FieldOrder::LowFirst => self.codes.bits * field as u32,
            FieldOrder::HighFirst => self.codes.bits * (fields - 1 - field as u32),
        }
    }

    /// A byte whose every field is the zero trit.
    pub fn zero_byte(&self) -> u8 {
        let zero = self.codes.codes[1];
        (0..8 / self.codes.bits).fold(0, |byte, f| byte | zero << (f * self.codes.bits))
    }

    /// Packs a matrix of trits, row by row in `trits`, padding included: the definition that the generated packer
    /// is tested against.
    ///
    /// # Panics
    /// If `trits` does not hold `rows * cols` values of -1, 0, +1.
    pub fn pack(&self, rows: usize, cols: usize, trits: &[i8]) -> Vec<u8> {
        assert_eq!(trits.len(), rows * cols);
        let mut bytes = vec![self.zero_byte(); self.packed_bytes(rows, cols)];
        let mask = (1u8 << self.codes.bits) - 1;
        for (i, &trit) in trits.iter().enumerate() {
            let place = self.locate(rows, cols, i / cols, i % cols);
            let code = self.codes.codes[(trit + 1) as usize];
            bytes[place.byte] = bytes[place.byte] & !(mask << place.shift) | code << place.shift;
        }
        bytes
    }

    /// The packer and unpacker of this layout as a module of Rust code.
    pub fn emit(&self) -> TokenStream {
        let module = format_ident!("{}", self.name);
        let about = format!(" {}", self.about);
        let granules = self.emit_granules();
        let place = self.emit_place();
        let extents = self.byte_order.iter().map(|&d| self.emit_extent(d));
        let bytes = extents.reduce(|product, extent| quote!(#product * #extent));
        let bits = self.codes.bits;
        let mask = (1u8 << bits) - 1;
        let zero_byte = self.zero_byte();
        let [neg, zero, pos] = self.codes.codes;
        assert!(self.codes.codes == [zero - 1, zero, zero + 1], "codes ascend by one, as trits do");
        let unused = self.emit_unused();
        let (run, strips, pack_strips) = (self.emit_run(), self.emit_strips(), self.emit_pack_strips());
        let name = self.name;
        quote! {
            #[doc = #about]
            pub mod #module {
                use super::super::InvalidCode;
                /// Name of the layout, as in kernel names.
                pub const NAME: &str = #name;
                /// A byte of zero trits: what a buffer is filled with before rows are packed into it.
                pub const ZERO_BYTE: u8 = #zero_byte;
                #granules
                /// Bytes of a matrix of `rows` x `cols`, padding included.
                #[inline]
                #[allow(unused_variables, reason = "a layout of the flattened matrix knows no rows")]
                pub const fn packed_bytes(rows: usize, cols: usize) -> usize {
                    #bytes
                }
                /// Byte and shift of the code at (`row`, `col`) of a matrix of `rows` x `cols`.
                #[inline(always)]
                #[allow(unused_variables, reason = "not every layout depends on every extent")]
                pub const fn locate(rows: usize, cols: usize, row: usize, col: usize) -> (usize, u32) {
                    #place
                }
                /// Writes `trits` (`cols` values of -1, 0, +1) as row `row` of the matrix packed in `data`.
                ///
                /// # Panics
                /// If `data` is shorter than `packed_bytes(rows, cols)`, if `row` is not below `rows`, or if
                /// `trits` does not hold `cols` values.
                pub fn pack_row(data: &mut [u8], rows: usize, cols: usize, row: usize, trits: &[i8]) {
                    assert!(data.len() >= packed_bytes(rows, cols) && row < rows && trits.len() == cols);
                    let packed = #pack_strips;
                    for (col, &trit) in trits.iter().enumerate().skip(packed) {
                        let (byte, shift) = locate(rows, cols, row, col);
                        data[byte] = (data[byte] & !(#mask << shift)) | (code(trit) << shift);
                    }
                }
                #[inline(always)]
                const fn code(trit: i8) -> u8 {
                    match trit {
                        0 => #zero,
                        1.. => #pos,
                        _ => #neg,
                    }
                }
                /// Reads row `row` of the matrix packed in `data` into `trits`.
                ///
                /// # Errors
                /// [`InvalidCode`] at the first code that is no trit.
                ///
                /// # Panics
                /// As [`pack_row`].
                pub fn unpack_row(
                    data: &[u8],
                    rows: usize,
                    cols: usize,
                    row: usize,
                    trits: &mut [i8],
                ) -> Result<(), InvalidCode> {
                    assert!(data.len() >= packed_bytes(rows, cols) && row < rows && trits.len() == cols);
                    let field = |byte: u8, shift: u32| (byte >> shift) & #mask;
                    let mut col = 0;
                    while col < cols {
                        let (byte, shift) = locate(rows, cols, row, col);
                        let len = #run.min(cols - col);
                        let bytes = &data[byte..byte + len];
                        let mut sound = true;
                        for (trit, byte) in trits[col..col + len].iter_mut().zip(bytes) {
                            let code = field(*byte, shift);
                            sound &= (#neg..=#pos).contains(&code);
                            *trit = code.wrapping_sub(#zero) as i8;
                        }
                        if !sound {
                            let mut codes = bytes.iter().map(|byte| field(*byte, shift)).zip(col..);
                            let unsound = codes.find(|(code, _)| !(#neg..=#pos).contains(code));
                            return unsound.map_or(Ok(()), |(code, col)| Err(InvalidCode { row, col, code }));
                        }
                        col += len;
                    }
                    Ok(())
                }
                /// Whether every code of every one of these bytes is that of a trit.
                pub fn all_trits(data: &[u8]) -> bool {
                    data.iter().fold(0, |seen, byte| seen | #unused) == 0
                }
                #strips
            }
        }
    }

    /// Code for a value of `byte` that is not zero where one of its codes is the one that no trit has.
    fn emit_unused(&self) -> TokenStream {
        let CodeMap { bits, codes } = self.codes;
        assert_eq!((bits, codes), (2, [0, 1, 2]), "codes of two bits, of which 3 is unused");
        quote!((byte & (byte >> 1) & 0b0101_0101))
    }

    fn emit_granules(&self) -> TokenStream {
        let rows = self.granule(Axis::M);
        let cols = self.granule(Axis::K) * self.granule(Axis::Flat);
        match self.padding {
            Padding::ZeroTrit => quote! {
                /// Rows are padded with the zero trit to a multiple of this.
                pub const ROW_GRANULE: usize = #rows;
                /// Columns are padded with the zero trit to a multiple of this.
                pub const COL_GRANULE: usize = #cols;
            },
            Padding::Refused => TokenStream::new(),
        }
    }

    /// An axis index or length: `row`, `rows`, or for the flattened axis an expression of both.
    fn emit_axis(axis: Axis, m: TokenStream, k: TokenStream, flat: TokenStream) -> TokenStream {
        match axis {
            Axis::M => m,
            Axis::K => k,
            Axis::Flat => flat,
        }
    }

    fn emit_extent(&self, digit: usize) -> TokenStream {
        match self.digits[digit].extent {
            Fixed(n) => number(n),
            Rest => {
                let axis = self.digits[digit].axis;
                let len = Self::emit_axis(axis, quote!(rows), quote!(cols), quote!((rows * cols)));
                match self.granule(axis) {
                    1 => len,
                    granule => {
                        let granule = number(granule);
                        quote!(#len.div_ceil(#granule))
                    }
                }
            }
        }
    }

    /// The value of a digit, without parentheses: divisions and remainders are read from left to right.
    fn emit_digit(&self, digit: usize) -> TokenStream {
        let axis = self.digits[digit].axis;
        let same: Vec<usize> = (0..self.digits.len()).filter(|&i| self.digits[i].axis == axis).collect();
        let inner: Vec<usize> = same.iter().copied().filter(|&i| i > digit).collect();
        let fixed = inner.iter().map(|&i| match self.digits[i].extent {
            Fixed(n) => n,
            Rest => 1,
        });
        let fixed: usize = fixed.product();
        let mut value = Self::emit_axis(axis, quote!(row), quote!(col), quote!(flat));
        if let Some(&rest) = inner.iter().find(|&&i| self.digits[i].extent == Rest) {
            let rest = self.emit_extent(rest);
            value = quote!(#value / #rest);
        }
        if fixed > 1 {
            let fixed = number(fixed);
            value = quote!(#value / #fixed);
        }
        if same[0] != digit {
            let extent = self.emit_extent(digit);
            value = quote!(#value % #extent);
        }
        value
    }

    /// The body of `locate`: every digit, then byte and shift from them.
    fn emit_place(&self) -> TokenStream {
        let name = |d: usize| format_ident!("digit{d}");
        let flat = self.digits.iter().any(|d| d.axis == Axis::Flat);
        let flat = flat.then(|| quote!(let flat = row * cols + col;));
        let digits = (0..self.digits.len()).map(|d| {
            let (name, value) = (name(d), self.emit_digit(d));
            quote!(let #name = #value;)
        });
        let (first, field) = (name(self.byte_order[0]), name(self.field));
        let inner = self.byte_order[1..].iter().map(|&d| {
            let (extent, value) = (self.emit_extent(d), name(d));
            quote!(let byte = byte * #extent + #value;)
        });
        let bits = Literal::u32_unsuffixed(self.codes.bits);
        let top = Literal::u32_unsuffixed(8 - self.codes.bits);
        let shift = match self.field_order {
            FieldOrder::LowFirst => quote!(#bits * #field as u32),
            FieldOrder::HighFirst => quote!(#top - #bits * #field as u32),
        };
        quote! {
            #flat
            #(#digits)*
            let byte = #first;
            #(#inner)*
            (byte, #shift)
        }
    }
}

fn number(n: usize) -> TokenStream {
    let n = Literal::usize_unsuffixed(n);
    quote!(#n)
}
