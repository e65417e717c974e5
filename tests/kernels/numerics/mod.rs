//! Every float part and the quantisation, on every instruction set, against scalar code: equal bits.

mod attention;
pub mod operands;
mod oracle;
mod vectors;

use tritforge::numerics::Numerics;

/// One entry point: its name, and the comparison.
pub type Check = (&'static str, fn(&Numerics) -> Result<(), String>);

/// Every entry point.
pub const CHECKS: [Check; 16] = [
    ("rms_norm", vectors::rms_norm),
    ("quantize_row", vectors::quantize_row),
    ("quantize_normed", vectors::quantize_normed),
    ("rotate_heads", vectors::rotate_heads),
    ("attend", attention::attend),
    ("attend_chunk", attention::many_queries),
    ("fold_chunks", attention::damaged_chunks),
    ("store_kv", attention::store_kv),
    ("relu2_gate", vectors::relu2_gate),
    ("silu_gate", vectors::silu_gate),
    ("add", vectors::add),
    ("dot_rows", vectors::dot_rows),
    ("all_finite", vectors::all_finite),
    ("expand", vectors::expand),
    ("scale_by_tensor", vectors::scale_by_tensor),
    ("scale_by_row", vectors::scale_by_row),
];
