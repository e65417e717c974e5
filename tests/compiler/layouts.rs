//! Layouts: each is a bijection, and puts its weights where its definition says.

use kernelgen::layout::{self, Layout, Place};

/// The published test sequence of the formats' worked examples: r0 = 1, r = (1103515245 r + 12345) mod 2^31,
/// trit = ((r >> 16) mod 3) - 1.
pub fn example_trits(len: usize) -> Vec<i8> {
    let mut r: u64 = 1;
    let next = |_| {
        r = (1_103_515_245 * r + 12_345) % (1 << 31);
        ((r >> 16) % 3) as i8 - 1
    };
    (0..len).map(next).collect()
}

/// Shapes that a layout holds, odd ones first of all.
pub fn shapes(layout: &Layout) -> Vec<(usize, usize)> {
    let odd = [(1, 1), (1, 17), (17, 1), (15, 33), (16, 16), (33, 100), (37, 31), (259, 1003), (777, 1000)];
    let blocks = [(1, 128), (3, 384), (128, 1), (384, 5), (6, 64), (5, 640), (2, 8640), (64, 90)];
    let quarters = [(4, 1), (4, 7), (8, 4), (12, 13), (20, 1001), (640, 9)];
    let all = odd.into_iter().chain(blocks).chain(quarters);
    all.filter(|&(rows, cols)| layout.holds(rows, cols)).collect()
}

#[test]
fn every_layout_is_a_bijection() {
    for layout in layout::all() {
        let shapes = shapes(&layout);
        assert!(shapes.len() >= 6, "{} shapes for {}", shapes.len(), layout.name);
        for (rows, cols) in shapes {
            let fields = 8 / layout.codes.bits as usize;
            let mut taken = vec![false; layout.packed_bytes(rows, cols) * fields];
            let (padded_rows, padded_cols) = layout.padded_shape(rows, cols);
            assert!(padded_rows >= rows && padded_cols >= cols);
            for row in 0..padded_rows {
                for col in 0..padded_cols {
                    let Place { byte, shift } = layout.locate(rows, cols, row, col);
                    assert!(shift.is_multiple_of(layout.codes.bits) && shift < 8);
                    let field = byte * fields + (shift / layout.codes.bits) as usize;
                    let before = std::mem::replace(&mut taken[field], true);
                    assert!(
                        !before,
                        "{} {rows}x{cols}: two weights in byte {byte}, bit {shift}",
                        layout.name
                    );
                }
            }
            assert!(taken.iter().all(|taken| *taken), "{} {rows}x{cols}: unused fields", layout.name);
        }
    }
}

#[test]
fn shapes_that_a_layout_cannot_hold_are_known() {
    assert!(layout::i2a16().holds(1, 1) && layout::i2a16().holds(777, 1000));
    assert!(layout::i2_s().holds(3200, 8640) && layout::i2_s().holds(2, 64) && !layout::i2_s().holds(1, 127));
    assert!(layout::hf_u8().holds(4, 1) && !layout::hf_u8().holds(6, 128));
}

#[test]
fn i2a16_places_are_those_of_its_definition() {
    let layout = layout::i2a16();
    // 40 rows and columns: three tiles of three atoms of 64 bytes.
    assert_eq!(layout.packed_bytes(40, 40), 9 * 64);
    assert_eq!(layout.padded_shape(40, 40), (48, 48));
    for ((row, col), byte, shift) in [
        ((0, 0), 0, 0),
        ((0, 3), 3, 0),
        ((0, 4), 0, 2),
        ((0, 9), 1, 4),
        ((0, 15), 3, 6),
        ((1, 0), 4, 0),
        ((15, 15), 63, 6),
        // The next atom of the tile, the last one, and the next tile.
        ((0, 16), 64, 0),
        ((2, 37), 128 + 9, 2),
        ((16, 0), 192, 0),
        ((39, 39), 2 * 192 + 128 + 4 * 7 + 3, 2),
    ] {
        assert_eq!(layout.locate(40, 40, row, col), Place { byte, shift }, "row {row}, column {col}");
    }
    assert_eq!(layout.zero_byte(), 0b01_01_01_01);
}

#[test]
fn i2_s_packs_the_worked_example() {
    // The canonical 128-block layout of GGUF type 36 for the first 128 trits of the test sequence.
    let expected = "a65022695894040428224682162585a02a01042195658514021a2a9852909586";
    for (rows, cols) in [(1, 128), (128, 1), (8, 16)] {
        let packed = layout::i2_s().pack(rows, cols, &example_trits(128));
        let hex: String = packed.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }
    // Element 128 + 70 of a second block: third group of 32, bits 3:2 of byte 6.
    assert_eq!(layout::i2_s().locate(2, 128, 1, 70), Place { byte: 32 + 6, shift: 2 });
}

#[test]
fn hf_u8_packs_the_worked_example() {
    let packed = layout::hf_u8().pack(8, 4, &example_trits(32));
    assert_eq!(packed, [0x02, 0x01, 0x04, 0x89, 0x61, 0x92, 0xa8, 0x88]);
    // Row 5 of 8 is in the third of four row blocks, second row of it.
    assert_eq!(layout::hf_u8().locate(8, 4, 5, 2), Place { byte: 4 + 2, shift: 4 });
}

/// Sizes of the resident layout: at most 2% of padding for any shape of a known model.
#[test]
fn padding_stays_small() {
    for (rows, cols) in [(1536, 1536), (640, 2560), (3200, 8640), (2048, 5460), (5460, 2048), (6912, 2560)] {
        let packed = layout::i2a16().packed_bytes(rows, cols) as f64;
        assert!(packed <= 1.02 * (rows * cols) as f64 / 4.0, "{rows}x{cols}");
    }
}
