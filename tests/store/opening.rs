//! Runs are found by their names. Files that are not stores are left unchanged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nova3::store::sqlite::SqliteStore;
use nova3::store::{Run, RunOpening, Runs, StoreError, Upkeep};

use crate::store::harness::{self, Harness, block_on, mark, opening, request};

pub(crate) async fn the_same_name_resumes(harness: &mut Harness) {
    let first = harness.store().open_run(&opening("a")).await.expect("opens");
    harness.read(first.id, &[request("r")]).await;
    harness.crash().await;
    let again = harness.store().open_run(&opening("a")).await.expect("opens");
    let expected = Run {
        mark: Some(mark(1)),
        complete: 1,
        last_accessed: again.last_accessed,
        ..first.clone()
    };
    assert_eq!(again, expected);
    assert!(again.last_accessed > first.last_accessed);
    assert_eq!(harness.store().runs().await.expect("reads"), [again]);
}

pub(crate) async fn another_input_under_a_default_name_is_refused(harness: &mut Harness) {
    let first = harness.run("a").await;
    let moved = RunOpening {
        input: Some(PathBuf::from("/other/a")),
        ..opening("a")
    };
    let refused = harness.store().open_run(&moved).await.expect_err("another path");
    assert!(matches!(&refused, StoreError::OtherInput { run, theirs, ours }
        if (run.as_str(), theirs.as_str(), ours.as_str()) == ("a", "/in/a", "/other/a")));
    let stdin = RunOpening {
        input: None,
        ..opening("a")
    };
    assert!(matches!(
        harness.store().open_run(&stdin).await,
        Err(StoreError::OtherInput { .. })
    ));
    let kept = harness
        .store()
        .find_run(Some("a"))
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!(kept.input, opening("a").input, "a refusal changes nothing");

    let named = harness
        .store()
        .open_run(&RunOpening { named: true, ..moved })
        .await
        .expect("opens");
    assert_eq!((named.id, named.input), (first, Some(PathBuf::from("/other/a"))));
}

pub(crate) async fn rehearsals_and_real_runs_never_share_a_store(harness: &mut Harness) {
    harness.run("a").await;
    let rehearsal = RunOpening {
        rehearsal: true,
        ..opening("b")
    };
    let refused = harness.store().open_run(&rehearsal).await.expect_err("real runs");
    assert!(matches!(
        refused,
        StoreError::Rehearsal {
            theirs: "real runs",
            ..
        }
    ));
    assert_eq!(
        harness.store().runs().await.expect("reads").len(),
        1,
        "a refusal adds nothing"
    );
}

pub(crate) async fn the_run_opened_last_is_the_latest(harness: &mut Harness) {
    assert_eq!(harness.store().find_run(None).await.expect("reads"), None);
    for name in ["a", "b", "c", "b"] {
        harness.run(name).await;
    }
    let latest = harness
        .store()
        .find_run(None)
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!(latest.name, "b");
    let all = harness.store().runs().await.expect("reads");
    let names: Vec<_> = all.iter().map(|run| run.name.as_str()).collect();
    assert_eq!(names, ["b", "c", "a"]);
    assert_eq!(harness.store().find_run(Some("d")).await.expect("reads"), None);
}

pub(crate) async fn the_mark_is_kept_until_the_next_reading(harness: &mut Harness) {
    let run = harness.run("a").await;
    let first = harness.begin(run).await;
    harness.end(run, first, 5).await;
    harness.crash().await;
    let stored = harness.store().open_run(&opening("a")).await.expect("opens");
    assert_eq!(stored.mark, Some(mark(5)));
    let second = harness.begin(run).await;
    assert!(second > first);
    let reading = harness
        .store()
        .find_run(Some("a"))
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!(reading.mark, None);
    harness.crash().await;
    let stored = harness.store().open_run(&opening("a")).await.expect("opens");
    assert_eq!(
        stored.mark, None,
        "a reading that was cut short has seen nothing for certain"
    );
}

pub(crate) async fn a_changed_recipe_is_told_while_begun_work_is_unfinished(harness: &mut Harness) {
    let changed = async |harness: &Harness, recipe: &str| {
        let opening = RunOpening {
            recipe: harness::recipe(recipe),
            ..opening("a")
        };
        let run = harness.store().open_run(&opening).await.expect("opens");
        run.recipe_changed
    };
    let run = harness.run("a").await;
    let input = [request("x"), request("y")];
    harness.read(run, &input).await;
    assert!(!changed(harness, "b").await, "nothing was begun");
    harness.done(&harness.claim(run, 1).await[0]).await;
    harness.crash().await;
    assert!(!changed(harness, "b").await, "the same");
    assert!(changed(harness, "c").await);
    assert!(!changed(harness, "c").await, "it is told once");
    harness.drain(run).await;
    assert!(!changed(harness, "d").await, "all is finished");
    harness
        .read(run, &[input[0].clone(), request("y").query("else")])
        .await;
    assert!(changed(harness, "e").await);
    harness.read(run, &input).await;
    assert!(!changed(harness, "f").await, "what is superseded is no work");
}

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, Duration::ZERO, "pid 1, a test")
}

/// Returns the names of the files in the folder.
fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_no_store_is_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("folder")).expect("makes");
    std::fs::write(path("text"), "requests, and more of them\n").expect("writes");
    std::fs::write(path("short"), "x").expect("writes");
    let other = rusqlite::Connection::open(path("other")).expect("opens");
    other.execute_batch("CREATE TABLE t(a)").expect("makes");
    drop(other);
    let marked = rusqlite::Connection::open(path("marked")).expect("opens");
    marked.pragma_update(None, "application_id", 77).expect("marks");
    drop(marked);
    let before = listing(folder.path());
    let bytes = |name: &str| std::fs::read(path(name)).expect("reads");
    let (text, database) = (bytes("text"), bytes("other"));
    for name in ["folder", "text", "short", "other", "marked"] {
        let error = open(&path(name)).expect_err(name);
        assert!(matches!(error, StoreError::NotAStore { .. }), "{name}: {error}");
        let error = SqliteStore::open_to_read(&path(name)).expect_err(name);
        assert!(matches!(error, StoreError::NotAStore { .. }), "{name}: {error}");
    }
    assert_eq!((text, database), (bytes("text"), bytes("other")));
    let after: Vec<_> = listing(folder.path())
        .into_iter()
        .filter(|name| Path::new(name).extension().is_none_or(|kind| kind != "lock"))
        .collect();
    assert_eq!(before, after);
    assert!(!path("folder.lock").exists() && !path("text.lock").exists());
}

#[test]
fn a_later_schema_is_not_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    let store = open(&path).expect("opens");
    block_on(store.close()).expect("closes");
    drop(store);
    let connection = rusqlite::Connection::open(&path).expect("opens");
    connection
        .pragma_update(None, "user_version", 99)
        .expect("writes");
    drop(connection);
    assert!(matches!(
        open(&path),
        Err(StoreError::Newer {
            found: 99,
            known: 9,
            ..
        })
    ));
    assert!(matches!(
        SqliteStore::open_to_read(&path),
        Err(StoreError::Newer {
            found: 99,
            known: 9,
            ..
        })
    ));
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("nowhere/nova3.db");
    let error = open(&missing).expect_err("no folder");
    assert!(
        matches!(&error, StoreError::Io { reason, .. } if reason.contains("nowhere")),
        "{error}"
    );
    assert!(listing(folder.path()).is_empty());
    // Permission bits do not restrict root, but no user can make a file in `/proc`.
    let error = open(Path::new("/proc/nova3.db")).expect_err("no place for files");
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    let error = SqliteStore::open_to_read(&folder.path().join("none.db")).expect_err("absent");
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    std::fs::write(folder.path().join("empty.db"), "").expect("writes");
    let error = SqliteStore::open_to_read(&folder.path().join("empty.db")).expect_err("empty");
    assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
}

#[test]
fn a_store_is_one_processs_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    let first = open(&path).expect("opens");
    let error = SqliteStore::open(&path, Duration::ZERO, "pid 2").expect_err("in use");
    assert!(
        matches!(&error, StoreError::InUse { holder, .. } if holder == "pid 1, a test"),
        "{error}"
    );
    let waiting = std::thread::spawn({
        let path = path.clone();
        move || SqliteStore::open(&path, Duration::from_mins(10), "pid 2").map(drop)
    });
    let looking = SqliteStore::open_to_read(&path).expect("readers are welcome");
    assert!(block_on(looking.runs()).expect("reads").is_empty());
    assert!(matches!(
        block_on(looking.open_run(&opening("a"))),
        Err(StoreError::Io { .. })
    ));
    drop(first);
    waiting.join().expect("ends").expect("the lock was left to it");
}

#[test]
fn a_closed_store_is_one_file_and_answers_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    let store = open(&path).expect("opens");
    block_on(async {
        store.open_run(&opening("a")).await.expect("opens");
        store.close().await.expect("closes");
        store.close().await.expect("once more is no harm");
        assert!(matches!(store.runs().await, Err(StoreError::Closed)));
        assert!(matches!(
            store.open_run(&opening("b")).await,
            Err(StoreError::Closed)
        ));
    });
    assert_eq!(listing(folder.path()), ["nova3.db", "nova3.db.lock"]);
    let other = open(&path).expect("it is free although the first handle lives on");
    assert_eq!(block_on(other.runs()).expect("reads").len(), 1);
}

#[test]
fn a_dropped_store_has_done_what_it_was_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    for round in 0..20 {
        let store = open(&path).expect("the last one is gone when its drop returns");
        let name = format!("run {round}");
        block_on(store.open_run(&harness::opening(&name))).expect("opens");
    }
    assert_eq!(
        block_on(open(&path).expect("opens").runs()).expect("reads").len(),
        20
    );
}

/// Returns how many bytes opening the store reads from its files.
fn read_by_opening(path: &Path) -> u64 {
    let read = || -> u64 {
        let io = std::fs::read_to_string("/proc/thread-self/io").expect("reads");
        let count = io.lines().find_map(|line| line.strip_prefix("rchar: "));
        count.expect("a count").parse().expect("a number")
    };
    let text = "nova3 store lock, held by a dead test";
    std::fs::write(path.with_extension("db.lock"), text).expect("writes");
    let before = read();
    let store = open(path).expect("opens");
    let bytes = read() - before;
    drop(store);
    bytes
}

#[test]
fn opening_after_a_crash_reads_as_much_of_a_large_store_as_of_a_small_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    let store = open(&path).expect("opens");
    block_on(store.open_run(&opening("a"))).expect("opens");
    drop(store);
    let fill = |megabytes: usize| {
        let raw = rusqlite::Connection::open(&path).expect("opens");
        raw.execute_batch(&format!(
            "PRAGMA foreign_keys=OFF;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<{megabytes})
             INSERT INTO nova3_tasks(queue_id, task_index, task_id, action, input, status, result, created_at)
             SELECT 1, {megabytes}*1000+i, 'task', 'answer', '', 'completed', hex(randomblob(1<<19)), 1 FROM n;
             PRAGMA wal_checkpoint(TRUNCATE);"
        ))
        .expect("fills");
    };
    fill(2);
    let small = read_by_opening(&path);
    fill(200);
    let large = read_by_opening(&path);
    assert!(std::fs::metadata(&path).expect("is there").len() > 200 << 20);
    // The trees have become one level deeper.
    assert!(large <= small + (128 << 10), "{small} bytes, then {large}");
}
