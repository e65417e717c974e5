//! The same bits on every instruction set, with every number of threads, and however the tokens are divided over calls.
//!
//! Logits of a prompt of 200 tokens and of 50 decoded ones are compared bit by bit with those of the portable kernels on
//! one thread. A digest of all of them is checked in, so that machines are compared with each other as well. Instruction
//! sets that this CPU lacks are reported as ignored, with the reason as their kind.

mod support;

use std::process::ExitCode;
use std::sync::OnceLock;

use libtest_mimic::{Arguments, Failed, Trial};
use tritforge::engine::Engine;
use tritforge::format::{LoadOptions, load_path};
use tritforge::head::HeadType;
use tritforge::kernels::ISAS;
use tritforge::kernels::abi::IsaInfo;
use tritforge::model::{KvType, Model, Observer, Profile, ProfileOptions, Session, Want};
use tritforge_tests::trials::{conclude, on_cpu};

const PROMPT: usize = 200;
const DECODED: usize = 50;

/// A model with a type of KV cache, and the digest of its logits: FNV-1a (64 bits) over their little-endian bytes, in the
/// order of the tokens.
struct Case {
    name: &'static str,
    directory: &'static str,
    /// The type of output head, which decides on the profile.
    head: HeadType,
    kv_type: KvType,
    digest: u64,
}

/// Squared ReLU with sub-norms; SiLU with sub-norms and rows of 452 weights; SiLU without, and an untied head.
const CASES: [Case; 9] = [
    demo("demo", HeadType::Exact, KvType::F32, 0xd552_ef17_c041_c29c),
    demo("demo_kv_f16", HeadType::Exact, KvType::F16, 0x26a7_5350_f181_716c),
    demo("demo_kv_int8", HeadType::Exact, KvType::Int8, 0x015a_d682_7319_3e11),
    demo("demo_head_int8_kv_f16", HeadType::Int8, KvType::F16, 0xfb31_0327_72d0_8d22),
    demo("demo_head_q4_0_kv_int8", HeadType::Q4_0, KvType::Int8, 0xf305_cfe7_95a8_e629),
    Case {
        name: "bitnet_1bitllm",
        directory: "oracle/bitnet-1bitllm/fp32",
        head: HeadType::Exact,
        kv_type: KvType::F32,
        digest: 0x36da_dd88_23a5_3b30,
    },
    llama("llama_bitlinear", KvType::F32, 0x526b_5341_459f_d834),
    llama("llama_bitlinear_kv_f16", KvType::F16, 0x9e9d_7255_4a68_0760),
    llama("llama_bitlinear_kv_int8", KvType::Int8, 0xfa65_15ba_9bd0_f03a),
];

const fn demo(name: &'static str, head: HeadType, kv_type: KvType, digest: u64) -> Case {
    Case { name, directory: "demo/packed", head, kv_type, digest }
}

const fn llama(name: &'static str, kv_type: KvType, digest: u64) -> Case {
    Case { name, directory: "oracle/llama-bitlinear/packed", head: HeadType::Exact, kv_type, digest }
}

/// How the tokens get into the model.
#[derive(Clone, Copy)]
enum Feeding {
    /// The prompt in one call and one batch, then token by token.
    AtOnce,
    /// The prompt in one call that is worked off in batches of this many, then token by token.
    Batches(usize),
    /// Every token in a call of its own.
    OneByOne,
}

const FEEDINGS: [(&str, Feeding); 4] = [
    ("at_once", Feeding::AtOnce),
    ("batches_of_7", Feeding::Batches(7)),
    ("batches_of_32", Feeding::Batches(32)),
    ("one_by_one", Feeding::OneByOne),
];

/// A tale for the demo, ids spread over the vocabulary for models of random weights.
fn tokens(case: &Case, vocab: usize) -> Vec<u32> {
    match case.directory {
        "demo/packed" => support::tales().swap_remove(1).1[..PROMPT + DECODED].to_vec(),
        _ => (0..PROMPT + DECODED).map(|i| (i * 7919 % vocab) as u32).collect(),
    }
}

/// Collects the bits of logits.
struct Bits(Vec<u32>);

impl Observer for Bits {
    fn logits(&mut self, _: usize, logits: &[f32]) {
        self.0.extend(logits.iter().map(|logit| logit.to_bits()));
    }
}

/// The bits of all logits, `[PROMPT + DECODED][vocab]`.
fn logits(
    case: &Case,
    isa: &'static IsaInfo,
    threads: usize,
    feedings: &[Feeding],
) -> Result<Vec<Vec<u32>>, String> {
    let engine = Engine::with_isa(isa, threads).map_err(|e| e.to_string())?;
    let raw =
        load_path(&support::fixture(case.directory), &LoadOptions::default()).map_err(|e| e.to_string())?;
    let profile = if case.head == HeadType::Exact { Profile::Exact } else { Profile::Fast };
    let options = ProfileOptions { profile, head: Some(case.head), kv_type: None };
    let model = Model::with_options(raw, &engine, options, &|_| ());
    let model = model.map_err(|e| e.to_string())?;
    let tokens = tokens(case, model.config.vocab);
    let runs = feedings.iter().map(|feeding| {
        let batch = match feeding {
            Feeding::AtOnce | Feeding::OneByOne => PROMPT,
            Feeding::Batches(tokens) => *tokens,
        };
        let mut session = Session::new(&model, &engine).with_batch(batch).with_kv_type(case.kv_type);
        let mut bits = Bits(Vec::new());
        let at_once = if matches!(feeding, Feeding::OneByOne) { 1 } else { PROMPT };
        let (first, rest) = tokens.split_at(at_once);
        session.forward(first, Want::Everything(&mut bits)).map_err(|e| e.to_string())?;
        for token in rest {
            let logits = session.forward(&[*token], Want::LastLogits).map_err(|e| e.to_string())?;
            bits.0.extend(logits.iter().map(|logit| logit.to_bits()));
        }
        assert_eq!(bits.0.len(), tokens.len() * model.config.vocab);
        Ok(bits.0)
    });
    runs.collect()
}

fn fnv_1a(bits: &[u32]) -> u64 {
    let bytes = bits.iter().flat_map(|bits| bits.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The portable kernels on one thread, the prompt at once.
fn reference(index: usize) -> Result<&'static [u32], String> {
    static REFERENCES: [OnceLock<Result<Vec<u32>, String>>; CASES.len()] =
        [const { OnceLock::new() }; CASES.len()];
    let portable = ISAS.iter().find(|isa| isa.id == "portable").expect("the portable kernels");
    let logits = REFERENCES[index].get_or_init(|| {
        logits(&CASES[index], portable, 1, &[Feeding::AtOnce]).map(|mut runs| runs.swap_remove(0))
    });
    logits.as_deref().map_err(Clone::clone)
}

fn compare(index: usize, isa: &'static IsaInfo, threads: usize) -> Result<(), Failed> {
    let case = &CASES[index];
    let expected = reference(index)?;
    let vocab = expected.len() / (PROMPT + DECODED);
    let runs = logits(case, isa, threads, &FEEDINGS.map(|(_, feeding)| feeding))?;
    for ((name, _), found) in FEEDINGS.iter().zip(runs) {
        if found.len() != expected.len() {
            return Err(format!("{name}: {} logits, not {}", found.len(), expected.len()).into());
        }
        if let Some(at) = (0..found.len()).find(|&at| found[at] != expected[at]) {
            let (token, id) = (at / vocab, at % vocab);
            let [found, expected] = [found[at], expected[at]].map(f32::from_bits);
            return Err(format!("{name}: logit {id} of token {token} is {found:e}, not {expected:e}").into());
        }
    }
    Ok(())
}

/// The logits are those that other machines computed.
fn digest(index: usize) -> Result<(), Failed> {
    let (found, expected) = (fnv_1a(reference(index)?), CASES[index].digest);
    if found == expected {
        return Ok(());
    }
    Err(format!("the digest of the logits is {found:#018x}, not {expected:#018x}").into())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (index, case) in CASES.iter().enumerate() {
        trials.push(Trial::test(format!("{}::digest", case.name), move || digest(index)));
        for isa in ISAS.iter().copied() {
            for threads in 1..=3 {
                let name = format!("{}::{}::{threads}_threads", case.name, isa.id);
                trials.push(on_cpu(name, isa, move || compare(index, isa, threads)));
            }
        }
    }
    conclude(&arguments, trials, |_| "whole model")
}
