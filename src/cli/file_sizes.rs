//! The limit on the size of files (`ulimit -f`): an error of the write that meets it, and not the end of the process.

use anyhow::{Context, Result};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// Catches the signal of the limit for as long as the process lives. The write that meets the limit then fails, and says
/// which file it was.
pub(super) fn catch_limit() -> Result<()> {
    let failed = "failed to catch the signal of the limit on file sizes";
    // The handler stays when its runtime is gone.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context(failed)?;
    let _inside = runtime.enter();
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))
        .map(drop)
        .context(failed)
}
