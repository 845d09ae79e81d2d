//! Readings of the input: they begin, and what they have not seen is no part of it when they end.

use super::fault::Fault;
use super::rows::int;
use super::{LONG, answered, ingest};
use crate::postgres::{Connection, Param};
use crate::store::{Epoch, InputMark, RunId};

/// Queues that one statement holds back at most.
const HELD_BACK: i64 = 1000;

pub(super) async fn begin(c: &mut Connection, run: RunId) -> Result<Epoch, Fault> {
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

/// Ends a reading: what it has not seen is no part of the input. The mark comes last: after a crash the input is read again.
pub(super) async fn end(
    c: &mut Connection,
    run: RunId,
    epoch: Epoch,
    mark: &InputMark,
    before: Option<i64>,
) -> Result<(), Fault> {
    complete(c, run, epoch, before).await?;
    while hold_back(c, run, epoch).await? > 0 {}
    c.begin_long(LONG).await?;
    // A later reading is not ended by this one: under way it has no mark, and ended it keeps its own.
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

/// Some of the queues that the reading has not seen wait from now on; answers how many.
async fn hold_back(c: &mut Connection, run: RunId, epoch: Epoch) -> Result<i64, Fault> {
    let params = [run.0.sent(), epoch.0.sent(), HELD_BACK.sent()];
    let row = c.row("SELECT nova3_hold_back($1, $2, $3)", &params).await?;
    Ok(row.get(0))
}

/// The reading is the last complete one, for every statement that begins from now on. The first of the queues that it has
/// not seen are held back with it: for most inputs that is all of them.
async fn complete(c: &mut Connection, run: RunId, epoch: Epoch, before: Option<i64>) -> Result<(), Fault> {
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
