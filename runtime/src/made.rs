//! When something was measured, and with what.

/// Today in UTC, as in 2026-01-31.
pub(crate) fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// The commit of the sources that the program was built from, where they still are; else the version.
pub(crate) fn commit() -> String {
    let git = std::process::Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short=12", "HEAD"])
        .stderr(std::process::Stdio::null())
        .output();
    let text = git.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let text = text.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    text.filter(|commit| !commit.is_empty())
        .unwrap_or_else(|| concat!("version ", env!("CARGO_PKG_VERSION")).to_owned())
}
