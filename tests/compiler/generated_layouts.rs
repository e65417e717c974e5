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
