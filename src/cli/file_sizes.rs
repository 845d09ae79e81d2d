//! The limit on the size of files (`ulimit -f`). A write above the limit returns an error instead of ending the process.

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// Catches the signal of the limit until the process ends. The write above the limit then fails with an error that names
/// its file.
pub(super) fn catch_limit() -> Result<()> {
    let failed = "failed to catch the signal of the limit on file sizes";
    // The handler stays installed after its runtime is dropped.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context(failed)?;
    let _inside = runtime.enter();
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))
        .map(drop)
        .context(failed)
}
