//! Runs and their counts.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::fault::JobFault;
use super::results::complete_ingest;
use crate::domain::tally::{Counts, RunSummary};
use crate::domain::usage::{Cost, Usage};
use crate::store::{
    InputMark, MOST_COUNTED, Run, RunConstraints, RunId, RunOpening, Runs, SessionCounts, StoreError,
};

#[async_trait]
impl Runs for SqliteStore {
    async fn open_run(&self, opening: &RunOpening) -> Result<Run, StoreError> {
        let opening = opening.clone();
        let path = self.path.clone();
        self.write(move |c| open(c, &path, &opening, crate::clock::now_ms()))
            .await
    }

    async fn find_run(&self, name: Option<&str>) -> Result<Option<Run>, StoreError> {
        let name = name.map(str::to_owned);
        self.read(move |c| find(c, name.as_deref())).await
    }

    async fn runs(&self) -> Result<Vec<Run>, StoreError> {
        self.read(all).await
    }

    async fn run_list(&self) -> Result<Vec<(Run, Counts, RunSummary)>, StoreError> {
        self.read(run_list).await
    }

    async fn open_runs(&self) -> Result<Vec<(Run, bool)>, StoreError> {
        self.read(open_runs).await
    }

    async fn claimable_tasks(&self) -> Result<u64, StoreError> {
        self.read(|c| claimable_tasks(c, crate::clock::now_ms())).await
    }

    async fn has_unfinished(&self, run: RunId) -> Result<bool, StoreError> {
        self.read(move |c| has_unfinished(c, run)).await
    }

    async fn stuck(&self, run: RunId) -> Result<Option<i64>, StoreError> {
        self.read(move |c| stuck(c, run)).await
    }
}

const COLUMNS: &str = "run_id, name, input_path, input_digest, input_bytes, input_requests, next_finish_no, created_at, \
     last_accessed, next_event_no, rehearsal, complete_ingest";

pub(super) fn open(c: &Connection, store: &Path, opening: &RunOpening, now: i64) -> Result<Run, JobFault> {
    refuse_mixture(c, store, opening)?;
    // A path can have bytes that are not UTF-8; they are stored in their lossy form, as people see them.
    let path = opening
        .input
        .as_ref()
        .map(|path| String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned());
    let known: Option<Option<String>> = c
        .query_row(
            "SELECT input_path FROM nova3_runs WHERE name=?1",
            [&opening.name],
            |row| row.get(0),
        )
        .optional()?;
    if let Some(theirs) = &known
        && !opening.named
        && *theirs != path
    {
        let shown = |path: &Option<String>| path.clone().unwrap_or_else(|| "standard input".to_owned());
        return Err(StoreError::OtherInput {
            run: opening.name.clone(),
            theirs: shown(theirs),
            ours: shown(&path),
        }
        .into());
    }
    let changed = recipe_changed(c, opening)?;
    // Two openings can share a millisecond and a clock can jump back, so the run used last gets the highest number.
    c.execute(
        "INSERT INTO nova3_runs(name, input_path, rehearsal, recipe, recipe_no, created_at, last_accessed)
         SELECT ?1, ?2, ?4, ?5, ?6, ?3, max(?3, 1+coalesce(max(last_accessed),0)) FROM nova3_runs WHERE true
         ON CONFLICT(name) DO UPDATE SET input_path=excluded.input_path, recipe=excluded.recipe,
           recipe_no=excluded.recipe_no, last_accessed=excluded.last_accessed",
        params![
            opening.name,
            path,
            now,
            opening.rehearsal,
            opening.recipe.stored(),
            opening.recipe.number()
        ],
    )?;
    if failpoint!("finished-run-asks-again") {
        c.execute_batch(
            "CREATE TEMP TABLE again AS SELECT max(queue_id) AS queue_id FROM nova3_queues HAVING min(state='done');
             UPDATE nova3_tasks SET status='ready' WHERE task_index=2 AND queue_id IN(SELECT queue_id FROM again);
             UPDATE nova3_queues SET state='open', ready=1, current_task_index=2 WHERE queue_id IN(SELECT queue_id FROM again);",
        )?;
    }
    let run = find(c, Some(&opening.name))?
        .ok_or_else(|| JobFault::Row("a run that was just opened is missing".to_owned()))?;
    // A process that begins has no failures of its routes yet.
    c.execute(
        "UPDATE nova3_routes SET state='closed', reason=NULL, since=?2 WHERE run_id=?1 AND state<>'closed'",
        params![run.id.0, now],
    )?;
    Ok(Run {
        recipe_changed: changed,
        terms: opening.terms.clone(),
        ..run
    })
}

/// Whether the run was worked on under another recipe, has calls in its ledger, and has unfinished requests.
fn recipe_changed(c: &Connection, opening: &RunOpening) -> Result<bool, JobFault> {
    let known: Option<(i64, Option<String>, bool)> = c
        .query_row(
            "SELECT run_id, recipe, attempts>0 FROM nova3_runs WHERE name=?1",
            [&opening.name],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()?;
    match known {
        Some((run, Some(recipe), true)) if recipe != opening.recipe.stored() => has_unfinished(c, RunId(run)),
        _ => Ok(false),
    }
}

fn refuse_mixture(c: &Connection, store: &Path, opening: &RunOpening) -> Result<(), JobFault> {
    let other: Option<bool> = c
        .query_row(
            "SELECT rehearsal FROM nova3_runs WHERE rehearsal<>?1 LIMIT 1",
            [opening.rehearsal],
            |row| row.get(0),
        )
        .optional()?;
    let Some(rehearsal) = other else { return Ok(()) };
    let (rehearsals, real) = ("rehearsals (`--mock`)", "real runs");
    let (theirs, ours) = if rehearsal {
        (rehearsals, real)
    } else {
        (real, rehearsals)
    };
    let path = store.to_path_buf();
    Err(StoreError::Rehearsal { path, theirs, ours }.into())
}

pub(super) fn find(c: &Connection, name: Option<&str>) -> Result<Option<Run>, JobFault> {
    let sql = format!(
        "SELECT {COLUMNS} FROM nova3_runs WHERE ?1 IS NULL OR name=?1 ORDER BY last_accessed DESC, run_id DESC LIMIT 1"
    );
    Ok(c.prepare_cached(&sql)?.query_row([name], read).optional()?)
}

pub(super) fn all(c: &Connection) -> Result<Vec<Run>, JobFault> {
    let sql = format!("SELECT {COLUMNS} FROM nova3_runs ORDER BY last_accessed DESC, run_id DESC");
    Ok(c.prepare_cached(&sql)?
        .query_map([], read)?
        .collect::<Result<_, _>>()?)
}

fn run_list(c: &Connection) -> Result<Vec<(Run, Counts, RunSummary)>, JobFault> {
    let runs = all(c)?.into_iter();
    runs.map(|run| Ok((run.clone(), counts(c, run.id)?, summary(c, run.id)?)))
        .collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Run> {
    let path: Option<String> = row.get(2)?;
    let digest: Option<[u8; 32]> = row.get(3)?;
    let (bytes, requests): (Option<u64>, Option<u64>) = (row.get(4)?, row.get(5)?);
    let mark = match (digest, bytes, requests) {
        (Some(digest), Some(bytes), Some(requests)) => Some(InputMark {
            digest,
            bytes,
            requests,
        }),
        _ => None,
    };
    Ok(Run {
        id: RunId(row.get(0)?),
        name: row.get(1)?,
        input: path.map(|path| PathBuf::from(std::ffi::OsString::from_vec(path.into_bytes()))),
        mark,
        finished: row.get(6)?,
        created_at: row.get(7)?,
        last_accessed: row.get(8)?,
        events: row.get(9)?,
        recipe_changed: false,
        rehearsal: row.get(10)?,
        complete: row.get(11)?,
        // One process works on the run alone, so no terms are stored.
        terms: RunConstraints::default(),
    })
}

pub(super) fn counts(c: &Connection, run: RunId) -> Result<Counts, JobFault> {
    let since = complete_ingest(c, run)?;
    // Each state has a small index of its own, so no request is read. Lines that an unfinished reading has not seen yet
    // still count, so `complete_ingest` decides and not the mark.
    let of = |state: &str| -> Result<u64, JobFault> {
        let sql =
            format!("SELECT count(*) FROM nova3_queues WHERE run_id=?1 AND ingest>=?2 AND state{state}");
        Ok(c.prepare_cached(&sql)?
            .query_row(params![run.0, since], |row| row.get(0))?)
    };
    let (done, outdated, other_models) = finished_under(c, run, since)?;
    let continued = of("='continued'")?;
    let kept: u64 = c
        .prepare_cached(
            "SELECT count(*) FROM nova3_queues WHERE run_id=?1 AND ingest>=?2 AND other_tasks=1
               AND state IN('open','blocked')",
        )?
        .query_row(params![run.0, since], |row| row.get(0))?;
    let failed = of("='failed'")?;
    let paused = of("='paused'")?;
    let partial: u64 = c
        .prepare_cached(
            "SELECT count(*) FROM nova3_queues WHERE run_id=?1 AND ingest>=?2 AND status='partial'",
        )?
        .query_row(params![run.0, since], |row| row.get(0))?;
    let running: u64 = c
        .prepare_cached("SELECT count(*) FROM nova3_queues WHERE run_id=?1 AND ingest>=?2 AND leased>0")?
        .query_row(params![run.0, since], |row| row.get(0))?;
    let blocked = of("='blocked'")?;
    let open = of("='open' AND ready>0")?
        + of("='open' AND leased>0 AND ready=0")?
        + of("='open' AND ready=0 AND leased=0")?;
    Ok(Counts {
        total: done + continued + failed + paused + blocked + open,
        done,
        failed,
        paused,
        continued,
        partial,
        running,
        blocked,
        outdated,
        other_models,
        kept,
    })
}

/// Counts the done queues. Also counts those with other tasks or prompts than the present ones, and those where only
/// the models differ.
fn finished_under(c: &Connection, run: RunId, since: i64) -> Result<(u64, u64, u64), JobFault> {
    let counted = c
        .prepare_cached(
            "SELECT count(*), count(*) FILTER(WHERE q.other_tasks=1 OR q.recipe_no>>32<>r.now>>32),
               count(*) FILTER(WHERE q.other_tasks=0 AND q.recipe_no>>32=r.now>>32 AND q.recipe_no<>r.now)
             FROM nova3_queues q, (SELECT recipe_no AS now FROM nova3_runs WHERE run_id=?1) r
             WHERE q.run_id=?1 AND q.ingest>=?2 AND q.state='done'",
        )?
        .query_row(params![run.0, since], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    Ok(counted)
}

pub(super) fn summary(c: &Connection, run: RunId) -> Result<RunSummary, JobFault> {
    Ok(c.query_row(
        "SELECT attempts, failed_attempts, input_tokens, cached_input_tokens, output_tokens, cost, wasted,
           unpriced_attempts, uncertain, reserved, cache_write_tokens FROM nova3_runs WHERE run_id=?1",
        [run.0],
        |row| {
            Ok(RunSummary {
                attempts: row.get(0)?,
                failed_attempts: row.get(1)?,
                usage: Usage {
                    input_tokens: row.get(2)?,
                    cached_input_tokens: row.get(3)?,
                    cache_write_tokens: row.get(10)?,
                    output_tokens: row.get(4)?,
                },
                cost: Cost(row.get(5)?),
                wasted: Cost(row.get(6)?),
                unpriced: row.get(7)?,
                uncertain: Cost(row.get(8)?),
                reserved: Cost(row.get(9)?),
            })
        },
    )?)
}

pub(super) fn sessions(c: &Connection, run: RunId, limit: usize) -> Result<Vec<SessionCounts>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT user_id, session_id, count(*) total, sum(state='done') done, sum(state='failed') failed,
           sum(state='paused') paused, sum(state='continued') continued, sum(state IN('blocked','open')) unfinished
         FROM nova3_queues WHERE run_id=?1 AND ingest>=?2 AND state<>'superseded' AND session_id IS NOT NULL
         GROUP BY user_id, session_id ORDER BY unfinished=0, user_id, session_id LIMIT ?3",
    )?;
    let since = complete_ingest(c, run)?;
    let rows = query.query_map(params![run.0, since, limit], |row| {
        Ok(SessionCounts {
            user_id: row.get(0)?,
            session_id: row.get(1)?,
            total: row.get(2)?,
            done: row.get(3)?,
            failed: row.get(4)?,
            paused: row.get(5)?,
            continued: row.get(6)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn lines_epoch(c: &Connection, run: RunId) -> Result<i64, JobFault> {
    Ok(
        c.prepare_cached("SELECT lines_epoch FROM nova3_runs WHERE run_id=?1")?
            .query_row([run.0], |row| row.get(0))?,
    )
}

pub(super) fn has_unfinished(c: &Connection, run: RunId) -> Result<bool, JobFault> {
    let counts = c
        .prepare_cached(
            "SELECT EXISTS(SELECT 1 FROM nova3_queues WHERE run_id=?1 AND ingest>=?2 AND state='open' AND ready>0)
             OR EXISTS(SELECT 1 FROM nova3_queues WHERE run_id=?1 AND ingest>=?2 AND leased>0)
             OR EXISTS(SELECT 1 FROM nova3_queues WHERE run_id=?1 AND ingest>=?2 AND state='open' AND ready=0 AND leased=0)
             OR EXISTS(SELECT 1 FROM nova3_queues WHERE run_id=?1 AND ingest>=?2 AND state='blocked')",
        )?
        .query_row(params![run.0, complete_ingest(c, run)?], |row| row.get(0))?;
    Ok(counts)
}

/// Returns an open queue of which no task can run.
pub(super) fn stuck(c: &Connection, run: RunId) -> Result<Option<i64>, JobFault> {
    Ok(c.prepare_cached(
        "SELECT queue_id FROM nova3_queues WHERE run_id=?1 AND ingest>=?2 AND state='open'
           AND ready=0 AND leased=0 AND quarantine=0 AND submitted=0 LIMIT 1",
    )?
    .query_row(params![run.0, complete_ingest(c, run)?], |row| row.get(0))
    .optional()?)
}

/// Returns how many tasks of all runs can be claimed now.
pub(super) fn claimable_tasks(c: &Connection, now: i64) -> Result<u64, JobFault> {
    let ready = "SELECT ready, wake_at, sleep_ms FROM nova3_queues INDEXED BY nova3_queues_ready
         WHERE run_id=?1 AND ingest=?2 AND state='open' AND ready>0 LIMIT ?3";
    // Of a queue in quarantine one task is counted, because its tasks run in groups.
    let quarantined = "SELECT 1, wake_at, sleep_ms FROM nova3_queues INDEXED BY nova3_queues_quarantine
         WHERE run_id=?1 AND ingest=?2 AND state='open' AND quarantine>0 LIMIT ?3";
    let mut tasks = 0;
    for kind in [ready, quarantined] {
        let mut left = MOST_COUNTED;
        let mut runs = c.prepare_cached("SELECT run_id, ingest FROM nova3_runs")?;
        let mut runs = runs.query([])?;
        while let Some(run) = runs.next()? {
            let (run, ingest): (i64, i64) = (run.get(0)?, run.get(1)?);
            let mut queues = c.prepare_cached(kind)?;
            let mut queues = queues.query(params![run, ingest, left])?;
            while let Some(queue) = queues.next()? {
                let (found, wake_at, sleep_ms): (u64, i64, i64) =
                    (queue.get(0)?, queue.get(1)?, queue.get(2)?);
                left = left.saturating_sub(1);
                if wake_at <= now || wake_at > now.saturating_add(sleep_ms) {
                    tasks += found;
                }
            }
        }
    }
    Ok(tasks)
}

/// Returns runs with work left, the oldest first, each with whether a task can be claimed now.
fn open_runs(c: &Connection) -> Result<Vec<(Run, bool)>, JobFault> {
    let mut open = Vec::new();
    for run in all(c)?.into_iter().rev() {
        if has_unfinished(c, run.id)? {
            let claimable = c
                .prepare_cached(
                    "SELECT EXISTS(SELECT 1 FROM nova3_queues WHERE run_id=?1 AND state='open' AND ready>0
                       AND ingest=(SELECT ingest FROM nova3_runs WHERE run_id=?1))",
                )?
                .query_row([run.id.0], |row| row.get(0))?;
            open.push((run, claimable));
        }
    }
    Ok(open)
}
