//! `nova3 verify --store-check`: the whole store is read and checked.

use nova3::mock::MockConfig;

use crate::cli::harness::{Harness, setup_with};

fn finished() -> Harness {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 3);
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
    harness
}

#[test]
fn a_whole_store_is_told_as_whole() {
    let ran = finished().nova3(&["verify", "--store-check"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.starts_with("the store is whole\n"), "{}", ran.out);
}

#[test]
fn damage_and_wrong_sums_are_told() {
    let harness = finished();
    let path = harness.path("nova3.db");
    let store = rusqlite::Connection::open(&path).unwrap();
    store.execute("UPDATE nova3_runs SET attempts=99", []).unwrap();
    let ran = harness.nova3(&["verify", "--store-check"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains("the sums of run `in.jsonl`"), "{}", ran.err);
    store.execute("UPDATE nova3_runs SET attempts=3", []).unwrap();
    let root: usize = store
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name='nova3_events_queue'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let page = (root - 1) * 4096;
    bytes[page..page + 64].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(
        harness.nova3(&["verify"]).code,
        Some(0),
        "it does not read that index"
    );
    let ran = harness.nova3(&["verify", "--store-check"]);
    assert_eq!(ran.code, Some(1), "{}", ran.out);
    assert!(ran.err.contains(".recover"), "{}", ran.err);
}
