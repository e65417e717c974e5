//! Ternary (BitNet b1.58) language models on the CPU.
//!
//! Weights are -1, 0 or +1 times a scale, packed at two bits each; activations are int8, one scale a token. The
//! products are exact integers, computed by kernels that `kernelgen` generates at build time and that are chosen by
//! what the CPU can do; the float parts follow one fixed order. Logits are therefore the same bits on every
//! instruction set, with every number of threads, for prefill as for one-token decode.
//!
//! From high to low:
//! - [`mod@format`] reads GGUF files and Hugging Face directories, [`convert`] and [`synth`] write GGUF;
//! - [`model`] holds packed weights and the forward pass, [`generate`], [`sampling`] and [`tokenizer`] make text;
//! - [`head`] multiplies with the rows of the vocabulary;
//! - [`packed`], [`dense`] and [`engine`] multiply packed matrices, for programs that bring their own graph;
//! - [`numerics`] are the float parts, [`kernels`] is the generated code; [`cpu`] says which instruction sets there are, [`tuned`]
//!   which kernels were measured to be the fastest on a CPU,
//!   [`fault`] what this CPU claims and does not do; [`probe`] measures what the machine can do, [`mod@bench`] how close
//!   a model comes to it, [`tune`] finds the fastest kernels of a machine, [`exact`] says which are right.
//!
//! ```
//! use tritforge::dense::{Ternarize, pack_matrix};
//! use tritforge::packed::packed_mat_vec;
//!
//! // A 2 x 3 matrix, and y = W x.
//! let weights = pack_matrix(&[0.9, 0.0, -1.1, 1.0, 1.0, 0.1], 2, 3, Ternarize::RowMax)?;
//! let mut y = [0.0; 2];
//! packed_mat_vec(&weights, &[1.0, 2.0, 3.0], &mut y)?;
//! assert!((y[0] - 1.1 * (1.0 - 3.0)).abs() < 0.05 && (y[1] - 3.0).abs() < 0.05);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod absmean;
pub mod bench;
pub mod convert;
pub mod cpu;
pub mod demo;
pub mod dense;
mod dispatch;
pub mod engine;
pub mod exact;
pub mod expanded;
pub mod fault;
pub mod format;
pub mod generate;
pub mod head;
mod interleaved;
pub mod kernels;
mod lanes;
mod made;
pub mod memory;
pub mod model;
pub mod new_file;
pub mod numerics;
mod os;
pub mod packed;
mod packing;
mod prefetch;
pub mod probe;
mod product;
mod room;
pub mod sampling;
pub mod shares;
mod spare;
pub mod synth;
pub mod team;
pub mod tokenizer;
mod trial;
pub mod tune;
pub mod tuned;
pub mod verify;
