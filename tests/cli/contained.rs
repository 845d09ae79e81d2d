//! A fault of one request does not affect the others, on both engines: a value that the database refuses, a row that
//! cannot be read, a worker that panics.

use nova3::mock::MockConfig;

use crate::cli::harness::{Harness, Provider, errors, question, setup_with, sorted_ids};
use crate::cli::server;

const RUN: [&str; 6] = ["run", "in.jsonl", "-o", "out.jsonl", "-j", "8"];

/// A folder with a store that has its tables, and access to these tables.
struct Stored {
    harness: Harness,
    provider: Provider,
    /// The address of the database, unless the store is a file.
    url: Option<String>,
}

impl Stored {
    /// One store on each engine.
    fn each() -> [Self; 2] {
        let url = server::fresh_schema(server::shared());
        [None, Some(url)].map(|url| {
            let (harness, provider) = setup_with(MockConfig::default());
            let harness = match &url {
                Some(url) => harness.with("NOVA3_STORE", url),
                None => harness,
            };
            harness.write("first.jsonl", question("first", "first"));
            let ran = harness.nova3(&["run", "first.jsonl", "-o", "first-out.jsonl"]);
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            Self {
                harness,
                provider,
                url,
            }
        })
    }

    /// Changes the store, with a statement for each engine.
    fn sql(&self, sqlite: &str, postgres: &str) {
        if let Some(url) = &self.url {
            server::psql(url, postgres);
        } else {
            let store = rusqlite::Connection::open(self.harness.path("nova3.db")).unwrap();
            store.execute_batch(sqlite).unwrap();
        }
    }

    /// Like `sql`, if both engines take the same statement.
    fn same_sql(&self, sql: &str) {
        self.sql(sql, sql);
    }

    /// Eight requests, of which the third and the sixth are marked `odd`.
    fn input(&self) {
        let text = (1..=8).fold(String::new(), |text, n| {
            let query = if n % 3 == 0 { "odd" } else { "even" };
            text + &question(&format!("q{n}"), &format!("{query} {n}"))
        });
        self.harness.write("in.jsonl", text);
    }

    /// Asserts that the two marked requests failed like this, and that the others are done.
    fn only_the_odd_failed(&self, class: &str, words: &str) {
        let results = self.harness.results("out.jsonl");
        assert_eq!(sorted_ids(&results).len(), 8);
        for line in &results {
            let odd = ["q3", "q6"].contains(&line["custom_id"].as_str().unwrap());
            assert_eq!(line["ok"], !odd, "{line}");
        }
        let errors = errors(&results);
        assert_eq!(errors.len(), 2);
        for (found, message) in errors {
            assert_eq!(found, class, "{message}");
            assert!(message.contains(words), "{message}");
        }
        let verified = self.harness.nova3(&["verify", "in.jsonl"]);
        assert_eq!(verified.code, Some(0), "{}{}", verified.out, verified.err);
    }
}

#[test]
fn a_result_that_the_database_refuses_fails_its_request() {
    for stored in Stored::each() {
        stored.sql(
            "CREATE TRIGGER t BEFORE UPDATE ON nova3_tasks WHEN new.status='completed' AND new.input LIKE 'odd%'
             BEGIN SELECT RAISE(ABORT, 'no such result'); END",
            "ALTER TABLE nova3_tasks ADD CHECK (status <> 'completed' OR input NOT LIKE 'odd%')",
        );
        stored.input();
        let ran = stored.harness.nova3(&RUN);
        assert_eq!(ran.code, Some(100), "{}", ran.err);
        stored.only_the_odd_failed("internal", "refuses a row");
        assert_eq!(stored.provider.calls(), 9);
        let status = stored.harness.status(&["in.jsonl"]);
        assert_eq!(status["attempts"], 8, "every call is in the ledger");
        let again = stored.harness.nova3(&RUN);
        assert_eq!(again.code, Some(100), "{}", again.err);
        assert_eq!(stored.provider.calls(), 9, "it is not paid again");
    }
}

#[test]
fn a_plan_that_the_database_refuses_fails_its_request() {
    for stored in Stored::each() {
        stored.sql(
            "CREATE TRIGGER t BEFORE INSERT ON nova3_tasks WHEN new.task_index=1
             BEGIN SELECT RAISE(ABORT, 'no such plan'); END",
            "ALTER TABLE nova3_tasks ADD CHECK (task_index <> 1)",
        );
        let line = r#"{"custom_id":"planned","query":"a long plan of several steps"}"#;
        stored
            .harness
            .write("in.jsonl", format!("{line}\n{}", question("q", "even")));
        let ran = stored.harness.nova3(&RUN);
        assert_eq!(ran.code, Some(100), "{}", ran.err);
        let results = stored.harness.results("out.jsonl");
        assert_eq!(sorted_ids(&results), ["planned", "q"]);
        assert_eq!(errors(&results).len(), 1);
        assert_eq!(errors(&results)[0].0, "internal");
    }
}

#[test]
fn money_that_cannot_be_held_back_fails_its_request() {
    for stored in Stored::each() {
        stored.input();
        let limited = [&RUN[..], &["--limit", "1"]].concat();
        stored.harness.nova3(&limited);
        stored.sql(
            "CREATE TRIGGER t BEFORE INSERT ON nova3_reservations
               WHEN EXISTS(SELECT 1 FROM nova3_tasks k WHERE k.queue_id=new.queue_id AND k.input LIKE 'odd%')
             BEGIN SELECT RAISE(ABORT, 'no such money'); END",
            "CREATE FUNCTION no_money() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF EXISTS (SELECT 1 FROM nova3_tasks k WHERE k.queue_id = new.queue_id AND k.input LIKE 'odd%') THEN
                 RAISE EXCEPTION 'no such money';
               END IF;
               RETURN new; END $$;
             CREATE TRIGGER t BEFORE INSERT ON nova3_reservations FOR EACH ROW EXECUTE FUNCTION no_money()",
        );
        let prices = "[routes.priced]\nmodel = \"m\"\nno_key = true\ninput_usd_per_million = 1.0\noutput_usd_per_million = 1.0\n";
        let base = format!("base_url = \"{}\"\n", stored.provider.base_url());
        let settings = stored.harness.read("nova3.toml");
        stored
            .harness
            .write("nova3.toml", format!("{settings}\n{prices}{base}"));
        let capped = [&RUN[..], &["--max-cost", "5", "-m", "priced"]].concat();
        let ran = stored.harness.nova3(&capped);
        assert_eq!(ran.code, Some(100), "{}", ran.err);
        stored.only_the_odd_failed("internal", "no such money");
    }
}

#[test]
fn a_stored_request_that_cannot_be_read_fails_alone() {
    for stored in Stored::each() {
        stored.input();
        let limited = [&RUN[..], &["--limit", "1"]].concat();
        let ran = stored.harness.nova3(&limited);
        assert_eq!(stored.provider.calls(), 2, "{}", ran.err);
        stored.same_sql(
            "UPDATE nova3_requests SET request='{' WHERE queue_id IN
               (SELECT queue_id FROM nova3_queues WHERE custom_id IN ('q3','q6'))",
        );
        let ran = stored.harness.nova3(&RUN);
        assert_eq!(ran.code, Some(100), "{}", ran.err);
        stored.only_the_odd_failed("internal", "cannot be read");
        assert_eq!(stored.provider.calls(), 7);
    }
}

#[test]
fn a_stored_result_that_cannot_be_read_is_one_bad_line() {
    for stored in Stored::each() {
        stored.input();
        let ran = stored.harness.nova3(&RUN);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        stored.same_sql("UPDATE nova3_tasks SET making='{' WHERE input LIKE 'odd%'");
        let ran = stored.harness.nova3(&[
            "run",
            "in.jsonl",
            "-o",
            "out.jsonl",
            "--overwrite",
            "--keep-order",
        ]);
        assert_ne!(ran.code, Some(1), "{}", ran.err);
        stored.only_the_odd_failed("internal", "cannot be read");
    }
}

#[test]
fn what_cannot_even_fail_ends_the_run_when_the_others_are_done() {
    for stored in Stored::each() {
        stored.sql(
            "CREATE TRIGGER t BEFORE UPDATE ON nova3_tasks
               WHEN new.input LIKE 'odd%' AND new.status IN('completed','failed')
             BEGIN SELECT RAISE(ABORT, 'nothing at all'); END",
            "ALTER TABLE nova3_tasks ADD CHECK (status NOT IN ('completed','failed') OR input NOT LIKE 'odd%')",
        );
        stored.input();
        let ran = stored.harness.nova3(&RUN);
        assert_eq!(ran.code, Some(1), "{}", ran.err);
        assert!(ran.err.contains("refuses a row"), "{}", ran.err);
        assert_eq!(
            stored.harness.results("out.jsonl").len(),
            6,
            "the others are done"
        );
    }
}

/// Only a debug build has failpoints that panic.
#[cfg(debug_assertions)]
mod panics {
    use super::{RUN, Stored};

    #[test]
    fn a_worker_that_panics_twice_fails_its_task_as_poison() {
        for place in ["before-call", "after-call"] {
            for stored in Stored::each() {
                stored.input();
                let failpoint = format!("{place}=panic:odd");
                let harness = stored.harness.with("NOVA3_FAILPOINTS", &failpoint);
                let stored = Stored { harness, ..stored };
                let ran = stored.harness.nova3(&RUN);
                assert_eq!(ran.code, Some(100), "{}", ran.err);
                stored.only_the_odd_failed("poison", "panicked 2 times");
                // The four calls of the two requests that panicked after an answer are all in the ledger.
                let calls = if place == "after-call" { 6 + 4 } else { 6 };
                assert_eq!(stored.provider.calls(), calls + 1);
                assert_eq!(stored.harness.status(&["in.jsonl"])["attempts"], calls);
            }
        }
    }

    #[test]
    fn a_worker_that_panics_once_does_its_task() {
        for stored in Stored::each() {
            stored.input();
            let harness = stored.harness.with("NOVA3_FAILPOINTS", "after-call=once:odd");
            let ran = harness.nova3(&RUN);
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            assert_eq!(stored.provider.calls(), 10, "one call more");
            assert_eq!(harness.status(&["in.jsonl"])["attempts"], 9);
        }
    }

    #[test]
    fn a_panic_elsewhere_ends_the_run_and_names_the_part() {
        for (failpoint, part) in [
            ("ingest=panic", "reading the input into the store"),
            ("exporter=panic", "the exporter"),
        ] {
            for stored in Stored::each() {
                stored.input();
                let harness = stored.harness.with("NOVA3_FAILPOINTS", failpoint);
                let ran = harness.nova3(&RUN);
                assert_eq!(ran.code, Some(1), "{}", ran.err);
                assert!(ran.err.contains(part), "{}", ran.err);
            }
        }
    }
}
