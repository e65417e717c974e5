//! Loading a file that may be anything, and running what comes of it, under watch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tritforge::engine::Engine;
use tritforge::format::{LoadOptions, SharedBytes, load_gguf_bytes};
use tritforge::model::{Model, Session, Want};
use tritforge::tokenizer::TokenizerState;

use crate::memory::Meter;

/// What no case may take longer for: many times what the slowest takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(30);

/// How far a file got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was not loaded; the error's text.
    Refused(String),
    /// It was loaded but not packed.
    NotPacked(String),
    /// The forward pass ended with an error.
    NotRun(String),
    /// The forward pass gave logits.
    Ran,
}

impl Outcome {
    /// The error's text.
    pub fn error(&self) -> &str {
        match self {
            Outcome::Refused(error) | Outcome::NotPacked(error) | Outcome::NotRun(error) => error,
            Outcome::Ran => panic!("the file was loaded and run"),
        }
    }
}

/// An outcome and the memory that it took, without the file itself.
#[derive(Debug, Clone)]
pub struct Measured {
    pub outcome: Outcome,
    /// Most bytes held while loading.
    pub load_peak: usize,
    /// Most bytes held while loading, packing and running.
    pub peak: usize,
}

/// What runs the cases: an engine whose one thread does everything, so that its memory can be counted.
pub struct Bench {
    engine: Arc<Engine>,
}

impl Bench {
    pub fn new() -> Self {
        Bench { engine: Arc::new(Engine::with_threads(1).expect("an engine")) }
    }

    /// Loads a file and feeds four tokens; with `text`, uses its tokenizer as well.
    ///
    /// # Panics
    /// If the case panics, takes too long, or takes more memory than four times the file. `name` says which it is.
    pub fn run(&self, name: &str, file: Vec<u8>, text: bool) -> Measured {
        let size = file.len();
        let (sender, receiver) = channel();
        let engine = Arc::clone(&self.engine);
        self.engine.pool().spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| exercise(file, &engine, text)));
            // Nobody listens to a case that took too long.
            let _ = sender.send(result.map_err(|_| ()));
        });
        let measured = match receiver.recv_timeout(LIMIT) {
            Ok(Ok(measured)) => measured,
            Ok(Err(())) => panic!("{name}: panicked"),
            Err(RecvTimeoutError::Timeout) => panic!("{name}: not ended after {LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("{name}: its thread is gone"),
        };
        eprintln!(
            "PEAK {} {} {} {:?}",
            size,
            measured.load_peak,
            measured.peak,
            matches!(measured.outcome, Outcome::Ran)
        );
        assert!(measured.load_peak <= 4 * size, "{name}: loading {size} bytes took {}", measured.load_peak);
        assert!(measured.peak <= 4 * size, "{name}: running {size} bytes took {}", measured.peak);
        measured
    }
}

fn exercise(file: Vec<u8>, engine: &Engine, text: bool) -> Measured {
    let bytes = SharedBytes::from(file);
    let meter = Meter::start();
    let loaded = load_gguf_bytes(bytes, "sample", &LoadOptions::default());
    let load_peak = meter.peak();
    let raw = match loaded {
        Ok(raw) => raw,
        Err(error) => {
            return Measured { outcome: Outcome::Refused(error.to_string()), load_peak, peak: load_peak };
        }
    };
    let model = match Model::from_raw(raw, engine) {
        Ok(model) => model,
        Err(error) => {
            let peak = meter.peak();
            return Measured { outcome: Outcome::NotPacked(error.to_string()), load_peak, peak };
        }
    };
    let mut session = Session::new(&model, engine);
    let run = session.forward(&[0, 1, 2, 3], Want::LastLogits).map(<[f32]>::to_vec);
    let peak = meter.peak();
    let outcome = match run {
        Ok(logits) => {
            assert!(logits.iter().all(|logit| logit.is_finite()), "logits that are not finite");
            Outcome::Ran
        }
        Err(error) => Outcome::NotRun(error.to_string()),
    };
    drop(session);
    if text && let TokenizerState::Loaded(tokenizer) = &*model.tokenizer {
        let all = u32::try_from(tokenizer.vocab_size()).expect("a number of tokens");
        (0..=all).for_each(|id| drop(tokenizer.decode_bytes(id)));
        if let Ok(ids) = tokenizer.encode("then the <|end_of_text|> banana\n", true) {
            tokenizer.decode(&ids);
        }
    }
    Measured { outcome, load_peak, peak }
}
