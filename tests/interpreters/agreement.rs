//! Interpreters against the naive product and against the silicon.

use std::ops::Range;
use std::sync::Arc;

use kernelgen::compile::Kernel;
use kernelgen::interp;
use kernelgen::spec::Shape;
use libtest_mimic::{Failed, Trial};
use tritforge::kernels::DESCRIPTORS;
use tritforge::kernels::abi;
use tritforge_tests::trials::on_cpu;
use tritforge_tests::{CANARY, Case, shared};

/// Shapes for the kernels of any shape: less than a granule, exactly one, and ones with every kind of rest.
///
/// Ten row tiles are several steps of every stream, and some left over; eight atoms are whole runs of the loops of kernels on
/// tiles.
const GENERIC_SHAPES: [(usize, usize); 7] =
    [(1, 1), (16, 16), (5, 100), (37, 1003), (17, 4500), (151, 203), (200, 128)];

/// The trials of one kernel.
pub fn trials(kernel: Kernel) -> Vec<Trial> {
    let kernel = Arc::new(kernel);
    let trial = |what: &str, run: fn(&Kernel, &Case) -> Result<(), String>| {
        let (name, kernel) = (format!("{}::{what}", kernel.name), kernel.clone());
        Trial::test(name, move || cases(&kernel, run).map_err(Failed::from))
    };
    let mut trials = vec![trial("ir_equals_naive", ir), trial("machine_equals_naive", machine)];
    if let Some(descriptor) = DESCRIPTORS.iter().find(|d| d.name == kernel.name) {
        let name = format!("{}::silicon_equals_machine", kernel.name);
        trials.push(on_cpu(name, descriptor.isa, move || {
            let shapes = shapes(&kernel);
            let tokens = descriptor.tokens;
            shapes.into_iter().try_for_each(|shape| silicon(&kernel, descriptor, &random(tokens, shape)))
        }));
    }
    trials
}

fn shapes(kernel: &Kernel) -> Vec<(usize, usize)> {
    match kernel.spec.shape {
        Shape::Any => GENERIC_SHAPES.to_vec(),
        Shape::Fixed { rows, cols } => vec![(rows, cols)],
    }
}

/// The random case of a shape, with as many activation vectors as a kernel takes.
pub fn random(tokens: usize, (rows, cols): (usize, usize)) -> Arc<Case> {
    let case = shared((rows, cols));
    if tokens <= case.sums.len() { case } else { Arc::new(Case::random_for(tokens, rows, cols, 1)) }
}

/// Random data of every shape, and the extremes on one tile of it.
fn cases(kernel: &Kernel, run: fn(&Kernel, &Case) -> Result<(), String>) -> Result<(), String> {
    let tokens = kernel.spec.operation.tokens();
    for (rows, cols) in shapes(kernel) {
        run(kernel, &random(tokens, (rows, cols)))?;
        for (weight, act) in [(1, 127), (1, -128), (-1, 127), (-1, -128)] {
            run(kernel, &Case::uniform_for(tokens, rows.min(16), cols, weight, act))?;
        }
    }
    Ok(())
}

/// The first two tiles and the last, which alone may have rows that do not exist.
fn tiles(case: &Case) -> [Range<usize>; 2] {
    [0..case.tiles().min(2), case.tiles() - 1..case.tiles()]
}

fn compare(case: &Case, tiles: &Range<usize>, found: &[i32], expected: &[i32]) -> Result<(), String> {
    match found.iter().zip(expected).position(|(found, expected)| found != expected) {
        None if found.len() == expected.len() => Ok(()),
        at => Err(format!("{}x{}, tiles {tiles:?}: first difference at {at:?}", case.rows, case.cols)),
    }
}

fn ir(kernel: &Kernel, case: &Case) -> Result<(), String> {
    for tiles in tiles(case) {
        let found = interp::ir::run(kernel, &case.data(&tiles)).map_err(|fault| fault.to_string())?;
        compare(case, &tiles, &found, &case.expected_of(kernel.spec.operation.tokens(), &tiles))?;
    }
    Ok(())
}

fn machine(kernel: &Kernel, case: &Case) -> Result<(), String> {
    for tiles in tiles(case) {
        let found =
            interp::machine::run(kernel, &case.data(&tiles), CANARY).map_err(|fault| fault.to_string())?;
        compare(case, &tiles, &found, &case.expected_of(kernel.spec.operation.tokens(), &tiles))?;
    }
    Ok(())
}

fn silicon(kernel: &Kernel, descriptor: &'static abi::Descriptor, case: &Case) -> Result<(), String> {
    let silicon = abi::Kernel::new(descriptor).ok_or("the kernel's features went away")?;
    for tiles in tiles(case) {
        let model =
            interp::machine::run(kernel, &case.data(&tiles), CANARY).map_err(|fault| fault.to_string())?;
        let rows = case.rows_of(&tiles).len();
        let mut found = vec![CANARY; descriptor.tokens * rows];
        silicon.run(&case.problem(), tiles.clone(), &mut found, rows).map_err(|error| error.to_string())?;
        compare(case, &tiles, &found, &model)?;
    }
    Ok(())
}
