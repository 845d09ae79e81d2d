//! Tests that every statement of a batch finds its rows by an index.
//!
//! The tests trace the connection instead of listing the statements, so that new statements are tested too.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use super::{claim, cursors, ingest, open, results, retry, runs, settle};
use crate::domain::failure::{Class, Failure};
use crate::domain::ids::{SessionId, UserId};
use crate::domain::outcome::{NewItem, PlanOrigin, Product, Provenance};
use crate::domain::request::{self, Digest, Rules, Stops};
use crate::store::{
    Changes, Claimable, Cursor, Epoch, Failures, Feed, FileKey, InputMark, Lease, NewLine, NewRequest, Order,
    Owner, PlanEnd, PlanSettlement, Planned, ReleasedLease, RowMark, RunId, RunOpening, Settlement, TakeOver,
    Then, Wanted,
};

static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn line(index: u64, text: &str) -> NewLine {
    let content = match request::read_line(text.as_bytes(), Rules::default()) {
        Ok(accepted) => NewRequest::Good {
            request: Box::new(accepted.request),
            identity: accepted.identity,
            content: accepted.content,
            notes: accepted.notes,
            // A line without a query is planned, or continues pending tasks.
            plan: vec![
                Planned {
                    action: "answer".to_owned(),
                    description: String::new(),
                    input: String::new(),
                    needs: None,
                };
                if text.contains("references") { 0 } else { 2 }
            ],
            stops: Stops::default(),
        },
        Err(error) => NewRequest::Bad {
            digest: Digest::of(text.as_bytes()),
            claim: error.claim,
            failure: Failure::bad_line(1, error.message),
        },
    };
    NewLine {
        line: index + 1,
        index,
        content,
    }
}

/// Makes these lines the input of the run.
pub(super) fn read(c: &Connection, run: RunId, texts: &[&str]) {
    let epoch: Epoch = ingest::begin(c, run).unwrap();
    let lines: Vec<_> = (0..).zip(texts).map(|(index, text)| line(index, text)).collect();
    ingest::add(c, run, epoch, &lines, Changes::Replace, 1).unwrap();
    let mark = InputMark {
        digest: [0; 32],
        bytes: 0,
        requests: 0,
    };
    ingest::end(c, run, epoch, &mark).unwrap();
}

fn claim_all(c: &Connection, run: RunId) -> Vec<Lease> {
    let owner = Owner("o".to_owned());
    let rows = claim::claim(c, run, &owner, Claimable::All, 9, 1, 1).unwrap();
    rows.iter().map(|row| row.lease).collect()
}

fn making() -> Provenance {
    Provenance::without_calls(String::new(), String::new())
}

fn settle(c: &Connection, lease: Lease, task: usize, well: bool) {
    let items = vec![NewItem {
        kind: "answer".to_owned(),
        body: serde_json::Map::new(),
    }];
    let settlement = if well {
        Settlement::completed(lease, task, Product::Items(items), Then::GoOn, making(), vec![])
    } else {
        Settlement::failed(
            lease,
            task,
            Failure::new(Class::Server, "no"),
            None,
            making(),
            vec![],
        )
    };
    settle::settle(c, &settlement, 1).unwrap();
}

/// Two crashes in company, then two alone.
fn poison(c: &Connection, run: RunId) {
    for _ in 0..2 {
        claim_all(c, run);
        super::quarantine::void_all(c, true, 1).unwrap();
    }
    for owner in ["p", "q"] {
        let owner = Owner(owner.to_owned());
        claim::claim(c, run, &owner, Claimable::Quarantined, 9, 1, 1).unwrap();
        super::quarantine::void_all(c, true, 1).unwrap();
    }
}

/// Planning, a pause, a continuation, and an edit of the continuing request.
fn conversation(c: &Connection, run: RunId) {
    let first = r#"{"custom_id":"c1","references":["@a1"],"session_id":"c"}"#;
    let second = r#"{"custom_id":"c2","references":["@a1"],"session_id":"c","until":"answer"}"#;
    let edited = r#"{"custom_id":"c2","references":["@a2"],"session_id":"c"}"#;
    read(c, run, &[first, second]);
    claim::claim(c, run, &Owner("o".to_owned()), Claimable::Unplanned, 0, 1, 1).unwrap();
    let planned = Planned {
        action: "answer".to_owned(),
        description: String::new(),
        input: String::new(),
        needs: None,
    };
    let lease = claim_all(c, run)[0];
    let end = PlanEnd::Planned(PlanOrigin::Model, vec![planned.clone(), planned]);
    let settlement = PlanSettlement {
        lease,
        end,
        making: making(),
        attempts: vec![],
    };
    super::plan::settle(c, &settlement, 1).unwrap();
    let paused = Settlement::completed(lease, 0, Product::Items(vec![]), Then::Pause, making(), vec![]);
    settle::settle(c, &paused, 1).unwrap();
    let lease = claim_all(c, run)[0];
    assert!(matches!(
        super::plan::take_over(c, lease, 1).unwrap(),
        TakeOver::Taken(_)
    ));
    let wanted = Wanted {
        queue_id: Some(lease.queue_id),
        user: UserId::default(),
        session: SessionId::parse("c").ok(),
        items: vec!["answer1".to_owned()],
        rounds: 10,
    };
    super::context::context(c, &wanted).unwrap();
    settle(c, lease, 0, true);
    read(c, run, &[first, edited]);
    read(c, run, &[first, second]);
    super::events::page(c, run, true, 0, 10).unwrap();
    super::events::page(c, run, false, 0, 10).unwrap();
    super::events::of(c, run, &[lease.queue_id], 100).unwrap();
}

/// Opens a run without requests.
pub(super) fn opened(c: &Connection) -> RunId {
    let opening = RunOpening {
        name: "a".to_owned(),
        input: None,
        named: false,
        rehearsal: false,
        recipe: crate::store::ConfigFingerprint::default(),
        terms: crate::store::RunConstraints::default(),
        accept_drift: false,
    };
    runs::open(c, std::path::Path::new(":memory:"), &opening, 1)
        .unwrap()
        .id
}

/// All operations of a batch on its store.
fn batch(c: &Connection) {
    let run = opened(c);
    let (alone, nameless) = (r#"{"custom_id":"x","query":"q"}"#, r#"{"query":"q"}"#);
    let (first, second) = (
        r#"{"custom_id":"s1","query":"q","session_id":"s"}"#,
        r#"{"custom_id":"s2","query":"q","session_id":"s"}"#,
    );
    read(c, run, &[alone, nameless, nameless, first, second, "{", alone]);
    let leases = claim_all(c, run);
    assert!(claim::renew(c, &leases, 1, 1).unwrap().is_empty());
    for lease in leases {
        settle(c, lease, 0, true);
        settle(c, lease, 1, lease.queue_id % 2 == 0);
    }
    let left: Vec<_> = claim_all(c, run)
        .into_iter()
        .map(ReleasedLease::untouched)
        .collect();
    claim::release(c, &left, 0).unwrap();
    claim_all(c, run);
    super::quarantine::void_all(c, true, 1).unwrap();
    poison(c, run);
    retry::retry(c, run, &Failures::default()).unwrap();
    let edited = r#"{"custom_id":"s1","query":"else","session_id":"s","metadata":1}"#;
    read(c, run, &[edited, second, nameless]);
    read(c, run, &[second, first, alone]);
    conversation(c, run);
    for order in [Order::Completion, Order::Input] {
        results::finished(c, run, order, None, -1, 10).unwrap();
    }
    results::by_id(c, run, &[1]).unwrap();
    runs::counts(c, run).unwrap();
    super::failed_classes::of(c, run).unwrap();
    runs::summary(c, run).unwrap();
    runs::lines_epoch(c, run).unwrap();
    runs::has_unfinished(c, run).unwrap();
    let file = FileKey {
        host: "h".to_owned(),
        path: "/p".to_owned(),
    };
    let cursor = Cursor {
        base: 0,
        settled: 0,
        announced: 0,
        after: 0,
        announced_after: 0,
        tail: [0; 32],
        order: Order::Input,
        append: false,
        since: None,
        epoch: 0,
        rewrite: None,
        feed: Feed::Results,
        stamp: 1,
        writer: Some(7),
    };
    cursors::put(c, run, &file, None, &cursor, None).unwrap();
    for feed in [Feed::Results, Feed::Events] {
        cursors::has_rows(c, run, feed, &[RowMark { number: 1, at: 1 }]).unwrap();
    }
    cursors::one(c, run, &file).unwrap();
}

/// Returns SQLite's plan for a statement, one step a line.
fn plan(c: &Connection, sql: &str) -> Vec<String> {
    let mut query = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let steps = query
        .raw_query()
        .mapped(|row| row.get(3))
        .collect::<Result<_, _>>();
    steps.unwrap()
}

/// Whether a step reads more rows than it needs. There are few runs and routes, and the indexes of leased and of
/// blocked queues hold only such queues.
fn is_slow(step: &str) -> bool {
    let few = [
        "CONSTANT ROW",
        "nova3_runs",
        "nova3_routes",
        "INDEX nova3_queues_leased",
        "INDEX nova3_queues_blocked",
        // The tasks that one task needs.
        "SCAN n VIRTUAL TABLE",
        "SCAN json_each VIRTUAL TABLE",
        "SCAN json_each EXISTS VIRTUAL TABLE",
    ];
    let whole = step.starts_with("SCAN ") || step.ends_with("(run_id=?)");
    whole && !few.iter().any(|name| step.contains(name))
}

#[test]
fn hot_statements_use_indexes() {
    let c = open::in_memory(Path::new(open::MEMORY)).unwrap();
    c.trace_v2(
        TraceEventCodes::SQLITE_TRACE_STMT,
        Some(|event| {
            if let TraceEvent::Stmt(_, sql) = event {
                SEEN.lock().unwrap().insert(sql.to_owned());
            }
        }),
    );
    batch(&c);
    runs::claimable_tasks(&c, 1).unwrap();
    c.trace_v2(TraceEventCodes::empty(), None);
    let seen = SEEN.lock().unwrap().clone();
    let statements: Vec<&String> = seen.iter().filter(|sql| sql.contains("nova3_queues")).collect();
    assert!(statements.len() > 20, "the trace works: {statements:#?}");
    let slow: Vec<(&String, Vec<String>)> = seen
        .iter()
        // The name of a run is no key of other tables, although SQLite plans for a change of it.
        .filter(|sql| !sql.starts_with("--") && !sql.starts_with("INSERT INTO nova3_runs"))
        .map(|sql| (sql, plan(&c, sql)))
        .filter(|(_, steps)| steps.iter().any(|step| is_slow(step)))
        .collect();
    assert!(slow.is_empty(), "{slow:#?}");
    assert!(
        is_slow(&plan(&c, "SELECT * FROM nova3_queues WHERE user_id='u'").join("")),
        "the test can fail"
    );
}
