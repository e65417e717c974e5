//! Running the command, and the fixtures.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tritforge::cpu::ISA_VARIABLE;
use tritforge::tuned::PROFILE_VARIABLE;

/// What a run of the command left behind.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Standard output of a run that must have succeeded.
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The message of a run that must have failed: one line on standard error that begins with `error:`.
    pub fn error(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        let message = self.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("no whole line: {self:?}"));
        let is_one_line = message.starts_with("error: ") && !message.contains(char::is_control);
        assert!(is_one_line, "{self:?}");
        message.to_owned()
    }

    /// Checks that the arguments were refused: exit code 2, and a message that begins with `error:`.
    pub fn refused(self) -> String {
        assert_eq!((self.code, self.stdout.as_str()), (Some(2), ""), "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        self.stderr
    }
}

/// The command with nothing inherited that changes what it does.
pub fn command<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tritforge"));
    command.args(args).env_remove(ISA_VARIABLE).env_remove(PROFILE_VARIABLE).stdin(Stdio::null());
    // The user may have tuned this machine.
    command.env("XDG_CONFIG_HOME", of_tests("no-such-folder"));
    command
}

/// Runs a command to its end.
pub fn finish(command: &mut Command) -> Finished {
    let output = command.output().expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("the command prints UTF-8");
    Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs the command.
pub fn tritforge<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Finished {
    finish(&mut command(args))
}

/// Runs the command with something on its standard input.
pub fn with_input<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, input: &[u8]) -> Finished {
    let mut command = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input).expect("the command reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("the command ends");
    let text = |bytes| String::from_utf8(bytes).expect("the command prints UTF-8");
    Finished { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A file or directory in the tests' directory.
pub fn of_tests(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests")).join(name)
}

/// A fixture's path as an argument.
pub fn fixture(name: &str) -> String {
    let path = of_tests("fixtures").join(name);
    path.into_os_string().into_string().expect("a path in UTF-8")
}

/// A tale that the demo model never saw: its text and its ids.
pub fn tale(index: usize) -> (String, Vec<u32>) {
    let lines = std::fs::read_to_string(fixture("demo/reference/heldout-tales.jsonl")).expect("the tales");
    let line = lines.lines().nth(index).expect("a tale");
    let tale: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let ids = serde_json::from_value(tale["ids"].clone()).expect("ids");
    (tale["text"].as_str().expect("a text").to_owned(), ids)
}

/// Whether an instruction set takes a kernel: one of its own, but with tiles only for what fills them or is worth tiles of fewer
/// rows; other numbers of tokens are left to the level below.
pub fn takes(isa: &str, kernel: &str) -> bool {
    const TILES: [&str; 4] = ["gemm4_", "gemm8_", "gemm16_", "gemm32_"];
    let owner = match isa {
        "amx" if !TILES.iter().any(|operation| kernel.contains(operation)) => "avx512vnni",
        _ => isa,
    };
    kernel.ends_with(&format!("__{owner}"))
}
