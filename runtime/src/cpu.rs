//! Which instruction sets this CPU has, the one that `TRITFORGE_ISA` asks for, and which CPU it is.
//!
//! What the CPU has is asked in one place, the `available` functions of [`crate::kernels::ISAS`].

mod cache;
mod id;

pub use cache::second_level_bytes;
pub use id::identify;

use crate::kernels::ISAS;
use crate::kernels::abi::IsaInfo;

/// The environment variable that overrides the choice.
pub const ISA_VARIABLE: &str = "TRITFORGE_ISA";

/// An instruction set that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// No kernels exist for it.
    #[error("unknown instruction set '{found}'; this program has kernels for {known}")]
    Unknown {
        /// The id asked for.
        found: String,
        /// The ids there are.
        known: String,
    },
    /// The CPU lacks it.
    #[error("this CPU lacks {isa} (it needs {features}); it has {has}")]
    Missing {
        /// The id asked for.
        isa: &'static str,
        /// The features that it needs.
        features: String,
        /// The ids that the CPU has.
        has: String,
    },
    /// The variable is not text.
    #[error("{ISA_VARIABLE} is not valid Unicode; set it to one of {known}, or unset it")]
    NotUnicode {
        /// The ids there are.
        known: String,
    },
}

/// The instruction sets that this CPU has, in ascending preference; `portable` is always among them.
pub fn available() -> Vec<&'static IsaInfo> {
    ISAS.iter().copied().filter(|isa| (isa.available)()).collect()
}

fn ids(isas: &[&'static IsaInfo]) -> String {
    isas.iter().map(|isa| isa.id).collect::<Vec<_>>().join(", ")
}

/// The instruction set of this id.
///
/// # Errors
/// [`CpuError`] where there are no kernels for it, or the CPU lacks it.
pub fn by_id(id: &str) -> Result<&'static IsaInfo, CpuError> {
    let isa = ISAS
        .iter()
        .find(|isa| isa.id == id)
        .ok_or_else(|| CpuError::Unknown { found: id.to_owned(), known: ids(ISAS) })?;
    if (isa.available)() {
        Ok(isa)
    } else {
        Err(CpuError::Missing { isa: isa.id, features: isa.features.join(", "), has: ids(&available()) })
    }
}

/// The instruction set that `TRITFORGE_ISA` names, if it names one.
///
/// # Errors
/// [`CpuError`] where the variable names something that cannot be had; an empty variable counts as unset.
pub fn asked_for() -> Result<Option<&'static IsaInfo>, CpuError> {
    match std::env::var(ISA_VARIABLE) {
        Ok(id) if !id.is_empty() => by_id(&id).map(Some),
        Err(std::env::VarError::NotUnicode(_)) => Err(CpuError::NotUnicode { known: ids(ISAS) }),
        _ => Ok(None),
    }
}

/// The highest instruction set that this CPU has.
pub fn highest() -> &'static IsaInfo {
    available().into_iter().max_by_key(|isa| isa.rank).unwrap_or(ISAS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_is_always_there_and_unknown_names_are_refused() {
        assert!(by_id("portable").is_ok());
        assert_eq!(available()[0].id, "portable");
        let error = by_id("sse9").unwrap_err().to_string();
        assert!(error.contains("'sse9'") && error.contains("portable"), "{error}");
    }
}
