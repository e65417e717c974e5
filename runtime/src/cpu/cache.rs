//! How large its caches are.

use std::sync::LazyLock;

/// Bytes of the second-level cache that a core has, as the CPU or its system says; `None` where neither does.
pub fn second_level_bytes() -> Option<usize> {
    static BYTES: LazyLock<Option<usize>> = LazyLock::new(|| found().filter(|bytes| *bytes > 0));
    *BYTES
}

#[cfg(target_arch = "x86_64")]
fn found() -> Option<usize> {
    let mut caches = raw_cpuid::CpuId::new().get_cache_parameters()?;
    let second = caches.find(|cache| cache.level() == 2)?;
    let lines = second.sets() * second.associativity() * second.physical_line_partitions();
    Some(lines * second.coherency_line_size())
}

/// From what Linux tells of the first processor; on other systems nothing is known.
#[cfg(not(target_arch = "x86_64"))]
fn found() -> Option<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size").ok()?;
    let kib: usize = text.trim().strip_suffix('K')?.parse().ok()?;
    kib.checked_mul(1 << 10)
}

#[cfg(test)]
mod tests {
    /// The kernel of the system knows the same.
    #[test]
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    fn the_second_level_is_as_large_as_the_system_says() {
        let Ok(text) = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size") else {
            return;
        };
        let kib: usize = text.trim().strip_suffix('K').expect("a size in KiB").parse().expect("a number");
        assert_eq!(super::second_level_bytes(), Some(kib << 10));
    }
}
