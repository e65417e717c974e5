//! The generated packers against the layouts that they were generated from.

use kernelgen::layout::{self, Layout};
use tritforge::kernels::InvalidCode;
use tritforge::kernels::layouts::{hf_u8, i2_s, i2a16};
use tritforge_tests::Random;

use crate::layouts::shapes;

type UnpackRow = fn(&[u8], usize, usize, usize, &mut [i8]) -> Result<(), InvalidCode>;

/// The functions of one generated module.
struct Generated {
    name: &'static str,
    zero_byte: u8,
    packed_bytes: fn(usize, usize) -> usize,
    locate: fn(usize, usize, usize, usize) -> (usize, u32),
    pack_row: fn(&mut [u8], usize, usize, usize, &[i8]),
    unpack_row: UnpackRow,
}

macro_rules! generated {
    ($module:ident) => {
        Generated {
            name: $module::NAME,
            zero_byte: $module::ZERO_BYTE,
            packed_bytes: $module::packed_bytes,
            locate: $module::locate,
            pack_row: $module::pack_row,
            unpack_row: $module::unpack_row,
        }
    };
}

const GENERATED: [Generated; 3] = [generated!(i2a16), generated!(i2_s), generated!(hf_u8)];

fn pairs() -> impl Iterator<Item = (Layout, &'static Generated)> {
    let generated = |name: &str| GENERATED.iter().find(|g| g.name == name).expect("a generated module");
    layout::all().into_iter().map(move |layout| {
        let module = generated(layout.name);
        (layout, module)
    })
}

#[test]
fn places_are_those_of_the_layout() {
    for (layout, module) in pairs() {
        assert_eq!(module.zero_byte, layout.zero_byte());
        for (rows, cols) in shapes(&layout) {
            assert_eq!((module.packed_bytes)(rows, cols), layout.packed_bytes(rows, cols));
            let (padded_rows, padded_cols) = layout.padded_shape(rows, cols);
            for row in 0..padded_rows {
                for col in 0..padded_cols {
                    let place = layout.locate(rows, cols, row, col);
                    let found = (module.locate)(rows, cols, row, col);
                    assert_eq!(found, (place.byte, place.shift), "{} {rows}x{cols}", layout.name);
                }
            }
        }
    }
}

#[test]
fn packed_bytes_are_those_of_the_layout_and_read_back() {
    for (layout, module) in pairs() {
        for (rows, cols) in shapes(&layout) {
            let trits = Random::new((rows * cols) as u64).trits(rows * cols);
            // In reverse, for the order of the rows must not matter.
            let mut packed = vec![module.zero_byte; layout.packed_bytes(rows, cols)];
            for row in (0..rows).rev() {
                (module.pack_row)(&mut packed, rows, cols, row, &trits[row * cols..][..cols]);
            }
            assert_eq!(packed, layout.pack(rows, cols, &trits), "{} {rows}x{cols}", layout.name);
            let mut unpacked = vec![7; cols];
            for row in 0..rows {
                (module.unpack_row)(&packed, rows, cols, row, &mut unpacked).expect("every code is a trit");
                assert_eq!(unpacked, trits[row * cols..][..cols], "{} {rows}x{cols}", layout.name);
            }
        }
    }
}

#[test]
fn a_code_that_is_no_trit_is_an_error_with_its_place() {
    for (layout, module) in pairs() {
        let (rows, cols) = (8, 32);
        let mut packed = layout.pack(rows, cols, &vec![-1; rows * cols]);
        let place = layout.locate(rows, cols, 5, 9);
        packed[place.byte] |= 3 << place.shift;
        let mut trits = vec![0; cols];
        let error = (module.unpack_row)(&packed, rows, cols, 5, &mut trits).expect_err("code 3 is no trit");
        assert_eq!(error, InvalidCode { row: 5, col: 9, code: 3 });
        assert_eq!(
            error.to_string(),
            "code 3 at row 5, column 9 is no trit (0, 1 and 2 stand for -1, 0 and +1)"
        );
        (module.unpack_row)(&packed, rows, cols, 4, &mut trits).expect("another row is right");
    }
}

/// Strips of 16 columns of one layout become those of another.
#[test]
fn strips_move_any_codes_as_they_are() {
    type ReadStrip = fn(&[u8], usize, usize, usize, usize) -> [u64; 2];
    type HasStrips = fn(usize) -> bool;
    let sources: [(Layout, ReadStrip, HasStrips); 2] = [
        (layout::i2_s(), i2_s::read_strip, i2_s::has_strips),
        (layout::hf_u8(), hf_u8::read_strip, hf_u8::has_strips),
    ];
    for (source, read_strip, has_strips) in sources {
        for (rows, cols) in [(16, 16), (16, 128), (32, 48), (8, 80), (4, 2560)] {
            assert!(has_strips(cols) && !has_strips(cols - 1));
            // Every code, that of no trit among them.
            let mut random = Random::new((rows * cols) as u64);
            let bytes: Vec<u8> =
                (0..source.packed_bytes(rows, cols)).map(|_| (random.bits() >> 13) as u8).collect();
            let target = layout::i2a16();
            let mut packed = vec![0xff; target.packed_bytes(rows, cols)];
            for row in 0..rows {
                for col in (0..cols).step_by(16) {
                    let codes = read_strip(&bytes, rows, cols, row, col);
                    i2a16::pack_strip(&mut packed, rows, cols, row, col, codes);
                }
            }
            for row in 0..rows {
                for col in 0..cols {
                    let (from, to) =
                        (source.locate(rows, cols, row, col), target.locate(rows, cols, row, col));
                    let expected = bytes[from.byte] >> from.shift & 3;
                    let found = packed[to.byte] >> to.shift & 3;
                    assert_eq!(found, expected, "{} {rows}x{cols}, row {row}, column {col}", source.name);
                }
            }
        }
    }
}

#[test]
fn bytes_whose_codes_are_all_trits_are_told_from_others() {
    for byte in 0..=255u8 {
        let expected = (0..4).all(|field| byte >> (2 * field) & 3 != 3);
        for place in [0, 17, 63] {
            let mut bytes = [0b10_00_01_10; 64];
            bytes[place] = byte;
            assert_eq!(i2a16::all_trits(&bytes), expected, "{byte:#010b}");
        }
    }
    assert!(i2a16::all_trits(&[]));
}

/// What is no trit counts as the one next to it, in whole strips as at the end of a row.
#[test]
fn values_beyond_trits_are_packed_as_the_nearest() {
    let values: Vec<i8> =
        (0..37).map(|i| (i * 7 % 256) as u8 as i8).chain([i8::MIN, i8::MAX, 2, -2]).collect();
    let nearest: Vec<i8> = values.iter().map(|value| value.signum()).collect();
    let cols = values.len();
    let mut packed = vec![i2a16::ZERO_BYTE; i2a16::packed_bytes(1, cols)];
    i2a16::pack_row(&mut packed, 1, cols, 0, &values);
    assert_eq!(packed, layout::i2a16().pack(1, cols, &nearest));
}
