//! The counts and sums of runs, of one or of all in one statement.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::fault::JobFault;
use super::runs;
use crate::domain::tally::{Counts, RunSummary};
use crate::domain::usage::{Cost, Usage};
use crate::postgres::{Connection, Param};
use crate::store::{Run, RunId};

/// The number of columns of [`statement`] before the further ones.
const COUNTS: usize = 11;

/// The sums of a run, in the order in which [`summed`] reads them.
const SUMS: &str = "t.attempts, t.failed_attempts, t.input_tokens, t.cached_input_tokens, t.output_tokens, t.cost, t.wasted, \
     t.unpriced_attempts, t.uncertain, t.reserved, t.cache_write_tokens";

/// Returns the statement that counts the requests of the present input, with more columns of the run and its tallies.
/// `of_run` stands for the run's number. Each state has a small index of its own, so no request is read. Lines that an
/// unfinished reading has not seen yet still count, so `complete_ingest` decides and not the mark.
fn statement(of_run: &str, more: &str) -> String {
    let of = |state: &str| {
        let (run, ingest) = match state {
            "blocked" => ("q.run_id", "q.ingest + 0"),
            "open" => ("q.run_id + 0", "q.ingest"),
            _ => ("q.run_id", "q.ingest"),
        };
        format!(
            "(SELECT count(*) FROM nova3_queues q WHERE {run} = {of_run} AND q.run_id > 0 AND q.state = '{state}'
               AND {ingest} >= r.complete_ingest)"
        )
    };
    let with = |condition: &str| {
        format!(
            "(SELECT count(*) FROM nova3_queues q WHERE q.run_id = {of_run} AND q.run_id > 0 AND q.ingest >= r.complete_ingest
               AND {condition})"
        )
    };
    format!(
        "SELECT f.done, {}, {}, {}, {}, {}, {}, f.outdated, f.models, {}, {}{more}
         FROM nova3_runs r JOIN nova3_tallies t ON t.run_id = r.run_id CROSS JOIN LATERAL (
           SELECT count(*), count(*) FILTER (WHERE q.other_tasks OR q.recipe_no >> 32 <> r.recipe_no >> 32),
             count(*) FILTER (WHERE NOT q.other_tasks AND q.recipe_no >> 32 = r.recipe_no >> 32 AND q.recipe_no <> r.recipe_no)
           FROM nova3_queues q WHERE q.run_id = {of_run} AND q.run_id > 0 AND q.state = 'done' AND q.ingest >= r.complete_ingest)
           f(done, outdated, models)",
        of("continued"),
        of("failed"),
        of("paused"),
        with("q.leased > 0"),
        of("blocked"),
        of("open"),
        with("q.other_tasks AND q.state IN ('open','blocked')"),
        with("q.status = 'partial'")
    )
}

pub(super) async fn counts(c: &mut Connection, run: RunId) -> Result<Counts, JobFault> {
    let sql = format!("{} WHERE r.run_id = $1", statement("$1", ""));
    Ok(counted(&c.row(&sql, &[run.0.sent()]).await?))
}

/// Reads the counts of a row of [`statement`].
fn counted(row: &Row) -> Counts {
    let count = |column: usize| row.get::<_, i64>(column).unsigned_abs();
    let (done, continued) = (count(0), count(1));
    let (failed, paused, running, blocked) = (count(2), count(3), count(4), count(5));
    Counts {
        total: done + continued + failed + paused + blocked + count(6),
        done,
        partial: count(10),
        failed,
        paused,
        continued,
        running,
        blocked,
        outdated: count(7),
        other_models: count(8),
        kept: count(9),
    }
}

pub(super) async fn summary(c: &mut Connection, run: RunId) -> Result<RunSummary, JobFault> {
    let sql = format!("SELECT {SUMS} FROM nova3_tallies t WHERE t.run_id = $1");
    Ok(summed(&c.row(&sql, &[run.0.sent()]).await?, 0))
}

/// Reads the sums of a row. [`SUMS`] begin at the column `first`.
fn summed(row: &Row, first: usize) -> RunSummary {
    let sum = |column: usize| row.get::<_, i64>(first + column).max(0).unsigned_abs();
    RunSummary {
        attempts: sum(0),
        failed_attempts: sum(1),
        usage: Usage {
            input_tokens: sum(2),
            cached_input_tokens: sum(3),
            cache_write_tokens: sum(10),
            output_tokens: sum(4),
        },
        cost: Cost(sum(5)),
        wasted: Cost(sum(6)),
        unpriced: sum(7),
        uncertain: Cost(sum(8)),
        reserved: Cost(sum(9)),
    }
}

/// Returns all runs with their counts and sums, the most recently used first, in two statements.
pub(super) async fn of_all(c: &mut Connection) -> Result<Vec<(Run, Counts, RunSummary)>, JobFault> {
    let sql = statement("r.run_id", &format!(", r.run_id, {SUMS}"));
    let rows = c.rows(&sql, &[]).await?;
    let mut found: HashMap<i64, (Counts, RunSummary)> = rows
        .iter()
        .map(|row| (row.get(COUNTS), (counted(row), summed(row, COUNTS + 1))))
        .collect();
    // A run that was opened in between is in the next list.
    let listed = |run: Run| found.remove(&run.id.0).map(|(counts, sums)| (run, counts, sums));
    Ok(runs::all(c).await?.into_iter().filter_map(listed).collect())
}
