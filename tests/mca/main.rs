//! The static cost against llvm-mca: the kernels are compiled to assembly, and the innermost loop of each is simulated on
//! the CPUs that llvm-mca knows. Where it is not installed the trials are reported as ignored, with the reason as their
//! kind. `LLVM_MCA` names the command; from LLVM 16 on it knows Zen 4. `cargo test -p tritforge-tests --test mca --
//! --nocapture` prints the figures.

use std::path::Path;
use std::process::{Command, ExitCode};

use kernelgen::compile::Kernel;
use kernelgen::cpus;
use kernelgen::passes::cost;
use libtest_mimic::{Arguments, Failed, Trial};
use tempfile::tempdir;
use tritforge_tests::trials::ignored;
use tritforge_tests::{compiled, source};

/// CPUs, as they are called here and by LLVM.
const CPUS: [(&str, &str); 7] = [
    ("haswell", "haswell"),
    ("skylake", "skylake"),
    ("skylake-avx512", "skylake-avx512"),
    ("ice-lake-server", "icelake-server"),
    ("golden-cove", "sapphirerapids"),
    ("zen3", "znver3"),
    ("zen4", "znver4"),
];

/// Of fixed shape and long rows, so that nearly all of the time goes to the innermost loop.
const KERNELS: [&str; 8] = [
    "gemv_i2a16_16x65536_u4c1nr1p4096__avx2",
    "gemm4_i2a16_16x65536_u2c1sr2p2048__avx2",
    "gemv_i2a16_16x65536_u4c2nr1p4096__avxvnni",
    "gemm4_i2a16_16x65536_u2c1sr1p2048__avxvnni",
    "gemv_i2a16_16x65536_u2c1nr1p4096__avx512bw",
    "gemm4_i2a16_16x65536_u2c1nr1p2048__avx512bw",
    "gemv_i2a16_16x65536_u4c2mr1p4096__avx512vnni",
    "gemm4_i2a16_16x65536_u2c1mr1p2048__avx512vnni",
];

/// Runs of a loop that are simulated.
const RUNS: usize = 1000;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A kernel's assembly, without any target feature but its own.
fn assembly(kernel: &Kernel, folder: &Path) -> String {
    let (file, out) = (folder.join("kernel.rs"), folder.join("kernel.s"));
    let text = source(std::slice::from_ref(kernel));
    std::fs::write(&file, text).expect("the source can be written");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let options = ["--crate-type=lib", "--edition=2024", "-Copt-level=3", "--emit=asm", "-o"];
    run(Command::new(rustc).args(options).arg(&out).arg(&file));
    std::fs::read_to_string(out).expect("the assembly")
}

fn products(lines: &[&str]) -> usize {
    lines.iter().filter(|line| line.contains("vpdpbusd") || line.contains("vpmaddubsw")).count()
}

/// The loop with the most products among those that hold no other: from a label to a jump back to it.
fn innermost_loop(assembly: &str) -> Vec<&str> {
    let lines: Vec<&str> = assembly.lines().map(str::trim).collect();
    let mut loops: Vec<(usize, usize)> = Vec::new();
    for (end, line) in lines.iter().enumerate() {
        let Some((jump, target)) = line.split_once(char::is_whitespace) else { continue };
        let label = format!("{}:", target.trim());
        if jump.starts_with('j')
            && let Some(start) = lines[..end].iter().rposition(|line| *line == label)
        {
            loops.push((start, end));
        }
    }
    let holds_another = |&(start, end): &(usize, usize)| {
        loops.iter().any(|&(s, e)| (s, e) != (start, end) && start <= s && e <= end)
    };
    let innermost = loops.iter().filter(|each| !holds_another(each));
    let &(start, end) = innermost.max_by_key(|&&(s, e)| products(&lines[s..e])).expect("a loop");
    lines[start..=end].to_vec()
}

/// How far the static cost may be from what is simulated, and how far from what llvm-mca of other versions says: their
/// models of one CPU differ by a third.
const RATIO: std::ops::RangeInclusive<f64> = 0.6..=1.6;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mca = std::env::var("LLVM_MCA").unwrap_or_else(|_| "llvm-mca".to_owned());
    // It lists the CPUs of the target that it was built for.
    let help = Command::new(&mca).args(["-mtriple=x86_64-unknown-linux-gnu", "-mcpu=help"]).output();
    let known = help.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
    let trials = KERNELS.iter().map(|&name| match &known {
        Ok(known) => {
            let (mca, known) = (mca.clone(), known.clone());
            Trial::test(name, move || agrees(name, &mca, &known))
        }
        Err(error) => {
            let reason = format!("{mca}: {error}");
            ignored(name, "llvm-mca is not installed", reason)
        }
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// Compares the static cost of a kernel with the simulated one on every CPU that both know and that has the kernel's ISA.
fn agrees(name: &str, mca: &str, known: &str) -> Result<(), Failed> {
    let folder = tempdir()?;
    let kernel = compiled(name);
    let text = assembly(&kernel, folder.path());
    let lines = innermost_loop(&text);
    let isa = kernel.spec.isa;
    let an_atom = 4 * 16 / isa.atom().rows * kernel.machine.tokens;
    let atoms = products(&lines) as f64 / an_atom as f64;
    let body = folder.path().join("loop.s");
    std::fs::write(&body, lines.join("\n"))?;
    for (ours, theirs) in CPUS.iter().filter(|(_, theirs)| known.contains(&format!("  {theirs} "))) {
        let Ok(model) = cpus::by_name(ours)?.cost_model(isa) else { continue };
        let cost = cost::cost(&kernel.machine, isa, &model).cycles_per_256_weights;
        let report = run(Command::new(mca)
            .args([
                "-mtriple=x86_64-unknown-linux-gnu",
                &format!("-mcpu={theirs}"),
                &format!("-iterations={RUNS}"),
            ])
            .arg(&body));
        let total = report.lines().find_map(|line| line.strip_prefix("Total Cycles:")).ok_or("no total")?;
        let simulated = total.trim().parse::<f64>()? / RUNS as f64 / atoms;
        let line =
            format!("{name} on {ours}: {cost:.2} cycles for 256 weights, llvm-mca says {simulated:.2}");
        println!("{line}");
        if !RATIO.contains(&(cost / simulated)) {
            return Err(line.into());
        }
    }
    Ok(())
}
