//! Any text is stored and read back, also characters that PostgreSQL does not have, and under any collation.

use nova3::domain::outcome::{NewItem, Product};
use nova3::store::{Cursor, Feed, FileKey, Order, RunOpening, Settlement, Then};
use serde_json::{Map, json};

use crate::fleet::draft::Draft;
use crate::fleet::harness::{Sql, claim, workers, wrongs};
use crate::fleet::server;
use crate::store::harness::{Harness, attempt, making, opening, planned, request};

/// Texts with each of these two characters, and texts that look like their stored form.
const HARD: [&str; 6] = [
    "a\0b",
    "a\u{10FFFF}b",
    "a\u{10FFFF}0b",
    "\0",
    "\u{10FFFF}",
    "\u{10FFFF}\0\u{10FFFE}é好",
];

const CURSOR: Cursor = Cursor {
    base: 0,
    settled: 1,
    announced: 0,
    after: 1,
    announced_after: 1,
    tail: [3; 32],
    order: Order::Completion,
    append: false,
    since: None,
    epoch: 0,
    rewrite: None,
    feed: Feed::Results,
    stamp: 1,
    writer: Some(7),
};

async fn found_again(harness: &Harness) {
    let mut runs = Vec::new();
    for name in HARD {
        let opened = RunOpening {
            named: true,
            ..opening(name)
        };
        let run = harness.store().open_run(&opened).await.expect("opens");
        assert_eq!((run.name.as_str(), &run.input), (name, &opened.input));
        let file = FileKey {
            host: name.to_owned(),
            path: format!("/out/{name}"),
        };
        harness
            .store()
            .put_cursor(run.id, &file, None, &CURSOR, None)
            .await
            .expect("writes");
        assert_eq!(
            harness.store().cursors(run.id).await.expect("reads"),
            [(file.clone(), CURSOR)]
        );
        assert_eq!(
            harness.store().cursor(run.id, &file).await.expect("reads"),
            Some(CURSOR)
        );
        runs.push(run.id);
    }
    let known = harness.store().runs().await.expect("reads");
    let names: Vec<&str> = known.iter().rev().map(|run| run.name.as_str()).collect();
    assert_eq!(names, HARD);

    // Lines have no zero characters. Zeros come from models, names and paths.
    let ids: Vec<String> = HARD.iter().map(|text| text.replace('\0', "zero")).collect();
    let hard = || ids.iter().map(String::as_str).zip(HARD);
    let input: Vec<Draft> = ids.iter().map(|id| request(id).query(id).unplanned()).collect();
    harness.read(runs[0], &input).await;
    let queues = claim(harness, "p", runs[0], 99).await;
    assert_eq!(queues.len(), HARD.len(), "each is one of its own");
    for (queue, (id, text)) in queues.iter().zip(hard()) {
        assert_eq!(queue.request.custom_id.as_deref(), Some(id));
        let mut plan = planned(queue.lease, &["answer", "answer"]);
        if let nova3::store::PlanEnd::Planned(_, steps) = &mut plan.end {
            text.clone_into(&mut steps[1].input);
        }
        harness.settle_plan(plan).await;
        harness.settle(said(queue.lease, 0, text)).await;
        harness.settle(said(queue.lease, 1, text)).await;
    }
    for (row, (id, text)) in harness.finished(runs[0]).await.iter().zip(hard()) {
        assert_eq!(
            (row.custom_id.as_deref(), row.tasks[1].input.as_str()),
            (Some(id), text)
        );
        let result = row.tasks[1].result.as_ref().expect("a result").get();
        let items: serde_json::Value = serde_json::from_str(result).expect("it is JSON");
        assert_eq!(items, json!([{"id": "answer2", "content": text}]));
    }
    let again = harness.read(runs[0], &input).await;
    assert!(
        again
            .iter()
            .all(|outcome| matches!(outcome, nova3::store::AddOutcome::Finished(_))),
        "{again:?}"
    );
}

/// An answer with that text, and a warning with it.
fn said(lease: nova3::store::Lease, task: usize, text: &str) -> Settlement {
    let item = NewItem {
        kind: "answer".to_owned(),
        body: Map::from_iter([("content".to_owned(), text.into())]),
    };
    let mut making = making(1);
    making.warnings = vec![text.to_owned()];
    let calls = vec![attempt(None, 1)];
    Settlement::completed(lease, task, Product::Items(vec![item]), Then::GoOn, making, calls)
}

#[tokio::test]
async fn text_that_no_column_can_hold_is_found_again() {
    let (_, [harness]) = workers::<1>().await;
    found_again(&harness).await;
}

#[tokio::test]
async fn what_failed_with_such_a_text_can_be_tried_again() {
    let (url, [harness]) = workers::<1>().await;
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    for _ in 0..2 {
        let queue = claim(&harness, "p", run, 1).await.remove(0);
        let mut making = making(0);
        making.warnings = vec!["it said `\0`, `\\\0` and `\\u0000`".to_owned()];
        let failure = nova3::domain::failure::Failure::new(nova3::domain::failure::Class::Schema, "a\0b");
        let failed = Settlement::failed(queue.lease, 0, failure, None, making, vec![attempt(None, 1)]);
        harness.settle(failed).await;
        let rows = harness.finished(run).await;
        assert_eq!(rows[0].failure.as_ref().expect("a failure").message, "a\0b");
        assert_eq!(harness.retry(run).await, 1);
    }
    let queue = claim(&harness, "p", run, 1).await.remove(0);
    harness.done(&queue).await;
    let rows = harness.finished(run).await;
    assert_eq!(rows[0].tasks[0].making.as_ref().expect("it was made").attempts, 3);
    drop(url);
}

/// Makes a database with another collation, if the server has one.
async fn another_collation() -> Option<String> {
    let mut sql = Sql::at(server::shared()).await;
    let known = "SELECT coalesce((SELECT collname FROM pg_collation WHERE collprovider = 'c' AND collencoding IN (-1, 6)
        AND collname !~ '^(C|POSIX|ucs_basic|default)' ORDER BY collname LIMIT 1), '')";
    let locale = sql.text(known).await;
    let icu = "SELECT count(*) FROM pg_collation WHERE collprovider = 'i' AND collname = 'en-x-icu'";
    let made = if !locale.is_empty() {
        format!("LC_COLLATE '{locale}' LC_CTYPE '{locale}'")
    } else if sql.number(icu).await > 0 {
        "LOCALE_PROVIDER icu ICU_LOCALE 'en'".to_owned()
    } else {
        return None;
    };
    let name = format!("test_{:016x}", fastrand::u64(..));
    sql.run(&format!("CREATE DATABASE {name} TEMPLATE template0 {made}"))
        .await;
    let (server, _) = server::shared().rsplit_once('/').expect("a database");
    Some(format!("{server}/{name}"))
}

#[tokio::test]
async fn the_order_of_text_in_the_database_changes_nothing() {
    let Some(url) = another_collation().await else {
        eprintln!("skipped: the server knows no collation but C");
        return;
    };
    let harness = Harness::at(&url).await;
    found_again(&harness).await;
    let run = harness.run("sessions").await;
    // Sessions that other collations order differently than C does.
    let input: Vec<Draft> = ["b", "a-b", "aB", "ab", "B"]
        .iter()
        .flat_map(|session| (0..2).map(move |place| request(&format!("{session}{place}")).session(session)))
        .collect();
    harness.read(run, &input).await;
    assert_eq!(harness.drain(run).await.len(), 10);
    assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
}
