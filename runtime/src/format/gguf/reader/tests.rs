use super::*;
use crate::format::float::FloatType;

/// The facts sheet's example: v3, `general.architecture` = "llama", `k` = [7, 8], tensor `w` f32 of 4 x
/// 2.
fn example() -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0".to_vec();
    file.extend(b"\x14\0\0\0\0\0\0\0general.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0llama");
    file.extend(b"\x01\0\0\0\0\0\0\0k\x09\0\0\0\x04\0\0\0\x02\0\0\0\0\0\0\0\x07\0\0\0\x08\0\0\0");
    file.extend(b"\x01\0\0\0\0\0\0\0w\x02\0\0\0\x04\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0");
    file.extend([0; 12]); // type F32, offset 0
    assert_eq!(file.len(), 143);
    file.extend([0; 17]);
    file.extend((0..8).flat_map(|v| (v as f32).to_le_bytes()));
    file
}

fn parse(bytes: Vec<u8>) -> Result<GgufFile, GgufError> {
    GgufFile::parse(bytes.into())
}

/// A file of the given metadata entries and tensor infos, followed by `data` bytes.
fn build(entries: &[Vec<u8>], infos: &[Vec<u8>], data: usize) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend((infos.len() as u64).to_le_bytes());
    file.extend((entries.len() as u64).to_le_bytes());
    file.extend(entries.concat());
    file.extend(infos.concat());
    file.resize(file.len().next_multiple_of(32) + data, 0);
    file
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn u32_entry(key: &str, value: u32) -> Vec<u8> {
    [string(key), 4u32.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()].concat()
}

fn info(name: &str, dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let dims_bytes: Vec<u8> = dims.iter().flat_map(|d| d.to_le_bytes()).collect();
    let count = (dims.len() as u32).to_le_bytes().to_vec();
    [string(name), count, dims_bytes, kind.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()].concat()
}

#[test]
fn reads_the_worked_example() {
    let file = parse(example()).unwrap();
    assert_eq!(file.version(), 3);
    assert_eq!(file.get("general.architecture").unwrap().as_str(), Some("llama"));
    assert_eq!(file.get("k").unwrap().to_string(), "2 x u32: [7, 8]");
    assert!(file.get("K").is_none());
    let tensor = file.tensors()[file.tensor_position("w").unwrap()];
    assert_eq!(tensor.dims(), [4, 2]);
    assert_eq!(tensor.kind(), TensorType::Float(FloatType::F32));
    assert_eq!(file.data(&tensor)[4..8], 1f32.to_le_bytes());
    assert_eq!(file.data(&tensor).len(), 32);
    assert!(file.tensor_position("v").is_none());
}

#[test]
fn every_truncation_is_an_error() {
    let whole = example();
    for length in 0..whole.len() {
        assert!(parse(whole[..length].to_vec()).is_err(), "{length} bytes");
    }
}

#[test]
fn versions_and_byte_order() {
    for (version, expected) in [
        (0u32, GgufError::Version { found: 0 }),
        (1, GgufError::Version { found: 1 }),
        (4, GgufError::Version { found: 4 }),
        (3u32.swap_bytes(), GgufError::BigEndian),
    ] {
        let mut file = example();
        file[4..8].copy_from_slice(&version.to_le_bytes());
        assert_eq!(parse(file).err(), Some(expected));
    }
    let mut file = example();
    file[4] = 2;
    assert_eq!(parse(file).unwrap().version(), 2);
    assert_eq!(parse(b"GG".to_vec()).err(), Some(GgufError::NotGguf { found: b"GG".to_vec() }));
}

#[test]
fn counts_are_checked_before_anything_is_allocated() {
    for at in [8, 16] {
        let mut file = example();
        file[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(parse(file), Err(GgufError::TooMany { found: u64::MAX, .. })));
    }
    let mut file = example();
    // The array's length field.
    let at = 24 + 8 + 20 + 4 + 8 + 5 + 8 + 1 + 4 + 4;
    assert_eq!(file[at], 2);
    file[at + 4] = 1;
    assert!(matches!(parse(file), Err(GgufError::TooMany { what: "an array's length", .. })));
}

#[test]
fn names_must_be_unique_and_sound() {
    let twice = build(&[u32_entry("a", 1), u32_entry("a", 2)], &[], 0);
    assert!(matches!(parse(twice), Err(GgufError::Duplicate { what: METADATA_KEY, .. })));
    let twice = build(&[], &[info("w", &[8], 0, 0), info("w", &[8], 0, 32)], 64);
    assert!(matches!(parse(twice), Err(GgufError::Duplicate { what: TENSOR_NAME, .. })));
    assert!(matches!(parse(build(&[u32_entry("", 1)], &[], 0)), Err(GgufError::Name { .. })));
    let long = "x".repeat(64);
    assert!(matches!(parse(build(&[], &[info(&long, &[8], 0, 0)], 32)), Err(GgufError::Name { .. })));
    assert!(parse(build(&[], &[info(&long[1..], &[8], 0, 0)], 32)).is_ok());
}

#[test]
fn values_of_unknown_type_are_refused() {
    let entry = |kind: u32, value: &[u8]| [string("k"), kind.to_le_bytes().to_vec(), value.to_vec()].concat();
    let nested = [&9u32.to_le_bytes()[..], &0u64.to_le_bytes()].concat();
    for (bytes, found) in [(entry(13, &[0; 8]), 13), (entry(9, &nested), 9)] {
        let result = parse(build(&[bytes], &[], 0)).err();
        assert_eq!(result, Some(GgufError::ValueType { key: "k".into(), found }));
    }
    let result = parse(build(&[entry(7, &[2])], &[], 0)).err();
    assert_eq!(result, Some(GgufError::Bool { key: "k".into(), found: 2 }));
}

#[test]
fn dimensions_types_and_places_are_checked() {
    let one = |info: Vec<u8>, data| parse(build(&[], &[info], data)).err();
    assert!(matches!(one(info("w", &[1 << 32, 1 << 32], 0, 0), 0), Some(GgufError::Dimensions { .. })));
    assert!(matches!(one(info("w", &[0, 4], 0, 0), 0), Some(GgufError::Dimensions { .. })));
    assert!(matches!(one(info("w", &[1; 5], 0, 0), 64), Some(GgufError::TooMany { found: 5, .. })));
    assert!(matches!(one(info("w", &[100], 36, 0), 64), Some(GgufError::Dimensions { .. })));
    assert!(matches!(one(info("w", &[8], 0, 16), 64), Some(GgufError::Misaligned { offset: 16, .. })));
    assert!(matches!(one(info("w", &[8], 0, 64), 64), Some(GgufError::OutOfFile { .. })));
    assert!(matches!(one(info("w", &[8], 0, !31), 64), Some(GgufError::OutOfFile { .. })));
    let unknown = one(info("w", &[256], 12, 0), 144).unwrap().to_string();
    assert!(unknown.contains("Q4_K") && unknown.contains("I2_S (36)"), "{unknown}");
    assert_eq!(one(info("w", &[256], 14, 0), 210), None);
    assert!(matches!(one(info("w", &[128, 2], 14, 0), 210), Some(GgufError::Dimensions { .. })));
    assert_eq!(one(info("w", &[128], 36, 0), 64), None);
    let gap = |before: &str, bytes| Some(GgufError::Gap { before: before.into(), bytes });
    assert_eq!(one(info("w", &[128], 36, 32), 96), gap("the header", 32));
    // Eight values declared as f16 leave room for the other halves of f32 ones: 16 bytes, padded to 32.
    assert_eq!(one(info("w", &[8], 1, 0), 32), None);
    assert_eq!(one(info("w", &[16], 1, 0), 64), gap("tensor `w`", 32));
    let between = build(&[], &[info("a", &[8], 0, 0), info("b", &[8], 0, 64)], 96);
    assert_eq!(parse(between).err(), gap("tensor `a`", 32));
    let overlap = build(&[], &[info("a", &[16], 0, 32), info("b", &[16], 0, 0)], 96);
    assert_eq!(parse(overlap).err(), Some(GgufError::Overlap { first: "b".into(), second: "a".into() }));
}

#[test]
fn alignment_and_splits() {
    for (value, fine) in [(64, true), (1, true), (0, false), (48, false)] {
        let file = build(&[u32_entry("general.alignment", value)], &[info("w", &[8], 0, 0)], 64);
        let refused = matches!(parse(file).err(), Some(GgufError::Alignment { .. }));
        assert_eq!(refused, !fine, "{value}");
    }
    let file = build(&[u32_entry("split.count", 3)], &[], 0);
    assert_eq!(parse(file).err(), Some(GgufError::Split { parts: 3 }));
}
