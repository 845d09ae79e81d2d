//! The record of actions.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::PostgresStore;
use super::fault::JobFault;
use super::rows::int;
use crate::postgres::{Connection, Param, PgText, text};
use crate::store::{ActionOrigin, Actions, KEPT_ACTIONS, NewAction, RecordedAction, RunId, StoreError};

#[async_trait]
impl Actions for PostgresStore {
    async fn begin_action(&self, run: RunId, action: &NewAction) -> Result<(), StoreError> {
        job!(self, |c| begin(c, run, action))
    }

    async fn end_action(&self, run: RunId, action_no: i64, ending: &str) -> Result<(), StoreError> {
        job!(self, |c| end(c, run, action_no, ending))
    }

    async fn actions(&self, run: RunId, limit: usize) -> Result<Vec<RecordedAction>, StoreError> {
        job!(self, |c| newest(c, run, limit))
    }
}

/// Adds the action. A statement that is sent twice adds it once, by its number.
async fn begin(c: &mut Connection, run: RunId, action: &NewAction) -> Result<(), JobFault> {
    let origin = &action.actor;
    // The newest action has the highest time, also after the clock was set back.
    c.execute(
        "INSERT INTO nova3_actions (run_id, action_no, command, flags, user_name, host, folder, pid, version, began_at)
         SELECT $1,$2,$3,$4,$5,$6,$7,$8,$9, greatest(nova3_now(), 1 + coalesce((SELECT max(began_at) FROM nova3_actions
           WHERE run_id = $1), 0)) ON CONFLICT DO NOTHING",
        &[
            run.0.sent(),
            action.action_no.sent(),
            text(&action.command).sent(),
            text(&serde_json::to_string(&action.flags)?).sent(),
            text(&origin.user).sent(),
            text(&origin.host).sent(),
            text(&origin.folder).sent(),
            i64::from(origin.pid).sent(),
            text(&origin.version).sent(),
        ],
    )
    .await?;
    c.execute(
        "DELETE FROM nova3_actions WHERE run_id = $1 AND began_at <= (SELECT began_at FROM nova3_actions WHERE run_id = $1
           ORDER BY began_at DESC, action_no DESC LIMIT 1 OFFSET $2)",
        &[run.0.sent(), int(KEPT_ACTIONS).sent()],
    )
    .await?;
    Ok(())
}

async fn end(c: &mut Connection, run: RunId, action_no: i64, ending: &str) -> Result<(), JobFault> {
    c.execute(
        "UPDATE nova3_actions SET ended_at = nova3_now(), ending = $3 WHERE run_id = $1 AND action_no = $2",
        &[run.0.sent(), action_no.sent(), text(ending).sent()],
    )
    .await?;
    Ok(())
}

async fn newest(c: &mut Connection, run: RunId, limit: usize) -> Result<Vec<RecordedAction>, JobFault> {
    let rows = c
        .rows(
            "SELECT action_no, command, flags, user_name, host, folder, pid, version, began_at, ended_at, ending
             FROM nova3_actions WHERE run_id = $1 ORDER BY began_at DESC, action_no DESC LIMIT $2",
            &[run.0.sent(), int(limit).sent()],
        )
        .await?;
    rows.iter().map(action).collect()
}

fn action(row: &Row) -> Result<RecordedAction, JobFault> {
    let string = |column: usize| row.get::<_, PgText>(column).0;
    Ok(RecordedAction {
        action: NewAction {
            action_no: row.get(0),
            command: string(1),
            flags: serde_json::from_str(&string(2))?,
            actor: ActionOrigin {
                user: string(3),
                host: string(4),
                folder: string(5),
                pid: u32::try_from(row.get::<_, i64>(6)).unwrap_or_default(),
                version: string(7),
            },
        },
        began_at: row.get(8),
        ended_at: row.get(9),
        ending: row.get::<_, Option<PgText>>(10).map(|ending| ending.0),
    })
}
