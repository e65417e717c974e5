//! The `kernelgen` command as its users meet it: output, messages, exit codes, and the golden kernels that `emit`
//! must print.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Kernels whose source is checked in: a generic and a specialised one, GEMV and GEMM, every instruction set.
const GOLDEN: [&str; 17] = [
    "gemv_i2a16_anyxany_u1c1sr1p0__portable",
    "gemm4_i2a16_anyxany_u1c1sr1p0__portable",
    "gemv_i2a16_anyxany_u2c1nr1p4096__avx2",
    "gemm4_i2a16_128x256_u2c1sr2p2048__avx2",
    "gemv_i2a16_128x256_u4c2nr1p4096__avxvnni",
    "gemv_i2a16_anyxany_u2c1nr1p4096__avx512bw",
    "gemv_i2a16_128x256_u4c2mr1p4096__avx512vnni",
    "gemv_i2a16_128x256_u2c1sr1p1024__neon",
    "gemv_i2a16_128x256_u2c1nr1p1024__neondotprod",
    "gemm2_i2a16_anyxany_u1c1nr2p0__neoni8mm",
    "gemm16_i2a16_anyxany_u4c1sr1p2048t4bi__amx",
    "gemm32_i2a16_128x256_u8c1sr1p2048t2bi__amx",
    "gemv_i2a16_anyxany_u2c1nr2p0__simd128",
    "gemv_i2a16_anyxany_u2c1nr1p2048t2__avx2",
    "gemv_i2a16_72x200_u2c1mr1p2048t3__avx512vnni",
    "gemm4_i2a16_72x200_u1c1sr1p2048t2bi__avx512vnni",
    "gemm2_i2a16_anyxany_u1c1er1p512t2bi1024__avx512vnni",
];

/// A config that passes; the tests spoil one line each.
const GOOD: &str = r#"schema = 1
name = "small"
source = "made up"
activation = "silu"
sub_norms = true
tied = true

[dims]
layers = 3
hidden = 8
ffn = 12
heads = 4
kv_heads = 2
head_dim = 4
vocab = 10

[matrices]
q_proj = { rows = 16, cols = 8 }
k_proj = { rows = 8, cols = 8 }
v_proj = { rows = 8, cols = 8 }
o_proj = { rows = 8, cols = 16 }
gate_proj = { rows = 12, cols = 8 }
up_proj = { rows = 12, cols = 8 }
down_proj = { rows = 8, cols = 12 }
embedding = { rows = 10, cols = 8 }
"#;

fn kernelgen(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kernelgen"));
    command.args(args).current_dir(ROOT);
    command
}

fn run(args: &[&str]) -> Output {
    kernelgen(args).output().expect("the command starts")
}

#[track_caller]
fn stdout_of(args: &[&str]) -> String {
    let output = run(args);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {errors}");
    assert_eq!(errors, "", "{args:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[track_caller]
fn stderr_of_failure(args: &[&str], code: i32) -> String {
    let output = run(args);
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
    assert!(output.stdout.is_empty(), "{args:?}");
    errors
}

/// A config file of this text in a folder of its own.
struct ConfigFile {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl ConfigFile {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let path = folder.path().join("m.toml");
        std::fs::write(&path, text).expect("the file can be written");
        ConfigFile { _folder: folder, path }
    }

    fn name(&self) -> &str {
        self.path.to_str().expect("a path of text")
    }
}

#[test]
fn golden_kernels_are_what_emit_prints() {
    let bless = std::env::var_os("TRITFORGE_BLESS").is_some_and(|value| value == "1");
    for name in GOLDEN {
        let path = Path::new(ROOT).join("tests/golden").join(format!("{name}.rs"));
        let printed = stdout_of(&["emit", name]);
        if bless {
            std::fs::write(&path, &printed).expect("the golden file can be written");
        }
        let golden = std::fs::read_to_string(&path)
            .unwrap_or_else(|e| panic!("{}: {e}; TRITFORGE_BLESS=1 makes golden files anew", path.display()));
        // Not assert_eq: the two texts would fill the screen.
        let differs = golden.lines().zip(printed.lines()).position(|(golden, printed)| golden != printed);
        assert!(
            golden == printed,
            "{name} differs from its golden file from line {} on; if that is meant, TRITFORGE_BLESS=1 updates it",
            differs.map_or_else(|| golden.lines().count().min(printed.lines().count()), |line| line + 1)
        );
    }
}

#[test]
fn every_golden_file_is_compared() {
    let files = std::fs::read_dir(Path::new(ROOT).join("tests/golden")).expect("the golden files");
    let names = files.map(|file| file.expect("an entry").file_name());
    // The golden text beside them belongs to the tests of the `tritforge` command.
    for name in names.filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "rs")) {
        assert!(
            GOLDEN.iter().any(|kernel| name == *format!("{kernel}.rs")),
            "{name:?} is compared by no test"
        );
    }
}

#[test]
fn check_passes_the_bundled_configs() {
    let out = stdout_of(&["check", "configs/"]);
    assert!(out.contains("demo: "), "{out}");
    assert!(out.lines().last().is_some_and(|line| line.ends_with("every range proven")), "{out}");
}

#[test]
fn check_says_what_a_config_holds() {
    let file = ConfigFile::new(GOOD);
    let out = stdout_of(&["check", file.name()]);
    // 16x8, 8x8, 8x16, 12x8 and 8x12.
    assert!(out.starts_with("small: 5 ternary shapes, 0.0 million ternary weights\n1 models, "), "{out}");
}

#[test]
fn each_kind_of_bad_config_prints_its_place() {
    for (line, spoilt, place, part) in [
        // A syntax error, a missing field, an unknown key, a wrong type, zero, a contradiction.
        (10, "hidden = = 8", "10:10", "extra `=`"),
        (10, "", "8:1", "missing field `hidden`"),
        (7, "speed = 3", "7:1", "unknown field `speed`"),
        (10, "hidden = \"8\"", "10:10", "invalid type: string"),
        (10, "hidden = 0", "10:10", "hidden is 0, expected a whole number from 1"),
        (
            18,
            "q_proj = { rows = 15, cols = 8 }",
            "18:19",
            "q_proj.rows is 15, expected heads * head_dim = 16",
        ),
        (4, "activation = \"gelu\"", "4:14", "activation is \"gelu\", expected one of"),
    ] {
        let mut lines: Vec<&str> = GOOD.lines().collect();
        lines[line - 1] = spoilt;
        let file = ConfigFile::new(&lines.join("\n"));
        let errors = stderr_of_failure(&["check", file.name()], 1);
        let expected = format!("{}:{place}: ", file.name());
        assert!(errors.contains(&expected), "no {expected} in {errors}");
        assert!(errors.contains(part), "no {part} in {errors}");
        // The other commands that read configs say the same.
        assert_eq!(stderr_of_failure(&["list", file.name()], 1), errors);
        assert_eq!(stderr_of_failure(&["cost", "--config", file.name()], 1), errors);
    }
}

#[test]
fn a_missing_file_is_named() {
    let errors = stderr_of_failure(&["check", "no-such-config.toml"], 1);
    assert!(errors.starts_with("error: no-such-config.toml: cannot be read: "), "{errors}");
}

#[test]
fn list_names_the_kernels_of_a_build() {
    let out = stdout_of(&["list", "configs/models/demo.toml"]);
    let names: Vec<&str> = out.lines().collect();
    // By the schedule table a shape's own kernel gains 7.8% there where K is 256, and 0.6% where it is more.
    let own = |shape: &str| format!("gemm4_i2a16_{shape}_u2c2nr1p2048__avx512bw");
    assert!(names.contains(&own("128x256").as_str()) && !names.contains(&own("256x768").as_str()), "{out}");
    assert!(names.contains(&"gemv_i2a16_anyxany_u1c1sr1p0__portable"), "{out}");
    // Without configs, the generic kernels: one for each table of the schedules, and one where there is one with expanded weights.
    let generic = stdout_of(&["list"]);
    let table = include_str!("../kernelgen/src/schedules.toml");
    let kernels = table.lines().filter(|line| line.starts_with('[') || line.starts_with("expanded = "));
    assert_eq!(generic.lines().count(), kernels.count());
    assert!(generic.lines().all(|name| name.contains("_anyxany_")), "{generic}");
}

#[test]
fn cost_is_a_line_a_kernel() {
    let out = stdout_of(&["cost", GOLDEN[0], GOLDEN[6]]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].ends_with(GOLDEN[0]) && lines[2].ends_with(GOLDEN[6]), "{out}");
    let listed = stdout_of(&["list", "configs/models/demo.toml"]).lines().count();
    assert_eq!(stdout_of(&["cost", "--config", "configs/models/demo.toml"]).lines().count(), listed + 1);
}

/// `vpdpbusd` on four masked fields of 16 rows: four ands and four products an atom. On Zen 4, whose four pipes each
/// take two cycles for 512 bits, that is at least 4 cycles; on Zen 5, whose two load ports fetch one vector of weights
/// and four of activations, 2.5; on Ice Lake, with two ports for 512 bits, 4.
#[test]
fn costs_are_those_of_the_cpu_asked_for() {
    let kernel = "gemv_i2a16_16x65536_u8c4mr1p0__avx512vnni";
    let cycles = |cpu: &str| {
        let out = stdout_of(&["cost", "--cpu", cpu, kernel]);
        let line = out.lines().nth(1).unwrap_or_default();
        assert!(line.contains(&format!(" {cpu} ")) && line.ends_with(kernel), "{out}");
        line.split_whitespace().next().and_then(|word| word.parse::<f64>().ok()).expect("cycles")
    };
    for (cpu, least) in [("zen4", 4.0), ("zen5", 2.5), ("ice-lake-server", 4.0)] {
        let found = cycles(cpu);
        assert!(found >= least && found < least + 0.25, "{cpu}: {found}");
    }
    let errors = stderr_of_failure(&["cost", "--cpu", "zen", kernel], 1);
    assert!(errors.starts_with("error: unknown CPU 'zen', known are haswell, "), "{errors}");
    let errors = stderr_of_failure(&["cost", "--cpu", "haswell", kernel], 1);
    assert_eq!(errors, "error: haswell does not have avx512vnni; it has portable, avx2\n");
    // Without names, those kernels that the CPU can run.
    let out = stdout_of(&["cost", "--cpu", "haswell"]);
    assert_eq!(out.lines().count(), 7, "{out}");
    assert!(
        out.lines().skip(1).all(|line| line.ends_with("__avx2") || line.ends_with("__portable")),
        "{out}"
    );
}

#[test]
fn unknown_kernels_are_errors() {
    for (name, part) in [
        ("gemv", "'gemv' names no kernel: there is no '__<isa>' at its end"),
        (
            "gemv_i2a16_8x8_u1c1sr1p0__sse9",
            "unknown ISA 'sse9', known are portable, avx2, avxvnni, avx512bw, avx512vnni, amx, neon, neondotprod, neoni8mm, simd128",
        ),
        ("gemv_i2a16_8x8_fast__avx2", "'fast' is no schedule"),
        ("gemv_i2a16_0x8_u1c1sr1p0__avx2", "rows and columns must be at least 1"),
        ("gemv_i2a16_64x2048_u1c1sr1p0f32__avx2", "its i16 lane holds -32768..=32767"),
    ] {
        for command in ["emit", "cost"] {
            let errors = stderr_of_failure(&[command, name], 1);
            assert!(errors.starts_with("error: ") && errors.contains(part), "{errors}");
        }
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    assert!(stderr_of_failure(&["polish"], 2).contains("polish"));
    assert!(stderr_of_failure(&["check"], 2).contains("<PATHS>"));
    let help = stdout_of(&["--help"]);
    for command in ["check", "list", "emit", "cost"] {
        assert!(help.contains(command), "{help}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    for args in [["list", "configs"].as_slice(), &["check", "configs"], &["emit", GOLDEN[3]]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = kernelgen(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(|child| child.wait_with_output())
            .expect("the command starts");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        assert!(output.status.success(), "{args:?}: {}", output.status);
    }
}
