//! `tritforge run`: continues a text.

use std::io::{self, IsTerminal, Read, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

use tritforge::engine::Engine;
use tritforge::generate::{GenerateOptions, Generation, StopReason, generate};
use tritforge::model::{Model, Profile, Session};
use tritforge::sampling::{Sampler, SamplerOptions};
use tritforge::tokenizer::{StreamDecoder, Tokenizer};

use crate::Outcome;
use crate::model::{EngineArgs, ModelArgs, NumericsArgs, warn_of_faults};

/// Options of `run`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    numerics: NumericsArgs,

    /// The text to continue; read from standard input if it is `-`.
    #[arg(long, short, value_name = "TEXT")]
    prompt: String,

    /// Most tokens to generate.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 256)]
    max_tokens: usize,

    /// Seed of the random choices; the same seed gives the same text everywhere.
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Always take the most probable token; the same as --temp 0.
    #[arg(long, conflicts_with = "temp")]
    greedy: bool,

    /// Temperature; 0 is greedy.
    #[arg(long, value_name = "T", default_value_t = SamplerOptions::default().temperature)]
    temp: f32,

    /// Keep only the K most probable tokens; 0 keeps all.
    #[arg(long, value_name = "K", default_value_t = SamplerOptions::default().top_k)]
    top_k: usize,

    /// Keep the fewest tokens whose probabilities add up to P; 1 keeps all.
    #[arg(long, value_name = "P", default_value_t = SamplerOptions::default().top_p)]
    top_p: f32,

    /// Keep tokens at least P times as probable as the most probable one; 0 keeps all.
    #[arg(long, value_name = "P", default_value_t = SamplerOptions::default().min_p)]
    min_p: f32,

    /// Penalty on tokens that occurred lately; 1 is none.
    #[arg(long, value_name = "R", default_value_t = SamplerOptions::default().repeat_penalty)]
    repeat_penalty: f32,

    /// How many of the latest tokens the penalty looks at.
    #[arg(long, value_name = "N", default_value_t = SamplerOptions::default().repeat_last_n)]
    repeat_last_n: usize,

    /// Name the kernels that were chosen.
    #[arg(long, short)]
    verbose: bool,
}

impl Args {
    fn sampling(&self) -> SamplerOptions {
        SamplerOptions {
            temperature: if self.greedy { 0.0 } else { self.temp },
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            repeat_last_n: self.repeat_last_n,
            seed: self.seed,
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> Outcome {
    // Options are checked before a large file is read.
    let mut sampler = Sampler::new(args.sampling())?;
    let engine = args.engine.engine()?;
    let prompt = match args.prompt.as_str() {
        "-" => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            text
        }
        text => text.to_owned(),
    };
    let model = args.model.pack(&engine, &args.numerics, Profile::Fast)?;
    warn_of_faults(&engine)?;
    if args.verbose {
        name_kernels(&model, &engine)?;
    }
    let tokenizer = model.tokenizer.loaded()?;
    let ids = tokenizer.encode(&prompt, true)?;
    let mut session = Session::new(&model, &engine);
    let options =
        GenerateOptions { max_tokens: args.max_tokens, stop_tokens: tokenizer.stop_tokens().to_vec() };

    let mut out = TextOut { out: io::stdout(), tokenizer, decoder: StreamDecoder::new(), failed: None };
    out.text(&prompt);
    let generation = generate(&mut session, &mut sampler, &ids, &options, |id| out.token(id))?;
    out.finish()?;
    report(&generation, &model, &engine)?;
    Ok(ExitCode::SUCCESS)
}

/// Text on its way out, token by token. An error is kept until the generation has ended.
struct TextOut<'a> {
    out: io::Stdout,
    tokenizer: &'a Tokenizer,
    decoder: StreamDecoder,
    failed: Option<io::Error>,
}

impl TextOut<'_> {
    fn text(&mut self, text: &str) {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }

    fn token(&mut self, id: u32) -> ControlFlow<()> {
        let text = self.decoder.push(&self.tokenizer.decode_bytes(id));
        self.text(&text);
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn finish(mut self) -> io::Result<()> {
        let rest = self.decoder.finish();
        self.text(&rest);
        self.text("\n");
        self.failed.map_or(Ok(()), Err)
    }
}

/// One line about speed, and one more where the context has ended.
fn report(generation: &Generation, model: &Model, engine: &Engine) -> io::Result<()> {
    let mut err = io::stderr().lock();
    if io::stdout().is_terminal() {
        writeln!(err)?;
    }
    if generation.stop == StopReason::ContextFull {
        let context = model.config.context;
        writeln!(err, "the model's context of {context} tokens is full; the text ends here")?;
    }
    let timing = &generation.timing;
    writeln!(
        err,
        "prompt: {} tokens, {:.1} tokens/s; decode: {} tokens, {:.1} tokens/s; {} threads; {}",
        timing.prompt_tokens,
        timing.prompt_rate(),
        timing.decode_tokens,
        timing.decode_rate(),
        engine.threads(),
        engine.isa().id
    )
}

/// The kernels for each projection, on stderr.
fn name_kernels(model: &Model, engine: &Engine) -> io::Result<()> {
    let mut err = io::stderr().lock();
    let Some(layer) = model.layers.first() else { return Ok(()) };
    for (role, weights) in layer.projections() {
        for tokens in engine.token_counts() {
            if let Some(kernel) = engine.kernel(weights.rows(), weights.cols(), tokens) {
                writeln!(err, "{role:<10} {}", kernel.descriptor().name)?;
            }
        }
    }
    writeln!(err, "{:<10} {}", "output", model.head.kernel_name(engine))
}
