//! What CPU it is, as far as it matters for how fast kernels are.

use serde::{Deserialize, Serialize};

/// What tells one kind of CPU from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuId {
    /// The architecture, `x86_64` or `aarch64` for example.
    pub arch: String,
    /// The maker: on x86 the vendor string of `cpuid`, on Arm the implementer's number.
    pub vendor: String,
    /// The model: on x86 `family F model M` with the extended fields added in, on Arm the part's number.
    pub model: String,
    /// The name that it is sold under, for people; nothing depends on it.
    pub name: String,
    /// The instruction sets that it has kernels for, in ascending rank.
    pub isas: Vec<String>,
}

/// How near the CPU of a profile is to the one at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kinship {
    /// Another architecture or maker, or other instruction sets.
    Stranger,
    /// Another model of the same maker that runs the same kernels.
    Related,
    /// The same model with the same instruction sets.
    Same,
}

impl CpuId {
    /// How near a profile's CPU, `self`, is to `here`. The name that it is sold under does not count: it differs among
    /// machines of one kind, and is what virtual machines hide.
    pub fn kinship(&self, here: &CpuId) -> Kinship {
        if self.arch != here.arch || self.vendor != here.vendor || self.isas != here.isas {
            Kinship::Stranger
        } else if self.model == here.model {
            Kinship::Same
        } else {
            Kinship::Related
        }
    }

    /// What a profile's file is called: the vendor and the model, in lower case, with hyphens, and the highest
    /// instruction set, for a virtual machine may hide some.
    pub fn file_stem(&self) -> String {
        let highest = self.isas.last().map_or("", String::as_str);
        let all = format!("{} {} {highest}", self.vendor, self.model).to_lowercase();
        let words = all.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-")
    }
}

impl std::fmt::Display for CpuId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} {}, {})", self.name, self.vendor, self.model, self.isas.join(" "))
    }
}
