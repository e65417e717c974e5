//! GGUF: reading models from it and writing them to it.

mod error;
mod load;
mod metadata;
mod reader;
mod tensor_type;
mod value;
mod vocabulary;
mod writer;

pub use error::GgufError;
pub use reader::{GgufFile, GgufTensor};
pub use tensor_type::{I2_S_TRAILER, TensorType};
pub use value::{ArrayValue, Value, ValueType};

pub(crate) use load::{SUB_NORMS_KEY, TAIL_FLAT, TAIL_KEY, activation_key, layer_tensor};
pub(crate) use writer::GgufWriter;

pub(super) use load::{load, load_tokenizer};
