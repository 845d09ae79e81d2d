//! Claims: ready tasks with the data that they need.

use tokio_postgres::Row;

use super::fault::JobFault;
use super::rows::int;
use crate::domain::task::{TaskKind, TaskNo};
use crate::postgres::{Connection, Param, PgText};
use crate::store::{Claimable, Claimed, Claims, Lease, Owner, Part, PendingTask, RunId};

/// The parameters of a claim.
pub(super) struct Claim<'a> {
    pub(super) run: RunId,
    pub(super) owner: &'a Owner,
    pub(super) which: Claimable,
    pub(super) limit: usize,
    pub(super) lease_ms: i64,
    pub(super) ticket: i64,
}

/// Claims tasks. `again` means that an earlier try was sent and may have leased tasks.
pub(super) async fn claim(c: &mut Connection, claim: &Claim<'_>, again: bool) -> Result<Claims, JobFault> {
    let which = match claim.which {
        Claimable::All => "all",
        Claimable::Unplanned => "unplanned",
        Claimable::Quarantined => "quarantined",
    };
    let rows = c
        .rows(
            "SELECT * FROM nova3_claim($1,$2,$3,$4,$5,$6,$7)",
            &[
                claim.run.0.sent(),
                claim.owner.0.sent(),
                which.sent(),
                int(claim.limit).sent(),
                claim.lease_ms.sent(),
                claim.ticket.sent(),
                again.sent(),
            ],
        )
        .await?;
    let mut claims = Claims {
        expire: true,
        ..Claims::default()
    };
    for row in &rows {
        add(&mut claims, row)?;
    }
    Ok(claims)
}

fn add(claims: &mut Claims, row: &Row) -> Result<(), JobFault> {
    let lease = Lease {
        queue_id: row.get(0),
        fence: row.get(1),
    };
    let (task, kind) = (TaskNo(row.get(2)), row.get::<_, &str>(3));
    let kind = TaskKind::parse(kind).ok_or_else(|| JobFault::Row(format!("a task is a `{kind}`")))?;
    let queue = |request| Claimed {
        lease,
        task,
        kind,
        request,
        index: row.get::<_, i64>(4).unsigned_abs(),
        planned: row.get(5),
        current_task: task.index().unwrap_or(0),
        is_recorded: row.get(14),
        panics: row.get::<_, i64>(15).try_into().unwrap_or(u32::MAX),
        lost_calls: Vec::new(),
        tasks: pending(row, 7),
        parts: parts(row, 11),
        flaw: None,
    };
    claims.add(row.get(6), (lease, task), queue);
    Ok(())
}

/// Reads planned tasks from four array columns, beginning with column `first`.
pub(super) fn pending(row: &Row, first: usize) -> Vec<PendingTask> {
    let column = |offset: usize| -> Vec<PgText> {
        row.get::<_, Option<Vec<PgText>>>(first + offset)
            .unwrap_or_default()
    };
    let names = column(0).into_iter().zip(column(1));
    let texts = column(2).into_iter().zip(column(3));
    names
        .zip(texts)
        .map(|((task_id, action), (description, input))| PendingTask {
            task_id: task_id.0,
            action: action.0,
            description: description.0,
            input: input.0,
        })
        .collect()
}

/// Reads parts from three array columns, beginning with column `first`.
fn parts(row: &Row, first: usize) -> Vec<Part> {
    let numbers: Vec<i32> = row.get::<_, Option<_>>(first).unwrap_or_default();
    let subjects: Vec<Option<PgText>> = row.get::<_, Option<_>>(first + 1).unwrap_or_default();
    let inputs: Vec<PgText> = row.get::<_, Option<_>>(first + 2).unwrap_or_default();
    let parts = numbers.into_iter().zip(subjects).zip(inputs);
    parts
        .filter(|((no, _), _)| TaskNo(*no).is_part())
        .map(|((no, subject), input)| Part {
            no: TaskNo(no),
            subject: subject.map(|subject| subject.0),
            input: input.0,
        })
        .collect()
}
