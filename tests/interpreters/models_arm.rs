//! The instructions of the Arm back-ends whose models are compared with the silicon, or its emulator.

#[cfg(not(target_arch = "aarch64"))]
pub use crate::operands::missing as silicon;
#[cfg(target_arch = "aarch64")]
pub use crate::silicon_arm::run as silicon;

use crate::operands::Checked;
use crate::operands::Operand::{Address, RowsLeft, Scalar, Shift, Vector};

/// The instructions.
pub const CHECKED: [Checked; 18] = [
    ("neon_ops::add_pair", "neon", &[Vector(32), Vector(32)]),
    ("neon_ops::products", "neon", &[Vector(16), Vector(16)]),
    ("neon_ops::quad", "neon", &[Scalar(32)]),
    ("neon_ops::sdot", "neondotprod", &[Vector(16), Vector(16), Vector(16)]),
    ("neon_ops::shift_pair", "neon", &[Shift, Vector(32)]),
    ("neon_ops::store_part", "neon", &[Address, RowsLeft, Vector(16)]),
    ("neon_ops::usdot", "neoni8mm", &[Vector(16), Vector(16), Vector(16)]),
    ("neon_ops::widen", "neon", &[Vector(16), Vector(32)]),
    ("neon_ops::zero_pair", "neon", &[]),
    ("vaddq_s32", "neon", &[Vector(16), Vector(16)]),
    ("vandq_s8", "neon", &[Vector(16), Vector(16)]),
    ("vdupq_n_s32", "neon", &[Scalar(32)]),
    ("vdupq_n_s8", "neon", &[Scalar(8)]),
    ("vld1q_s8", "neon", &[Vector(16)]),
    ("vshrq_n_s32", "neon", &[Shift, Vector(16)]),
    ("vshrq_n_s8", "neon", &[Shift, Vector(16)]),
    ("vst1q_s32", "neon", &[Address, Vector(16)]),
    ("vsubq_s32", "neon", &[Vector(16), Vector(16)]),
];
