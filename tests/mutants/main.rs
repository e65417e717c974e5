//! Plants faults in the sources, one at a time, and shows which test catches each: `cargo run -p tritforge-tests --example
//! mutants`. What it found stands in `tests/mutants/record.md`. It takes most of an hour, so no check waits for it.
//!
//! The faults are data: `tests/mutants/faults.toml`. A fault replaces one text that stands exactly once in its file. It
//! must leave kernelgen compiling, and some stage of the tests must then fail; a build that is refused by a proof counts
//! as caught, for nobody gets that kernel. All happens in a copy of the tracked files.

mod copy;
mod stage;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Deserialize;

use copy::Copy;
use stage::{Outcome, STAGES};

/// A fault to plant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    /// What kind of mistake it is.
    kind: String,
    /// What it breaks.
    what: String,
    /// The file, from the root of the repository.
    file: PathBuf,
    /// The text that it replaces.
    find: String,
    /// What stands there instead.
    replace: String,
}

/// All faults.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    fault: Vec<Fault>,
}

/// What became of a fault.
enum Fate {
    /// A stage failed: its name, and the first thing that it complained about.
    Caught(&'static str, String),
    /// Every stage passed.
    Survived,
    /// The fault says nothing about the tests: why.
    Invalid(String),
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Plants every fault whose description holds all arguments; true if all were caught.
fn run() -> io::Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let words: Vec<String> = std::env::args().skip(1).collect();
    let text = std::fs::read_to_string(root.join("tests/mutants/faults.toml"))?;
    let Faults { fault: mut faults } = toml::from_str(&text).map_err(io::Error::other)?;
    faults.retain(|fault| words.iter().all(|word| format!("{fault:?}").contains(word)));
    let copy = Copy::of(&root)?;
    for stage in &STAGES {
        if let Outcome::Failed(complaint) = stage.run(&copy)? {
            return Err(io::Error::other(format!("{} fails without any fault: {complaint}", stage.name)));
        }
    }
    let (mut table, mut caught) = (String::new(), 0);
    for (number, fault) in (1..).zip(&faults) {
        let fate = plant(fault, &copy)?;
        let (by, complaint) = match &fate {
            Fate::Caught(stage, complaint) => (*stage, complaint.as_str()),
            Fate::Survived => ("**nothing**", ""),
            Fate::Invalid(why) => ("**not a fault**", why.as_str()),
        };
        caught += usize::from(matches!(fate, Fate::Caught(..)));
        let (kind, what, file) = (&fault.kind, &fault.what, fault.file.display());
        println!("{number}/{} {kind}: {what} ({file}): {by}: {complaint}", faults.len());
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {number} | {kind} | {what} | `{file}` | {by} | `{complaint}` |");
    }
    println!("{caught} of {} faults caught", faults.len());
    // Some of the faults are no record of all.
    if words.is_empty() {
        std::fs::write(root.join("tests/mutants/record.md"), record(&table, caught, faults.len()))?;
    }
    Ok(caught == faults.len())
}

fn record(table: &str, caught: usize, all: usize) -> String {
    format!(
        "# Faults planted, and the tests that catch them\n\n\
         Written by `cargo run -p tritforge-tests --example mutants` on {}; the faults themselves stand in `faults.toml`.\n\
         Tests run in the order of the stages in `stage.rs`, so the one named is the first that fails, not the only one.\n\n\
         {caught} of {all} caught.\n\n\
         | | kind | what is broken | file | caught by | first complaint |\n|---|---|---|---|---|---|\n{table}",
        std::env::consts::ARCH
    )
}

/// Plants a fault, runs the stages until one fails, and takes the fault out again.
fn plant(fault: &Fault, copy: &Copy) -> io::Result<Fate> {
    let original = copy.read(&fault.file)?;
    let places = original.matches(&fault.find).count();
    if places != 1 {
        return Ok(Fate::Invalid(format!("its text stands {places} times in the file")));
    }
    copy.write(&fault.file, &original.replacen(&fault.find, &fault.replace, 1))?;
    let fate = fate(copy);
    copy.write(&fault.file, &original)?;
    fate
}

fn fate(copy: &Copy) -> io::Result<Fate> {
    if let Outcome::Failed(complaint) = stage::KERNELGEN_COMPILES.run(copy)? {
        return Ok(Fate::Invalid(complaint));
    }
    for stage in &STAGES {
        if let Outcome::Failed(complaint) = stage.run(copy)? {
            return Ok(Fate::Caught(stage.name, complaint));
        }
    }
    Ok(Fate::Survived)
}
