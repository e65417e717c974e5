//! Tokenizers against ids from other programs: the held-out tales, and llama.cpp's own vectors where they are at hand.
//!
//! The vectors are vocabulary-only GGUF files (`ggml-vocab-gpt-2.gguf`), each with its texts (`.inp`) and their ids
//! (`.out`) beside it, in the folder that the environment variable `TRITFORGE_VECTORS` names. Without it these trials are
//! reported as ignored.

mod support;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use tritforge::convert::{ConvertOptions, convert_to};
use tritforge::demo;
use tritforge::format::{FormatError, LoadOptions, RawModel, load_gguf_bytes, load_path, load_tokenizer};
use tritforge::tokenizer::StreamDecoder;

const FOLDER: &str = "TRITFORGE_VECTORS";

/// A check of the vectors in a folder.
type Check = fn(&Path) -> Result<(), Failed>;

/// Encodes every tale, and decodes it whole and token by token.
fn tales(model: Result<RawModel, FormatError>) -> Result<(), Failed> {
    let model = model?;
    let tokenizer = model.tokenizer.loaded()?;
    let tales = support::tales();
    assert_eq!(tales.len(), 14);
    for (text, ids) in &tales {
        let start: String = text.chars().take(40).collect();
        let found = tokenizer.encode(text, true)?;
        if found != *ids {
            let at = found.iter().zip(ids).take_while(|(found, expected)| found == expected).count();
            let (found, expected) = (&found[at..], &ids[at..]);
            let [found, expected] = [found, expected].map(|ids| &ids[..ids.len().min(8)]);
            return Err(format!("{start:?}: token {at} and on are {found:?}, not {expected:?}").into());
        }
        // Without what is added in front.
        assert_eq!(tokenizer.encode(text, false)?, ids[1..], "{start:?}");
        assert_eq!(tokenizer.decode(ids), *text, "{start:?}");
        let mut stream = StreamDecoder::new();
        let mut streamed: String = ids.iter().map(|&id| stream.push(&tokenizer.decode_bytes(id))).collect();
        streamed.push_str(&stream.finish());
        assert_eq!(streamed, *text, "{start:?}");
    }
    Ok(())
}

fn packed() -> Result<RawModel, FormatError> {
    load_path(&support::fixture("demo/packed"), &LoadOptions::default())
}

fn embedded() -> Result<RawModel, FormatError> {
    demo::load(&LoadOptions::default())
}

fn converted() -> Result<RawModel, FormatError> {
    let mut bytes = Vec::new();
    convert_to(&support::fixture("demo/packed"), &mut bytes, &ConvertOptions::default())
        .expect("a model that GGUF can hold");
    load_gguf_bytes(bytes.into(), "converted", &LoadOptions::default())
}

fn gpt_2_vectors(folder: &Path) -> Result<(), Failed> {
    let state = load_tokenizer(&folder.join("ggml-vocab-gpt-2.gguf"), &LoadOptions::default())?;
    let tokenizer = state.loaded()?;
    let beside = |suffix: &str| fs::read_to_string(folder.join(format!("ggml-vocab-gpt-2.gguf.{suffix}")));
    let (texts, ids) = (beside("inp")?, beside("out")?);
    let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    let lines: Vec<&str> = ids.lines().collect();
    if lines.len() < 40 || texts.len() < lines.len() {
        return Err(format!("{} texts for {} lines of ids", texts.len(), lines.len()).into());
    }
    for (text, line) in texts.iter().zip(&lines) {
        let expected: Vec<u32> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let found = tokenizer.encode(text, true)?;
        if found != expected {
            return Err(format!("{text:?} is {found:?}, not {expected:?}").into());
        }
        assert_eq!(tokenizer.decode(&found), *text);
    }
    Ok(())
}

/// SentencePiece is not supported: what the file says must be named, and what is supported.
fn llama_spm_is_refused(folder: &Path) -> Result<(), Failed> {
    let state = load_tokenizer(&folder.join("ggml-vocab-llama-spm.gguf"), &LoadOptions::default())?;
    let reason = match state.loaded() {
        Ok(_) => return Err("a SentencePiece vocabulary was read as byte-level BPE".into()),
        Err(error) => error.to_string(),
    };
    if reason.contains("`llama`") && reason.contains("gpt2") && reason.contains("byte-level BPE") {
        return Ok(());
    }
    Err(format!("{reason:?} does not name what was found and what is supported").into())
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = vec![
        Trial::test("tales::tokenizer_json", || tales(packed())),
        Trial::test("tales::embedded_gguf", || tales(embedded())),
        Trial::test("tales::converted_gguf", || tales(converted())),
    ];
    let folder = std::env::var_os(FOLDER).filter(|folder| !folder.is_empty());
    let vectors: [(&str, Check); 2] =
        [("vectors::gpt_2", gpt_2_vectors), ("vectors::llama_spm_is_refused", llama_spm_is_refused)];
    for (name, run) in vectors {
        let absent = folder.is_none();
        let folder: OsString = folder.clone().unwrap_or_default();
        let trial = Trial::test(name, move || run(Path::new(&folder)));
        trials.push(if absent {
            trial.with_kind(format!("{FOLDER} is not set")).with_ignored_flag(true)
        } else {
            trial
        });
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
