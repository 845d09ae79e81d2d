//! A power cut: the database and any beginning of its log make a store that holds what was acknowledged.

use std::path::Path;
use std::time::Duration;

use nova3::store::sqlite::SqliteStore;
use nova3::store::{Claimable, Owner, Queues, Results, Settled};
use proptest::test_runner::{Config, TestRunner};

use crate::bed::{LEASE_MS, block_on, completed, lines, mark, opening, request};

const REQUESTS: usize = 40;

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Duration::ZERO, "a test").expect("opens")
}

/// A store at work: how long its log was each time a settlement was acknowledged.
struct Recording {
    database: Vec<u8>,
    log: Vec<u8>,
    acknowledged: Vec<(usize, i64)>,
}

fn record(folder: &Path) -> Recording {
    let path = folder.join("nova3.db");
    let log = folder.join("nova3.db-wal");
    let mut acknowledged = Vec::new();
    let store = open(&path);
    block_on(async {
        let run = store.open_run(&opening("a")).await.expect("opens").id;
        let drafts: Vec<_> = (0..REQUESTS)
            .map(|n| request(&format!("r{n}")).tasks(2))
            .collect();
        let epoch = store.begin_ingest(run).await.expect("begins");
        store
            .add(run, epoch, lines(&drafts), nova3::store::Changes::Replace)
            .await
            .expect("adds");
        store.end_ingest(run, epoch, &mark(REQUESTS)).await.expect("ends");
        let owner = Owner("a test".to_owned());
        for queue in store
            .claim(run, &owner, Claimable::All, REQUESTS, LEASE_MS)
            .await
            .expect("claims")
        {
            assert_eq!(
                store.settle(completed(queue.lease, 0, 1)).await.expect("settles"),
                Settled::Stepped
            );
            let end = store.settle(completed(queue.lease, 1, 1)).await.expect("settles");
            assert_eq!(end, Settled::Finished { ok: true });
            let length = std::fs::metadata(&log).expect("a log").len();
            acknowledged.push((usize::try_from(length).expect("it fits"), queue.lease.queue_id));
        }
    });
    // Copied while the store is open: closing it would fold the log away.
    let read = |path: &Path| std::fs::read(path).expect("reads");
    Recording {
        database: read(&path),
        log: read(&log),
        acknowledged,
    }
}

/// What a store opened from the database and the first `cut` bytes of its log has finished.
fn finished_after(recording: &Recording, cut: usize) -> Option<Vec<i64>> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    std::fs::write(&path, &recording.database).expect("writes");
    std::fs::write(folder.path().join("nova3.db-wal"), &recording.log[..cut]).expect("writes");
    let store = open(&path);
    let finished = block_on(async {
        let run = store.find_run(Some("a")).await.expect("reads")?;
        let counts = store.counts(run.id).await.expect("counts");
        assert_eq!(counts.running, 0, "no lease outlives its process");
        let page = store
            .finished(run.id, nova3::store::Order::Completion, false, 0, 1000)
            .await
            .expect("reads");
        assert_eq!(counts.done, page.rows.len() as u64);
        assert!(
            page.rows.iter().all(|row| row.tasks.len() == 2),
            "a finished request is whole"
        );
        Some(page.rows.iter().map(|row| row.queue_id).collect())
    });
    drop(store);
    let connection = rusqlite::Connection::open(&path).expect("opens");
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .expect("checks");
    assert_eq!(verdict, "ok");
    finished
}

#[test]
fn a_cut_log_loses_nothing_that_was_acknowledged_before_the_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = record(folder.path());
    let all: Vec<i64> = recording.acknowledged.iter().map(|(_, queue)| *queue).collect();
    let check = |cut: usize| {
        let finished = finished_after(&recording, cut).unwrap_or_default();
        assert_eq!(
            finished[..],
            all[..finished.len()],
            "a beginning of what was done, in its order"
        );
        let owed = recording
            .acknowledged
            .iter()
            .take_while(|(length, _)| *length <= cut)
            .count();
        assert!(
            finished.len() >= owed,
            "cut at {cut}: {owed} acknowledged, {} kept",
            finished.len()
        );
    };
    check(recording.log.len());
    check(0);
    for (length, _) in recording.acknowledged.iter().step_by(8) {
        check(*length);
        check(length - 1);
    }
    let config = Config {
        cases: 60,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&(0..=recording.log.len()), |cut| {
            check(cut);
            Ok(())
        })
        .expect("every cut");
}
