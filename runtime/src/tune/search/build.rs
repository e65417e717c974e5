//! Candidates are compiled by `rustc` to a library, which is loaded into this process.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::Path;
use std::process::{Command, Stdio};

use kernelgen::compile::Kernel as Compiled;
use kernelgen::emit::{self, Contents};
use kernelgen::table::ScheduleTable;

use super::SearchError;
use crate::kernels::abi::{Descriptor, Gain, IsaInfo, Kernel, Operands};

/// The symbol of the kernels' addresses, in the order in which they were given.
const ENTRIES: &str = "TRITFORGE_ENTRIES";

/// Lines of rustc's complaint that are passed on.
const LINES: usize = 20;

/// Compiles kernels, all of one operation and instruction set, to a library in `folder`, and loads it. The libraries stay
/// loaded until the process ends.
///
/// # Errors
/// [`SearchError`] where there is no rustc, or it refuses the source, or the library cannot be loaded.
pub fn build(
    folder: &Path,
    name: &str,
    compiled: &[Compiled],
    isa: &'static IsaInfo,
) -> Result<Vec<Kernel>, SearchError> {
    let Some(first) = compiled.first() else { return Ok(Vec::new()) };
    let io = |path: &Path, error: std::io::Error| SearchError::Io {
        path: path.to_owned(),
        error: error.to_string(),
    };
    std::fs::create_dir_all(folder).map_err(|error| io(folder, error))?;
    let source = folder.join(format!("{name}.rs"));
    let library = folder.join(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"));
    let table = ScheduleTable::built_in().map_err(|error| SearchError::Table(error.to_string()))?;
    let isas = [first.spec.isa];
    let contents = Contents { kernels: compiled, isas: &isas, table: &table, models: &[], profiles: &[] };
    let mut text = emit::source(&contents, "tritforge tune --search", 0);
    let module = format!("{}_{}", first.spec.isa.id(), first.spec.operation);
    let entries: Vec<String> =
        compiled.iter().map(|kernel| format!("    {module}::{},\n", kernel.name)).collect();
    text += &format!(
        "\n#[unsafe(no_mangle)]\npub static {ENTRIES}: [unsafe extern \"C\" fn(&abi::Operands); {}] = [\n{}];\n",
        entries.len(),
        entries.concat()
    );
    std::fs::write(&source, text).map_err(|error| io(&source, error))?;
    rustc(&source, &library)?;
    let entries = load(&library, compiled.len())?;
    let described = compiled.iter().zip(entries).map(|(kernel, entry)| {
        // They live as long as the library: to the end of the process.
        let descriptor: &'static Descriptor = Box::leak(Box::new(descriptor(kernel, isa, entry)));
        Kernel::new(descriptor)
    });
    Ok(described.flatten().collect())
}

fn rustc(source: &Path, library: &Path) -> Result<(), SearchError> {
    let program = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let shown = program.to_string_lossy().into_owned();
    let output = Command::new(program)
        .args(["--edition=2024", "--crate-type=cdylib", "--crate-name=candidates", "--cap-lints=allow"])
        .args(["-Copt-level=3", "-Ccodegen-units=1", "-Cpanic=abort", "-Cdebuginfo=0"])
        .arg("-o")
        .arg(library)
        .arg(source)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| SearchError::NoRustc { program: shown, error: error.to_string() })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let complaint: Vec<&str> = text.lines().take(LINES).collect();
    Err(SearchError::Rustc { path: source.to_owned(), complaint: complaint.join("; ") })
}

/// The entry points of a library.
#[cfg(any(unix, windows))]
fn load(path: &Path, count: usize) -> Result<Vec<unsafe extern "C" fn(&Operands)>, SearchError> {
    let wrong =
        |error: libloading::Error| SearchError::Load { path: path.to_owned(), error: error.to_string() };
    // SAFETY: the library was just made from our own source; it has no code that runs when it is loaded.
    let library = unsafe { libloading::Library::new(path) }.map_err(wrong)?;
    // SAFETY: the source says that the symbol is an array of so many of these, and `Operands` has C's representation.
    let entries = unsafe {
        let symbol = library.get::<*const unsafe extern "C" fn(&Operands)>(ENTRIES).map_err(wrong)?;
        let first: *const unsafe extern "C" fn(&Operands) = *symbol;
        std::slice::from_raw_parts(first, count).to_vec()
    };
    // The kernels have to stay.
    std::mem::forget(library);
    Ok(entries)
}

/// The same where there are no libraries.
#[cfg(not(any(unix, windows)))]
fn load(path: &Path, _count: usize) -> Result<Vec<unsafe extern "C" fn(&Operands)>, SearchError> {
    Err(SearchError::Load { path: path.to_owned(), error: "this system has no shared libraries".to_owned() })
}

fn descriptor(
    kernel: &Compiled,
    isa: &'static IsaInfo,
    entry: unsafe extern "C" fn(&Operands),
) -> Descriptor {
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let spec = &kernel.spec;
    Descriptor {
        name: leak(kernel.name.clone()),
        operation: leak(spec.operation.to_string()),
        tokens: spec.operation.tokens(),
        streams: spec.schedule.streams,
        interleaved: spec.interleaved(),
        expanded: kernel.program.expanded,
        layout: spec.layout.name,
        shape: None,
        schedule: leak(spec.schedule.to_string()),
        isa,
        k_max: kernel.k_max,
        proof: &[],
        registers: kernel.pressure.registers,
        cycles_per_256_weights: kernel.cost.cycles_per_256_weights,
        gain: Gain { short: None, long: None },
        standard: false,
        entry,
    }
}
