//! The head's kernels, each compiled for every instruction set.

use super::activations::AtOnce;
use super::layout::Format;
use super::schedule::Walk;
use super::{blocks, floats};
use crate::kernels::abi::IsaInfo;
use crate::lanes::{FEW, Lanes, of};
use crate::numerics::Numerics;

/// From `family::name`, the function `family::name::<L>`: one module `name` with a function `__id` for every instruction
/// set, and a table of them all.
macro_rules! kernels {
    ([ $(#[$doc:meta])* $kernels:ident in $table:ident: $($family:ident::$name:ident)* ] $isas:tt) => {
        $(
            #[doc = concat!("`head_", stringify!($name), "`, one function for every instruction set.")]
            mod $name {
                use super::*;
                versions! { $family $name $isas }
            }
        )*

        $(#[$doc])*
        #[derive(Debug)]
        pub struct $kernels {
            /// The instruction set that they need.
            pub isa: &'static IsaInfo,
            /// Those of `Lanes::AT_ONCE` and [`FEW`].
            pub at_once: AtOnce,
            $(
                #[doc = concat!("See `", stringify!($family), "::", stringify!($name), "`.")]
                pub $name: unsafe fn($family::Call<'_>),
            )*
        }

        /// What there is for the architecture of this build, portable first.
        static $table: &[$kernels] = table!($kernels [$($name)*] $isas);

        impl $kernels {
            /// Those of the instruction set of `numerics`, which are the proof that the CPU has it.
            pub fn of(numerics: &Numerics) -> &'static Self {
                $table.iter().find(|kernels| kernels.isa.id == numerics.isa().id).unwrap_or(&$table[0])
            }
        }
    };
}

/// The functions of one kernel.
macro_rules! versions {
    ($family:ident $name:ident [$({ $isa:ident $version:ident [$($cfg:tt)*] [$($features:tt)*] })*]) => {
        $(
            /// # Safety
            /// The CPU must have the instruction set.
            $($cfg)*
            $($features)*
            pub(super) unsafe fn $version(call: $family::Call<'_>) {
                // SAFETY: as the caller promises.
                unsafe { $family::$name::<of::$version>(call) }
            }
        )*
    };
}

/// The rows of a table.
macro_rules! table {
    ($kernels:ident $names:tt [$({ $isa:ident $version:ident [$($cfg:tt)*] $features:tt })*]) => {
        &[$($($cfg)* row!($kernels $names $isa $version)),*]
    };
}

/// One row of a table.
macro_rules! row {
    ($kernels:ident [$($name:ident)*] $isa:ident $version:ident) => {
        $kernels {
            isa: &crate::kernels::$isa,
            at_once: AtOnce { many: of::$version::AT_ONCE, few: FEW },
            $($name: $name::$version),*
        }
    };
}

crate::kernels::with_isas! { kernels!
    /// The kernels of packed tiles, compiled for one instruction set.
    BlockKernels in BLOCK_KERNELS: blocks::q4_0 blocks::q8_0 blocks::q6_k blocks::i8row
}

crate::kernels::with_float_isas! { kernels!
    /// The kernels of rows of floats, compiled for one instruction set.
    FloatKernels in FLOAT_KERNELS: floats::f32 floats::f16 floats::bf16
}

/// The name of a kernel: `head_<format>_anyxany_<schedule>__<isa>`, with the distance of its prefetches, the streams that
/// one token is multiplied in, and the instruction set that was chosen, which may share the function with another.
pub fn name(isa: &IsaInfo, format: &str, ahead: usize, walk: Walk) -> String {
    format!("head_{format}_anyxany_p{ahead}t{}__{}", walk.streams(), isa.id)
}

impl BlockKernels {
    /// The kernel of packed tiles.
    pub fn of_format(&self, format: &Format) -> unsafe fn(blocks::Call<'_>) {
        match format.name {
            "q4_0" => self.q4_0,
            "q8_0" => self.q8_0,
            "q6_k" => self.q6_k,
            _ => self.i8row,
        }
    }
}
