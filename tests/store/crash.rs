//! A power cut: the database and any prefix of its log make a store that holds all acknowledged settlements.

use std::path::Path;
use std::time::Duration;

use nova3::store::sqlite::SqliteStore;
use nova3::store::{Claimable, Ingest, Leases, Owner, Results, Runs, Settled, StoreError, Tasks, Upkeep};
use proptest::test_runner::{Config, TestRunner};

use crate::store::harness::{LEASE_MS, block_on, completed, lines, mark, opening, request};

const REQUESTS: usize = 40;

fn open(path: &Path) -> SqliteStore {
    SqliteStore::open(path, Duration::ZERO, "a test").expect("opens")
}

/// A store at work: the length of its log at each acknowledged settlement.
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
            .queues
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
    // The files are copied while the store is open, because closing it would checkpoint the log.
    let read = |path: &Path| std::fs::read(path).expect("reads");
    Recording {
        database: read(&path),
        log: read(&log),
        acknowledged,
    }
}

/// Opens a store from the database and such a log. Returns its finished queues.
fn finished_after(recording: &Recording, log: &[u8]) -> Option<Vec<i64>> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    std::fs::write(&path, &recording.database).expect("writes");
    std::fs::write(folder.path().join("nova3.db-wal"), log).expect("writes");
    let store = open(&path);
    let finished = block_on(async {
        let run = store.find_run(Some("a")).await.expect("reads")?;
        let counts = store.counts(run.id).await.expect("counts");
        assert_eq!(counts.running, 0, "no lease outlives its process");
        let page = store
            .finished(run.id, nova3::store::Order::Completion, None, 0, 1000)
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

/// Checks a log that is intact up to `cut`. Any bytes may follow.
fn check(recording: &Recording, log: &[u8], cut: usize) {
    let finished = finished_after(recording, log).unwrap_or_default();
    let all = recording.acknowledged.iter().map(|(_, queue)| *queue);
    let kept: Vec<i64> = all.take(finished.len()).collect();
    assert_eq!(finished, kept, "a beginning of what was done, in its order");
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
}

/// The size of a log's header and of each of its frames. Pages have SQLite's default size.
const HEADER: usize = 32;
const FRAME: usize = 24 + 4096;

#[test]
fn a_cut_log_loses_nothing_that_was_acknowledged_before_the_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = record(folder.path());
    let log = &recording.log[..];
    assert_eq!((log.len() - HEADER) % FRAME, 0, "whole frames");
    let cut_at = |cut: usize| check(&recording, &log[..cut], cut);
    cut_at(log.len());
    (0..HEADER).step_by(13).for_each(cut_at);
    (HEADER..log.len()).step_by(FRAME).for_each(cut_at);
    for (length, _) in recording.acknowledged.iter().step_by(8) {
        cut_at(length - 1);
        cut_at(length - FRAME + 24);
    }
    let config = Config {
        cases: 40,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&(0..=log.len()), |cut| {
            cut_at(cut);
            Ok(())
        })
        .expect("every cut");
}

#[test]
fn garbage_behind_what_was_written_is_not_taken_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let recording = record(folder.path());
    let log = &recording.log[..];
    let frame = |bytes: usize| bytes - (bytes - HEADER) % FRAME;
    for (length, _) in recording.acknowledged.iter().step_by(5) {
        let whole = &log[..*length];
        let old_frames = &log[HEADER..(HEADER + 3 * FRAME).min(log.len())];
        let mut noise = vec![0; 2 * FRAME + 77];
        fastrand::Rng::with_seed(7).fill(&mut noise);
        for rest in [&noise[..], &vec![0; FRAME][..], old_frames, &noise[..11]] {
            check(&recording, &[whole, rest].concat(), *length);
        }
        // The disk stored this frame incorrectly, and all later frames are lost or wrong.
        let mut torn = log.to_vec();
        let at = frame(*length - 1) + 24 + 1000;
        torn[at] ^= 0x40;
        check(&recording, &torn, frame(*length - 1) - FRAME);
    }
}

/// Makes a store with content whose process crashed.
fn dead_store(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("nova3.db");
    record(folder);
    let text = "nova3 store lock, held by a dead test";
    std::fs::write(folder.join("nova3.db.lock"), text).expect("writes");
    path
}

#[test]
fn damage_that_opening_does_not_meet_is_found_by_the_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = dead_store(folder.path());
    drop(open(&path));
    let raw = rusqlite::Connection::open(&path).expect("opens");
    let root: usize = raw
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name='nova3_queues_finished'",
            [],
            |row| row.get(0),
        )
        .expect("an index");
    drop(raw);
    let good = std::fs::read(&path).expect("reads");
    let mut damaged = good.clone();
    let page = (root - 1) * 4096;
    damaged[page..page + 64].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(&path, &damaged).expect("writes");
    let text = "nova3 store lock, held by a dead test";
    std::fs::write(folder.path().join("nova3.db.lock"), text).expect("writes");

    let store = open(&path);
    let is_told = |error: StoreError| {
        let said = error.to_string();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{said}");
        assert!(said.contains(".recover"), "{said}");
    };
    block_on(async {
        is_told(store.check().await.expect_err("it is damaged"));
        let run = store.find_run(Some("a")).await.expect("reads").expect("is there");
        let page = store.finished(run.id, nova3::store::Order::Completion, None, 0, 9);
        is_told(page.await.expect_err("its index is damaged"));
    });
    drop(store);
    std::fs::write(&path, &good).expect("writes");
    block_on(open(&path).check()).expect("it is whole");
}

#[test]
fn a_damaged_store_is_refused_as_it_was_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = dead_store(folder.path());
    let good = std::fs::read(&path).expect("reads");
    let mut damaged = good.clone();
    for page in damaged.chunks_mut(4096).skip(1).step_by(3) {
        page[..64].iter_mut().for_each(|byte| *byte ^= 0xff);
    }
    std::fs::write(&path, &damaged).expect("writes");
    for _ in 0..2 {
        let error = SqliteStore::open(&path, Duration::ZERO, "a test").expect_err("it is damaged");
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        let said = error.to_string();
        assert!(said.contains(&path.display().to_string()), "{said}");
        assert!(said.contains(".recover"), "{said}");
        assert!(
            std::fs::read(&path).expect("reads") == damaged,
            "it was not touched"
        );
    }
    // The store opens again once an intact copy replaces the file.
    std::fs::write(&path, &good).expect("writes");
    drop(open(&path));
}
