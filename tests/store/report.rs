//! The figures of a report, counted by hand.

use nova3::domain::failure::Class;
use nova3::domain::outcome::{Attempt, Fallback};
use nova3::domain::usage::Cost;
use nova3::report::{PageOptions, PageTexts, report_page};
use nova3::store::{Run, RunId, Settlement, Then};
use serde_json::{Value, json};

use crate::cli::report::element;
use crate::store::harness::{Harness, attempt, items, making, request};

async fn page(harness: &Harness, name: &str) -> Value {
    let run: Run = harness
        .store()
        .find_run(Some(name))
        .await
        .expect("reads")
        .expect("is there");
    let options = PageOptions {
        limits: std::collections::BTreeMap::new(),
        texts: PageTexts::Shown,
        made_at: 0,
    };
    let page = report_page(harness.store(), &run, &options)
        .await
        .expect("a page");
    element(&page, "data")
}

/// A call of this route that began and lasted so long, in milliseconds.
fn call(route: &str, class: Option<Class>, cost: u64, started_at: i64, duration_ms: u64) -> Attempt {
    Attempt {
        route: route.to_owned(),
        started_at,
        duration_ms,
        ..attempt(class, cost)
    }
}

const DOLLAR: u64 = 1_000_000_000_000;

/// Settles two requests: one with a failed call and a fallback, one with calls side by side.
async fn settle_two(harness: &Harness, run: RunId) {
    let queues = harness.claim(run, 2).await;
    // A failed call of a second, then one of two seconds on another route, half a second later.
    let calls = vec![
        call("primary", Some(Class::Server), 0, 60_000, 1_000),
        call("backup", None, DOLLAR, 61_500, 2_000),
    ];
    let mut fallen = making(DOLLAR);
    "backup".clone_into(&mut fallen.route);
    fallen.fallback = Some(Fallback {
        from: "primary".to_owned(),
        reason: "status 500".to_owned(),
    });
    fallen.warnings = vec!["item 1: `content` holds the banned word `w`".to_owned()];
    let settlement = Settlement::completed(queues[0].lease, 0, items(1), Then::GoOn, fallen, calls);
    harness.settle(settlement).await;
    // Two calls side by side, three seconds together, and one within them.
    let calls = vec![
        call("primary", None, 2 * DOLLAR, 120_000, 2_000),
        call("primary", Some(Class::Schema), DOLLAR, 121_000, 2_000),
        call("primary", None, DOLLAR, 122_500, 500),
    ];
    let mut spent = making(DOLLAR);
    spent.wasted = Cost(3 * DOLLAR);
    let settlement = Settlement::completed(queues[1].lease, 0, items(2), Then::GoOn, spent, calls);
    harness.settle(settlement).await;
}

/// The cells of a table of the page.
fn cells(rows: &Value, names: &[&str]) -> Vec<Value> {
    let rows = rows.as_array().expect("a list").iter();
    rows.map(|row| names.iter().map(|name| row[*name].clone()).collect())
        .collect()
}

pub(crate) async fn the_figures_are_those_of_the_calls(harness: &mut Harness) {
    let run = harness.run("a").await;
    let nothing = page(harness, "a").await;
    assert_eq!(
        (&nothing["counts"]["total"], &nothing["rows"]),
        (&json!(0), &json!([]))
    );
    harness
        .read(run, &[request("x"), request("y"), request("z")])
        .await;
    settle_two(harness, run).await;

    let data = page(harness, "a").await;
    let counts = &data["counts"];
    assert_eq!([&counts["total"], &counts["done"], &counts["left"]], [3, 2, 1]);
    assert_eq!(data["span"], json!([60_000, 123_000]));
    let sums = ["name", "calls", "failed", "cost", "wasted", "input"];
    assert_eq!(
        cells(&data["groups"]["route"], &sums),
        [
            json!(["primary", 4, 2, 4.0, 1.0, 40]),
            json!(["backup", 1, 0, 1.0, 0.0, 10])
        ]
    );
    assert_eq!(data["sums"]["cost"], 5.0);
    assert_eq!(cells(&data["groups"]["day"], &["name"]), [json!(["1970-01-01"])]);
    assert_eq!(
        cells(&data["rates"], &["route", "start", "calls", "tokens"]),
        [
            json!(["primary", 60_000, [1.0, 3.0], [12.0, 36.0]]),
            json!(["backup", 60_000, [1.0], [12.0]])
        ]
    );
    // One and two seconds after each other, and three seconds side by side.
    let busy: Vec<&Value> = data["rows"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| &row[7])
        .collect();
    assert_eq!(busy, [3_000, 3_000]);
    let whole = &data["request_ms"];
    assert_eq!(
        (&whole["count"], whole["most"].as_u64().map(|ms| ms / 100)),
        (&json!(2), Some(30))
    );
    let latency = &data["latency"]["route"];
    assert_eq!(cells(latency, &["name"]), [json!(["backup"]), json!(["primary"])]);
    let answered = [&latency[0]["whole"]["count"], &latency[1]["whole"]["count"]];
    assert_eq!(answered, [1, 2], "answered calls");
    let quality = &data["quality"];
    assert_eq!(
        cells(&quality["fallbacks"], &["from", "to", "tasks"]),
        [json!(["primary", "backup", 1])]
    );
    assert_eq!(
        cells(&quality["findings"], &["compliance", "requests"]),
        [json!([true, 1])]
    );
    assert_eq!(quality["made"], json!([["answer", 3]]));
}
