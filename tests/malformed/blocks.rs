//! Embeddings of quantised blocks, damaged: scales without a finite value, rows that fill no blocks, bytes of anything.

use std::path::Path;

use kernelgen::config::parse;
use tritforge::format::{BlockType, StorageType};
use tritforge::synth::{SynthOptions, synth_to};
use tritforge_tests::Random;

use crate::exercise::{Bench, Outcome};
use crate::fields::Header;

const HIDDEN: usize = 256;
const EMBEDDING: &str = "token_embd.weight";

/// One layer with a tied head.
const CONFIG: &str = "
schema = 1
name = 'blocks'
source = 'made up'
activation = 'relu2'
sub_norms = true
tied = true
[dims]
layers = 1
hidden = 256
ffn = 256
heads = 2
kv_heads = 1
head_dim = 128
vocab = 300
context = 64
[matrices]
q_proj = { rows = 256, cols = 256 }
k_proj = { rows = 128, cols = 256 }
v_proj = { rows = 128, cols = 256 }
o_proj = { rows = 256, cols = 256 }
gate_proj = { rows = 256, cols = 256 }
up_proj = { rows = 256, cols = 256 }
down_proj = { rows = 256, cols = 256 }
embedding = { rows = 300, cols = 256 }
";

fn sample(kind: BlockType) -> (Vec<u8>, Header) {
    let shapes = parse(CONFIG, Path::new("blocks.toml")).expect("a sound config");
    let options = SynthOptions { head: StorageType::Blocks(kind), ..SynthOptions::default() };
    let mut file = Vec::new();
    synth_to(&shapes, &mut file, &options).expect("a model");
    let header = Header::read(&file);
    (file, header)
}

/// Where in a block its f16 scale lies.
fn scale_at(kind: BlockType) -> usize {
    match kind {
        BlockType::Q4_0 | BlockType::Q8_0 => 0,
        BlockType::Q6K => 208,
    }
}

#[test]
fn sound_files_run() {
    let bench = Bench::new();
    for kind in BlockType::ALL {
        let (file, header) = sample(kind);
        let row = kind.row_bytes(HIDDEN).expect("whole blocks");
        assert_eq!(header.tensor(EMBEDDING).len(), 300 * row, "{}", kind.name());
        assert_eq!(bench.run(kind.name(), file, true).outcome, Outcome::Ran, "{}", kind.name());
    }
}

#[test]
fn scales_without_a_finite_value_end_the_forward_pass() {
    let bench = Bench::new();
    // Tokens 0 to 3 are fed; of the others only the head sees the rows.
    for kind in BlockType::ALL {
        for (token, place) in [(2, "layer 0"), (200, "output")] {
            for scale in [0x7e00u16, 0x7c00, 0xfc00] {
                let (mut file, header) = sample(kind);
                let row = kind.row_bytes(HIDDEN).expect("whole blocks");
                let at = header.tensor(EMBEDDING).start + (token + 1) * row - kind.bytes() + scale_at(kind);
                file[at..at + 2].copy_from_slice(&scale.to_le_bytes());
                let name = format!("{}, token {token}, {scale:#06x}", kind.name());
                let outcome = bench.run(&name, file, false).outcome;
                let named = matches!(&outcome, Outcome::NotRun(error) if error.contains(place));
                assert!(named, "{name}: {outcome:?}");
            }
        }
    }
}

#[test]
fn rows_that_fill_no_blocks_and_other_types_are_refused() {
    let bench = Bench::new();
    for kind in BlockType::ALL {
        let (file, header) = sample(kind);
        let with = |field: &str, bytes: &[u8]| {
            let mut damaged = file.clone();
            damaged[header.field(&format!("{EMBEDDING} {field}"))].copy_from_slice(bytes);
            bench.run(&format!("{}: {field}", kind.name()), damaged, false).outcome
        };
        for cols in [HIDDEN as u64 - 1, 1, u64::from(u32::MAX)] {
            let outcome = with("dimension 0", &cols.to_le_bytes());
            let named =
                matches!(&outcome, Outcome::Refused(e) if e.contains(EMBEDDING) && e.contains("do not fill"));
            assert!(named, "{}: {cols} columns: {outcome:?}", kind.name());
        }
        let outcome = with("dimension 1", &(1u64 << 61).to_le_bytes());
        assert!(matches!(outcome, Outcome::Refused(_)), "{}: {outcome:?}", kind.name());
        // Of another size, so that bytes are left over or missing.
        for id in [0u32, 1, 2, 8, 14, 36] {
            if file[header.field(&format!("{EMBEDDING} type"))] != id.to_le_bytes() {
                let outcome = with("type", &id.to_le_bytes());
                assert!(matches!(outcome, Outcome::Refused(_)), "{}: type {id}: {outcome:?}", kind.name());
            }
        }
    }
}

#[test]
fn three_hundred_flips_of_each_type() {
    let bench = Bench::new();
    let mut random = Random::new(9);
    for kind in BlockType::ALL {
        let (file, header) = sample(kind);
        let place = header.tensor(EMBEDDING);
        let mut ran = 0;
        for _ in 0..300 {
            let at = place.start + random.bits() as usize % place.len();
            let bits = (random.bits() % 255 + 1) as u8;
            let mut damaged = file.clone();
            damaged[at] ^= bits;
            let outcome =
                bench.run(&format!("{}: byte {at} xor {bits:#04x}", kind.name()), damaged, false).outcome;
            // Any byte is a code, and nearly any a scale.
            assert!(matches!(outcome, Outcome::Ran | Outcome::NotRun(_)), "{outcome:?}");
            ran += usize::from(outcome == Outcome::Ran);
        }
        assert!(ran > 250, "{}: {ran}", kind.name());
    }
}
