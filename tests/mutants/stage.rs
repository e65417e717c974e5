//! The stages of the tests, the fast ones first.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::copy::Copy;

/// A stage that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(600);

/// Some tests, run by one cargo command.
pub struct Stage {
    /// What the record calls it.
    pub name: &'static str,
    arguments: &'static [&'static str],
}

/// How a stage ended.
pub enum Outcome {
    /// Every test passed.
    Passed,
    /// The build or a test failed, or it took too long: the first line that says so.
    Failed(String),
}

/// What must hold for a fault to be one: the compiler of kernels can be built with it.
pub const KERNELGEN_COMPILES: Stage =
    Stage { name: "kernelgen compiles", arguments: &["check", "-p", "kernelgen"] };

/// The stages, in their order.
pub const STAGES: [Stage; 5] = [
    Stage { name: "kernelgen's unit tests", arguments: &["test", "-p", "kernelgen", "--lib"] },
    Stage { name: "compiler", arguments: &["test", "-p", "tritforge-tests", "--test", "compiler"] },
    Stage {
        name: "interpreters, kernels",
        arguments: &["test", "-p", "tritforge-tests", "--test", "interpreters", "--test", "kernels"],
    },
    Stage { name: "the runtime's unit tests", arguments: &["test", "-p", "tritforge", "--lib"] },
    Stage {
        name: "models, same_bits",
        arguments: &["test", "-p", "tritforge-tests", "--test", "models", "--test", "same_bits"],
    },
];

impl Stage {
    /// Runs it in the copy.
    pub fn run(&self, copy: &Copy) -> io::Result<Outcome> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(self.arguments)
            .current_dir(copy.root())
            .env("CARGO_TARGET_DIR", copy.root().join("target"))
            .env("CARGO_TERM_COLOR", "never")
            .env("RUST_BACKTRACE", "0")
            // The kernels of the demo's shapes: enough for every test, and quickly compiled.
            .env("TRITFORGE_CONFIGS", "configs/models/demo.toml")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("the output cannot be read"));
        };
        // Both are read all the while: a pipe that is full would stop the tests.
        let readers = [reader(stdout), reader(stderr)];
        let start = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if start.elapsed() > LIMIT => {
                    // The whole group where there are such: a test that loops is a child of cargo's.
                    if cfg!(unix) {
                        let group = format!("-{}", child.id());
                        Command::new("kill").args(["-9", "--", &group]).status()?;
                    } else {
                        child.kill()?;
                    }
                    child.wait()?;
                    break None;
                }
                None => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        let Some(status) = status else {
            return Ok(Outcome::Failed(format!("took more than {} seconds", LIMIT.as_secs())));
        };
        // The record is the same wherever the copy lies.
        let root = format!("{}/", copy.root().display());
        let [stdout, stderr] = readers.map(|reader| reader.join().unwrap_or_default());
        Ok(if status.success() {
            Outcome::Passed
        } else {
            Outcome::Failed(complaint(&stdout, &stderr).replace(&root, ""))
        })
    }
}

fn reader(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What cannot be read is missing from a message, no more.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The first failed test, or what the compiler or the build script said.
fn complaint(stdout: &str, stderr: &str) -> String {
    let test = stdout.lines().find_map(|line| {
        let name = line.strip_prefix("test ")?.strip_suffix("FAILED")?.trim_end_matches([' ', '.']);
        // A kind in brackets stands before the names of some.
        Some(name.rsplit(']').next().unwrap_or(name).trim().to_owned())
    });
    let error = || {
        let line = stderr.lines().map(str::trim).find(|line| line.starts_with("error:"));
        line.map(|line| line.trim_start_matches("error:").trim().chars().take(160).collect())
    };
    // An error of the build script is more to the point than cargo's words about it.
    let script = || {
        let line =
            stderr.lines().map(str::trim).find(|line| line.starts_with("error: ") && line.contains(": gem"));
        line.map(|line| line.trim_start_matches("error: ").chars().take(160).collect())
    };
    let complaint = test.or_else(script).or_else(error).unwrap_or_else(|| "no word".to_owned());
    complaint.replace(['|', '`'], " ")
}
