//! Runs and their counts.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use async_trait::async_trait;
use tokio_postgres::Row;

use super::fault::JobFault;
use super::rows::int;
use super::{PostgresStore, claimable};
use crate::domain::tally::{Counts, RunSummary};
use crate::postgres::{Connection, Param, PgText, text};
use crate::store::{InputMark, Run, RunConstraints, RunId, RunOpening, Runs, SessionCounts, StoreError};

#[async_trait]
impl Runs for PostgresStore {
    async fn open_run(&self, opening: &RunOpening) -> Result<Run, StoreError> {
        let (shown, changed) = (self.database.shown(), &AtomicBool::new(false));
        job!(self, |c| open(c, shown, opening, changed))
    }

    async fn find_run(&self, name: Option<&str>) -> Result<Option<Run>, StoreError> {
        job!(self, |c| find(c, name))
    }

    async fn runs(&self) -> Result<Vec<Run>, StoreError> {
        job!(self, |c| all(c))
    }

    async fn run_list(&self) -> Result<Vec<(Run, Counts, RunSummary)>, StoreError> {
        job!(self, |c| super::counting::of_all(c))
    }

    async fn open_runs(&self) -> Result<Vec<(Run, bool)>, StoreError> {
        job!(self, |c| open_runs(c))
    }

    async fn claimable_tasks(&self) -> Result<u64, StoreError> {
        job!(self, |c| claimable::tasks(c))
    }

    async fn has_unfinished(&self, run: RunId) -> Result<bool, StoreError> {
        job!(self, |c| has_unfinished(c, run))
    }

    async fn stuck(&self, run: RunId) -> Result<Option<i64>, StoreError> {
        job!(self, |c| stuck(c, run))
    }
}

const SELECT: &str = "SELECT r.run_id, r.name, r.input_path, r.input_digest, r.input_bytes, r.input_requests, t.next_finish_no, \
     r.created_at, r.last_accessed, t.next_event_no, r.rehearsal, r.terms, r.complete_ingest FROM nova3_runs r JOIN nova3_tallies t USING (run_id)";

/// Opens a run. `told` is whether an earlier try whose answer was lost found the recipe changed.
pub(super) async fn open(
    c: &mut Connection,
    shown: &str,
    opening: &RunOpening,
    told: &AtomicBool,
) -> Result<Run, JobFault> {
    c.begin().await?;
    // The lock makes sure that two processes which open the same new run make it once.
    c.rows(
        "SELECT pg_advisory_xact_lock(hashtextextended('nova3 open', 0))",
        &[],
    )
    .await?;
    refuse_mixture(c, shown, opening).await?;
    // A path can have bytes that are not UTF-8; they are stored in their lossy form, as people see them.
    let path = opening
        .input
        .as_ref()
        .map(|path| text(&String::from_utf8_lossy(path.as_os_str().as_bytes())));
    let name = text(&opening.name);
    let known = c
        .optional(
            "SELECT run_id, input_path FROM nova3_runs WHERE name = $1",
            &[name.sent()],
        )
        .await?;
    if let Some(row) = &known {
        refuse_other_input(opening, row.get(1), path.as_ref())?;
    }
    let changed = recipe_changed(c, opening, &name).await?;
    let changed = told.fetch_or(changed, Relaxed) || changed;
    let terms = terms(c, opening, &name).await?;
    if known.is_none() {
        let row = c
            .row(
                "INSERT INTO nova3_runs (name, created_at, last_accessed) VALUES ($1, nova3_now(), 0) RETURNING run_id",
                &[name.sent()],
            )
            .await?;
        let run: i64 = row.get(0);
        c.execute("INSERT INTO nova3_tallies (run_id) VALUES ($1)", &[run.sent()])
            .await?;
    }
    // Two openings can share a millisecond and a clock can jump back, so the run used last gets the highest number.
    c.execute(
        "UPDATE nova3_runs SET input_path = $2, rehearsal = $3, recipe = $4, recipe_no = $6, terms = $5, last_accessed =
           greatest(nova3_now(), 1 + (SELECT max(last_accessed) FROM nova3_runs)) WHERE name = $1",
        &[
            name.sent(),
            path.sent(),
            opening.rehearsal.sent(),
            text(&opening.recipe.stored()).sent(),
            serde_json::to_string(&terms)?.sent(),
            opening.recipe.number().sent(),
        ],
    )
    .await?;
    let run = find(c, Some(&opening.name))
        .await?
        .ok_or_else(|| JobFault::Row("a run that was just opened is missing".to_owned()))?;
    // A process that begins has no failures of its routes yet.
    c.execute(
        "UPDATE nova3_routes SET state = 'closed', reason = NULL, since = nova3_now() WHERE run_id = $1 AND state <> 'closed'",
        &[run.id.0.sent()],
    )
    .await?;
    c.commit().await?;
    Ok(Run {
        recipe_changed: changed,
        ..run
    })
}

/// A worker without a heartbeat for this long counts as gone. So does one whose last heartbeat is this far in the
/// future, because the clock was set back.
const GONE_MS: i64 = 60_000;

/// Returns the terms that apply from now on: ours, unless other workers use theirs.
async fn terms(c: &mut Connection, opening: &RunOpening, name: &str) -> Result<RunConstraints, JobFault> {
    let at_work = c
        .optional(
            "SELECT r.terms FROM nova3_runs r WHERE r.name = $1 AND r.terms IS NOT NULL AND EXISTS (
               SELECT 1 FROM nova3_workers w WHERE w.run_id = r.run_id AND w.left_at IS NULL
                 AND w.last_seen BETWEEN nova3_now() - $2 AND nova3_now() + $2)",
            &[name.sent(), GONE_MS.sent()],
        )
        .await?;
    let Some(row) = at_work else {
        return Ok(opening.terms.clone());
    };
    let theirs: RunConstraints = serde_json::from_str(row.get(0))?;
    let differences = theirs.differences(&opening.terms);
    if differences.is_empty() || opening.accept_drift {
        return Ok(theirs);
    }
    Err(StoreError::ConfigMismatch {
        run: opening.name.clone(),
        differences,
    }
    .into())
}

fn refuse_other_input(
    opening: &RunOpening,
    theirs: Option<String>,
    ours: Option<&String>,
) -> Result<(), JobFault> {
    if opening.named || theirs.as_ref() == ours {
        return Ok(());
    }
    let shown =
        |path: Option<String>| path.map_or_else(|| "standard input".to_owned(), |path| PgText::from(path).0);
    Err(StoreError::OtherInput {
        run: opening.name.clone(),
        theirs: shown(theirs),
        ours: shown(ours.cloned()),
    }
    .into())
}

/// Whether the run was worked on under another recipe, has calls in its ledger, and has unfinished requests.
async fn recipe_changed(c: &mut Connection, opening: &RunOpening, name: &str) -> Result<bool, JobFault> {
    let known = c
        .optional(
            "SELECT r.run_id FROM nova3_runs r JOIN nova3_tallies t USING (run_id)
             WHERE r.name = $1 AND r.recipe <> $2 AND t.attempts > 0",
            &[name.sent(), text(&opening.recipe.stored()).sent()],
        )
        .await?;
    match known {
        Some(row) => has_unfinished(c, RunId(row.get(0))).await,
        None => Ok(false),
    }
}

async fn refuse_mixture(c: &mut Connection, shown: &str, opening: &RunOpening) -> Result<(), JobFault> {
    let other = c
        .optional(
            "SELECT rehearsal FROM nova3_runs WHERE rehearsal <> $1 LIMIT 1",
            &[opening.rehearsal.sent()],
        )
        .await?;
    let Some(row) = other else { return Ok(()) };
    let (rehearsals, real) = ("rehearsals (`--mock`)", "real runs");
    let (theirs, ours) = if row.get(0) {
        (rehearsals, real)
    } else {
        (real, rehearsals)
    };
    let path = PathBuf::from(shown);
    Err(StoreError::Rehearsal { path, theirs, ours }.into())
}

pub(super) async fn find(c: &mut Connection, name: Option<&str>) -> Result<Option<Run>, JobFault> {
    let sql = format!(
        "{SELECT} WHERE $1::text IS NULL OR r.name = $1 ORDER BY r.last_accessed DESC, r.run_id DESC LIMIT 1"
    );
    let found = c.optional(&sql, &[name.map(text).sent()]).await?;
    found.as_ref().map(read).transpose()
}

pub(super) async fn all(c: &mut Connection) -> Result<Vec<Run>, JobFault> {
    let sql = format!("{SELECT} ORDER BY r.last_accessed DESC, r.run_id DESC");
    c.rows(&sql, &[]).await?.iter().map(read).collect()
}

pub(super) async fn open_runs(c: &mut Connection) -> Result<Vec<(Run, bool)>, JobFault> {
    let sql = format!(
        "SELECT n.*, s.claimable FROM ({SELECT}) n CROSS JOIN LATERAL nova3_is_open(n.run_id) s WHERE s.open ORDER BY n.run_id"
    );
    let rows = c.rows(&sql, &[]).await?;
    rows.iter()
        .map(|row| Ok((read(row)?, row.get("claimable"))))
        .collect()
}

fn read(row: &Row) -> Result<Run, JobFault> {
    let path: Option<PgText> = row.get(2);
    let digest: Option<Vec<u8>> = row.get(3);
    let count = |column: usize| row.get::<_, Option<i64>>(column).map(i64::unsigned_abs);
    let digest = digest.and_then(|digest| <[u8; 32]>::try_from(digest).ok());
    let mark = match (digest, count(4), count(5)) {
        (Some(digest), Some(bytes), Some(requests)) => Some(InputMark {
            digest,
            bytes,
            requests,
        }),
        _ => None,
    };
    let terms: Option<&str> = row.get(11);
    Ok(Run {
        id: RunId(row.get(0)),
        name: row.get::<_, PgText>(1).0,
        input: path.map(|path| PathBuf::from(std::ffi::OsString::from_vec(path.0.into_bytes()))),
        mark,
        finished: row.get(6),
        created_at: row.get(7),
        last_accessed: row.get(8),
        events: row.get(9),
        rehearsal: row.get(10),
        complete: row.get(12),
        terms: terms.map(serde_json::from_str).transpose()?.unwrap_or_default(),
        recipe_changed: false,
    })
}

pub(super) async fn sessions(
    c: &mut Connection,
    run: RunId,
    limit: usize,
) -> Result<Vec<SessionCounts>, JobFault> {
    let rows = c
        .rows(
            "SELECT user_id, session_id, count(*), count(*) FILTER (WHERE state = 'done'),
               count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'paused'),
               count(*) FILTER (WHERE state = 'continued')
             FROM nova3_queues WHERE queue_id >= $1 << 36 AND queue_id < ($1 + 1) << 36 AND state <> 'superseded'
               AND session_id IS NOT NULL
               AND ingest >= (SELECT complete_ingest FROM nova3_runs WHERE run_id = $1)
             GROUP BY user_id, session_id
             ORDER BY count(*) FILTER (WHERE state IN ('blocked','open')) = 0, user_id, session_id LIMIT $2",
            &[run.0.sent(), int(limit).sent()],
        )
        .await?;
    let read = |row: &Row| SessionCounts {
        user_id: row.get(0),
        session_id: row.get(1),
        total: row.get::<_, i64>(2).unsigned_abs(),
        done: row.get::<_, i64>(3).unsigned_abs(),
        failed: row.get::<_, i64>(4).unsigned_abs(),
        paused: row.get::<_, i64>(5).unsigned_abs(),
        continued: row.get::<_, i64>(6).unsigned_abs(),
    };
    Ok(rows.iter().map(read).collect())
}

pub(super) async fn lines_epoch(c: &mut Connection, run: RunId) -> Result<i64, JobFault> {
    let sql = "SELECT r.lines_epoch + t.redone FROM nova3_runs r JOIN nova3_tallies t ON t.run_id = r.run_id WHERE r.run_id = $1";
    Ok(c.row(sql, &[run.0.sent()]).await?.get(0))
}

pub(super) async fn has_unfinished(c: &mut Connection, run: RunId) -> Result<bool, JobFault> {
    // A dropped run has no row, which is an error.
    let sql =
        "SELECT s.open FROM nova3_runs r CROSS JOIN LATERAL nova3_is_open(r.run_id) s WHERE r.run_id = $1";
    Ok(c.row(sql, &[run.0.sent()]).await?.get(0))
}

/// Returns an open queue of which no task can run.
pub(super) async fn stuck(c: &mut Connection, run: RunId) -> Result<Option<i64>, JobFault> {
    let found = c
        .optional(
            "SELECT q.queue_id FROM nova3_queues q JOIN nova3_runs r ON r.run_id = q.run_id
             WHERE q.run_id + 0 = $1 AND q.run_id > 0 AND q.state = 'open' AND q.ingest >= r.complete_ingest
               AND q.ready = 0 AND q.quarantine = 0 AND q.leased = 0 AND q.submitted = 0 LIMIT 1",
            &[run.0.sent()],
        )
        .await?;
    Ok(found.map(|row| row.get(0)))
}
