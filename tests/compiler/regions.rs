//! Kernels that are one region of assembly: that the assembler takes them and the general registers suffice, with and
//! without optimisation. What they compute is the business of the interpreters' tests.
#![cfg(target_arch = "x86_64")]

use std::process::Command;

use tempfile::tempdir;

/// Both unrolls, with rests and without, fixed shapes and any, one row tile at a time and several; the last has the most
/// cursors.
const KERNELS: [&str; 7] = [
    "gemm3_i2a16_37x1003_u4c1sr1p64t3bi__amx",
    "gemm16_i2a16_37x1003_u4c1sr1p0i__amx",
    "gemm16_i2a16_anyxany_u8c1sr1p0i__amx",
    "gemm32_i2a16_128x256_u8c1sr1p2048t2bi__amx",
    "gemm48_i2a16_37x1008_u4c1sr1p64i__amx",
    "gemm32_i2a16_anyxany_u8c1sr1p0t2bi__amx",
    "gemm16_i2a16_anyxany_u4c1sr1p64t4bi__amx",
];

#[test]
fn the_assembler_takes_every_region() {
    let folder = tempdir().expect("a folder for temporary files");
    let source = folder.path().join("kernels.rs");
    let kernels = KERNELS.map(crate::compiled);
    std::fs::write(&source, crate::source(&kernels)).expect("the source can be written");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    for level in ["-Copt-level=0", "-Copt-level=3"] {
        let object = folder.path().join("kernels.o");
        let options = ["--crate-type=lib", "--edition=2024", "--emit=obj", level, "-o"];
        let mut command = Command::new(&rustc);
        command.args(options).arg(&object).arg(&source);
        let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
