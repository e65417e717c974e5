//! Writing an I2_S tensor: the packed weights in slices, then the trailer with the scale.

use std::io::{self, Write};

use super::tensor_type::I2_S_TRAILER;
use crate::kernels::layouts::i2_s;

/// Weights of a block, whose place in the file depends on no other block.
const BLOCK: usize = 128;

/// Weights that are packed at a time, at least.
const SLICE: usize = 1 << 20;

/// Writes a matrix of `rows` x `cols` trits, a multiple of 128, with its scale. `row(index, trits)` gives the
/// rows in order. No more than a slice of whole rows is in memory at a time.
///
/// # Errors
/// Those of the sink and of `row`.
pub(crate) fn write_i2_s<E: From<io::Error>>(
    (rows, cols): (usize, usize),
    scale: f32,
    out: &mut dyn Write,
    mut row: impl FnMut(usize, &mut [i8]) -> Result<(), E>,
) -> Result<(), E> {
    // The fewest rows that fill whole blocks: a slice of so many is a matrix of its own.
    let whole = BLOCK >> cols.trailing_zeros().min(BLOCK.trailing_zeros());
    let at_once = whole * SLICE.div_ceil(whole * cols);
    let mut trits = vec![0i8; cols];
    let mut data = Vec::new();
    for first in (0..rows).step_by(at_once) {
        let count = at_once.min(rows - first);
        data.clear();
        data.resize(i2_s::packed_bytes(count, cols), i2_s::ZERO_BYTE);
        for index in 0..count {
            row(first + index, &mut trits)?;
            i2_s::pack_row(&mut data, count, cols, index, &trits);
        }
        out.write_all(&data)?;
    }
    out.write_all(&scale.to_le_bytes())?;
    out.write_all(&[0; I2_S_TRAILER - 4])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_join_into_the_matrix_whole() {
        // Rows of one block, rows that share blocks, and rows longer than a slice.
        for (rows, cols) in [(3, 128), (64, 5460), (1600, 2560), (8192, 200), (128, SLICE + 1)] {
            let trit = |at: usize| (at.wrapping_mul(0x9e37_79b9) >> 7) as i8 % 2;
            let fill = |row: usize, trits: &mut [i8]| {
                trits.iter_mut().enumerate().for_each(|(col, place)| *place = trit(row * cols + col));
            };
            let mut out = Vec::new();
            let written = write_i2_s((rows, cols), 0.25, &mut out, |row, trits| {
                fill(row, trits);
                Ok::<(), io::Error>(())
            });
            written.unwrap();
            assert_eq!(out.len(), rows * cols / 4 + 32);
            let (data, trailer) = out.split_at(rows * cols / 4);
            assert_eq!((&trailer[..4], &trailer[4..]), (&0.25f32.to_le_bytes()[..], &[0; 28][..]));
            // Element i of the flattened matrix: byte 32 (i / 128) + i mod 32, high bits first.
            for i in (0..rows * cols).step_by(if rows * cols > SLICE { 61 } else { 1 }) {
                let code = data[32 * (i / 128) + i % 32] >> (6 - 2 * (i % 128 / 32)) & 3;
                assert_eq!(code as i8 - 1, trit(i), "{rows}x{cols}, element {i}");
            }
        }
    }
}
