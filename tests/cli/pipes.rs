//! Readers that have seen enough: a closed pipe ends the command without a fuss.

use std::io::Read;
use std::process::{ExitStatus, Stdio};

use crate::command::{command, fixture};

/// Runs a command whose output is read up to `bytes` and then closed; returns its status and what it said on stderr.
fn read_some(args: &[&str], bytes: usize) -> (ExitStatus, String) {
    let mut command = command(args);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    stdout.read_exact(&mut vec![0; bytes]).expect("the beginning of the output");
    drop(stdout);
    let output = child.wait_with_output().expect("the command ends");
    (output.status, String::from_utf8(output.stderr).expect("UTF-8"))
}

#[test]
fn a_closed_pipe_is_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("model.gguf");
    let out = out.to_str().expect("UTF-8");
    let (checkpoint, reference) =
        (fixture("demo/packed"), fixture("oracle/bitnet-b158/reference.safetensors"));
    let model = fixture("oracle/bitnet-b158/packed");
    let prompt = "Once upon a time there was a king";
    let cases: [(&[&str], usize); 9] = [
        (&["run", "-n", "600", "--seed", "1", "-p", prompt], 0),
        (&["run", "-n", "600", "--seed", "1", "-p", prompt], 40),
        (&["inspect"], 0),
        (&["inspect"], 10),
        (&["kernels", "--verbose"], 10),
        (&["convert", &checkpoint, out], 0),
        (&["verify", &model, "--reference", &reference], 0),
        (&["tokenize", "demo", prompt], 0),
        (&["--help"], 0),
    ];
    for (args, bytes) in cases {
        let (status, stderr) = read_some(args, bytes);
        assert!(status.success(), "{args:?}: {status}: {stderr}");
        assert_eq!(stderr, "", "{args:?}");
    }
}
