//! Values inside tensors that no sound file has: the fourth code, scales and norms of zero or without a finite value.

use crate::exercise::{Bench, Outcome};
use crate::fields::Header;
use crate::sample::{Checkpoint, HIDDEN, LAYERS};

struct Sample {
    file: Vec<u8>,
    header: Header,
    bench: Bench,
}

impl Sample {
    fn new() -> Self {
        let file = Checkpoint::new().gguf();
        let header = Header::read(&file);
        Sample { file, header, bench: Bench::new() }
    }

    /// The outcome with `bytes` at `at` of a tensor.
    fn with(&self, tensor: &str, at: usize, bytes: &[u8]) -> Outcome {
        let start = self.header.tensor(tensor).start + at;
        let mut file = self.file.clone();
        file[start..start + bytes.len()].copy_from_slice(bytes);
        self.bench.run(&format!("{tensor}, byte {at}"), file, false).outcome
    }
}

const LINEARS: [&str; 7] = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
const NORMS: [&str; 4] = ["attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm"];

fn of_layers<'a>(parts: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    (0..LAYERS).flat_map(move |layer| parts.iter().map(move |part| format!("blk.{layer}.{part}.weight")))
}

#[test]
fn the_fourth_code_is_named_with_its_place() {
    let sample = Sample::new();
    for tensor in of_layers(&LINEARS) {
        // Row 3, column 70: element 70 of the fourth block of 128, which is byte 6 of the block's 32, and of the four
        // fields in it, from the high bits down, the third.
        let at = 3 * 32 + 70 % 32;
        let byte = sample.file[sample.header.tensor(&tensor).start + at] | 0b11 << 2;
        let outcome = sample.with(&tensor, at, &[byte]);
        assert!(matches!(outcome, Outcome::NotPacked(_)), "{tensor}: {outcome:?}");
        let error = outcome.error();
        let named = [tensor.as_str(), "code 3", "row 3, column 70"].iter().all(|part| error.contains(part));
        assert!(named, "{error}");
    }
}

#[test]
fn scales_of_zero_or_without_a_finite_value_are_refused() {
    let sample = Sample::new();
    for tensor in of_layers(&LINEARS) {
        let trailer = sample.header.tensor(&tensor).len() - 32;
        for scale in [0.0, -0.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let outcome = sample.with(&tensor, trailer, &scale.to_le_bytes());
            let named = matches!(&outcome, Outcome::Refused(e) if e.contains(&tensor) && e.contains("scale"));
            assert!(named, "{tensor}: {scale}: {outcome:?}");
        }
        // The other bytes of the trailer mean nothing.
        assert_eq!(sample.with(&tensor, trailer + 4, &[0xee; 28]), Outcome::Ran, "{tensor}");
    }
}

#[test]
fn norms_of_zeros_or_without_a_finite_value_are_refused() {
    let sample = Sample::new();
    for tensor in of_layers(&NORMS).chain(["output_norm.weight".to_owned()]) {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let outcome = sample.with(&tensor, 4 * (HIDDEN - 1), &value.to_le_bytes());
            let named =
                matches!(&outcome, Outcome::Refused(e) if e.contains(&tensor) && e.contains("finite"));
            assert!(named, "{tensor}: {value}: {outcome:?}");
        }
        let outcome = sample.with(&tensor, 0, &[0; 4 * HIDDEN]);
        let named = matches!(&outcome, Outcome::Refused(e) if e.contains(&tensor) && e.contains("zero"));
        assert!(named, "{tensor}: zeros: {outcome:?}");
    }
}

#[test]
fn values_that_only_the_forward_pass_can_see_end_it_with_an_error() {
    let sample = Sample::new();
    let huge = 3e38f32.to_le_bytes().repeat(HIDDEN);
    let scale = sample.header.tensor("blk.1.ffn_up.weight").len() - 32;
    let nan = [0x00, 0x7e];
    let cases: [(&str, usize, &[u8], &str); 4] = [
        ("blk.1.ffn_up.weight", scale, &huge[..4], "layer 1"),
        ("blk.0.attn_norm.weight", 0, &huge, "layer 0"),
        ("output_norm.weight", 0, &huge, "output"),
        // A NaN in f16, in the embedding of token 2.
        ("token_embd.weight", 2 * 2 * HIDDEN, &nan, "layer 0"),
    ];
    for (tensor, at, bytes, place) in cases {
        let outcome = sample.with(tensor, at, bytes);
        let named = matches!(&outcome, Outcome::NotRun(error) if error.contains(place));
        assert!(named, "{tensor}: {outcome:?}");
    }
}
