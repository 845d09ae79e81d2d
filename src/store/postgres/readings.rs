//! Readings of the input: their beginning and their end. When a reading ends, lines that it has not seen leave the
//! input.

use super::fault::JobFault;
use super::rows::int;
use super::{LONG, answered, ingest};
use crate::postgres::{Connection, Param};
use crate::store::{Epoch, InputMark, RunId};

/// The most queues that one statement holds back.
const HELD_BACK: i64 = 1000;

pub(super) async fn begin(c: &mut Connection, run: RunId) -> Result<Epoch, JobFault> {
    c.begin().await?;
    c.rows("SELECT nova3_change_order($1)", &[run.0.sent()]).await?;
    let row = c
        .row(
            "UPDATE nova3_runs SET ingest = ingest + 1, input_digest = NULL, input_bytes = NULL, input_requests = NULL
             WHERE run_id = $1 RETURNING ingest",
            &[run.0.sent()],
        )
        .await?;
    c.commit().await?;
    Ok(Epoch(row.get(0)))
}

/// Ends a reading: lines that it has not seen are not part of the input. The mark is written last, so that the input is
/// read again after a crash.
pub(super) async fn end(
    c: &mut Connection,
    run: RunId,
    epoch: Epoch,
    mark: &InputMark,
    before: Option<i64>,
) -> Result<(), JobFault> {
    complete(c, run, epoch, before).await?;
    while hold_back(c, run, epoch).await? > 0 {}
    c.begin_long(LONG).await?;
    // The condition keeps a later reading intact: it has no mark while under way, and its own mark after its end.
    c.execute(
        "UPDATE nova3_runs SET input_digest = $3, input_bytes = $4, input_requests = $5 WHERE run_id = $1 AND ingest = $2",
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
    c.commit().await?;
    Ok(())
}

/// Holds back some of the queues that the reading has not seen. Returns how many.
async fn hold_back(c: &mut Connection, run: RunId, epoch: Epoch) -> Result<i64, JobFault> {
    let params = [run.0.sent(), epoch.0.sent(), HELD_BACK.sent()];
    let row = c.row("SELECT nova3_hold_back($1, $2, $3)", &params).await?;
    Ok(row.get(0))
}

/// Makes the reading the last complete one for all statements that begin from now on. The same transaction holds back
/// the first of the unseen queues, which is all of them for most inputs.
async fn complete(c: &mut Connection, run: RunId, epoch: Epoch, before: Option<i64>) -> Result<(), JobFault> {
    c.begin().await?;
    ingest::lock(c, run).await?;
    c.rows("SELECT nova3_change_order($1)", &[run.0.sent()]).await?;
    answered::whole(c, run, epoch, before).await?;
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
           lines_epoch = r.lines_epoch + ({gone})::integer WHERE r.run_id = $1"
    );
    c.execute(&sql, &[run.0.sent(), epoch.0.sent()]).await?;
    hold_back(c, run, epoch).await?;
    Ok(c.commit().await?)
}
