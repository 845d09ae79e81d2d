//! The limit of open files. Each call in flight has a connection.

use anyhow::Result;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::exit::{Exit, decided};

/// Files of the store, the result file, the runtime and host name lookups.
const BESIDE_CALLS: u64 = 48;

/// Raises the soft limit to the hard limit, because a thousand streams need a thousand descriptors.
pub(super) fn raise() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If this fails, the soft limit stays, and `check` reports whether it is enough.
    setrlimit(Resource::Nofile, limit).unwrap_or_default();
}

/// Refuses a concurrency that needs more open files than this process may have. Without this check calls would fail although
/// nothing is wrong with them or the provider.
pub(super) fn check(concurrency: usize, rehearsal: bool) -> Result<()> {
    let calls = u64::try_from(concurrency).unwrap_or(u64::MAX);
    // Old connections still close while new ones open. A rehearsal holds both ends of each connection.
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
