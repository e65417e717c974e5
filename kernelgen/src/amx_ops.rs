// What the AMX kernels need besides instructions: the tile configuration, and whether this CPU and this process may use
// tiles at all. Everything about kernels that depends on the operating system
// stands here.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

/// The operand of `ldtilecfg`, palette 1 (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 18.3):
/// byte 0 is the palette, bytes 16.. hold the bytes a row of each tile register (u16), bytes 48.. their rows.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct TileConfig(pub [u8; 64]);

impl TileConfig {
    /// The configuration in which tile register i has so many rows of so many bytes; those past `N` (at most 8) are
    /// not used.
    pub const fn new<const N: usize>(tiles: [(u8, u8); N]) -> Self {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut i = 0;
        while i < N {
            let (rows, row_bytes) = tiles[i];
            bytes[48 + i] = rows;
            bytes[16 + 2 * i] = row_bytes;
            i += 1;
        }
        TileConfig(bytes)
    }
}

/// Whether this process may execute AMX-INT8, on a CPU that has GFNI as well. The answer is found once; the permission that it
/// asks for holds for all threads of the process.
pub fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| cpu_has_tiles() && system_permits_tiles())
}

/// GFNI (leaf 7, ECX bit 8), AMX-TILE and AMX-INT8 (EDX bits 24 and 25), and that the operating system saves both parts of the
/// tile state (XCR0 bits 17 and 18).
fn cpu_has_tiles() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const GFNI: u32 = 1 << 8;
    const TILE_AND_INT8: u32 = 0b11 << 24;
    const TILE_STATE: u32 = 0b11 << 17;
    #[allow(unused_unsafe, reason = "newer standard libraries know that `cpuid` is safe")]
    // SAFETY: every x86-64 CPU has `cpuid`, whose answer about a leaf is used only where the CPU says it has the leaf.
    let leaf = |leaf| unsafe { __cpuid_count(leaf, 0) };
    if leaf(0).eax < 7
        || leaf(1).ecx & OSXSAVE == 0
        || leaf(7).ecx & GFNI == 0
        || leaf(7).edx & TILE_AND_INT8 != TILE_AND_INT8
    {
        return false;
    }
    let saved: u32;
    // SAFETY: `xgetbv` exists where OSXSAVE is set; it reads a register that is always there, and no memory.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") saved, out("edx") _, options(pure, nomem, nostack, preserves_flags));
    }
    saved & TILE_STATE == TILE_STATE
}

/// Linux gives a process the state of tiles only after it has asked: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`.
#[cfg(target_os = "linux")]
fn system_permits_tiles() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: the call passes two numbers and no pointer, and `syscall` changes no register but those named here.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// How other systems are asked could not be tried, and a kernel that runs without permission ends the process: so not.
#[cfg(not(target_os = "linux"))]
fn system_permits_tiles() -> bool {
    false
}
