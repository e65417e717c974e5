//! `tritforge tune`: finds the fastest kernels of this machine.

mod table;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::value_parser;
use tritforge::engine::Engine;
use tritforge::kernels::MODELS;
use tritforge::model::Profile;
use tritforge::tune::outcome::Outcome;
use tritforge::tune::{Control, Options, Progress, TuneError, Tuned, quick, search};
use tritforge::tuned::{save, user_file};

use crate::Outcome as CommandOutcome;
use crate::model::{ModelArgs, NumericsArgs};
use crate::progress;

/// What a shell returns for a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Options of `tune`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Tune for the shapes of this config, or of every config in a folder; without a model and a config, for those of the models
    /// that the build was made for.
    #[arg(long, value_name = "TOML", conflicts_with = "model")]
    config: Option<PathBuf>,

    /// Most threads; as many as there are CPUs if left out.
    #[arg(long, short = 't', value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// Tune these instruction sets; all that the CPU has, but for the portable one, if left out.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    isa: Vec<String>,

    /// Seconds that it takes.
    #[arg(long, value_name = "S", default_value_t = 45, value_parser = value_parser!(u32).range(1..=86400), conflicts_with = "search")]
    seconds: u32,

    /// Where the profile is written; the user's configuration folder if left out, or configs/tuned/<cpu>.toml with --search.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Search among all schedules that the kernel compiler can make. Needs rustc. The kernels found are linked by the next
    /// build that has the profile in configs/tuned.
    #[arg(long)]
    search: bool,

    /// Minutes that a search takes.
    #[arg(long, value_name = "MINUTES", default_value_t = 15, requires = "search", value_parser = value_parser!(u32).range(1..=1440))]
    budget: u32,

    /// Go on with what an interrupted search left.
    #[arg(long, requires = "search")]
    resume: bool,

    /// Folder of the search: sources, libraries and what was measured.
    #[arg(long, value_name = "FOLDER", default_value = "target/tune", requires = "search")]
    work: PathBuf,
}

impl Args {
    fn options(&self) -> Result<Options, Box<dyn std::error::Error>> {
        let threads = match self.threads {
            Some(threads) => usize::from(threads),
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let seconds = if self.search { f64::from(self.budget) * 60.0 } else { f64::from(self.seconds) };
        let command = if self.search { "tritforge tune --search" } else { "tritforge tune" };
        let mut shapes = self.shapes()?;
        shapes.sort_unstable();
        shapes.dedup();
        Ok(Options { shapes, threads, isas: self.isa.clone(), seconds, command: command.to_owned() })
    }

    fn shapes(&self) -> Result<Vec<(usize, usize)>, Box<dyn std::error::Error>> {
        if let Some(config) = &self.config {
            let models = kernelgen::config::load_all(std::slice::from_ref(config))?;
            return Ok(models.iter().flat_map(|model| model.ternary_shapes()).collect());
        }
        if self.model.model.is_some() {
            let engine = Engine::new()?;
            let model = self.model.pack(&engine, &NumericsArgs::default(), Profile::Exact)?;
            let layers = model.layers.first().into_iter().flat_map(|layer| layer.projections());
            return Ok(layers.map(|(_, weights)| (weights.rows(), weights.cols())).collect());
        }
        let matrices = MODELS.iter().flat_map(|model| model.matrices);
        Ok(matrices.map(|matrix| (matrix.rows, matrix.cols)).collect())
    }

    fn output(&self, tuned: &Tuned) -> Result<PathBuf, &'static str> {
        match &self.output {
            Some(path) => Ok(path.clone()),
            None if self.search => {
                Ok(PathBuf::from(format!("configs/tuned/{}.toml", tuned.profile.cpu.file_stem())))
            }
            None => user_file()
                .ok_or("this system has no folder for a user's configuration: name a file with --output"),
        }
    }
}

/// Runs the command.
pub fn tune(args: Args) -> CommandOutcome {
    let options = args.options()?;
    static STOP: AtomicBool = AtomicBool::new(false);
    ctrlc::set_handler(|| STOP.store(true, Ordering::Relaxed))?;
    let bar = progress::bar(1, "tuning {bar:30} {pos} of {len}, {elapsed}: {msg}");
    let show = |Progress { done, all, now }: Progress| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        bar.set_message(now);
    };
    let control = Control { stop: &STOP, progress: &show };
    let result = if args.search {
        search::search(&options, &args.work, args.resume, control)
    } else {
        quick::tune(&options, control)
    };
    bar.finish_and_clear();
    let mut out = io::stdout().lock();
    let tuned = match result {
        Err(TuneError::Interrupted) => {
            let mut err = io::stderr().lock();
            match args.search {
                true => writeln!(
                    err,
                    "interrupted: what was measured is in {}; go on with the same command and --resume",
                    args.work.display()
                )?,
                false => writeln!(err, "interrupted: nothing is changed")?,
            }
            return Ok(ExitCode::from(INTERRUPTED));
        }
        result => result?,
    };
    if args.search {
        writeln!(out, "searched among {} schedules", search::space(&options)?)?;
    }
    table::print(&tuned, &mut out)?;
    let refused: Vec<_> = tuned.outcomes.iter().flat_map(|outcome: &Outcome| &outcome.refused).collect();
    for kernel in &refused {
        writeln!(io::stderr(), "warning: {} is not exact and was not timed: {}", kernel.name, kernel.reason)?;
    }
    let path = args.output(&tuned)?;
    save(&tuned.profile, &path)?;
    writeln!(out, "\nwritten to {}", path.display())?;
    if args.search {
        writeln!(out, "the next build links the kernels that it names")?;
    } else {
        writeln!(
            out,
            "later runs on this CPU follow it; `tritforge kernels -v` says so, TRITFORGE_PROFILE=none leaves it out"
        )?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
