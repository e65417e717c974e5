//! `tritforge kernels`: what is linked, and what this CPU selects.

use std::io::{self, Write};
use std::process::ExitCode;

use tritforge::cpu;
use tritforge::engine::Engine;
use tritforge::kernels::abi::Descriptor;
use tritforge::kernels::{DESCRIPTORS, ISAS};
use tritforge::model::Model;

use crate::Outcome;
use crate::model::ModelArgs;

/// Options of `kernels`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Show the range proof and the cost of every kernel.
    #[arg(long, short)]
    verbose: bool,
}

/// Runs the command.
pub fn kernels(args: Args) -> Outcome {
    let engine = Engine::with_threads(1)?;
    let model = Model::from_raw(args.model.load()?, &engine)?;
    let mut out = io::stdout().lock();
    writeln!(out, "Instruction sets")?;
    for isa in ISAS {
        let state = match ((isa.available)(), isa.id == engine.isa().id) {
            (_, true) => "selected",
            (true, false) => "available",
            (false, false) => "this CPU lacks it",
        };
        writeln!(out, "  {:<12} {state:<18} {}", isa.id, isa.features.join(" "))?;
    }
    if let Some(id) = std::env::var_os(cpu::ISA_VARIABLE).filter(|id| !id.is_empty()) {
        writeln!(out, "  {}={} is in force", cpu::ISA_VARIABLE, id.to_string_lossy())?;
    }
    writeln!(out, "\nLinked kernels")?;
    for descriptor in DESCRIPTORS {
        describe(descriptor, args.verbose, &mut out)?;
    }
    writeln!(out, "\nSelected for {}", model.config.name)?;
    let Some(layer) = model.layers.first() else { return Ok(ExitCode::SUCCESS) };
    let mut sizes: Vec<usize> = DESCRIPTORS.iter().map(|d| d.tokens).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for (role, weights) in layer.projections() {
        let (rows, cols) = (weights.rows(), weights.cols());
        for &tokens in &sizes {
            let Some(kernel) = engine.kernel(rows, cols, tokens) else { continue };
            let d = kernel.descriptor();
            let why = if d.shape.is_some() { "made for this shape" } else { "generic" };
            writeln!(out, "  {role:<10} {rows:>6}x{cols:<6} {tokens} at once: {} ({why})", d.name)?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn describe(d: &Descriptor, verbose: bool, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "  {}", d.name)?;
    if verbose {
        writeln!(
            out,
            "      {:.2} cycles for 256 weights by the cost model; {} vector registers; K up to {}",
            d.cycles_per_256_weights, d.registers, d.k_max
        )?;
        for proven in d.proof {
            writeln!(out, "      {} in {}..={} ({} bits)", proven.value, proven.lo, proven.hi, proven.bits)?;
        }
    }
    Ok(())
}
