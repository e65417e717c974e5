//! The two interpreters of the compiler: against the naive product, against the silicon bit for bit, and the models
//! of the intrinsics against the intrinsics. Every back-end is interpreted on every machine; what needs an
//! instruction set that this CPU lacks is reported as ignored, with the reason as its kind.

mod agreement;
mod faults;
mod models_amx;
mod models_arm;
mod models_simd128;
#[cfg(target_arch = "x86_64")]
mod models_x86;
mod operands;
mod portable_models;
#[cfg(target_arch = "aarch64")]
mod silicon_arm;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod silicon_simd128;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod trapped;
mod used;

use std::process::ExitCode;

use kernelgen::compile::{Kernel, compile};
use kernelgen::spec::KernelSpec;
use libtest_mimic::Arguments;
use tritforge_tests::default_builder;
use tritforge_tests::trials::conclude;

/// Kernels besides the default ones, so that every way to unpack and to split is lowered for every instruction set.
const MORE_KERNELS: [&str; 65] = [
    "gemv_i2a16_37x1003_u2c2mr1p64__portable",
    "gemv_i2a16_37x1003_u4c3nr1p0__portable",
    "gemm3_i2a16_anyxany_u2c2sr1p0__portable",
    "gemv_i2a16_37x1003_u1c1mr2p0__avx2",
    "gemv_i2a16_37x1003_u3c1sr1p64__avx2",
    "gemv_i2a16_anyxany_u5c1sr2p0f10__avx2",
    "gemv_i2a16_anyxany_u2c2nr2p0f6__avx2",
    "gemm2_i2a16_anyxany_u1c1nr2p0__avx2",
    "gemv_i2a16_37x1003_u4c2mr2p64__avxvnni",
    "gemv_i2a16_37x1003_u1c1mr2p0__avxvnni",
    "gemm3_i2a16_anyxany_u2c1nr2p0__avxvnni",
    "gemv_i2a16_anyxany_u5c3sr2p0__avxvnni",
    "gemv_i2a16_37x1003_u1c1mr1p0__avx512bw",
    "gemv_i2a16_anyxany_u5c2sr1p64__avx512bw",
    "gemm3_i2a16_37x1003_u1c1mr1p0__avx512bw",
    "gemv_i2a16_anyxany_u4c4nr1p0f8__avx512bw",
    "gemv_i2a16_37x1003_u3c2sr1p0__avx512vnni",
    "gemv_i2a16_anyxany_u7c3nr1p128__avx512vnni",
    "gemm3_i2a16_37x1003_u2c2nr1p0__avx512vnni",
    "gemm4_i2a16_anyxany_u2c2sr1p0__avx512vnni",
    "gemv_i2a16_anyxany_u4c2mr1p64t2__avx512vnni",
    "gemm3_i2a16_87x1003_u2c1nr1p0t3__avx512vnni",
    "gemv_i2a16_87x1003_u8c2nr1p0t4__avx512bw",
    "gemv_i2a16_anyxany_u2c1nr1p64t8__avx512bw",
    "gemm2_i2a16_anyxany_u3c1sr1p0t2f3__avx2",
    "gemv_i2a16_87x203_u5c2nr2p0t4__avx2",
    "gemv_i2a16_anyxany_u4c1sr2p128t3__avxvnni",
    "gemv_i2a16_anyxany_u2c1sr1p0t2__portable",
    "gemm3_i2a16_87x1003_u2c2nr1p0t2b__avx512vnni",
    "gemm3_i2a16_87x1003_u2c2er1p0t2b__avx512vnni",
    "gemm2_i2a16_anyxany_u2c1er2p0f4__avx2",
    "gemm3_i2a16_37x203_u2c1er1p512t2bi64__avx512vnni",
    "gemm2_i2a16_anyxany_u2c1sr2p64t2i128__neon",
    "gemm2_i2a16_anyxany_u2c1er4p0t2i__neondotprod",
    "gemv_i2a16_37x203_u3c1er1p0__portable",
    "gemm2_i2a16_anyxany_u2c1sr2p0t2bf4__avx2",
    "gemv_i2a16_87x203_u1c1sr2p64t3b__avx2",
    "gemm4_i2a16_anyxany_u2c1sr1p0t2bi__avx512bw",
    "gemv_i2a16_anyxany_u3c1sr2p0t2b__avxvnni",
    "gemm2_i2a16_anyxany_u2c1sr4p0t2b__neon",
    "gemm2_i2a16_37x1003_u2c1sr4p0t2bi__simd128",
    "gemv_i2a16_anyxany_u2c1sr2p64t2__neon",
    "gemv_i2a16_anyxany_u2c1nr2p0t3__neondotprod",
    "gemv_i2a16_anyxany_u2c1sr2p0t2__simd128",
    "gemm4_i2a16_37x1003_u4c1sr1p0t3bi__amx",
    "gemm5_i2a16_anyxany_u8c1sr1p0i__amx",
    "gemm16_i2a16_37x1003_u4c1sr1p0i__amx",
    "gemm16_i2a16_anyxany_u8c1sr1p0i__amx",
    "gemm16_i2a16_87x203_u4c1sr1p64t3bi__amx",
    "gemm4_i2a16_137x1003_u8c1sr1p64t4bi__amx",
    "gemm16_i2a16_87x203_u4c1sr1p64t4bi__amx",
    "gemm16_i2a16_200x256_u4c1sr1p64t4bi__amx",
    "gemm32_i2a16_37x1000_u8c1sr1p0t2bi__amx",
    "gemm48_i2a16_37x1008_u8c1sr1p0i__amx",
    "gemm64_i2a16_anyxany_u4c1sr1p0i__amx",
    "gemv_i2a16_37x1003_u2c2nr2p0__neon",
    "gemm2_i2a16_37x1003_u1c1nr4p0__neon",
    "gemv_i2a16_anyxany_u5c1sr4p0f10__neon",
    "gemv_i2a16_37x1003_u3c2sr1p0__neondotprod",
    "gemm3_i2a16_anyxany_u2c1nr4p0__neondotprod",
    "gemv_i2a16_37x1003_u3c2mr2p0__neoni8mm",
    "gemm3_i2a16_anyxany_u2c2sr4p64__neoni8mm",
    "gemv_i2a16_37x1003_u3c2sr2p0__simd128",
    "gemv_i2a16_anyxany_u5c1mr4p64__simd128",
    "gemm3_i2a16_37x1003_u2c2sr4p0__simd128",
];

/// Every kernel that is interpreted.
fn kernels() -> Vec<Kernel> {
    let mut kernels = default_builder().compile().expect("the default configs compile");
    let more = MORE_KERNELS.iter().map(|name| name.parse::<KernelSpec>().expect("a kernel's name"));
    kernels.extend(more.map(|spec| compile(&spec).expect("the kernel compiles")));
    kernels
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let kernels = kernels();
    let mut trials = used::trials(&kernels);
    trials.extend(faults::trials());
    trials.extend(portable_models::trials());
    #[cfg(target_arch = "x86_64")]
    trials.extend(models_x86::trials());
    trials.extend(operands::trials(&models_arm::CHECKED, models_arm::silicon));
    trials.extend(operands::trials(&models_simd128::CHECKED, models_simd128::silicon));
    trials.extend(models_amx::trials());
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    trials.extend(trapped::trials());
    trials.extend(kernels.into_iter().flat_map(agreement::trials));
    let way = |check: &str| match check {
        "ir_equals_naive" => "IR",
        "machine_equals_naive" => "lowered",
        "trapped_equals_naive" => "tiles trapped",
        _ => "against silicon",
    };
    conclude(&arguments, trials, way)
}
