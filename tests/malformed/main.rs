//! Model files that are damaged, poisoned or of a kind that is not supported: each is a typed error, or a model whose
//! forward pass ends. Nothing panics, hangs, or takes more memory than four times the file.

mod blocks;
mod damage;
mod directory;
mod exercise;
mod fields;
mod memory;
mod poison;
mod sample;
mod unsupported;

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;
