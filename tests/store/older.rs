//! A store that an earlier version made is refused and left unchanged.

use std::time::Duration;

use nova3::store::StoreError;
use nova3::store::sqlite::SqliteStore;
use rusqlite::Connection;

#[test]
fn a_store_of_an_earlier_schema_is_refused_untouched() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nova3.db");
    let connection = Connection::open(&path).expect("opens");
    connection
        .execute_batch(
            "PRAGMA application_id=0x6e6f7633; PRAGMA user_version=3; CREATE TABLE nova3_runs(run_id INTEGER PRIMARY KEY);",
        )
        .expect("writes");
    drop(connection);
    let before = std::fs::read(&path).expect("reads");
    for refused in [
        SqliteStore::open(&path, Duration::ZERO, "a test").err(),
        SqliteStore::open_to_read(&path).err(),
    ] {
        let Some(StoreError::Older { found: 3, known, .. }) = refused else {
            panic!("it is opened: {refused:?}");
        };
        assert!(known > 3);
    }
    assert_eq!(
        std::fs::read(&path).expect("reads"),
        before,
        "nothing was written to it"
    );
}
