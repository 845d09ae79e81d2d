use super::*;

/// A thread on a store of its own, in which a missing parent number fails the commit.
fn setup() -> DbThread {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch(
            "PRAGMA foreign_keys=ON; CREATE TABLE p(n INTEGER PRIMARY KEY);
             CREATE TABLE c(n UNIQUE REFERENCES p DEFERRABLE INITIALLY DEFERRED);",
        )
        .unwrap();
    DbThread::start(connection, DbThreadKind::Write, Path::new("a store"), None).unwrap()
}

async fn put(thread: &DbThread, table: &'static str, n: i64) -> Result<(), StoreError> {
    thread
        .call(move |c| {
            c.execute(&format!("INSERT INTO {table} VALUES(?1)"), [n])?;
            Ok(())
        })
        .await
}

#[tokio::test]
async fn a_job_that_fails_spoils_nobody_elses() {
    let thread = setup();
    put(&thread, "p", 1).await.unwrap();
    let (good, bad, other) = tokio::join!(put(&thread, "p", 2), put(&thread, "p", 1), put(&thread, "p", 3));
    assert!(good.is_ok() && bad.is_err() && other.is_ok());
}

#[test]
fn a_group_ends_once_it_holds_enough_bytes() {
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let mib = 1 << 20;
    for bytes in [64 * mib, 5 * mib, 2 * mib, 3 * mib, 1, 1] {
        let (reply, _) = oneshot::channel();
        let call = DirectJob {
            work: |_: &Connection| Ok(()),
            bytes,
            result: None,
            reply,
        };
        assert!(sender.try_send(ThreadMessage::Job(Box::new(call))).is_ok());
    }
    drop(sender);
    let mut waiting = TakenJobs::default();
    let mut groups = Vec::new();
    while let Some(group) = waiting.next(&mut receiver, GROUP) {
        groups.push(group.iter().map(|job| job.bytes() / mib).collect::<Vec<_>>());
    }
    assert_eq!(groups, [vec![64], vec![5, 2, 3], vec![0, 0]]);
}

#[tokio::test]
async fn a_job_that_panics_spoils_nobody_elses() {
    let thread = setup();
    let panics = thread.call(|_| -> Result<(), JobFault> { panic!("on purpose") });
    let (good, bad, other) = tokio::join!(put(&thread, "p", 1), panics, put(&thread, "p", 2));
    assert!(good.is_ok() && other.is_ok());
    assert!(bad.is_err_and(|error| error.is_of_one_row()));
    assert!(put(&thread, "p", 3).await.is_ok());
}

#[tokio::test]
async fn after_a_failed_commit_nothing_more_is_promised() {
    let thread = setup();
    put(&thread, "p", 1).await.unwrap();
    let (with_it, fatal, behind) =
        tokio::join!(put(&thread, "p", 2), put(&thread, "c", 9), put(&thread, "p", 3));
    let said = fatal.unwrap_err().to_string();
    assert!(said.contains("a store"), "{said}");
    // These two may have shared the failed commit, which depends on when the thread woke. Later jobs did not.
    drop(with_it);
    drop(behind);
    for n in 10..13 {
        assert_eq!(put(&thread, "p", n).await.unwrap_err().to_string(), said);
    }
    thread.close().await;
}
