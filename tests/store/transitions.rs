//! Every state change of a queue or of a task is in the table of `domain/state.rs`, in every law and on both engines.
//!
//! A trigger made from the table makes the databases refuse any other change.

use std::path::Path;

use nova3::domain::state::{QueueState, TaskStatus};

use crate::store::harness::database;

/// Returns the pairs of states that the table allows, as `from>to`: of queues and of tasks.
fn pairs() -> (String, String) {
    let mut queues = Vec::new();
    for from in QueueState::ALL {
        let next = QueueState::ALL.into_iter().filter(|to| from.can_become(*to));
        queues.extend(next.map(|to| format!("'{from}>{to}'")));
    }
    let mut tasks = Vec::new();
    for from in TaskStatus::ALL {
        let next = TaskStatus::ALL.into_iter().filter(|to| from.can_become(*to));
        tasks.extend(next.map(|to| format!("'{from}>{to}'")));
    }
    (queues.join(","), tasks.join(","))
}

/// Installs the triggers in the store file.
pub(crate) fn hold_in_file(path: &Path) {
    let connection = rusqlite::Connection::open(path).expect("opens");
    let (queues, tasks) = pairs();
    connection
        .execute_batch(&format!(
            "CREATE TRIGGER IF NOT EXISTS law_of_states BEFORE UPDATE OF state ON nova3_queues
             WHEN OLD.state<>NEW.state AND OLD.state||'>'||NEW.state NOT IN({queues})
             BEGIN SELECT RAISE(ABORT, 'a transition of a queue that the table does not have'); END;
             CREATE TRIGGER IF NOT EXISTS law_of_task_states BEFORE UPDATE OF status ON nova3_tasks
             WHEN OLD.status<>NEW.status AND OLD.status||'>'||NEW.status NOT IN({tasks})
             BEGIN SELECT RAISE(ABORT, 'a transition of a task that the table does not have'); END"
        ))
        .expect("makes the trigger");
}

/// Installs the triggers in the schema of that address.
pub(crate) async fn hold_in_postgres(url: &str) {
    let (queues, tasks) = pairs();
    let mut connection = database(url).connect().await.expect("connects");
    connection
        .batch(&format!(
            "SELECT pg_advisory_xact_lock(hashtextextended('law of states', 0));
             CREATE OR REPLACE FUNCTION law_of_states() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               IF OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({queues}) THEN
                 RAISE EXCEPTION 'a queue that is % became %, which the table does not have', OLD.state, NEW.state;
               END IF;
               RETURN NEW;
             END $$;
             CREATE OR REPLACE TRIGGER law_of_states BEFORE UPDATE OF state ON nova3_queues
               FOR EACH ROW EXECUTE FUNCTION law_of_states();
             CREATE OR REPLACE FUNCTION law_of_task_states() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               IF OLD.status <> NEW.status AND OLD.status || '>' || NEW.status NOT IN ({tasks}) THEN
                 RAISE EXCEPTION 'a task that is % became %, which the table does not have', OLD.status, NEW.status;
               END IF;
               RETURN NEW;
             END $$;
             CREATE OR REPLACE TRIGGER law_of_task_states BEFORE UPDATE OF status ON nova3_tasks
               FOR EACH ROW EXECUTE FUNCTION law_of_task_states()"
        ))
        .await
        .expect("makes the trigger");
}

#[test]
fn a_transition_that_the_table_does_not_have_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    let connection = rusqlite::Connection::open(&path).expect("opens");
    connection
        .execute_batch(
            "CREATE TABLE nova3_queues(state TEXT); INSERT INTO nova3_queues VALUES('done');
             CREATE TABLE nova3_tasks(status TEXT); INSERT INTO nova3_tasks VALUES('completed')",
        )
        .expect("makes tables");
    hold_in_file(&path);
    let becomes = |state: &str| connection.execute("UPDATE nova3_queues SET state=?1", [state]);
    assert!(becomes("open").is_ok(), "a retry of a part");
    assert!(becomes("done").is_ok());
    assert!(becomes("continued").is_err());
    assert!(becomes("superseded").is_ok());
    let becomes = |status: &str| connection.execute("UPDATE nova3_tasks SET status=?1", [status]);
    for status in TaskStatus::ALL {
        let is_redo = matches!(status, TaskStatus::Ready | TaskStatus::Pending);
        let is_allowed = is_redo || status == TaskStatus::Completed;
        assert_eq!(becomes(status.as_str()).is_ok(), is_allowed, "{status}");
        connection
            .execute_batch("DELETE FROM nova3_tasks; INSERT INTO nova3_tasks VALUES('completed')")
            .expect("makes the row again");
    }
}
