//! What a kernel is: operation x format x shape x schedule x ISA, and the grammar of its name.
//!
//! `<op>_<format>_<M>x<K>_<schedule>__<isa>`, the same in symbol, descriptor, bench, log and file, for example
//! `gemv_i2a16_1536x1536_u4c2mr1p4096__avx512vnni`; the generic kernel has `anyxany` for its shape.

use std::fmt;
use std::str::FromStr;

use crate::abi::{QUAD, TILE_RUN};
use crate::isa::{self, Accumulate, Isa};
use crate::layout::{self, Layout};
use crate::schedule::Schedule;

/// The most activation vectors that one call of a kernel takes.
pub const TOKENS_LIMIT: usize = 128;

/// What a kernel computes: exact i32 products of a packed ternary matrix with int8 activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Matrix times one activation vector (decode).
    Gemv,
    /// Matrix times several activation vectors from the same resident weights (prefill and batches).
    Gemm {
        /// Activation vectors a call, 2 to [`TOKENS_LIMIT`].
        tokens: usize,
    },
}

impl Operation {
    /// Activation vectors a call.
    pub fn tokens(self) -> usize {
        match self {
            Operation::Gemv => 1,
            Operation::Gemm { tokens } => tokens,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Gemv => f.write_str("gemv"),
            Operation::Gemm { tokens } => write!(f, "gemm{tokens}"),
        }
    }
}

impl FromStr for Operation {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "gemv" {
            return Ok(Operation::Gemv);
        }
        let tokens: usize = text.strip_prefix("gemm").ok_or(())?.parse().map_err(|_| ())?;
        (2..=TOKENS_LIMIT).contains(&tokens).then_some(Operation::Gemm { tokens }).ok_or(())
    }
}

/// The matrix shapes that a kernel serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shape {
    /// Any rows and columns, read from the operands at run time.
    Any,
    /// This shape only.
    Fixed {
        /// Rows M.
        rows: usize,
        /// Columns K.
        cols: usize,
    },
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Any => f.write_str("anyxany"),
            Shape::Fixed { rows, cols } => write!(f, "{rows}x{cols}"),
        }
    }
}

impl FromStr for Shape {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "anyxany" {
            return Ok(Shape::Any);
        }
        let (rows, cols) = text.split_once('x').ok_or(())?;
        let (rows, cols) = (rows.parse().map_err(|_| ())?, cols.parse().map_err(|_| ())?);
        Ok(Shape::Fixed { rows, cols })
    }
}

/// The full description of one kernel.
#[derive(Clone)]
pub struct KernelSpec {
    /// What it computes.
    pub operation: Operation,
    /// The resident layout that it reads.
    pub layout: Layout,
    /// The shapes that it serves.
    pub shape: Shape,
    /// How its loops are arranged.
    pub schedule: Schedule,
    /// The instruction set that it is written in.
    pub isa: &'static dyn Isa,
}

impl KernelSpec {
    /// The activations of each vector that stand together, where they are interleaved.
    pub fn interleaved(&self) -> Option<usize> {
        let run = match self.isa.atom().accumulate {
            Accumulate::Tile { .. } => TILE_RUN,
            Accumulate::Wide | Accumulate::Narrow { .. } => QUAD,
        };
        self.schedule.interleaved.then_some(run)
    }

    /// The kernel's name, by the grammar of this module.
    pub fn name(&self) -> String {
        format!("{}_{}_{}_{}__{}", self.operation, self.layout.name, self.shape, self.schedule, self.isa.id())
    }
}

impl fmt::Debug for KernelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A text that names no kernel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{name}' names no kernel: {reason}; expected <op>_<format>_<M>x<K>_<schedule>__<isa>, as in gemv_i2a16_1536x1536_u4c2mr1p4096__avx2"
)]
pub struct NameError {
    /// The text found.
    pub name: String,
    /// Which part is wrong, and what is known there.
    pub reason: String,
}

impl FromStr for KernelSpec {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        parse(name).map_err(|reason| NameError { name: name.to_owned(), reason })
    }
}

fn parse(name: &str) -> Result<KernelSpec, String> {
    let (front, isa) = name.rsplit_once("__").ok_or("there is no '__<isa>' at its end")?;
    let isa =
        isa::by_id(isa).ok_or_else(|| format!("unknown ISA '{isa}', known are {}", isa::ids().join(", ")))?;
    let parts: Vec<&str> = front.split('_').collect();
    let [operation, format, shape, schedule] = parts[..] else {
        return Err(format!("{} parts before the ISA instead of 4", parts.len()));
    };
    Ok(KernelSpec {
        operation: operation
            .parse()
            .map_err(|()| format!("unknown operation '{operation}', known are gemv and gemm<tokens>"))?,
        layout: layout::by_name(format).ok_or_else(|| format!("unknown format '{format}'"))?,
        shape: shape.parse().map_err(|()| format!("'{shape}' is neither <M>x<K> nor anyxany"))?,
        schedule: schedule.parse().map_err(|e: crate::schedule::ScheduleSyntax| e.to_string())?,
        isa,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for name in [
            "gemv_i2a16_1536x1536_u4c2mr1p4096__avx512vnni",
            "gemm4_i2a16_anyxany_u1c1sr2p0__avx2",
            "gemv_i2a16_anyxany_u1c1sr1p0__portable",
        ] {
            assert_eq!(name.parse::<KernelSpec>().unwrap().name(), name);
        }
    }

    #[test]
    fn a_wrong_name_says_which_part() {
        for (name, part) in [
            ("gemv_i2a16_8x8_u1c1sr1p0__sse9", "unknown ISA 'sse9', known are"),
            ("gemx_i2a16_8x8_u1c1sr1p0__avx2", "unknown operation 'gemx'"),
            ("gemm1_i2a16_8x8_u1c1sr1p0__avx2", "unknown operation 'gemm1'"),
            ("gemm129_i2a16_8x8_u1c1sr1p0__avx2", "unknown operation 'gemm129'"),
            ("gemv_i9_8x8_u1c1sr1p0__avx2", "unknown format 'i9'"),
            ("gemv_i2a16_8by8_u1c1sr1p0__avx2", "'8by8' is neither"),
            ("gemv_i2a16_8x8_fast__avx2", "'fast' is no schedule"),
            ("gemv__avx2", "1 parts before the ISA"),
            ("gemv", "no '__<isa>'"),
        ] {
            let error = name.parse::<KernelSpec>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
