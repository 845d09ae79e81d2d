//! The counts of a queue over its tasks. Claims find queues by them.
//!
//! A claim, a settlement and the end of a queue adjust the counts. Rare operations recompute them.

use rusqlite::Connection;

use super::fault::JobFault;

/// Recomputes the counts of the queue from its tasks.
pub(super) fn recount(c: &Connection, queue_id: i64) -> Result<(), JobFault> {
    c.prepare_cached(
        "UPDATE nova3_queues SET (ready, quarantine, leased, submitted)=(
             SELECT count(*) FILTER(WHERE status='ready' AND quarantine=0),
               coalesce(max(quarantine) FILTER(WHERE status='ready'), 0),
               count(*) FILTER(WHERE status='leased'), count(*) FILTER(WHERE status='submitted')
             FROM nova3_tasks WHERE queue_id=?1),
           (wake_at, sleep_ms)=(
             SELECT coalesce(min(wake_at), 0), coalesce(max(sleep_ms), 0) FROM nova3_tasks
             WHERE queue_id=?1 AND status='ready')
         WHERE queue_id=?1",
    )?
    .execute([queue_id])?;
    Ok(())
}
