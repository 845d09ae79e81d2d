//! Readings of the input: they begin, and what they have not seen is no part of it when they end.

use super::calls::int;
use super::fault::Fault;
use super::{LONG, answered, ingest};
use crate::postgres::{Connection, Param};
use crate::store::{Epoch, InputMark, RunId};

pub(super) async fn begin(c: &mut Connection, run: RunId) -> Result<Epoch, Fault> {
    let row = c
        .row(
            "UPDATE nova3_runs SET ingest = ingest + 1, input_digest = NULL, input_bytes = NULL, input_requests = NULL
             WHERE run_id = $1 RETURNING ingest",
            &[run.0.sent()],
        )
        .await?;
    Ok(Epoch(row.get(0)))
}

/// Ends a reading: what it has not seen is no part of the input.
pub(super) async fn end(
    c: &mut Connection,
    run: RunId,
    epoch: Epoch,
    mark: &InputMark,
    before: Option<i64>,
) -> Result<(), Fault> {
    c.begin_long(LONG).await?;
    // What another reading has looked up stays so until it has written.
    ingest::lock(c, run).await?;
    answered::whole(c, run, epoch, before).await?;
    c.execute(
        "UPDATE nova3_queues SET state = 'blocked' WHERE run_id = $1 AND run_id > 0 AND ingest < $2 AND state = 'ready'",
        &[run.0.sent(), epoch.0.sent()],
    )
    .await?;
    // A later reading is not ended by this one: under way it has no mark, and ended it keeps its own.
    // Each state has a small index of its own.
    let gone = ["done", "failed", "paused", "continued"].map(|state| {
        format!(
            "EXISTS (SELECT 1 FROM nova3_queues q WHERE q.run_id = $1 AND q.run_id > 0 AND q.state = '{state}'
               AND q.ingest < $2 AND q.ingest >= r.complete_ingest)"
        )
    });
    let gone = gone.join(" OR ");
    let sql = format!(
        "UPDATE nova3_runs r SET complete_ingest = greatest(r.complete_ingest, $2),
           input_digest = CASE WHEN r.ingest = $2 THEN $3 ELSE r.input_digest END,
           input_bytes = CASE WHEN r.ingest = $2 THEN $4 ELSE r.input_bytes END,
           input_requests = CASE WHEN r.ingest = $2 THEN $5 ELSE r.input_requests END,
           lines_epoch = r.lines_epoch + ({gone})::integer
         WHERE r.run_id = $1"
    );
    c.execute(
        &sql,
        &[
            run.0.sent(),
            epoch.0.sent(),
            mark.digest.to_vec().sent(),
            int(mark.bytes).sent(),
            int(mark.requests).sent(),
        ],
    )
    .await?;
    c.rows("SELECT nova3_analyze()", &[]).await?;
    c.rows("SELECT nova3_sweep($1)", &[run.0.sent()]).await?;
    c.commit().await?;
    Ok(())
}
