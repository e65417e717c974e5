//! What can be wrong with an output head.

/// A head that cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// A weight that is infinite or not a number.
    #[error(
        "the output head's weight at row {row}, column {col} is {value}; weights must be finite, so the file is damaged"
    )]
    NotFinite {
        /// Its row.
        row: usize,
        /// Its column.
        col: usize,
        /// The weight.
        value: f32,
    },
    /// A block whose scale is infinite or not a number.
    #[error(
        "the scale of the output head's block {block} in row {row} is not finite in binary16; the weights are damaged, or \
         too large for {format} (int8 takes them)"
    )]
    Scale {
        /// Row of the block.
        row: usize,
        /// Which block of the row.
        block: usize,
        /// The format's name.
        format: &'static str,
    },
    /// Columns that are not whole blocks.
    #[error(
        "an output head of {cols} columns in {format}, which goes in blocks of {block}; int8 takes any number of columns"
    )]
    Columns {
        /// Columns of the head.
        cols: usize,
        /// The format's name.
        format: &'static str,
        /// Columns of a block.
        block: usize,
    },
    /// No rows or no columns, or so many columns that integer sums would overflow.
    #[error(
        "an output head of {rows} rows and {cols} columns; in {format} it has at least one row and 1 to {most} columns"
    )]
    Shape {
        /// Rows of the head.
        rows: usize,
        /// Columns of the head.
        cols: usize,
        /// The format's name.
        format: &'static str,
        /// The most columns.
        most: usize,
    },
    /// A kernel that does not return what it should on this CPU.
    #[error(
        "{name} returns wrong logits on this CPU; TRITFORGE_ISA=portable chooses kernels that every CPU runs"
    )]
    Kernel {
        /// The kernel's name.
        name: String,
    },
    /// A name that is no type of head.
    #[error("unknown type '{found}' for the output head; known are exact, stored, int8 and q4_0")]
    UnknownType {
        /// The name.
        found: String,
    },
}
