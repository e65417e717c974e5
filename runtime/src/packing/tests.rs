use super::*;
use crate::format::{FloatTensor, FloatType, SharedBytes};

/// Whole tiles and atoms, rests of both, rows that are no whole strips, and more than one piece.
const SHAPES: [(usize, usize); 8] =
    [(16, 128), (64, 256), (48, 80), (20, 384), (36, 160), (8, 48), (128, 5), (640, 2560)];

/// Where a weight lies in the resident layout, by its definition: atoms of 16 x 16 in 64 bytes, those of 16 rows in a
/// line; byte 4r + j holds columns j, 4 + j, 8 + j and 12 + j of row r, lowest bits first.
fn resident(packed: &[u8], cols: usize, row: usize, col: usize) -> u8 {
    let atom = row / 16 * cols.div_ceil(16) + col / 16;
    packed[64 * atom + 4 * (row % 16) + col % 4] >> (2 * (col % 16 / 4)) & 3
}

/// Random bytes, none of which holds the code 3.
fn codes(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let mut code = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 16) % 3) as u8
    };
    (0..len).map(|_| code() | code() << 2 | code() << 4 | code() << 6).collect()
}

/// A tensor and the code of each weight, by the definition of its format.
struct Case {
    tensor: TernaryTensor,
    code: Box<dyn Fn(usize, usize) -> u8>,
}

fn i2_s(rows: usize, cols: usize, bytes: Vec<u8>) -> Case {
    let tensor = TernaryTensor::from_i2_s("i2_s", rows, cols, bytes.clone().into(), 0.5).unwrap();
    let code = move |row, col| {
        let flat = row * cols + col;
        bytes[flat / 128 * 32 + flat % 32] >> (6 - 2 * (flat % 128 / 32)) & 3
    };
    Case { tensor, code: Box::new(code) }
}

fn hf_u8(rows: usize, cols: usize, bytes: Vec<u8>) -> Case {
    let tensor = TernaryTensor::from_hf_u8("u8", rows, cols, bytes.clone().into(), 0.5).unwrap();
    let code = move |row, col| bytes[row % (rows / 4) * cols + col] >> (2 * (row / (rows / 4))) & 3;
    Case { tensor, code: Box::new(code) }
}

/// Masters of 1, -1 and 0.125: their mean is between 0.25 and 1 where they are many and mixed.
fn masters(rows: usize, cols: usize) -> Case {
    let code = move |row: usize, col: usize| ((row * 7 + col * 5 + row * col) % 3) as u8;
    let value = move |i: usize| [-1.0f32, 0.125, 1.0][usize::from(code(i / cols, i % cols))];
    let bytes: Vec<u8> = (0..rows * cols).flat_map(|i| value(i).to_le_bytes()).collect();
    let weights = FloatTensor::new(rows, cols, FloatType::F32, SharedBytes::from(bytes)).unwrap();
    Case { tensor: TernaryTensor::from_masters("f32", weights).unwrap(), code: Box::new(code) }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, (rows, cols)) in SHAPES.into_iter().enumerate() {
        let bytes = codes(rows * cols / 4, index as u32 + 77);
        if (rows * cols).is_multiple_of(128) {
            cases.push(i2_s(rows, cols, bytes.clone()));
        }
        cases.push(hf_u8(rows, cols, bytes));
        cases.push(masters(rows, cols));
    }
    cases
}

#[test]
fn every_format_is_packed_where_the_layout_says_on_any_number_of_threads() {
    let cases = cases();
    let tensors: Vec<&TernaryTensor> = cases.iter().map(|case| &case.tensor).collect();
    for threads in [1, 2, 5] {
        let engine = Engine::with_threads(threads).unwrap();
        let last = Mutex::new(LoadProgress { done: 0, total: 0 });
        let packed = pack(&tensors, &engine, &|progress| {
            let mut last = last.lock().unwrap();
            *last = (*last).max_by_done(progress);
        });
        let packed = packed.expect("sound tensors");
        let mut total = 0;
        for (Case { tensor, code }, weights) in cases.iter().zip(&packed) {
            let (rows, cols, data) = (tensor.rows(), tensor.cols(), weights.data());
            assert_eq!((weights.rows(), weights.cols()), (rows, cols));
            assert_eq!(data.len(), rows.next_multiple_of(16) * cols.next_multiple_of(16) / 4);
            assert_eq!(data.as_ptr() as usize % 64, 0);
            total += data.len() as u64;
            for row in 0..rows.next_multiple_of(16) {
                for col in 0..cols.next_multiple_of(16) {
                    let expected = if row < rows && col < cols { code(row, col) } else { 1 };
                    let found = resident(data, cols, row, col);
                    assert_eq!(found, expected, "{} {rows}x{cols}, {row}, {col}", tensor.name());
                }
            }
        }
        assert_eq!(*last.lock().unwrap(), LoadProgress { done: total, total });
    }
}

impl LoadProgress {
    fn max_by_done(self, other: Self) -> Self {
        if other.done > self.done { other } else { self }
    }
}

#[test]
fn the_first_bad_code_is_named_whichever_thread_finds_one() {
    let (rows, cols) = (1024, 2560);
    let sound = codes(rows * cols / 4, 5);
    // In I2_S the code of row 1000, column 37 and of row 3, column 2559; in U8 that of row 700, column 16.
    let flat = |row: usize, col: usize| (row * cols + col) / 128 * 32 + (row * cols + col) % 32;
    let mut late = sound.clone();
    late[flat(1000, 37)] |= 3 << 4;
    let mut early_too = late.clone();
    early_too[flat(3, 2559)] |= 3;
    let mut in_the_third_block = sound.clone();
    in_the_third_block[(700 - 512) * cols + 16] |= 3 << 4;
    for threads in [1, 3] {
        let engine = Engine::with_threads(threads).unwrap();
        for (second, row, col) in [
            (i2_s(rows, cols, late.clone()), 1000, 37),
            (i2_s(rows, cols, early_too.clone()), 3, 2559),
            (hf_u8(rows, cols, in_the_third_block.clone()), 700, 16),
        ] {
            let first = i2_s(rows, cols, sound.clone());
            let third = i2_s(rows, cols, early_too.clone());
            let tensors = [&first.tensor, &second.tensor, &third.tensor];
            let (index, error) = pack(&tensors, &engine, &|_| ()).expect_err("a code that is no trit");
            assert_eq!(index, 1);
            let tensor = second.tensor.name().to_owned();
            let source = FormatError::InvalidCode { tensor, row, col, code: 3 };
            assert_eq!(error.to_string(), PackError::Row { row, source }.to_string());
        }
    }
}
