//! Whole models against references made by other programs, the memory that they take, and the packed product.

mod fast;
mod logits;
mod mat_vec;
mod memory;
mod packing;
mod stored_heads;
mod support;
mod ternary;
