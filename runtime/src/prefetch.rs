//! What a CPU can be told of memory that is wanted soon. An address may be any: nothing that the program could see is touched.

/// Bytes of a cache line, or less than that.
pub const LINE: usize = 64;

/// Asks for the cache line at an address.
#[cfg(target_arch = "x86_64")]
pub fn to_read(at: *const u8) {
    crate::kernels::x86_ops::prefetch::<0>(at);
}

/// Asks for the cache line at an address.
#[cfg(target_arch = "aarch64")]
pub fn to_read(at: *const u8) {
    crate::kernels::neon_ops::prefetch::<0>(at);
}

/// There is no such instruction that every CPU of the architecture has.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn to_read(_at: *const u8) {}

/// Asks for the cache line at an address, to write to it: a core goes on without what it writes to, but not for many stores.
#[cfg(target_arch = "x86_64")]
pub fn to_write(at: *const u8) {
    // SAFETY: it reads nothing that the program could see, and never faults; CPUs that do not know the instruction do nothing.
    unsafe {
        std::arch::asm!("prefetchw [{at}]", at = in(reg) at, options(nostack, preserves_flags));
    }
}

/// Asks for the cache line at an address, to write to it: a core goes on without what it writes to, but not for many stores.
#[cfg(target_arch = "aarch64")]
pub fn to_write(at: *const u8) {
    // SAFETY: it reads nothing that the program could see, and never faults.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags));
    }
}

/// There is no such instruction that every CPU of the architecture has.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn to_write(_at: *const u8) {}
