//! Every change of a queue's state, in every law and on both engines, is one that the table in `domain/state.rs` has.
//!
//! The databases themselves refuse any other one: a trigger is made from the table.

use std::path::Path;

use nova3::domain::state::QueueState;

use crate::store::harness::database;

/// The pairs of states that the table allows, as `from>to`.
fn pairs() -> String {
    let mut pairs = Vec::new();
    for from in QueueState::ALL {
        let next = QueueState::ALL.into_iter().filter(|to| from.can_become(*to));
        pairs.extend(next.map(|to| format!("'{from}>{to}'")));
    }
    pairs.join(",")
}

/// From here on the store in that file changes states by the table only.
pub(crate) fn hold_in_file(path: &Path) {
    let connection = rusqlite::Connection::open(path).expect("opens");
    connection
        .execute_batch(&format!(
            "CREATE TRIGGER IF NOT EXISTS law_of_states BEFORE UPDATE OF state ON nova3_queues
             WHEN OLD.state<>NEW.state AND OLD.state||'>'||NEW.state NOT IN({})
             BEGIN SELECT RAISE(ABORT, 'a transition that the table does not have'); END",
            pairs()
        ))
        .expect("makes the trigger");
}

/// The same for the schema of that address.
pub(crate) async fn hold_in_postgres(url: &str) {
    let mut connection = database(url).connect().await.expect("connects");
    connection
        .batch(&format!(
            "SELECT pg_advisory_xact_lock(hashtextextended('law of states', 0));
             CREATE OR REPLACE FUNCTION law_of_states() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
               IF OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({}) THEN
                 RAISE EXCEPTION 'a queue that is % became %, which the table does not have', OLD.state, NEW.state;
               END IF;
               RETURN NEW;
             END $$;
             CREATE OR REPLACE TRIGGER law_of_states BEFORE UPDATE OF state ON nova3_queues
               FOR EACH ROW EXECUTE FUNCTION law_of_states()",
            pairs()
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
        .execute_batch("CREATE TABLE nova3_queues(state TEXT); INSERT INTO nova3_queues VALUES('done')")
        .expect("makes a table");
    hold_in_file(&path);
    let becomes = |state: &str| connection.execute("UPDATE nova3_queues SET state=?1", [state]);
    assert!(becomes("leased").is_err());
    assert!(becomes("superseded").is_ok());
}
