//! CPUs by name, with what decides the static cost of a kernel on them: so that kernels can be costed for CPUs that
//! are not at hand. Figures come from the vendors' optimisation guides (Intel 248966; AMD 56665, 57647 and 58455; Arm's
//! of each core, as LLVM's scheduling models have them) and the public instruction tables at uops.info and agner.org;
//! those of Zen 4 were measured as well.

use crate::isa::Isa;
use crate::machine::Class;

/// A set of execution ports, one bit a port. Numbers are the vendor's where it has numbers.
pub type Ports = u16;

/// What a CPU executes a cycle, with vectors of one width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CostModel {
    /// Instructions of any kind a cycle.
    pub issue: f64,
    /// Ports that take bitwise operations.
    pub logic: Ports,
    /// Ports that take shifts.
    pub shift: Ports,
    /// Ports that take multiplies, with or without an addition in the same instruction.
    pub multiply: Ports,
    /// Ports that take four-way dot products, where these are not multiplies like others.
    pub dot: Ports,
    /// Ports that take integer additions.
    pub add: Ports,
    /// Ports that take loads, broadcasts and prefetches. They are numbered apart from the arithmetic ones.
    pub load: Ports,
    /// Cycles that an instruction on a vector holds its port: 2 where it is executed in halves.
    pub hold: f64,
    /// Vector registers that instructions can name.
    pub registers: usize,
    /// Cycles from an accumulator's update to the next one, for a multiply.
    pub multiply_latency: f64,
    /// The same for an addition.
    pub add_latency: f64,
    /// Cycles that a product of whole tiles holds the one unit that computes it, which takes the next one for the same
    /// accumulator right after it. 0 where there is none.
    pub tile_multiply: f64,
}

/// The unit that multiplies tiles, beside all other ports.
const TILE_UNIT: Ports = 1 << 15;
/// Loads or stores of vectors that a tile takes: one a row.
const TILE_ROWS: f64 = 16.0;

impl CostModel {
    /// The ports that take instructions of a class; none where the class is bound by issue alone.
    pub fn ports(&self, class: Class) -> Ports {
        match class {
            Class::Logic => self.logic,
            Class::Shift => self.shift,
            Class::Multiply => self.multiply,
            Class::Dot => self.dot,
            Class::Add => self.add,
            Class::Load | Class::Broadcast | Class::Prefetch | Class::TileLoad => self.load,
            Class::TileMultiply => TILE_UNIT,
            Class::Store | Class::TileStore | Class::Setup | Class::Fused => 0,
        }
    }

    /// Cycles for which an instruction of a class holds its port.
    pub fn hold(&self, class: Class) -> f64 {
        match class {
            // They read less than a vector.
            Class::Broadcast | Class::Prefetch => 1.0,
            Class::TileLoad => TILE_ROWS,
            Class::TileMultiply => self.tile_multiply,
            _ => self.hold,
        }
    }

    /// Cycles from one update of an accumulator to the next.
    pub fn latency(&self, class: Class) -> f64 {
        match class {
            Class::Multiply | Class::Dot | Class::Fused => self.multiply_latency,
            Class::TileMultiply => self.tile_multiply,
            _ => self.add_latency,
        }
    }
}

/// A CPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cpu {
    /// The name that `kernelgen cost --cpu` takes.
    pub name: &'static str,
    /// Where it is found.
    pub about: &'static str,
    /// The ids of the instruction sets that it has.
    pub isas: &'static [&'static str],
    /// Its costs.
    pub model: CostModel,
    /// Its costs with vectors of 512 bits, where these differ.
    pub model_512: Option<CostModel>,
}

impl Cpu {
    /// What kernels of an instruction set cost.
    ///
    /// # Errors
    /// The CPU does not have the instruction set.
    pub fn cost_model(&self, isa: &dyn Isa) -> Result<CostModel, CpuError> {
        if self.isas.contains(&isa.id()) {
            Ok(self.model(isa.vectors().bits))
        } else {
            Err(CpuError::Lacks { cpu: self.name, isa: isa.id(), isas: self.isas })
        }
    }

    /// The costs of vectors of so many bits.
    pub fn model(&self, bits: usize) -> CostModel {
        self.model_512.filter(|_| bits > 256).unwrap_or(self.model)
    }
}

/// Load ports, above all arithmetic ones.
const LOADS_2: Ports = 0b11 << 8;
const LOADS_3: Ports = 0b111 << 8;

/// Skylake: p0, p1 and p5 take vectors, the first two of them multiply and shift.
const SKYLAKE_256: CostModel = CostModel {
    issue: 4.0,
    logic: 0b100011,
    shift: 0b000011,
    multiply: 0b000011,
    dot: 0b000011,
    add: 0b100011,
    load: LOADS_2,
    hold: 1.0,
    registers: 16,
    multiply_latency: 5.0,
    add_latency: 1.0,
    tile_multiply: 0.0,
};

/// Haswell: p0, p1 and p5 take vectors, but only p0 multiplies and shifts.
pub static HASWELL: Cpu = Cpu {
    name: "haswell",
    about: "Intel Core of the 4th and 5th generation, Xeon E5 v3 and v4",
    isas: &["portable", "avx2"],
    model: CostModel { shift: 0b000001, multiply: 0b000001, add: 0b100010, ..SKYLAKE_256 },
    model_512: None,
};

/// With vectors of 512 bits, p0 and p1 act as one and p1 takes none; p5 has a multiplier, but does not shift.
const SKYLAKE_512: CostModel = CostModel {
    logic: 0b100001,
    shift: 0b000001,
    multiply: 0b100001,
    add: 0b100001,
    registers: 32,
    ..SKYLAKE_256
};

/// Skylake without AVX-512. It stands for all that run WebAssembly, whose operations an engine turns into its
/// instructions, most of them one into one.
pub static SKYLAKE: Cpu = Cpu {
    name: "skylake",
    about: "Intel Core of the 6th to 10th generation without AVX-512",
    isas: &["portable", "avx2", "simd128"],
    model: SKYLAKE_256,
    model_512: None,
};

/// Skylake with AVX-512, two units of 512 bits.
pub static SKYLAKE_AVX512: Cpu = Cpu {
    name: "skylake-avx512",
    about: "Intel Xeon Scalable of the 1st generation",
    isas: &["portable", "avx2", "avx512bw"],
    model: SKYLAKE_256,
    model_512: Some(SKYLAKE_512),
};

/// The same with VNNI.
pub static CASCADE_LAKE: Cpu = Cpu {
    name: "cascade-lake",
    about: "Intel Xeon Scalable of the 2nd generation",
    isas: &["portable", "avx2", "avx512bw", "avx512vnni"],
    model: SKYLAKE_256,
    model_512: Some(SKYLAKE_512),
};

/// Sunny Cove: the ports of Skylake, five instructions a cycle.
pub static ICE_LAKE_SERVER: Cpu = Cpu {
    name: "ice-lake-server",
    about: "Intel Xeon Scalable of the 3rd generation",
    isas: &["portable", "avx2", "avx512bw", "avx512vnni"],
    model: CostModel { issue: 5.0, ..SKYLAKE_256 },
    model_512: Some(CostModel { issue: 5.0, ..SKYLAKE_512 }),
};

/// Golden Cove: six instructions and three loads a cycle, two where they have 512 bits. A product of tiles takes 16
/// cycles (as was measured too), a tile from L1 8: its 16 rows are loaded two a cycle. The client parts have the same
/// core with AVX-512 and AMX switched off.
pub static GOLDEN_COVE: Cpu = Cpu {
    name: "golden-cove",
    about: "Intel Xeon Scalable of the 4th and 5th generation (Sapphire Rapids); P cores of Core of the 12th to 14th",
    isas: &["portable", "avx2", "avxvnni", "avx512bw", "avx512vnni", "amx"],
    model: CostModel { issue: 6.0, load: LOADS_3, ..SKYLAKE_256 },
    model_512: Some(CostModel { issue: 6.0, tile_multiply: 16.0, ..SKYLAKE_512 }),
};

/// Zen 3: four pipes, of which 0 and 3 multiply and 1 and 2 shift.
const ZEN3_256: CostModel = CostModel {
    issue: 6.0,
    logic: 0b1111,
    shift: 0b0110,
    multiply: 0b1001,
    dot: 0b1001,
    add: 0b1111,
    load: LOADS_2,
    hold: 1.0,
    registers: 16,
    multiply_latency: 4.0,
    add_latency: 1.0,
    tile_multiply: 0.0,
};

/// Zen 3.
pub static ZEN3: Cpu = Cpu {
    name: "zen3",
    about: "AMD EPYC 7003, Ryzen 5000",
    isas: &["portable", "avx2"],
    model: ZEN3_256,
    model_512: None,
};

/// Zen 4: the pipes of Zen 3; vectors of 512 bits hold them, and the load ports, for two cycles.
pub static ZEN4: Cpu = Cpu {
    name: "zen4",
    about: "AMD EPYC 9004 and 8004, Ryzen 7000 and 8000",
    isas: &["portable", "avx2", "avx512bw", "avx512vnni"],
    model: ZEN3_256,
    model_512: Some(CostModel { hold: 2.0, registers: 32, ..ZEN3_256 }),
};

/// Zen 5 with its whole data path: eight instructions a cycle, additions in two.
const ZEN5_256: CostModel = CostModel { issue: 8.0, add_latency: 2.0, ..ZEN3_256 };

/// Zen 5.
pub static ZEN5: Cpu = Cpu {
    name: "zen5",
    about: "AMD EPYC 9005, Ryzen 9000",
    isas: &["portable", "avx2", "avxvnni", "avx512bw", "avx512vnni"],
    model: ZEN5_256,
    model_512: Some(CostModel { registers: 32, ..ZEN5_256 }),
};

/// Cortex-A72: of its two vector pipes one multiplies and the other shifts; a sum is forwarded to the next multiply.
const CORTEX_A72_128: CostModel = CostModel {
    issue: 3.0,
    logic: 0b11,
    shift: 0b10,
    multiply: 0b01,
    // It has none.
    dot: 0,
    add: 0b11,
    load: 0b1 << 8,
    hold: 1.0,
    registers: 32,
    multiply_latency: 1.0,
    add_latency: 3.0,
    tile_multiply: 0.0,
};

/// Cortex-A72.
pub static CORTEX_A72: Cpu = Cpu {
    name: "cortex-a72",
    about: "Raspberry Pi 4, AWS Graviton",
    isas: &["portable", "neon"],
    model: CORTEX_A72_128,
    model_512: None,
};

/// Neoverse N1, whose core is that of Cortex-A76: pipes like those of Cortex-A72, but both take dot products.
const NEOVERSE_N1_128: CostModel =
    CostModel { issue: 4.0, dot: 0b11, load: LOADS_2, add_latency: 2.0, ..CORTEX_A72_128 };

/// Neoverse N1.
pub static NEOVERSE_N1: Cpu = Cpu {
    name: "neoverse-n1",
    about: "AWS Graviton 2, Ampere Altra; Cortex-A76 of the Raspberry Pi 5",
    isas: &["portable", "neon", "neondotprod"],
    model: NEOVERSE_N1_128,
    model_512: None,
};

/// Neoverse V1: four pipes, two of which multiply and the other two shift.
pub static NEOVERSE_V1: Cpu = Cpu {
    name: "neoverse-v1",
    about: "AWS Graviton 3",
    isas: &["portable", "neon", "neondotprod", "neoni8mm"],
    model: CostModel {
        issue: 8.0,
        logic: 0b1111,
        shift: 0b1010,
        multiply: 0b0101,
        dot: 0b1111,
        add: 0b1111,
        load: LOADS_3,
        ..NEOVERSE_N1_128
    },
    model_512: None,
};

/// Every CPU.
pub static ALL: [&Cpu; 12] = [
    &HASWELL,
    &SKYLAKE,
    &SKYLAKE_AVX512,
    &CASCADE_LAKE,
    &ICE_LAKE_SERVER,
    &GOLDEN_COVE,
    &ZEN3,
    &ZEN4,
    &ZEN5,
    &CORTEX_A72,
    &NEOVERSE_N1,
    &NEOVERSE_V1,
];

/// A CPU that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// A name that no CPU of the table has.
    #[error("unknown CPU '{found}', known are {}", names().join(", "))]
    Unknown {
        /// The name found.
        found: String,
    },
    /// A kernel of an instruction set that the CPU lacks.
    #[error("{cpu} does not have {isa}; it has {}", isas.join(", "))]
    Lacks {
        /// The CPU.
        cpu: &'static str,
        /// The instruction set asked for.
        isa: &'static str,
        /// The instruction sets that it has.
        isas: &'static [&'static str],
    },
}

/// The CPU of this name.
///
/// # Errors
/// A name that no CPU has; the message lists those that there are.
pub fn by_name(name: &str) -> Result<&'static Cpu, CpuError> {
    ALL.into_iter().find(|cpu| cpu.name == name).ok_or_else(|| CpuError::Unknown { found: name.to_owned() })
}

/// The names of all CPUs.
pub fn names() -> Vec<&'static str> {
    ALL.iter().map(|cpu| cpu.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa;

    #[test]
    fn every_cpu_is_found_and_its_isas_are_known() {
        for cpu in ALL {
            assert_eq!(by_name(cpu.name), Ok(cpu));
            assert!(cpu.isas.iter().all(|id| isa::by_id(id).is_some()), "{}", cpu.name);
            // Vectors of 512 bits come with AVX-512 and with nothing else.
            assert_eq!(cpu.model_512.is_some(), cpu.isas.contains(&"avx512bw"), "{}", cpu.name);
        }
    }

    #[test]
    fn the_typical_cpu_of_an_isa_has_it() {
        for isa in isa::ALL {
            assert!(isa.typical_cpu().cost_model(isa).is_ok(), "{}", isa.id());
        }
    }

    #[test]
    fn what_cannot_be_had_is_named_with_what_can() {
        let error = by_name("zen").unwrap_err().to_string();
        assert!(error.starts_with("unknown CPU 'zen', known are haswell, skylake, "), "{error}");
        let isa = isa::by_id("avx512bw").unwrap();
        let error = HASWELL.cost_model(isa).unwrap_err().to_string();
        assert_eq!(error, "haswell does not have avx512bw; it has portable, avx2");
    }
}
