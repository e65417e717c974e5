//! The `kernelgen` command: checks configs, lists, prints and costs kernels.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kernelgen::Builder;
use kernelgen::compile::{Kernel, compile};
use kernelgen::cpus::{self, Cpu, CpuError};
use kernelgen::passes::cost;
use kernelgen::spec::KernelSpec;
use kernelgen::{config, emit};

/// Compiler of ternary matrix kernels.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check model configs, and that every kernel for their shapes compiles.
    Check {
        /// Config files, or directories of them.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// List the names of the kernels that a build generates.
    List {
        /// Config files, or directories of them; without any, the generic kernels.
        paths: Vec<PathBuf>,
    },
    /// Print the generated source of a kernel.
    Emit {
        /// The kernel's name, `<op>_<format>_<M>x<K>_<schedule>__<isa>`.
        kernel: String,
    },
    /// Print the static cost of kernels.
    Cost {
        /// Kernel names; without any, the kernels for the given configs.
        kernels: Vec<String>,
        /// Config files, or directories of them.
        #[arg(long = "config")]
        configs: Vec<PathBuf>,
        /// The CPU to cost them for; without it, the typical one of each kernel's instruction set. Of the kernels for
        /// configs, those are left out that the CPU cannot run.
        #[arg(long)]
        cpu: Option<String>,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads our output has seen enough.
        Err(Failure::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = writeln!(io::stderr(), "error: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Build(#[from] kernelgen::BuildError),
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error(transparent)]
    Name(#[from] kernelgen::spec::NameError),
    #[error(transparent)]
    Compile(#[from] kernelgen::compile::CompileError),
    #[error(transparent)]
    Cpu(#[from] kernelgen::cpus::CpuError),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

fn run(command: Command) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match command {
        Command::Check { paths } => {
            let models = config::load_all(&paths)?;
            for model in &models {
                let (name, shapes) = (&model.name, model.ternary_shapes().len());
                let millions = model.ternary_parameters() as f64 / 1e6;
                writeln!(out, "{name}: {shapes} ternary shapes, {millions:.1} million ternary weights")?;
            }
            let kernels = builder(paths).compile()?;
            writeln!(out, "{} models, {} kernels compile, every range proven", models.len(), kernels.len())?;
        }
        Command::List { paths } => {
            for kernel in builder(paths).compile()? {
                writeln!(out, "{}", kernel.name)?;
            }
        }
        Command::Emit { kernel } => {
            let kernel = compile(&kernel.parse::<KernelSpec>()?)?;
            write!(out, "{}", emit::single(&kernel))?;
        }
        Command::Cost { kernels, configs, cpu } => {
            let cpu = cpu.as_deref().map(cpus::by_name).transpose()?;
            let kernels: Vec<Kernel> = if kernels.is_empty() {
                let mut kernels = builder(configs).compile()?;
                kernels.retain(|kernel| cpu.is_none_or(|cpu| cpu.isas.contains(&kernel.spec.isa.id())));
                kernels
            } else {
                kernels
                    .iter()
                    .map(|name| Ok(compile(&name.parse::<KernelSpec>()?)?))
                    .collect::<Result<_, Failure>>()?
            };
            let rows = kernels.iter().map(|kernel| cost_row(kernel, cpu)).collect::<Result<Vec<_>, _>>()?;
            writeln!(
                out,
                "{:>11}  {:>10}  {:>15}  {:>9}  {:>4}  {:>11}  {:<15}  kernel",
                "cycles/256w", "MACs/cycle", "vector ops/256w", "registers", "text", "reads ahead", "CPU"
            )?;
            for row in rows {
                writeln!(out, "{row}")?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// A kernel's line in the table of costs.
fn cost_row(kernel: &Kernel, cpu: Option<&'static Cpu>) -> Result<String, CpuError> {
    let isa = kernel.spec.isa;
    let cpu = cpu.unwrap_or_else(|| isa.typical_cpu());
    let cost = cost::cost(&kernel.machine, isa, &cpu.cost_model(isa)?);
    let products = (256 * kernel.machine.tokens) as f64;
    Ok(format!(
        "{:>11.2}  {:>10.1}  {:>15.2}  {:>9}  {:>4}  {:>11}  {:<15}  {}",
        cost.cycles_per_256_weights,
        products / cost.cycles_per_256_weights,
        cost.vector_ops_per_256_weights,
        kernel.pressure.registers,
        cost.text_instructions,
        cost.overfetch_bytes,
        cpu.name,
        kernel.name
    ))
}

fn builder(paths: Vec<PathBuf>) -> Builder {
    paths.into_iter().fold(Builder::new(), Builder::config)
}
