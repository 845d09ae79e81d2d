//! Planned requests, killed at every step: a settled step is never asked for again.

use std::collections::{BTreeMap, BTreeSet};

use nova3::domain::task::TaskNo;
use serde_json::{Value, json};

use super::form::Form;
use super::harness::{CONCURRENCY, Scenario};
use super::input;
use super::oracle;
use super::store::StepKey;

const RUN: [&str; 6] = ["run", "in.jsonl", "-o", "out.jsonl", "--events", "ev.jsonl"];

/// The calls of a plan and its tasks, at least, for each request. So the last kill comes before the end.
const CALLS: usize = 4;

/// The number of requests in a row that share a session. The requests of every other row have no session.
const ROW: usize = 3;

/// Where the requests are to be published. The last one names no place.
const OUTLETS: [&str; 4] = ["on RedNote", "on TikTok", "on WeChat", "for its makers"];

fn requests(count: usize) -> Vec<Value> {
    let request = |n: usize| {
        let outlet = OUTLETS[n % OUTLETS.len()];
        let query = format!("Study subject {n} in depth, find its angle and publish it {outlet}");
        let row = n / ROW;
        let mut line =
            json!({"custom_id": format!("p{n:04}"), "query": query, "interaction_type": "full_analysis"});
        if n.is_multiple_of(2) {
            // Its insight is one call for each profile.
            let profile = |number| json!({"id": format!("profile{number}"), "content": "a kind of people"});
            line["nova3_selections"] = json!({"nova3_profile": (90..93).map(profile).collect::<Vec<_>>()});
        }
        if row.is_multiple_of(2) {
            line["session_id"] = format!("s{row}").into();
        }
        line
    };
    (0..count).map(request).collect()
}

/// The facts after an earlier process, which must stay true.
#[derive(Default)]
struct Known {
    settled: BTreeMap<StepKey, (usize, usize)>,
    /// How many of them are parts of a task that has fanned out.
    parts: usize,
    /// The longest file of events so far.
    events: Vec<u8>,
}

impl Known {
    /// Checks store and events between two processes.
    fn look(&mut self, scenario: &Scenario) {
        let events = scenario.bytes("ev.jsonl");
        let common = events.len().min(self.events.len());
        assert!(
            events[..common] == self.events[..common],
            "oracle `events grow`: what was told once is told otherwise"
        );
        if events.len() > common {
            self.events = events;
        }
        let Some(store) = scenario.store() else {
            assert!(self.settled.is_empty(), "oracle `settled`: the store is gone");
            return;
        };
        let settled = store.settled();
        for (step, calls) in &self.settled {
            assert!(
                settled.get(step) == Some(calls),
                "oracle `settled`: step {step:?} had {calls:?} calls and used ones, and has {:?}",
                settled.get(step)
            );
        }
        self.parts = settled
            .keys()
            .filter(|(_, task)| *task >= i64::from(TaskNo::PLANNED_END))
            .count();
        for (step, (_, used)) in &settled {
            assert!(*used == 1, "oracle `settled`: step {step:?} used {used} answers");
        }
        self.settled = settled;
        let items = store.items().into_iter();
        oracle::numbered(
            &items
                .map(|item| (item.session.clone(), item.id()))
                .collect::<Vec<_>>(),
        );
    }
}

#[test]
fn killed_at_every_step_no_answer_is_asked_for_again() {
    let form = Form::get();
    let (count, kills) = (form.requests / 10, form.kills * 5 / 2);
    let mut scenario = Scenario::new("steps", form);
    input::store_values(&scenario.path("in.jsonl"), &requests(count));
    let mut known = Known::default();
    for kill in 0..kills {
        let left = (CALLS * count).saturating_sub(scenario.durable());
        let share = (2 * left / (kills - kill + 1)).max(1);
        let moment = scenario.moment(share);
        let killed = scenario.life(&RUN, moment, share);
        known.look(&scenario);
        if !killed {
            break;
        }
    }
    let ended = scenario.nova3(&RUN);
    assert_eq!(ended.code, Some(0), "oracle `exit`: {}", ended.stderr);
    scenario.settle(&["out.jsonl"], false);
    known.look(&scenario);

    let (results, events) = (scenario.bytes("out.jsonl"), scenario.bytes("ev.jsonl"));
    let lines = oracle::objects(&results);
    judge_results(&lines, count);
    judge_events(&oracle::objects(&events), &lines);
    for file in ["out.jsonl", "ev.jsonl"] {
        let verified = scenario.nova3(&["verify", "-o", file]);
        let said = verified.text();
        assert_eq!(
            verified.code,
            Some(0),
            "oracle `verify`: {said}{}",
            verified.stderr
        );
    }
    let again = scenario.nova3(&RUN);
    assert_eq!(again.code, Some(0), "oracle `exit`: {}", again.stderr);
    let called = scenario.settle(&["out.jsonl"], false).len();
    assert_eq!(called, 0, "oracle `free`: a finished run called again");
    for (file, before) in [("out.jsonl", results), ("ev.jsonl", events)] {
        assert!(scenario.bytes(file) == before, "oracle `free`: {file} changed");
    }
    assert!(known.parts > 0, "oracle `settled`: no task has fanned out");
    report(&scenario, count, &known);
}

/// Each request has its line, is completely done, and its items are numbered.
fn judge_results(lines: &[Value], count: usize) {
    let ids: BTreeSet<&str> = lines
        .iter()
        .filter_map(|line| line["custom_id"].as_str())
        .collect();
    assert!(
        ids.len() == count && lines.len() == count,
        "oracle `once`: {} lines of {} requests, expected {count}",
        lines.len(),
        ids.len()
    );
    for line in lines {
        let tasks = line["tasks"].as_array().map_or(0, Vec::len);
        assert!(
            line["status"] == "completed" && (3..=5).contains(&tasks),
            "oracle `done`: {} is {} with {tasks} tasks",
            line["custom_id"],
            line["status"]
        );
    }
    let items: Vec<_> = lines.iter().flat_map(oracle::items).collect();
    oracle::numbered(&items);
}

/// Oracle `events`: each request has its plan, then each of its tasks in order, then its end, all of them once, with
/// the ids of the result line's items.
fn judge_events(events: &[Value], lines: &[Value]) {
    let mut ids = BTreeSet::new();
    let mut told: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for event in events {
        let payload = &event["payload"];
        let id = payload["id"].as_i64().expect("an event has an id");
        assert!(ids.insert(id), "oracle `events`: id {id} is there twice");
        let of = payload["metadata"]["custom_id"]
            .as_str()
            .expect("an event has its request");
        told.entry(of).or_default().push(said(payload));
    }
    assert!(
        told.len() == lines.len(),
        "oracle `events`: not all requests are told of"
    );
    for line in lines {
        let of = line["custom_id"].as_str().expect("a line has its request");
        let tasks = line["tasks"].as_array().expect("a line has tasks");
        let step = |task: &Value| format!("{} {}", task["task_id"], task["action"]);
        let mut expected = vec![format!(
            "plan: {}",
            tasks.iter().map(step).collect::<Vec<_>>().join(", ")
        )];
        expected.extend(
            tasks
                .iter()
                .map(|task| format!("{}: {}", task["task_id"], names(&task["result"]))),
        );
        expected.push("\"completed\"".to_owned());
        assert_eq!(
            told.get(of),
            Some(&expected),
            "oracle `events`: {of} is told otherwise than it went"
        );
    }
}

/// The content of an event in short form.
fn said(payload: &Value) -> String {
    let data = &payload["data"];
    match payload["content_type"].as_str() {
        Some("plan_step") => {
            let steps = data.as_array().expect("a plan is a list");
            let step = |step: &Value| format!("{} {}", step["id"], step["action"]);
            format!("plan: {}", steps.iter().map(step).collect::<Vec<_>>().join(", "))
        }
        Some("system") => data[0]["status"].to_string(),
        _ => format!("{}: {}", payload["metadata"]["task_id"], names(data)),
    }
}

/// The ids of items.
fn names(items: &Value) -> String {
    let items = items.as_array().expect("items are a list");
    items
        .iter()
        .map(|item| item["id"].to_string())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Prints one line of figures, and checks the sum: each call that belongs to no step was in flight at a kill.
fn report(scenario: &Scenario, count: usize, known: &Known) {
    let account = &scenario.account;
    let needed: usize = known.settled.values().map(|(calls, _)| calls).sum();
    let repeated = account.calls.saturating_sub(needed);
    println!(
        "crash-test: {}: {count} requests with {} steps, {} kills, {} calls, {repeated} repeated, {} in flight at kills ({} at most, allowed {})",
        scenario.name,
        known.settled.len(),
        account.kills,
        account.calls,
        account.lost,
        account.most_lost,
        2 * CONCURRENCY,
    );
    assert!(
        repeated <= account.lost,
        "oracle `total`: {repeated} calls beside the needed ones, {} were lost",
        account.lost
    );
}
