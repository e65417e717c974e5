//! What is emitted: it parses, says what it is, and stays small.

use std::collections::BTreeMap;

use kernelgen::compile::Kernel;
use kernelgen::{Builder, emit, isa};
use tritforge_tests::{configs, default_builder};

/// Bytes of machine code an instruction of the cost's count, rounded up from the symbol sizes of release builds: one
/// vector instruction with its share of copies, moves and addresses; or, portable, an operation on sixteen rows. A region of
/// assembly is what is counted and nothing else.
fn bytes_per_instruction(isa: &str) -> usize {
    match isa {
        "portable" => 128,
        "amx" => 7,
        _ => 9,
    }
}

/// The most text that one kernel may have; the portable ones are few, and no loop of theirs is in a hurry.
fn kernel_text(isa: &str) -> usize {
    if isa == "portable" { 24 << 10 } else { 7 << 10 }
}

/// The most kernels that the default configs may need on one instruction set.
const KERNELS_PER_ISA: usize = 32;
/// The most text that they may have together.
const ISA_TEXT: usize = 96 << 10;

fn default_kernels() -> Vec<Kernel> {
    default_builder().compile().expect("the default configs compile")
}

#[test]
fn every_emitted_source_parses() {
    let kernels = default_kernels();
    for kernel in &kernels {
        let file = syn::parse_file(&emit::single(kernel)).unwrap_or_else(|e| panic!("{}: {e}", kernel.name));
        let [syn::Item::Fn(function)] = file.items.as_slice() else {
            panic!("{} is one function", kernel.name)
        };
        assert_eq!(function.sig.ident, kernel.name.as_str());
    }
    let source = crate::source(&kernels);
    syn::parse_file(&source).expect("the whole source parses");
}

#[test]
fn the_header_says_how_the_source_was_made() {
    let kernel = crate::compiled("gemv_i2a16_128x256_u4c2mr1p4096__avx512vnni");
    let source = emit::single(&kernel);
    for part in [
        "Made by: kernelgen emit gemv_i2a16_128x256_u4c2mr1p4096__avx512vnni\n",
        "// Configuration: ",
        "/// Range proof, for K up to 256:\n",
        // 256 / 4 codes of 64 * 2 times -128, half of them in each of two chains.
        "///   `acc_x64` stays in -524288..=520192 (32 bits), a multiple of 64\n",
        // -383 * 256 and 382 * 256.
        "///   `y` stays in -98048..=97792 (32 bits)\n",
        "/// Vector registers: 15 of 32.\n",
        "/// Static cost for 256 weights: ",
    ] {
        assert!(source.contains(part), "{part:?} is missing in\n{source}");
    }
}

#[test]
fn a_line_of_code_stands_below_the_statement_that_it_comes_from() {
    let source = emit::single(&crate::compiled("gemv_i2a16_anyxany_u1c1sr1p0__avx2"));
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| *line == "// codes0_0 = field at bit 0 of w0").expect("a comment");
    assert!(lines[at + 1].contains("_mm256_and_si256"), "{}", lines[at + 1]);
}

#[test]
fn the_fingerprint_tells_inputs_apart() {
    let prints = [
        emit::fingerprint(["ab", "c"]),
        emit::fingerprint(["a", "bc"]),
        emit::fingerprint(["abc"]),
        emit::fingerprint(["c", "ab"]),
    ];
    for (i, print) in prints.iter().enumerate() {
        assert!(!prints[..i].contains(print));
    }
    // FNV-1a of nothing at all is its offset basis.
    assert_eq!(emit::fingerprint([]), 0xcbf2_9ce4_8422_2325);
}

/// A version is compiled once for all instruction sets whose features are the same; for floats, products of integers are none.
#[test]
fn instruction_sets_share_versions() {
    let source: String = crate::source(&default_kernels()).split_whitespace().collect();
    let rows = |name: &str| {
        let start = source.find(&format!("macro_rules!{name}{{")).expect("the macro");
        let end = source[start..].find(&format!("use{name};")).expect("its export");
        &source[start..start + end]
    };
    let (all, floats) = (rows("with_isas"), rows("with_float_isas"));
    let by_hand = [
        ("PORTABLE", "portable", "portable"),
        ("AVX2", "avx2", "avx2"),
        ("AVXVNNI", "avxvnni", "avx2"),
        ("AVX512BW", "avx512bw", "avx512bw"),
        ("AVX512VNNI", "avx512vnni", "avx512bw"),
        ("AMX", "avx512vnni", "avx512bw"),
        ("NEON", "neon", "neon"),
        ("NEONDOTPROD", "neondotprod", "neon"),
        ("NEONI8MM", "neoni8mm", "neon"),
        ("SIMD128", "simd128", "simd128"),
    ];
    for (isa, version, float_version) in by_hand {
        for (rows, version) in [(all, version), (floats, float_version)] {
            let row = rows.split('{').find_map(|row| row.strip_prefix(&format!("{isa}__{version}[")));
            let row = row.unwrap_or_else(|| panic!("{isa} has no version {version} in {rows}"));
            assert_eq!(row.contains("cfg(any())"), isa.to_lowercase() != version, "{isa} {row}");
        }
    }
}

#[test]
fn kernels_are_few_and_small() {
    let mut by_isa: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for kernel in default_kernels() {
        let isa = kernel.spec.isa.id();
        let text = kernel.cost.text_instructions * bytes_per_instruction(isa);
        assert!(text <= kernel_text(isa), "{}: {text} bytes of text", kernel.name);
        let (count, sum) = by_isa.entry(isa).or_default();
        *count += 1;
        *sum += text;
    }
    for (isa, (count, text)) in by_isa {
        assert!(count <= KERNELS_PER_ISA, "{count} kernels for {isa}");
        assert!(text <= ISA_TEXT, "{text} bytes of kernels for {isa}");
    }
}

#[test]
fn every_config_compiles_for_every_isa() {
    let kernels = Builder::new().config(configs()).compile().expect("every shape is served");
    for isa in isa::ids() {
        assert!(kernels.iter().any(|kernel| kernel.spec.isa.id() == isa));
    }
}

#[test]
fn isas_are_restricted_by_id() {
    let builder = || Builder::new().shape(64, 64);
    let kernels = builder().isas(["avx2"]).compile().expect("it compiles");
    assert!(!kernels.is_empty() && kernels.iter().all(|kernel| kernel.spec.isa.id() == "avx2"));
    let error = builder().isas(["sse9"]).compile().expect_err("there is no sse9").to_string();
    assert_eq!(
        error,
        "unknown ISA 'sse9', known are portable, avx2, avxvnni, avx512bw, avx512vnni, amx, neon, neondotprod, neoni8mm, simd128"
    );
}

#[test]
fn a_shape_that_cannot_be_served_is_named() {
    let error = Builder::new().shape(16, 0).compile().expect_err("no columns").to_string();
    assert!(error.starts_with("shape 16x0: ") && error.contains("at least 1"), "{error}");
}
