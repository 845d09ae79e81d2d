//! The limit of open files: each call on its way has a connection.

use anyhow::Result;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::exit::{Exit, decided};

/// The store, the result file, the runtime, and what the system opens to find a host.
const BESIDE_CALLS: u64 = 48;

/// A thousand streams need a thousand descriptors; the hard limit is what the operator allows.
pub(super) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where this fails the soft limit stays, and `check` says whether it is enough.
    setrlimit(Resource::Nofile, limit).unwrap_or_default();
}

/// Refuses more calls at once than this process may have connections: they would fail for a reason that is
/// neither theirs nor the provider's.
pub(super) fn check(concurrency: usize, rehearsal: bool) -> Result<()> {
    let calls = u64::try_from(concurrency).unwrap_or(u64::MAX);
    // Ended connections are still closing while new ones open; a rehearsal has both ends of each.
    let connections = calls.saturating_add(calls / 4);
    let needed = connections
        .saturating_mul(if rehearsal { 2 } else { 1 })
        .saturating_add(BESIDE_CALLS);
    match getrlimit(Resource::Nofile).current {
        Some(allowed) if allowed < needed => Err(decided(
            Exit::Usage,
            format!(
                "{concurrency} calls at once need {needed} open files, and this process may have {allowed} (raise `ulimit -n`, or lower `--concurrency`)"
            ),
        )),
        _ => Ok(()),
    }
}
