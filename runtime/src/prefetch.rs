//! What a CPU can be told of memory that is wanted soon.

/// Bytes of a cache line, or less than that.
const LINE: usize = 64;

/// Asks for so many bytes from an address on, which may be any.
pub fn bytes(start: *const u8, len: usize) {
    for at in (0..len).step_by(LINE) {
        line(start.wrapping_add(at));
    }
}

/// Asks for the cache line at an address, which may be any.
#[cfg(target_arch = "x86_64")]
fn line(at: *const u8) {
    crate::kernels::x86_ops::prefetch::<0>(at);
}

/// Asks for the cache line at an address, which may be any.
#[cfg(target_arch = "aarch64")]
fn line(at: *const u8) {
    crate::kernels::neon_ops::prefetch::<0>(at);
}

/// There is no such instruction that every CPU of the architecture has.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn line(_at: *const u8) {}
