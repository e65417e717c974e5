//! Analyses of a kernel before it is printed: ranges, register pressure, static cost.

pub mod cost;
pub mod pressure;
pub mod range;
