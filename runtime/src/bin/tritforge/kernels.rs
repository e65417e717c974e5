//! `tritforge kernels`: the kernels that this CPU has for the matrices of a model, and which are selected.

use std::io::{self, Write};
use std::process::ExitCode;

use kernelgen::tuned::{Kinship, Made, Settings};
use tritforge::cpu;
use tritforge::engine::Engine;
use tritforge::kernels::abi::{Descriptor, WORTHWHILE_GAIN};
use tritforge::kernels::{DESCRIPTORS, ISAS, MODELS};
use tritforge::model::Profile;
use tritforge::tuned::{self, Followed};

use crate::Outcome;
use crate::model::{ModelArgs, NumericsArgs, warn_of_faults};

/// Options of `kernels`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    model: ModelArgs,

    /// Say which CPU this is, which tuned profile is in force and why, and list every linked kernel with its range proof and
    /// its cost.
    #[arg(long, short)]
    verbose: bool,
}

/// What a matrix is for, its rows and its columns.
type Matrix = (&'static str, usize, usize);

/// Runs the command.
pub fn kernels(args: Args) -> Outcome {
    let engine = Engine::with_threads(1)?;
    // A model that is asked for; else the shapes that the build was asked for.
    let models: Vec<(String, Vec<Matrix>)> = match args.model.model {
        Some(_) => {
            let model = args.model.pack(&engine, &NumericsArgs::default(), Profile::Exact)?;
            let matrices = model.layers.first().into_iter().flat_map(|layer| layer.projections());
            let matrices = matrices.map(|(role, weights)| (role, weights.rows(), weights.cols())).collect();
            vec![(model.config.name, matrices)]
        }
        None => MODELS
            .iter()
            .map(|model| {
                let matrices = model.matrices.iter().map(|matrix| (matrix.role, matrix.rows, matrix.cols));
                (model.name.to_owned(), matrices.collect())
            })
            .collect(),
    };
    warn_of_faults(&engine)?;
    let mut out = io::stdout().lock();
    instruction_sets(&engine, &mut out)?;
    profile(args.verbose, &mut out)?;
    for (name, matrices) in &models {
        writeln!(
            out,
            "\nKernels for {name}, with their cost for 256 weights and one token: in ns as tuned, else in static cycles"
        )?;
        // Matrices with the same choices stand together.
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for (role, rows, cols) in matrices {
            let (choices, matrix) = (choices(&engine, *rows, *cols), format!("{role} {rows}x{cols}"));
            match groups.iter_mut().find(|(known, _)| *known == choices) {
                Some((_, group)) => group.push(matrix),
                None => groups.push((choices, vec![matrix])),
            }
        }
        for (choices, group) in groups {
            write!(out, "  {}\n{choices}", group.join(", "))?;
        }
    }
    if args.verbose {
        writeln!(out, "\nLinked kernels")?;
        DESCRIPTORS.iter().try_for_each(|descriptor| describe(descriptor, &mut out))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn instruction_sets(engine: &Engine, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "Instruction sets")?;
    let faults = engine.faults();
    for isa in ISAS {
        let state = match ((isa.available)(), isa.id == engine.isa().id) {
            (_, true) => "highest in use",
            (true, false) if faults.iter().any(|fault| fault.subject == isa.id) => "does not work",
            (true, false) if isa.rank > engine.isa().rank => "left out",
            (true, false) => "in use",
            (false, false) => "this CPU lacks it",
        };
        writeln!(out, "  {:<12} {state:<18} {}", isa.id, isa.features.join(" "))?;
    }
    if let Some(id) = std::env::var_os(cpu::ISA_VARIABLE).filter(|id| !id.is_empty()) {
        let id = id.to_string_lossy();
        let state = if id == engine.isa().id { "is in force" } else { "cannot be met, see the warning" };
        writeln!(out, "  {}={id} {state}", cpu::ISA_VARIABLE)?;
    }
    Ok(())
}

/// The tuned profile that is in force, and why.
fn profile(verbose: bool, out: &mut impl Write) -> io::Result<()> {
    // What cannot be followed ended the command before.
    let Ok(in_force) = tuned::in_force() else { return Ok(()) };
    writeln!(out, "\nTuned profile\n  {in_force}")?;
    if !verbose {
        return Ok(());
    }
    writeln!(out, "  this CPU: {}", cpu::identify())?;
    if let Some(Followed { profile, kinship, .. }) = &in_force.followed {
        writeln!(out, "  its CPU:  {}", profile.cpu)?;
        let Made { date, commit, by, .. } = &profile.made;
        writeln!(out, "  made on {date} at commit {commit} by `{by}`")?;
        let Settings { threads, stream_kib, chunk_kib, head_streams } = profile.settings;
        let or_default =
            |setting: Option<usize>| setting.map_or_else(|| "default".to_owned(), |value| value.to_string());
        let state = match kinship {
            Kinship::Same => "",
            _ => " (not followed on another model)",
        };
        let (threads, stream, chunk) = (or_default(threads), or_default(stream_kib), or_default(chunk_kib));
        writeln!(
            out,
            "  {threads} threads, {stream} KiB of a stream, {chunk} KiB of a chunk at a time{state}"
        )?;
        writeln!(out, "  streams of the output head: {}", or_default(head_streams))?;
        for kernel in &profile.kernels {
            let is_linked = DESCRIPTORS.iter().any(|d| d.name == kernel.name);
            let state = if is_linked { "" } else { " (not linked: the next best is used)" };
            writeln!(out, "  {:<5} {:>8.3} ns  {}{state}", kernel.class.name(), kernel.cost, kernel.name)?;
        }
    }
    in_force.refused.iter().try_for_each(|profile| writeln!(out, "  not followed: {profile}"))
}

/// A line for each number of tokens and instruction set.
fn choices(engine: &Engine, rows: usize, cols: usize) -> String {
    let mut lines = String::new();
    // What cannot be had ended the command before.
    let asked_for = cpu::asked_for().ok().flatten().map(|isa| isa.id);
    for tokens in engine.token_counts() {
        let Some(selected) = engine.kernel(rows, cols, tokens) else { continue };
        let levels = engine.levels(rows, cols, tokens);
        let costs = engine.costs(&levels, cols);
        for (kernel, cost) in levels.iter().zip(costs) {
            let d = kernel.descriptor();
            let choice = match (d.name == selected.descriptor().name, asked_for) {
                (false, _) => "",
                (true, Some(asked_for)) if asked_for == d.isa.id => "selected, asked for; ",
                (true, _) => "selected, least cost; ",
            };
            let cost = cost / d.tokens as f64;
            let tuned = if engine.is_tuned(kernel, cols) { "tuned; " } else { "" };
            lines += &format!("    {cost:>6.3}  {}  ({choice}{tuned}{})\n", d.name, specialisation(d, cols));
            if let Some(expanded) = engine.expanded(kernel, cols) {
                let (name, from) = (expanded.descriptor().name, Engine::EXPANDED_FROM);
                lines +=
                    &format!("            {name}  (in its place in batches of {from} tokens and more)\n");
            }
        }
    }
    lines
}

/// Whether the kernel was made for the shape, and why.
fn specialisation(d: &Descriptor, cols: usize) -> String {
    match (d.shape, d.gain.of(cols)) {
        (Some(_), Some(gain)) => format!("made for the shape, gains {gain}%"),
        (Some(_), None) => "made for the shape".to_owned(),
        (None, Some(gain)) if gain < WORTHWHILE_GAIN => format!("generic, a shape's own gains {gain}%"),
        (None, Some(_)) => "generic, the build was not asked for this shape".to_owned(),
        (None, None) => "generic, a shape's own was not measured".to_owned(),
    }
}

fn describe(d: &Descriptor, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "  {}", d.name)?;
    writeln!(
        out,
        "      {:.2} cycles for 256 weights by the cost model; {} vector registers; K up to {}",
        d.cycles_per_256_weights, d.registers, d.k_max
    )?;
    for proven in d.proof {
        writeln!(out, "      {} in {}..={} ({} bits)", proven.value, proven.lo, proven.hi, proven.bits)?;
    }
    Ok(())
}
