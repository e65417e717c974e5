//! [`GgufError`]: a damaged GGUF container, or one of a kind that is not supported.

/// What is wrong with a GGUF container. Positions are byte offsets from the start of the file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GgufError {
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it starts with the bytes {found:02x?} instead of \"GGUF\"")]
    NotGguf {
        /// The bytes that are there, at most four.
        found: Vec<u8>,
    },
    /// A file written for a big-endian machine.
    #[error(
        "this is a big-endian GGUF file; only little-endian files are supported (convert it on its own system)"
    )]
    BigEndian,
    /// Version 1, or one that is newer than the format is known to be.
    #[error("GGUF version {found} is not supported; supported are versions 2 and 3")]
    Version {
        /// The file's version.
        found: u32,
    },
    /// One part of a model that was split into several files.
    #[error(
        "this is one of {parts} parts of a split model; merge them into one file first (gguf-split --merge)"
    )]
    Split {
        /// Number of parts.
        parts: u64,
    },
    /// The file ends inside a field.
    #[error("the file ends inside {what}: {needed} bytes needed at offset {at}, {left} left")]
    Truncated {
        /// The field.
        what: &'static str,
        /// Where the field starts.
        at: usize,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are left.
        left: usize,
    },
    /// A count that cannot be right for a file of this size, or that exceeds the format's limit.
    #[error("{what} is {found}, more than the {limit} that are possible here")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The file's figure.
        found: u64,
        /// The most that could be.
        limit: u64,
    },
    /// A metadata key or tensor name that is empty, too long or not UTF-8.
    #[error("the {what} at offset {at} is not a valid name: {reason}")]
    Name {
        /// `metadata key` or `tensor name`.
        what: &'static str,
        /// Where it starts.
        at: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two entries of one name.
    #[error("the {what} `{name}` is there twice")]
    Duplicate {
        /// `metadata key` or `tensor name`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A value type that the format does not define, or an array of arrays.
    #[error(
        "the metadata key `{key}` has the value type {found}; known are 0 to 12, and arrays of all but arrays"
    )]
    ValueType {
        /// The key.
        key: String,
        /// The type id.
        found: u32,
    },
    /// A bool that is neither 0 nor 1.
    #[error("the metadata key `{key}` is a bool with the byte {found}; a bool is 0 or 1")]
    Bool {
        /// The key.
        key: String,
        /// The byte.
        found: u8,
    },
    /// A data alignment that is no power of two.
    #[error("general.alignment is {found}; expected a u32 that is a power of two")]
    Alignment {
        /// The value as printed.
        found: String,
    },
    /// A tensor type that is not supported.
    #[error("tensor `{tensor}` has type id {id} ({name}); supported are {supported}", supported = super::tensor_type::SUPPORTED)]
    TensorType {
        /// The tensor.
        tensor: String,
        /// The type id.
        id: u32,
        /// What the id is known to mean.
        name: &'static str,
    },
    /// A tensor whose dimensions do not multiply to a number of elements that its type can hold.
    #[error("tensor `{tensor}` has the dimensions {dims:?}: {reason}")]
    Dimensions {
        /// The tensor.
        tensor: String,
        /// Its dimensions, innermost first.
        dims: Vec<u64>,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A tensor that starts off the file's alignment.
    #[error(
        "tensor `{tensor}` starts at data offset {offset}, which is no multiple of the alignment {alignment}"
    )]
    Misaligned {
        /// The tensor.
        tensor: String,
        /// Its offset in the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u64,
    },
    /// A tensor that does not lie inside the file.
    #[error(
        "tensor `{tensor}` needs {bytes} bytes at data offset {offset}; the data section has {available}"
    )]
    OutOfFile {
        /// The tensor.
        tensor: String,
        /// Its offset in the data section.
        offset: u64,
        /// Its size.
        bytes: u64,
        /// Size of the data section.
        available: u64,
    },
    /// Bytes that belong to no tensor.
    #[error(
        "{bytes} bytes after {before} belong to no tensor: the file is damaged, or its writer used other sizes or \
         types than it says"
    )]
    Gap {
        /// What stands before them.
        before: String,
        /// How many there are.
        bytes: usize,
    },
    /// Two tensors that share bytes.
    #[error("tensors `{first}` and `{second}` overlap in the file")]
    Overlap {
        /// The tensor that starts first.
        first: String,
        /// The other one.
        second: String,
    },
}
