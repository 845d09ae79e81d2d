//! A store that an earlier version made is brought up to date with all that is in it.

use std::path::Path;
use std::time::Duration;

use nova3::domain::request::{self, Rules};
use nova3::store::sqlite::SqliteStore;
use nova3::store::{Changes, Claimable, Order, Owner, Queues, Results, StoreError};
use rusqlite::{Connection, params};

use crate::bed::{LEASE_MS, block_on, completed, ids, lines, mark, opening, request, show};

/// A store of the first schema: `x` is done in session `s`, `y` has one of its two tasks done.
fn begin(path: &Path) {
    let c = Connection::open(path).expect("opens");
    c.execute_batch(include_str!("../../src/store/schema/001_begin.sql"))
        .expect("makes");
    c.execute_batch(
        "PRAGMA application_id=0x6e6f7633; PRAGMA user_version=1; PRAGMA journal_mode=WAL;
         INSERT INTO nova3_runs(run_id, name, input_path, ingest, complete_ingest, next_seq, next_finish_no, attempts,
           cost, created_at, last_accessed) VALUES(1,'a','/in/a',1,1,2,1,2,200,5,6);
         INSERT INTO nova3_sessions VALUES('default','s','{\"answer\":2}',5,6);",
    )
    .expect("writes");
    let texts = [
        r#"{"custom_id":"x","query":"q","session_id":"s"}"#,
        r#"{"custom_id":"y","query":"q","session_id":"s"}"#,
    ];
    for (index, text) in (0..).zip(texts) {
        let known = request::read_line(text.as_bytes(), Rules::default()).expect("a request");
        let done = index == 0;
        c.execute(
            "INSERT INTO nova3_queues(queue_id, run_id, seq, ingest, line_index, line, queue_key, content_digest,
               notes_digest, custom_id, user_id, session_id, state, status, fence, current_task_index, task_count,
               finish_no, created_at, last_accessed, completed_at)
             VALUES(?1+1,1,?1,1,?1,2*?1+1,'id:'||?2,?3,?4,?2,'default','s',?5,?6,1,1,?7,?8,5,6,?8)",
            params![
                index,
                known.request.custom_id,
                &known.content.as_bytes()[..],
                &known.notes.as_bytes()[..],
                if done { "done" } else { "ready" },
                done.then_some("completed"),
                1 + index,
                done.then_some(1),
            ],
        )
        .expect("writes");
        c.execute(
            "INSERT INTO nova3_requests VALUES(?1+1,?2,NULL)",
            params![index, known.request.to_stored()],
        )
        .expect("writes");
        let id = format!("answer{}", index + 1);
        c.execute(
            "INSERT INTO nova3_tasks VALUES(?1+1,0,'task001','answer','say it','completed',?2,NULL,1,5,6)",
            params![index, format!(r#"[{{"id":"{id}","content":"好"}}]"#)],
        )
        .expect("writes");
        c.execute(
            "INSERT INTO nova3_items VALUES('default','s','answer',?1+1,'{\"content\":\"好\"}',?1+1,0,6)",
            [index],
        )
        .expect("writes");
    }
    c.execute_batch(
        "INSERT INTO nova3_tasks VALUES(2,1,'task002','answer','say it','pending',NULL,NULL,NULL,5,NULL)",
    )
    .expect("writes");
}

#[test]
fn a_store_of_the_first_schema_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    begin(&path);
    let error = SqliteStore::open_to_read(&path).expect_err("a reader changes nothing");
    assert!(matches!(error, StoreError::Older { .. }), "{error}");

    let store = SqliteStore::open(&path, Duration::ZERO, "a test").expect("opens");
    let run = block_on(store.open_run(&opening("a"))).expect("opens");
    assert_eq!((run.finished, run.events, run.recipe_changed), (1, 0, false));
    let names = || {
        let page = block_on(store.finished(run.id, Order::Completion, false, 0, 9)).expect("reads");
        page.rows.iter().map(show).collect::<Vec<_>>()
    };
    let x = "x@0 completed completed[answer1]";
    assert_eq!(names(), [x]);
    block_on(async {
        let epoch = store.begin_ingest(run.id).await.expect("begins");
        let input = ["x", "y"].map(|name| request(name).session("s"));
        let known = store.add(run.id, epoch, lines(&input), Changes::Refuse).await;
        assert_eq!(known.expect("nothing has changed").len(), 2);
        store.end_ingest(run.id, epoch, &mark(2)).await.expect("ends");
        let owner = Owner("a test".to_owned());
        let queues = store.claim(run.id, &owner, Claimable::All, 9, LEASE_MS).await;
        let queues = queues.expect("claims");
        assert_eq!(ids(&queues), ["y"]);
        let queue = &queues[0];
        let task = &queue.tasks[1];
        assert_eq!(
            (queue.planned, queue.current_task, queue.tasks.len()),
            (true, 1, 2)
        );
        assert_eq!((task.input.as_str(), task.description.as_str()), ("say it", ""));
        store.settle(completed(queue.lease, 1, 1)).await.expect("settles");
    });
    assert_eq!(
        names(),
        [x, "y@1 completed completed[answer2] completed[answer3]"]
    );
    block_on(store.close()).expect("closes");
    SqliteStore::open_to_read(&path).expect("it is up to date");
}
