//! The static cost against bounds that are worked out by hand: ports that instructions share, vectors that are
//! executed in halves, registers that do not suffice.

use kernelgen::compile::Kernel;
use kernelgen::cpus::{self, CostModel};
use kernelgen::passes::cost;
use tritforge_tests::default_builder;

/// Cycles for 256 weights, one atom, of a matrix whose rows are so long that only the innermost loop counts.
fn cycles(kernel: &Kernel, model: &CostModel) -> f64 {
    cost::cost(&kernel.machine, kernel.spec.isa, model).cycles_per_256_weights
}

fn on(cpu: &str, name: &str) -> f64 {
    let kernel = crate::compiled(name);
    let model =
        cpus::by_name(cpu).and_then(|cpu| cpu.cost_model(kernel.spec.isa)).expect("a CPU that has it");
    cycles(&kernel, &model)
}

#[test]
fn the_busiest_ports_bound_a_kernel() {
    for (cpu, name, least) in [
        // Per atom and half of its rows three shifts, four ands, four products and four additions, so 6, 8, 8, 8.
        // Haswell shifts and multiplies on p0 alone: 14.
        ("haswell", "gemv_i2a16_16x65536_u4c1sr1p0__avx2", 14.0),
        // Skylake does so on p0 and p1, 7, and all 30 on three ports: 10.
        ("skylake", "gemv_i2a16_16x65536_u4c1sr1p0__avx2", 10.0),
        // Zen 3 on different ports; all 30 on four: 7.5.
        ("zen3", "gemv_i2a16_16x65536_u4c1sr1p0__avx2", 7.5),
        // Vectors of 512 bits: one shift, four ands, four products and four additions on two ports, 6.5.
        ("skylake-avx512", "gemv_i2a16_16x65536_u8c1nr1p0__avx512bw", 6.5),
        // The same on four ports, each for two cycles.
        ("zen4", "gemv_i2a16_16x65536_u8c1nr1p0__avx512bw", 6.5),
        // Four ands and four products on four ports take 2; one load and four broadcasts on two take 2.5.
        ("zen5", "gemv_i2a16_16x65536_u8c4mr1p0__avx512vnni", 2.5),
        // One chain of four products, each waiting five cycles for the one before.
        ("golden-cove", "gemv_i2a16_16x65536_u4c1sr1p0__avx512vnni", 20.0),
        // Per 64 columns two products of 16 cycles on one unit; for 16 vectors one, but then two tiles of 16 rows and the
        // weights of four atoms, 36 loads on two ports.
        ("golden-cove", "gemm32_i2a16_16x65536_u4c1sr1p0i__amx", 32.0 / 4.0),
        ("golden-cove", "gemm16_i2a16_16x65536_u4c1sr1p0i__amx", 36.0 / 2.0 / 4.0),
        // Sixteen rows are four registers: twelve shifts on one port, 32 multiplies on the other, 16 ands on either.
        ("cortex-a72", "gemv_i2a16_16x65536_u4c1sr1p0__neon", 32.0),
        // Four shifts, 16 ands and 16 products on two ports.
        ("neoverse-n1", "gemv_i2a16_16x65536_u4c1nr1p0__neondotprod", 18.0),
        // 16 ands and 16 products on four.
        ("neoverse-v1", "gemv_i2a16_16x65536_u4c1mr1p0__neoni8mm", 8.0),
        // For each of four registers and fields two ands, one shift, two products and two additions; a shift of each
        // register for its nibbles; in both passes three shifts for the activations of each field: 140 on three ports.
        ("skylake", "gemv_i2a16_16x65536_u4c1nr2p0__simd128", 140.0 / 3.0),
    ] {
        let found = on(cpu, name);
        // What is on top is the loop's own counting.
        assert!(found >= least && found < 1.12 * least, "{name} on {cpu}: {found}, at least {least}");
    }
}

/// Four accumulators of 64 i16 are 32 registers of 128 bits, of which there are 16: a run of the loop over four atoms
/// stores and loads 16. That is 32 instructions, four a cycle: 2 cycles an atom.
#[test]
fn what_the_registers_do_not_hold_is_stored_and_loaded() {
    let kernel = crate::compiled("gemv_i2a16_16x65536_u4c4sr1p0__portable");
    let model = cpus::SKYLAKE.model(128);
    assert_eq!(model.registers, 16);
    let enough = cycles(&kernel, &CostModel { registers: 32, ..model });
    let spilling = cycles(&kernel, &model);
    assert!((spilling - enough - 2.0).abs() < 1e-9, "{spilling} and {enough}");
    // With one accumulator there is nothing to spill.
    let kernel = crate::compiled("gemv_i2a16_16x65536_u4c1sr1p0__portable");
    assert_eq!(cycles(&kernel, &CostModel { registers: 32, ..model }), cycles(&kernel, &model));
}

/// Kernels that would need more registers than there are do not compile, so those that do never spill.
#[test]
fn kernels_whose_registers_are_counted_do_not_spill() {
    for kernel in default_builder().compile().expect("the default configs compile") {
        let isa = kernel.spec.isa;
        let Some(registers) = isa.registers() else { continue };
        let model = isa.typical_cpu().cost_model(isa).expect("its typical CPU has it");
        assert_eq!(model.registers, registers, "{}", isa.id());
        let endless = CostModel { registers: usize::MAX, ..model };
        assert_eq!(cycles(&kernel, &model), cycles(&kernel, &endless), "{}", kernel.name);
    }
}
