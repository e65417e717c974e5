use super::*;
use crate::format::FloatTensor;
use crate::numerics::Numerics;

fn engine(threads: usize) -> Engine {
    Engine::with_threads(threads).unwrap()
}

/// Rows of plain values in f32.
fn matrix(rows: usize, cols: usize) -> VocabMatrix {
    let value = |i: usize| ((i * 7919 + 13) % 2003) as f32 * 0.001 - 1.0;
    let bytes: Vec<u8> = (0..rows * cols).flat_map(|i| value(i).to_le_bytes()).collect();
    VocabMatrix::Float(FloatTensor::new(rows, cols, FloatType::F32, bytes.into()).unwrap())
}

/// The same rows as blocks.
fn blocks(rows: usize, cols: usize, kind: BlockType) -> VocabMatrix {
    let (mut row, mut bytes) = (vec![0.0; cols], Vec::new());
    for index in 0..rows {
        matrix(rows, cols).row_to_f32(index, &mut row);
        kind.quantize(&row, &mut bytes);
    }
    VocabMatrix::new(rows, cols, StorageType::Blocks(kind), bytes.into()).unwrap()
}

#[test]
fn any_number_of_threads_and_tokens_gives_the_same_bits() {
    // Enough products to be shared out, rows that do not fill the last tile; tokens for a large batch and two small ones.
    let (rows, cols, tokens) = (1003, 256, 8 + 4 + 1);
    let hidden: Vec<f32> = (0..tokens * cols).map(|i| ((i * 31) % 97) as f32 * 0.05 - 2.4).collect();
    let mut heads = vec![
        (matrix(rows, cols), HeadType::Exact),
        (matrix(rows, cols), HeadType::Stored),
        (matrix(rows, cols), HeadType::Int8),
        (matrix(rows, cols), HeadType::Q4_0),
    ];
    for kind in BlockType::ALL {
        heads.push((blocks(rows, cols, kind), HeadType::Exact));
        heads.push((blocks(rows, cols, kind), HeadType::Stored));
    }
    for (matrix, head_type) in heads {
        let head = Head::new(&matrix, head_type, &engine(2)).unwrap();
        let mut alone = vec![f32::NAN; tokens * rows];
        for (hidden, logits) in hidden.chunks_exact(cols).zip(alone.chunks_exact_mut(rows)) {
            head.logits_on(&Numerics::portable(), hidden, logits).unwrap();
        }
        for threads in [1, 2, 3] {
            let engine = engine(threads);
            let mut together = vec![f32::NAN; tokens * rows];
            head.logits(&engine, &hidden, &mut together).unwrap();
            assert!(alone == together, "{head:?}, {head_type}, {threads} threads");
        }
    }
}

/// The error of a logit against exact arithmetic is at most half a step of each weight and each activation.
#[test]
fn int8_rows_are_near_the_weights() {
    let (rows, cols) = (40, 700);
    let matrix = matrix(rows, cols);
    let head = Head::new(&matrix, HeadType::Int8, &engine(1)).unwrap();
    assert_eq!((head.type_name(), head.resident_bytes()), ("i8row", 48 * 700 + 48 * 4));
    let hidden: Vec<f32> = (0..cols).map(|i| ((i * 57) % 101) as f32 * 0.03 - 1.5).collect();
    let mut logits = vec![0.0; rows];
    head.logits(&engine(1), &hidden, &mut logits).unwrap();
    let mut row = vec![0.0; cols];
    for (index, logit) in logits.iter().enumerate() {
        matrix.row_to_f32(index, &mut row);
        let pairs = || row.iter().zip(&hidden).map(|(w, x)| (f64::from(*w), f64::from(*x)));
        let exact: f64 = pairs().map(|(w, x)| w * x).sum();
        let largest =
            pairs().fold((0.0f64, 0.0f64), |most, (w, x)| (most.0.max(w.abs()), most.1.max(x.abs())));
        let amplitude = f64::from(i32::MAX) / 127.0 / cols as f64;
        let steps = (largest.0 / 127.0, largest.1 / amplitude.floor().min(32767.0));
        let bound: f64 =
            pairs().map(|(w, x)| (x.abs() * steps.0 + (w.abs() + steps.0) * steps.1) / 2.0).sum::<f64>();
        let error = (f64::from(*logit) - exact).abs();
        assert!(error <= bound * (1.0 + 1e-5) && error > 0.0, "row {index}: off by {error}, at most {bound}");
    }
}

#[test]
fn heads_that_cannot_be_made() {
    let engine = engine(1);
    let error =
        |matrix: &VocabMatrix, head_type| Head::new(matrix, head_type, &engine).unwrap_err().to_string();
    assert!(error(&matrix(2, 40), HeadType::Q4_0).contains("40 columns in q4_0, which goes in blocks of 32"));
    assert!(error(&matrix(1, 133_200), HeadType::Int8).contains("1 to 133"));
    let mut bytes = vec![0u8; 3 * 32 * 4];
    bytes[4 * 37..][..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let infinite = VocabMatrix::new(3, 32, StorageType::Float(FloatType::F32), bytes.into()).unwrap();
    for head_type in [HeadType::Int8, HeadType::Q4_0] {
        assert!(error(&infinite, head_type).contains("row 1, column 5 is inf"));
    }
    // 1e6 / 8 is beyond binary16.
    let large = [0.0f32, 1e6].iter().cycle().take(64).flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>();
    let large = VocabMatrix::new(2, 32, StorageType::Float(FloatType::F32), large.into()).unwrap();
    assert!(error(&large, HeadType::Q4_0).contains("block 0 in row 0 is not finite"));
    assert!(Head::new(&large, HeadType::Int8, &engine).is_ok());
    let mut bytes = vec![0u8; 3 * 34];
    bytes[34 + 1] = 0x7c;
    let infinite = VocabMatrix::new(3, 32, StorageType::Blocks(BlockType::Q8_0), bytes.into()).unwrap();
    assert!(error(&infinite, HeadType::Stored).contains("block 0 in row 1 is not finite"));
    assert!(Head::new(&infinite, HeadType::Exact, &engine).is_ok());
}

#[test]
fn operands_that_do_not_fit_are_errors() {
    let (head, engine) = (Head::new(&matrix(20, 40), HeadType::Int8, &engine(1)).unwrap(), engine(1));
    let error = |hidden: &[f32], logits: usize| head.logits(&engine, hidden, &mut vec![0.0; logits]).is_err();
    assert!(error(&[0.0; 41], 20) && error(&[0.0; 40], 21) && !error(&[0.0; 80], 40) && !error(&[], 0));
    let mut hidden = [0.0; 80];
    hidden[77] = f32::NAN;
    assert!(error(&hidden, 40));
    // In a forward pass it is the logits that tell.
    let mut logits = [0.0; 40];
    let mut scratch = Scratch::default();
    head.run(&crate::team::Team::solo(), engine.numerics(), &hidden, &mut logits, &mut scratch);
    assert!(logits[..20].iter().all(|logit| *logit == 0.0) && logits[20..].iter().all(|l| l.is_nan()));
}

#[test]
fn names_are_read_as_they_are_written() {
    for head_type in HeadType::ALL {
        assert_eq!(head_type.to_string().parse(), Ok(head_type));
    }
    let error = "int4".parse::<HeadType>().unwrap_err().to_string();
    assert!(error.contains("\"int4\"") || error.contains("'int4'"), "{error}");
}
