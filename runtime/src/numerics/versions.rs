//! One source, a version for every instruction set: each entry point of the numerics is compiled once under the
//! target features of every instruction set of [`crate::kernels::ISAS`], which alone knows which there are. Those that
//! differ in products of integers alone share a version.
//!
//! The compiler then vectorises the same loops with that instruction set's registers. It may neither reassociate nor
//! contract floating-point operations, so the bits cannot differ; `tests/kernels` compares them all the same.

/// The entry points: from `fn name(arguments) -> result = body;`, where the body is an `#[inline(always)]` function,
/// one module `name` with a function `__id` for every instruction set, the table `VERSIONS`, and a safe method of
/// `Numerics`. `with_float_isas!` adds the instruction sets. A body `with lanes` is written in the operations of
/// [`crate::lanes`]: its first argument is the proof that the CPU has them.
macro_rules! versions {
    ([ $($(#[$doc:meta])* fn $name:ident $arguments:tt $(-> $result:ty)? = $body:path $(, with $lanes:ident)?;)* ] $isas:tt) => {
        $(
            #[doc = concat!("`", stringify!($name), "`, one function for every instruction set.")]
            mod $name {
                #[allow(unused_imports, reason = "not every signature names a type of ours")]
                use super::*;
                functions! { ($arguments ($($result)?) $body [$($lanes)?]) $isas }
            }
        )*

        /// Every entry point, compiled for one instruction set.
        #[derive(Debug)]
        pub(super) struct Versions {
            /// The instruction set that the functions need.
            pub isa: &'static IsaInfo,
            $($name: pointer!($arguments ($($result)?)),)*
        }

        /// What there is for the architecture of this build, in ascending preference.
        pub(super) static VERSIONS: &[Versions] = table!([$($name)*] $isas);

        impl Numerics {
            $(method! { [$(#[$doc])*] $name $arguments ($($result)?) })*
        }
    };
}

/// The functions of one entry point.
macro_rules! functions {
    ($signature:tt [$($isa:tt)*]) => { $(function! { $signature $isa })* };
}

/// One entry point on one instruction set.
macro_rules! function {
    (
        (($($argument:ident: $type:ty),* $(,)?) ($($result:ty)?) $body:path [$($lanes:ident)?])
        { $isa:ident $version:ident [$($cfg:tt)*] [$($features:tt)*] }
    ) => {
        /// # Safety
        /// The CPU must have the instruction set.
        $($cfg)*
        $($features)*
        pub(super) unsafe fn $version($($argument: $type),*) $(-> $result)? {
            // SAFETY: as the caller promises.
            $(let $lanes = unsafe { Has::<of::$version>::new() };)?
            $body($($lanes,)? $($argument),*)
        }
    };
}

/// The type of one entry point.
macro_rules! pointer {
    (($($argument:ident: $type:ty),* $(,)?) ($($result:ty)?)) => { unsafe fn($($type),*) $(-> $result)? };
}

/// The rows of `VERSIONS`.
macro_rules! table {
    ($names:tt [$({ $isa:ident $version:ident [$($cfg:tt)*] $features:tt })*]) => {
        &[$($($cfg)* row!($names $isa $version)),*]
    };
}

/// One row of `VERSIONS`.
macro_rules! row {
    ([$($name:ident)*] $isa:ident $version:ident) => {
        Versions { isa: &crate::kernels::$isa, $($name: $name::$version),* }
    };
}

/// The safe method of one entry point.
macro_rules! method {
    (
        [$($doc:tt)*] $name:ident ($($argument:ident: $type:ty),* $(,)?) ($($result:ty)?)
    ) => {
        $($doc)*
        pub fn $name(&self, $($argument: $type),*) $(-> $result)? {
            // SAFETY: a `Numerics` exists only where the CPU has the instruction set of its versions.
            unsafe { (self.versions.$name)($($argument),*) }
        }
    };
}

pub(super) use {function, functions, method, pointer, row, table, versions};
