//! One binary for every x86-64: what it holds above the baseline stands only in kernels and in the versions of the float
//! parts, each of which uses nothing but the features of its instruction set, and in functions of dependencies that ask
//! the CPU first.
//!
//! The binary is the one of this build, or the one that `TRITFORGE_BINARY` names; it must have been built without
//! `-C target-cpu` or `-C target-feature`, and have its symbols.
#![cfg(all(target_arch = "x86_64", any(target_os = "linux", target_os = "macos")))]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use iced_x86::{Code, CpuidFeature, Decoder, DecoderOptions, Instruction};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};
use tritforge::kernels::ISAS;
use tritforge::kernels::abi::IsaInfo;

/// What every x86-64 CPU has, and instructions that are no-operations on those that do not know them.
const BASELINE: [CpuidFeature; 18] = [
    CpuidFeature::INTEL8086,
    CpuidFeature::INTEL186,
    CpuidFeature::INTEL286,
    CpuidFeature::INTEL386,
    CpuidFeature::INTEL486,
    CpuidFeature::X64,
    CpuidFeature::FPU,
    CpuidFeature::FPU287,
    CpuidFeature::CMOV,
    CpuidFeature::CPUID,
    CpuidFeature::CX8,
    CpuidFeature::MMX,
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    CpuidFeature::MULTIBYTENOP,
    CpuidFeature::PAUSE,
    CpuidFeature::CET_IBT,
    CpuidFeature::SYSCALL,
];

/// Functions of dependencies that hold instructions above the baseline: how their names begin, what else they contain,
/// and who asks the CPU before they are called.
const REVIEWED: [(&str, &str, &str); 5] = [
    // Each search is a function pointer that starts as `detect`, or a searcher whose `new` asks.
    ("memchr::arch::x86_64::", "", "is_x86_feature_detected in avx2::*::is_available"),
    (
        "aho_corasick::packed::teddy::builder::x86_64::",
        "",
        "is_x86_feature_detected in is_available_ssse3 and is_available_avx2",
    ),
    ("half::binary16::arch::x86::", "_f16c", "is_x86_feature_detected in half::binary16::arch::convert_fn!"),
    ("rand_chacha::guts::", "::impl_", "is_x86_feature_detected in ppv_lite86's dispatch!"),
    // Intrinsics that a build without optimisation leaves as functions, called only by functions with their feature.
    ("core::core_arch::x86::", "", "the caller's target features: a rule of the language"),
];

/// Features as `IsaInfo` names them, and what their functions may execute because of them.
fn allowed(feature: &str) -> &'static [CpuidFeature] {
    use CpuidFeature::*;
    match feature {
        "avx2" => &[SSE3, SSSE3, SSE4_1, SSE4_2, POPCNT, AVX, AVX2],
        "f16c" => &[F16C],
        "fma" => &[FMA],
        "avxvnni" => &[AVX_VNNI],
        "avx512f" => &[SSE3, SSSE3, SSE4_1, SSE4_2, POPCNT, AVX, AVX2, FMA, F16C, AVX512F],
        "avx512bw" => &[AVX512BW],
        "avx512vnni" => &[AVX512_VNNI],
        "gfni" => &[GFNI],
        "amx-tile" => &[AMX_TILE],
        "amx-int8" => &[AMX_INT8],
        _ => panic!("no x86 feature '{feature}' is known here; add what it lets a kernel execute"),
    }
}

/// The features that a function may use above the baseline, or `None` where it may use any.
fn permitted(name: &str) -> Option<Vec<CpuidFeature>> {
    // A method of a trait is called `<type as trait>::method`.
    let path = name.trim_start_matches('<');
    if REVIEWED.iter().any(|(start, part, _)| path.starts_with(start) && path.contains(part)) {
        return None;
    }
    let features = isa_of(name).map_or(&[][..], |isa| isa.features);
    Some(features.iter().flat_map(|feature| allowed(feature)).copied().collect())
}

/// The instruction set whose kernel or version of a float part a function is.
fn isa_of(name: &str) -> Option<&'static IsaInfo> {
    ISAS.iter().copied().find(|isa| name.ends_with(&format!("__{}", isa.id)))
}

fn above_baseline(instruction: &Instruction) -> impl Iterator<Item = CpuidFeature> {
    // What asks the operating system which registers it saves; only CPUs that say they have it execute it.
    let asks = instruction.code() == Code::Xgetbv;
    instruction.cpuid_features().iter().copied().filter(move |feature| !asks && !BASELINE.contains(feature))
}

/// Every function's address and names.
fn functions(file: &object::File<'_>) -> BTreeMap<u64, Vec<String>> {
    let mut functions: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for symbol in
        file.symbols().filter(|symbol| symbol.is_definition() && symbol.kind() == object::SymbolKind::Text)
    {
        let name = symbol.name().unwrap_or_default();
        functions.entry(symbol.address()).or_default().push(format!("{:#}", rustc_demangle::demangle(name)));
    }
    functions
}

/// What is found in code.
#[derive(Default)]
struct Findings {
    /// Functions that use what they must not, with the instructions.
    faults: BTreeMap<String, BTreeSet<String>>,
    /// Functions of each instruction set that use anything above the baseline.
    functions: BTreeMap<&'static str, BTreeSet<String>>,
    /// Instructions.
    decoded: usize,
}

impl Findings {
    /// Goes through the code at an address; `functions` are the names of those that begin at an address.
    fn examine(&mut self, code: &[u8], address: u64, functions: &BTreeMap<u64, Vec<String>>) {
        // `rep bsf` is `tzcnt` where that is known and `bsf` where it is not: the compiler emits it where both agree.
        let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NO_MPFX_0FBC);
        let mut instruction = Instruction::default();
        let nameless = ["code without a symbol".to_owned()];
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            self.decoded += 1;
            let above: Vec<CpuidFeature> = above_baseline(&instruction).collect();
            if above.is_empty() {
                continue;
            }
            let names = functions.range(..=instruction.ip()).next_back();
            for name in names.map_or(nameless.as_slice(), |(_, names)| names) {
                let Some(features) = permitted(name) else { continue };
                if let Some(isa) = isa_of(name) {
                    self.functions.entry(isa.id).or_default().insert(name.clone());
                }
                if above.iter().any(|feature| !features.contains(feature)) {
                    let instruction = format!("{:?} of {above:?}", instruction.code());
                    self.faults.entry(name.clone()).or_default().insert(instruction);
                }
            }
        }
    }
}

#[test]
fn what_is_above_the_baseline_stands_in_kernels_and_reviewed_dependencies() {
    let path = std::env::var_os("TRITFORGE_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_tritforge").into(), PathBuf::from);
    let data = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = object::File::parse(data.as_slice()).expect("an executable");
    let functions = functions(&file);
    let mut findings = Findings::default();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        findings.examine(section.data().expect("a section's bytes"), section.address(), &functions);
    }
    println!("{} instructions of {}", findings.decoded, path.display());
    for (name, instructions) in &findings.faults {
        println!("{name}: {}", instructions.iter().take(4).cloned().collect::<Vec<_>>().join(", "));
    }
    let faults = findings.faults.len();
    assert_eq!(faults, 0, "functions of {} use what they must not; they are printed above", path.display());
    // That the test sees them at all: two kernels at least for every instruction set above the baseline, and two float
    // parts for each of those that differ in more than products of integers.
    let above = ISAS.iter().filter(|isa| isa.features.contains(&"avx2") || isa.features.contains(&"avx512f"));
    let kernels = above.map(|isa| (isa.id, "::kernels::"));
    let floats = ["avx2", "avx512bw"].map(|id| (id, "::numerics::"));
    for (id, module) in kernels.chain(floats) {
        let functions = findings.functions.get(id).into_iter().flatten();
        let seen = functions.filter(|name| name.contains(module)).count();
        assert!(seen >= 2, "{seen} functions in {module} of {id} are seen");
    }
}

/// What the test is there for, byte by byte: it must not pass what it should find.
#[test]
fn an_instruction_in_the_wrong_place_is_found() {
    const VPADDD_YMM: &[u8] = &[0xc5, 0xf5, 0xfe, 0xc2];
    const VPDPBUSD_YMM: &[u8] = &[0xc4, 0xe2, 0x75, 0x50, 0xc2];
    const VPDPBUSD_ZMM: &[u8] = &[0x62, 0xf2, 0x75, 0x48, 0x50, 0xc2];
    const VPMADDUBSW_ZMM: &[u8] = &[0x62, 0xf1, 0x75, 0x48, 0x04, 0xc2];
    const TDPBSUD: &[u8] = &[0xc4, 0xe2, 0x72, 0x5e, 0xda];
    const PSHUFB_XMM: &[u8] = &[0x66, 0x0f, 0x38, 0x00, 0xc1];
    const PADDD_XMM: &[u8] = &[0x66, 0x0f, 0xfe, 0xc1];
    for (name, code, fault) in [
        ("portable", PADDD_XMM, false),
        ("portable", PSHUFB_XMM, true),
        ("portable", VPADDD_YMM, true),
        ("k__portable", VPADDD_YMM, true),
        ("numerics::add::__avx2", VPADDD_YMM, false),
        ("numerics::add::__avx2::{{closure}}", VPADDD_YMM, true),
        ("k__avx2", VPADDD_YMM, false),
        ("k__avx2", VPDPBUSD_YMM, true),
        ("k__avx2_and_more", VPADDD_YMM, true),
        ("k__avxvnni", VPDPBUSD_YMM, false),
        ("k__avxvnni", VPDPBUSD_ZMM, true),
        ("k__avx512bw", VPMADDUBSW_ZMM, false),
        ("k__avx512bw", VPDPBUSD_ZMM, true),
        ("k__avx512vnni", VPDPBUSD_ZMM, false),
        ("k__avx512vnni", VPDPBUSD_YMM, true),
        ("k__avx512vnni", TDPBSUD, true),
        ("k__amx", TDPBSUD, false),
        ("k__amx", VPDPBUSD_ZMM, false),
        ("amx_ops::available", TDPBSUD, true),
        ("memchr::arch::x86_64::avx2::find", VPADDD_YMM, false),
        ("memchr::memmem::find", VPADDD_YMM, true),
    ] {
        let mut findings = Findings::default();
        let functions = BTreeMap::from([(0x1000, vec![name.to_owned()]), (0x2000, vec!["next".to_owned()])]);
        findings.examine(code, 0x1010, &functions);
        assert_eq!(findings.decoded, 1, "{name}: {code:x?}");
        assert_eq!(findings.faults.contains_key(name), fault, "{name}: {:?}", findings.faults);
    }
}
