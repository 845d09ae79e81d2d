//! The stored answer of a chunk of lines. A chunk whose answer was lost on its way is added again and finds it here.

use super::fault::JobFault;
use crate::postgres::{Connection, Param};
use crate::store::{AddOutcome, Epoch, RunId, StoreError};

/// Returns the stored answer of the chunk with that ticket, if an earlier try committed it. Refuses to continue a
/// reading whose chunk `before` is no longer stored.
pub(super) async fn find(
    c: &mut Connection,
    run: RunId,
    epoch: Epoch,
    before: Option<i64>,
    ticket: i64,
) -> Result<Option<Vec<AddOutcome>>, JobFault> {
    let found = c
        .optional(
            "SELECT outcomes, queues FROM nova3_readings WHERE run_id = $1 AND ingest = $2 AND ticket = $3",
            &[run.0.sent(), epoch.0.sent(), ticket.sent()],
        )
        .await?;
    let Some(row) = found else {
        return whole(c, run, epoch, before).await.map(|()| None);
    };
    let (names, queues): (Vec<String>, Vec<Option<i64>>) = (row.get(0), row.get(1));
    let outcomes = names.iter().zip(queues).map(|(name, queue)| read(name, queue));
    outcomes.collect::<Result<_, _>>().map(Some)
}

/// Refuses a reading of which the database lost a part: its beginning, or the chunk that was added last.
pub(super) async fn whole(
    c: &mut Connection,
    run: RunId,
    epoch: Epoch,
    before: Option<i64>,
) -> Result<(), JobFault> {
    let row = c
        .row(
            "SELECT r.ingest >= $2 AND ($3 IS NULL OR EXISTS (
               SELECT 1 FROM nova3_readings d WHERE d.run_id = $1 AND d.ingest = $2 AND d.ticket = $3))
             FROM nova3_runs r WHERE r.run_id = $1",
            &[run.0.sent(), epoch.0.sent(), before.sent()],
        )
        .await?;
    if row.get(0) {
        return Ok(());
    }
    let reason = "it has lost lines of the input that were stored".to_owned();
    Err(StoreError::WentBack { reason }.into())
}

/// Stores the answer to the last chunk of the reading.
pub(super) async fn keep(
    c: &mut Connection,
    run: RunId,
    epoch: Epoch,
    ticket: i64,
    outcomes: &[AddOutcome],
) -> Result<(), JobFault> {
    let (names, queues): (Vec<&str>, Vec<Option<i64>>) =
        outcomes.iter().map(|outcome| written(*outcome)).unzip();
    c.execute(
        "INSERT INTO nova3_readings (run_id, ingest, ticket, outcomes, queues) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (run_id, ingest) DO UPDATE SET ticket = excluded.ticket, outcomes = excluded.outcomes,
           queues = excluded.queues",
        &[
            run.0.sent(),
            epoch.0.sent(),
            ticket.sent(),
            names.sent(),
            queues.sent(),
        ],
    )
    .await?;
    Ok(())
}

fn written(outcome: AddOutcome) -> (&'static str, Option<i64>) {
    match outcome {
        AddOutcome::Queued => ("queued", None),
        AddOutcome::Waiting(queue) => ("waiting", Some(queue)),
        AddOutcome::Finished(queue) => ("finished", Some(queue)),
        AddOutcome::Changed => ("changed", None),
        AddOutcome::Bad(queue) => ("bad", Some(queue)),
        AddOutcome::Duplicate(queue) => ("duplicate", Some(queue)),
    }
}

fn read(name: &str, queue: Option<i64>) -> Result<AddOutcome, JobFault> {
    match (name, queue) {
        ("queued", None) => Ok(AddOutcome::Queued),
        ("waiting", Some(queue)) => Ok(AddOutcome::Waiting(queue)),
        ("finished", Some(queue)) => Ok(AddOutcome::Finished(queue)),
        ("changed", None) => Ok(AddOutcome::Changed),
        ("bad", Some(queue)) => Ok(AddOutcome::Bad(queue)),
        ("duplicate", Some(queue)) => Ok(AddOutcome::Duplicate(queue)),
        _ => Err(JobFault::Row(format!("a line was answered `{name}`"))),
    }
}
