//! Opening the store: by two processes at once, of another version, or where none exists.

use std::time::Duration;

use nova3::config::{Source, StoreAddress};
use nova3::postgres::Database;
use nova3::store::postgres::PostgresStore;
use nova3::store::{Settled, StoreError};

use crate::fleet::harness::{Sql, claim, workers};
use crate::fleet::server::{self, Server};
use crate::store::harness::{Harness, database, request};

async fn open(url: &str) -> Result<PostgresStore, StoreError> {
    PostgresStore::open(database(url), Duration::ZERO).await
}

#[tokio::test]
async fn two_that_find_an_empty_database_make_one_store() {
    let url = server::fresh_schema(server::shared());
    let (a, b, c) = tokio::join!(Harness::at(&url), Harness::at(&url), Harness::at(&url));
    let run = a.run("a").await;
    assert_eq!((b.run("a").await, c.run("a").await), (run, run));
    b.read(run, &[request("x")]).await;
    assert_eq!(c.drain(run).await, ["x"]);
}

#[tokio::test]
async fn two_that_open_the_same_new_run_make_it_once() {
    let (url, [a, b, c]) = workers::<3>().await;
    let runs = tokio::join!(a.run("a"), b.run("a"), c.run("a"));
    assert_eq!((runs.0, runs.0), (runs.1, runs.2));
    assert_eq!(
        Sql::at(&url)
            .await
            .number("SELECT count(*) FROM nova3_runs")
            .await,
        1
    );
}

/// Otherwise a text that the database cannot hold would fail in the middle of the work.
#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let mut sql = Sql::at(server::shared()).await;
    let name = format!("latin_{:016x}", fastrand::u64(..));
    sql.run(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'"
    ))
    .await;
    let (server, _) = server::shared().rsplit_once('/').expect("it names a database");
    let refused = open(&format!("{server}/{name}"))
        .await
        .expect_err("it is refused");
    let said = refused.to_string();
    assert!(
        said.contains("`LATIN1`; make one with `createdb -T template0 -E UTF8`"),
        "{said}"
    );
    sql.run(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

#[tokio::test]
async fn a_later_store_is_refused_unless_it_allows_ours() {
    let (url, [harness]) = workers::<1>().await;
    let mut sql = Sql::at(&url).await;
    sql.run("UPDATE nova3_schema SET version = 11, oldest = 11").await;
    for refused in [
        open(&url).await.err(),
        PostgresStore::open_to_read(database(&url)).await.err(),
    ] {
        let Some(StoreError::Newer { found: 11, known, .. }) = refused else {
            panic!("it is opened: {refused:?}");
        };
        assert!(known < 11);
        sql.run(&format!("UPDATE nova3_schema SET oldest = {}", known + 1))
            .await;
    }
    sql.run("UPDATE nova3_schema SET oldest = 1").await;
    let again = Harness::at(&url).await;
    let run = again.run("a").await;
    harness.read(run, &[request("x")]).await;
    assert_eq!(again.drain(run).await, ["x"]);
    assert!(PostgresStore::open_to_read(database(&url)).await.is_ok());
    assert_eq!(
        sql.number("SELECT version::bigint FROM nova3_schema").await,
        11,
        "it stays what it is"
    );
}

/// The functions of another program, whose clock stands still.
const OTHER_FUNCTIONS: &str =
    "CREATE OR REPLACE FUNCTION nova3_now() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT 7::bigint';
    UPDATE nova3_schema SET functions = 'others'";

#[tokio::test]
async fn functions_of_another_build_are_replaced() {
    let (url, [harness]) = workers::<1>().await;
    let mut sql = Sql::at(&url).await;
    let ours = sql.text("SELECT functions FROM nova3_schema").await;
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y")]).await;
    sql.run(OTHER_FUNCTIONS).await;
    PostgresStore::open_to_read(database(&url)).await.expect("opens");
    let installed = "SELECT functions FROM nova3_schema";
    assert_eq!(sql.text(installed).await, "others", "a look installs nothing");
    let opened = tokio::join!(open(&url), open(&url), open(&url));
    assert!(opened.0.is_ok() && opened.1.is_ok() && opened.2.is_ok());
    assert_eq!(sql.text(installed).await, ours);
    assert!(sql.number("SELECT nova3_now()").await > 7);
    assert_eq!(harness.drain(run).await, ["x", "y"], "who was at work goes on");
}

#[tokio::test]
async fn functions_of_a_later_version_stay() {
    let (url, [_]) = workers::<1>().await;
    let mut sql = Sql::at(&url).await;
    sql.run(OTHER_FUNCTIONS).await;
    for oldest in ["1", "11"] {
        sql.run(&format!(
            "UPDATE nova3_schema SET version = 11, oldest = {oldest}"
        ))
        .await;
        assert_eq!(open(&url).await.is_ok(), oldest == "1");
        assert_eq!(sql.text("SELECT functions FROM nova3_schema").await, "others");
        assert_eq!(sql.number("SELECT nova3_now()").await, 7);
    }
}

#[tokio::test]
async fn what_is_only_read_is_not_made() {
    let url = server::fresh_schema(server::shared());
    let read = PostgresStore::open_to_read(database(&url))
        .await
        .expect_err("there is none");
    assert!(matches!(&read, StoreError::NotAStore { .. }), "{read}");
    assert!(
        PostgresStore::if_there(database(&url))
            .await
            .expect("looks")
            .is_none()
    );
    let mut sql = Sql::at(&url).await;
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace";
    assert_eq!(sql.number(tables).await, 0);
    open(&url).await.expect("opens");
    assert!(
        PostgresStore::if_there(database(&url))
            .await
            .expect("looks")
            .is_some()
    );
    sql.run("UPDATE nova3_schema SET version = 1, oldest = 1").await;
    for refused in [
        open(&url).await.err(),
        PostgresStore::open_to_read(database(&url)).await.err(),
    ] {
        assert!(
            matches!(&refused, Some(StoreError::Older { found: 1, .. })),
            "{refused:?}"
        );
    }
}

/// A store behind a password, whose address comes from the environment.
fn guarded(url: &str) -> Database {
    let source = Source::Env("NOVA3_STORE".to_owned());
    match StoreAddress::read(std::path::Path::new(url), &source, &|_| None).expect("an address") {
        StoreAddress::Postgres(address) => Database::new(&address).expect("a pool"),
        StoreAddress::File(path) => panic!("{} is a file", path.display()),
    }
}

#[tokio::test]
async fn what_waiting_does_not_cure_is_told_at_once() {
    let server = Server::start(&[]);
    let mut sql = Sql::at(server.url()).await;
    sql.run("CREATE USER guarded PASSWORD 'right'").await;
    let rule = server.folder().join("data/pg_hba.conf");
    let rules = std::fs::read_to_string(&rule).expect("its rules");
    std::fs::write(
        &rule,
        format!("host all guarded 127.0.0.1/32 scram-sha-256\n{rules}"),
    )
    .expect("writes");
    sql.run("SELECT pg_reload_conf()").await;

    let long = Duration::from_secs(3600);
    let place = format!("127.0.0.1:{}", server.port());
    let wrong = |user: &str, name: &str| guarded(&format!("postgres://{user}@{place}/{name}"));
    // The server needs a moment to load its new rules.
    crate::fleet::harness::until("the rules", async || {
        wrong("guarded:right", "postgres").connect().await.is_ok()
            && wrong("guarded:wrong", "postgres").connect().await.is_err()
    })
    .await;
    for (user, name, cure) in [
        ("guarded:wrong", "postgres", "set `PGPASSWORD`"),
        ("guarded", "postgres", "set `PGPASSWORD`"),
        ("nova3", "nowhere", "make it with `createdb`"),
        ("guarded:right", "postgres", "the user must own the tables"),
    ] {
        for wait in [Duration::ZERO, long] {
            let opened = PostgresStore::open(wrong(user, name), wait).await;
            let said = opened.expect_err("it cannot be opened").to_string();
            assert!(said.contains(cure) && !said.contains("right"), "{said}");
        }
    }

    server.stop_immediately();
    let refused = PostgresStore::open(database(server.url()), Duration::ZERO)
        .await
        .expect_err("no server answers");
    assert!(matches!(&refused, StoreError::Io { .. }), "{refused}");
    let waiting = PostgresStore::open(database(server.url()), long);
    let (opened, ()) = tokio::join!(waiting, async { server.start_again() });
    opened.expect("it was waited for");
}

#[tokio::test]
async fn a_check_finds_sums_that_are_not_those_of_the_rows() {
    let (url, [harness]) = workers::<1>().await;
    let run = harness.run("a").await;
    harness.read(run, &[crate::store::harness::request("x")]).await;
    harness.done(&harness.claim_one(run).await).await;
    harness.store().check().await.expect("it is whole");
    Sql::at(&url).await.run("DELETE FROM nova3_attempts").await;
    let error = harness.store().check().await.expect_err("calls are gone");
    assert!(error.to_string().contains("the sums of run `a`"), "{error}");
}

/// Copies every row to another schema and puts that in place of the first. Its types have other numbers.
const COPY: &str = "
    SET session_replication_role = replica;
    DO $$ DECLARE name text; ours text := current_schema(); BEGIN
      FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = ours LOOP
        EXECUTE format('DELETE FROM %I.%I', 'COPY', name);
        EXECUTE format('INSERT INTO %I.%I OVERRIDING SYSTEM VALUE SELECT * FROM %I.%I', 'COPY', name, ours, name);
      END LOOP;
      EXECUTE format('ALTER SCHEMA %I RENAME TO %I', ours, ours || '_gone');
      EXECUTE format('ALTER SCHEMA %I RENAME TO %I', 'COPY', ours);
    END $$;
    SET session_replication_role = origin";

#[tokio::test]
async fn a_copy_takes_the_place_of_the_database_while_there_is_work() {
    let (url, [harness]) = workers::<1>().await;
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x"), request("y"), request("z")])
        .await;
    let held = claim(&harness, "p", run, 3).await;
    assert_eq!(harness.done(&held[0]).await, Settled::Finished { ok: true });
    let copy = server::fresh_schema(server::shared());
    open(&copy).await.expect("opens");
    let copy = Sql::at(&copy).await.text("SELECT current_schema()").await;
    Sql::at(&url).await.run(&COPY.replace("COPY", &copy)).await;
    assert_eq!(harness.done(&held[1]).await, Settled::Finished { ok: true });
    harness.release(&held[2]).await;
    assert_eq!(harness.drain(run).await, ["z"]);
    let all = ["x@0", "y@1", "z@2"].map(|line| format!("{line} completed completed[answer1]"));
    assert_eq!(harness.names(run).await, all);
}
