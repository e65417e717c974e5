//! Files with a piece missing, a field replaced or a byte changed.

use std::collections::BTreeSet;

use tritforge_tests::Random;

use crate::exercise::{Bench, Outcome};
use crate::fields::{Field, Header};
use crate::sample::Checkpoint;

/// Whether a place in the file has to do with the tokenizer, so that it must be used to see what the damage does.
fn is_of_tokenizer(header: &Header, at: usize) -> bool {
    let field = header.fields.iter().find(|field| field.range.contains(&at));
    field.is_some_and(|field| field.name.starts_with("tokenizer.") || field.name == "metadata count")
}

#[test]
fn a_sound_file_runs_within_its_memory() {
    let file = Checkpoint::new().gguf();
    let size = file.len();
    let measured = Bench::new().run("sound", file, true);
    assert_eq!(measured.outcome, Outcome::Ran);
    // The weights are not copied by loading, and once by packing.
    assert!(measured.load_peak < size / 2 && measured.peak < 4 * size, "{measured:?} for {size} bytes");
}

#[test]
fn truncated_files_are_refused() {
    let file = Checkpoint::new().gguf();
    let header = Header::read(&file);
    let mut places: BTreeSet<usize> = header.fields.iter().map(|field| field.range.start).collect();
    places.insert(header.end());
    places.extend(header.tensors.iter().flat_map(|(_, range)| [range.start, range.end - 1]));
    let mut random = Random::new(1);
    let last = header.tensors.last().expect("tensors").1.end;
    places.extend((0..200).map(|_| random.bits() as usize % last));
    assert!(places.len() > header.fields.len() + 200);
    let bench = Bench::new();
    for length in places {
        let name = format!("the first {length} of {} bytes", file.len());
        let measured = bench.run(&name, file[..length].to_vec(), true);
        assert!(matches!(measured.outcome, Outcome::Refused(_)), "{name}: {measured:?}");
    }
}

/// The values that a field is replaced by: zero, the largest, one more, one less.
fn replacements(file: &[u8], field: &Field) -> Vec<(&'static str, Vec<u8>)> {
    let old = &file[field.range.clone()];
    let step = |by: i64| {
        if field.is_text {
            // Of a text, the last letter.
            let mut new = old.to_vec();
            if let Some(last) = new.last_mut() {
                *last = last.wrapping_add_signed(by as i8);
            }
            return new;
        }
        let mut wide = [0; 8];
        wide[..old.len()].copy_from_slice(old);
        u64::from_le_bytes(wide).wrapping_add_signed(by).to_le_bytes()[..old.len()].to_vec()
    };
    // The largest signed number besides the largest one, which as a signed one is -1.
    let mut signed = vec![0xff; old.len()];
    if let Some(last) = signed.last_mut() {
        *last = 0x7f;
    }
    let all = [
        ("zero", vec![0; old.len()]),
        ("the largest", vec![0xff; old.len()]),
        ("the largest signed", signed),
        ("one more", step(1)),
        ("one less", step(-1)),
    ];
    all.into_iter().filter(|(_, new)| new != old).collect()
}

#[test]
fn every_field_replaced() {
    let file = Checkpoint::new().gguf();
    let header = Header::read(&file);
    let bench = Bench::new();
    let (mut cases, mut ran) = (0, Vec::new());
    for field in &header.fields {
        for (what, new) in replacements(&file, field) {
            let mut damaged = file.clone();
            damaged[field.range.clone()].copy_from_slice(&new);
            let text = is_of_tokenizer(&header, field.range.start);
            let measured = bench.run(&format!("{} is {what}", field.name), damaged, text);
            cases += 1;
            if measured.outcome == Outcome::Ran {
                ran.push(format!("{} is {what}", field.name));
            }
        }
    }
    assert!(cases > 2000, "{cases} cases");
    // Every length, count, dimension and offset is checked against the others. What may run is damage that leaves the
    // meaning as it was, or gives another that could be meant.
    let harmless = |case: &&String| {
        // Names, and what belongs to the tokenizer; the older version, which is the same; a positive i32 for a u32.
        let same = case.starts_with("general.")
            || case.starts_with("tokenizer.")
            || *case == "version is one less"
            || (case.starts_with("bitnet-b1.58.") && case.ends_with(" type is one more"));
        // Keys that may be absent, since the tensors say the same.
        let optional = ["vocab_size key", "rope.dimension_count key"].iter().any(|key| case.contains(key));
        // Constants that could be others.
        let constants = ["context_length value", "rms_epsilon value", "freq_base value"];
        let constant = constants.iter().any(|value| case.contains(value));
        same || optional || constant
    };
    let harmful: Vec<&String> = ran.iter().filter(|case| !harmless(case)).collect();
    assert!(harmful.is_empty(), "these ran: {harmful:?}");
}

/// Flips bits of one byte after the other, each in a file of its own.
fn flips(seed: u64, count: usize, place: impl Fn(&mut Random, &Header, usize) -> usize) -> [usize; 4] {
    let file = Checkpoint::new().gguf();
    let header = Header::read(&file);
    let bench = Bench::new();
    let mut random = Random::new(seed);
    let mut outcomes = [0; 4];
    for _ in 0..count {
        let at = place(&mut random, &header, file.len());
        let bits = (random.bits() % 255 + 1) as u8;
        let mut damaged = file.clone();
        damaged[at] ^= bits;
        let name = format!("byte {at} xor {bits:#04x}");
        let measured = bench.run(&name, damaged, is_of_tokenizer(&header, at));
        outcomes[match measured.outcome {
            Outcome::Refused(_) => 0,
            Outcome::NotPacked(_) => 1,
            Outcome::NotRun(_) => 2,
            Outcome::Ran => 3,
        }] += 1;
    }
    outcomes
}

#[test]
fn five_thousand_flips_anywhere() {
    let [refused, not_packed, _, ran] = flips(2, 5000, |random, _, size| random.bits() as usize % size);
    // Most of the file is weights: half of the flips there make a code 3 of some trit, others change a weight.
    assert!(refused > 100 && not_packed > 500 && ran > 1000, "{refused} {not_packed} {ran}");
}

#[test]
fn five_thousand_flips_in_the_header() {
    let outcomes = flips(3, 5000, |random, header, _| random.bits() as usize % header.end());
    assert!(outcomes[0] > 2000 && outcomes[3] > 100, "{outcomes:?}");
}
