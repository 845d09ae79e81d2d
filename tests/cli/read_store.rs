//! `--read-store`: a replica of PostgreSQL takes the reading.

use nova3::mock::MockConfig;
use serde_json::{Value, json};

use crate::cli::harness::{setup_with, until};
use crate::cli::server::{Server, fresh_database, psql};

#[test]
fn a_hot_standby_takes_the_reading() {
    let primary = Server::start(&[]);
    let (harness, _provider) = setup_with(MockConfig::default());
    let harness = harness.with("NOVA3_STORE", primary.url());
    harness.write_questions("in.jsonl", 5);
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let standby = Server::standby_of(primary.port());
    assert_eq!(psql(standby.url(), "select pg_is_in_recovery()"), "t");

    let read = ["--read-store", standby.url()];
    let status = harness.nova3(&[&["status", "--json"], read.as_slice()].concat());
    assert_eq!(
        (status.code, status.err.as_str()),
        (Some(0), ""),
        "no age is told: it is up to date"
    );
    let shown: Value = serde_json::from_str(&status.out).unwrap();
    assert_eq!(
        (&shown["done"], &shown["replica_age_s"]),
        (&json!(5), &json!(0.0))
    );
    for args in [
        ["status"].as_slice(),
        &["results"],
        &["results", "--format", "csv"],
        &["usage"],
        &["usage", "--by", "user,run,session,agent,lane,cause"],
    ] {
        let there = harness.nova3(&[args, read.as_slice()].concat());
        let here = harness.nova3(args);
        assert_eq!(there.code, Some(0), "{args:?}: {}", there.err);
        assert_eq!((there.out, there.err), (here.out, here.err), "{args:?}");
    }
    let bill = harness.nova3(&["usage", "--format", "json", "--read-store", standby.url()]);
    let shown: Value = serde_json::from_str(&bill.out).unwrap();
    assert_eq!(
        (&shown["replica_age_s"], &shown["total"]["calls"]),
        (&json!(0.0), &json!(5))
    );

    // A standby that has lost its primary gets older. It still takes the reading, and says its age.
    primary.stop_immediately();
    let harness = harness.with("NOVA3_READ_STORE", standby.url());
    until("the age of the replica is told", || {
        let ran = harness.nova3(&["status"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        ran.err
            .contains(" s behind its store; what is newer is not shown\n")
    });
    let quiet = harness.nova3(&["status", "--json", "-q"]);
    assert_eq!(quiet.err, "");
    let age = serde_json::from_str::<Value>(&quiet.out).unwrap()["replica_age_s"]
        .as_f64()
        .unwrap();
    assert!(age >= 1.0, "{age}");
}

#[test]
fn a_connection_of_a_read_store_can_write_nothing() {
    let url = fresh_database(crate::cli::server::shared());
    let (harness, _provider) = setup_with(MockConfig::default());
    let harness = harness.with("NOVA3_STORE", &url);
    harness.write_questions("in.jsonl", 1);
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
    // The store itself is no replica, so that no age is told.
    let ran = harness.nova3(&["status", "--json", "--read-store", &url]);
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.err.as_str(), shown.get("replica_age_s")), ("", None));
    // A role that may only read is enough.
    let role = format!("reader_{:016x}", fastrand::u64(..));
    psql(
        &url,
        &format!(
            "create role {role} login; grant usage on schema public to {role}; grant select on all tables in schema public to {role}"
        ),
    );
    let reader = url.replacen("nova3@", &format!("{role}@"), 1);
    for args in [["status"].as_slice(), &["results"], &["usage"]] {
        let ran = harness.nova3(&[args, &["--read-store", &reader]].concat());
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.err);
    }
}

#[test]
fn a_read_store_that_holds_no_store_is_told() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let empty = fresh_database(crate::cli::server::shared());
    let ran = harness.nova3(&["status", "--read-store", &empty]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    assert!(
        ran.err.contains("(`--read-store` names a replica of `--store`)"),
        "{}",
        ran.err
    );
    let ran = harness.nova3(&["status", "--read-store", "nowhere.db"]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    let ran = harness.nova3(&["usage", "--read-store", "postgres://u:secret@127.0.0.1/db"]);
    assert_eq!(ran.code, Some(2), "a password stands in no argument: {}", ran.err);
    assert!(!ran.err.contains("secret"), "{}", ran.err);
}
