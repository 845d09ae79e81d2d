//! The record of actions.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::fault::JobFault;
use crate::clock;
use crate::store::{ActionOrigin, Actions, KEPT_ACTIONS, NewAction, RecordedAction, RunId, StoreError};

#[async_trait]
impl Actions for SqliteStore {
    async fn begin_action(&self, run: RunId, action: &NewAction) -> Result<(), StoreError> {
        let action = action.clone();
        self.write(move |c| begin(c, run, &action, clock::now_ms())).await
    }

    async fn end_action(&self, run: RunId, action_no: i64, ending: &str) -> Result<(), StoreError> {
        let ending = ending.to_owned();
        self.write(move |c| {
            c.prepare_cached(
                "UPDATE nova3_actions SET ended_at=?3, ending=?4 WHERE run_id=?1 AND action_no=?2",
            )?
            .execute(params![run.0, action_no, clock::now_ms(), ending])?;
            Ok(())
        })
        .await
    }

    async fn actions(&self, run: RunId, limit: usize) -> Result<Vec<RecordedAction>, StoreError> {
        self.read(move |c| newest(c, run, limit)).await
    }
}

fn begin(c: &Connection, run: RunId, action: &NewAction, now: i64) -> Result<(), JobFault> {
    let origin = &action.actor;
    // The newest action has the highest time, also after the clock was set back.
    c.prepare_cached(
        "INSERT INTO nova3_actions(run_id, action_no, command, flags, user_name, host, folder, pid, version, began_at)
         SELECT ?1,?2,?3,?4,?5,?6,?7,?8,?9, max(?10, 1+coalesce(max(began_at),0)) FROM nova3_actions WHERE run_id=?1
         HAVING NOT EXISTS(SELECT 1 FROM nova3_actions WHERE run_id=?1 AND action_no=?2)",
    )?
    .execute(params![
        run.0,
        action.action_no,
        action.command,
        serde_json::to_string(&action.flags)?,
        origin.user,
        origin.host,
        origin.folder,
        origin.pid,
        origin.version,
        now,
    ])?;
    c.prepare_cached(
        "DELETE FROM nova3_actions WHERE run_id=?1 AND began_at<=(SELECT began_at FROM nova3_actions WHERE run_id=?1
           ORDER BY began_at DESC, action_no DESC LIMIT 1 OFFSET ?2)",
    )?
    .execute(params![run.0, KEPT_ACTIONS])?;
    Ok(())
}

fn newest(c: &Connection, run: RunId, limit: usize) -> Result<Vec<RecordedAction>, JobFault> {
    let mut query = c.prepare_cached(
        "SELECT action_no, command, flags, user_name, host, folder, pid, version, began_at, ended_at, ending
         FROM nova3_actions WHERE run_id=?1 ORDER BY began_at DESC, action_no DESC LIMIT ?2",
    )?;
    let mut rows = query.query(params![run.0, limit])?;
    let mut actions = Vec::new();
    while let Some(row) = rows.next()? {
        actions.push(action(row)?);
    }
    Ok(actions)
}

fn action(row: &Row<'_>) -> Result<RecordedAction, JobFault> {
    let flags: String = row.get(2)?;
    Ok(RecordedAction {
        action: NewAction {
            action_no: row.get(0)?,
            command: row.get(1)?,
            flags: serde_json::from_str(&flags)?,
            actor: ActionOrigin {
                user: row.get(3)?,
                host: row.get(4)?,
                folder: row.get(5)?,
                pid: row.get(6)?,
                version: row.get(7)?,
            },
        },
        began_at: row.get(8)?,
        ended_at: row.get(9)?,
        ending: row.get(10)?,
    })
}
