//! The arithmetic of the forward pass outside of the ternary products: numerics profile `exact`.
//!
//! Every function here returns the same bits on every instruction set, operating system, thread count and
//! batch split. What that rests on:
//!
//! - There is one source. Each entry point is compiled once for every instruction set, under its target features
//!   (`versions`); [`Numerics`] is the choice among them.
//! - Only `+ - * /`, square root, comparisons and integer operations on f32, in an order that the source
//!   fixes. No platform libm, and no fused multiply-add but of factors whose product is exact ([`attention`]). The compiler may
//!   vectorise, for it may not reorder.
//! - A reduction over a vector has 16 partial sums: element `i` goes to lane `i % 16`,
//!   ascending, and the lanes are folded 8, 4, 2, 1 (`reduce`).
//! - Attention is cut into chunks of 128 keys at absolute positions ([`attention`]).
//! - Work is split over threads only where the pieces do not share a sum ([`crate::team`]).
//! - The tables of the rotary embedding come from f64 arithmetic in Rust ([`rope`]).

mod activation;
pub mod attention;
mod entry_points;
pub mod exp;
pub mod kv_block;
pub mod quantize;
mod reduce;
mod residual;
pub mod rms_norm;
pub mod rope;
mod scale;
mod trial;
mod versions;

pub use entry_points::Numerics;
pub(crate) use reduce::max_abs;
pub(crate) use trial::NumericsTrial;
