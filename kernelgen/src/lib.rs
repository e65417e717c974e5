//! The kernel compiler of tritforge: from matrix shapes in TOML to specialised Rust SIMD kernels that multiply
//! packed ternary weights with int8 activations, exactly.
//!
//! ```text
//! configs/*.toml -> config (typed, validated, errors with line and column)
//!    -> spec: operation x format x shape x schedule x ISA      (the name grammar)
//!    -> contract: the IR of one row tile; passes: range proof, register pressure, cost
//!    -> machine: the ISA's instructions -> print: Rust -> emit: one source with its descriptor table
//! ```
//!
//! Build scripts use [`Builder`]; the `kernelgen` command shows what it does. How the pieces work, and how to add
//! an instruction set, stands in this crate's README.

/// What every generated kernel shares; compiled here too so that it is formatted, linted and documented.
pub mod abi;
/// What the kernels on tiles need besides instructions, and whether they may run; compiled here too so that it is
/// formatted, linted and documented.
#[cfg(target_arch = "x86_64")]
pub mod amx_ops;
pub mod builder;
pub mod compile;
pub mod config;
pub mod contract;
pub mod cpus;
pub mod emit;
pub mod interp;
pub mod ir;
pub mod isa;
pub mod layout;
pub mod machine;
/// What the Arm kernels call besides intrinsics; compiled here too so that it is formatted, linted and documented.
#[cfg(target_arch = "aarch64")]
pub mod neon_ops;
pub mod passes;
/// What the portable kernels call; compiled here too so that it is formatted, linted and documented.
pub mod portable_ops;
pub mod print;
pub mod region;
pub mod schedule;
/// What the WebAssembly kernels call besides intrinsics; compiled here too so that it is formatted, linted and documented.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub mod simd128_ops;
pub mod spec;
pub mod table;
pub mod tuned;
/// What the x86 kernels call besides intrinsics; compiled here too so that it is formatted, linted and documented.
#[cfg(target_arch = "x86_64")]
pub mod x86_ops;

pub use builder::{BuildError, Builder, Generated};
