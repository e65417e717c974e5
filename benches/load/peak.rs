//! The peak of the process' anonymous memory: what it has allocated and touched, without files that are mapped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(1);

/// Bytes of anonymous memory that are resident now; `None` where the system does not tell.
fn anonymous() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

/// Runs `work` and says by how many bytes the anonymous memory grew at most meanwhile, its end included.
pub fn while_running<R>(work: impl FnOnce() -> R) -> (R, Option<u64>) {
    let before = anonymous();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut peak = None;
            loop {
                let last = ended.load(Ordering::Acquire);
                peak = peak.max(anonymous());
                if last || peak.is_none() {
                    return peak;
                }
                std::thread::sleep(INTERVAL);
            }
        });
        let result = work();
        ended.store(true, Ordering::Release);
        let peak = watch.join().expect("the watch");
        (result, peak.zip(before).map(|(peak, before)| peak.saturating_sub(before)))
    })
}
