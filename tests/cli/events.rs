//! The service's events: on standard output, in a file, beside results.

use std::collections::BTreeMap;

use nova3::mock::MockConfig;
use serde_json::{Value, json};

use crate::cli::harness::{Harness, Ran, lines, setup_with};
use crate::cli::model::{refuses, says, setup_saying};
use crate::cli::provider::Scripted;

const PLAN: &str = r#"{"tasks":[{"action":"insight","description":"看","input":"i1"},{"action":"answer","description":"答","input":"i2"}]}"#;

fn setup_planned() -> (Harness, Scripted) {
    let (harness, model) = setup_saying(|call| match call.action() {
        "supervisor" => says(PLAN),
        "insight" => says(
            r#"{"items":[{"title":"一","content":"甲","kind":"动机","basis":"b"},{"title":"二","content":"乙","kind":"机会","basis":"b"}]}"#,
        ),
        _ if call.user().contains("bad") => refuses(400, "no"),
        _ => says("先看。再做！一共 3.14 元；\n\n完"),
    });
    let ask = |id: &str, query: &str| {
        format!("{{\"custom_id\":\"{id}\",\"session_id\":\"{id}\",\"query\":\"{query}\"}}\n")
    };
    harness.write("in.jsonl", ask("a", "怎么做？") + &ask("b", "bad"));
    (harness, model)
}

fn run(harness: &Harness, args: &[&str]) -> Ran {
    let ran = harness.nova3(&[&["run", "in.jsonl"][..], args].concat());
    assert!(matches!(ran.code, Some(0 | 100)), "{}", ran.err);
    ran
}

/// The events of a request in their order, without ids and times.
fn of(events: &[Value], id: &str) -> Vec<Value> {
    let own = |event: &&Value| event["payload"]["metadata"]["custom_id"] == id;
    let without = |event: &Value| {
        let mut event = event.clone();
        let time = event["timestamp"].take();
        assert!(time.as_str().unwrap().ends_with('Z'), "{time}");
        assert!(event["payload"]["id"].take().is_i64());
        event
    };
    events.iter().filter(own).map(without).collect()
}

fn event(id: &str, kind: &str, source: &str, content_type: &str, data: &Value, of: &Value) -> Value {
    let mut metadata = json!({"total_tasks": 2, "run": "in.jsonl", "custom_id": id, "user_id": "default", "session_id": id, "task_id": null});
    for (key, value) in of.as_object().unwrap() {
        metadata[key] = value.clone();
    }
    json!({"event_type": kind, "agent_source": source, "timestamp": null,
        "payload": {"id": null, "content_type": content_type, "data": data, "metadata": metadata}})
}

/// The first events of both requests.
fn beginning(id: &str) -> [Value; 2] {
    let step = |n: u32, action: &str, text: &str| {
        json!({"id": format!("task00{n}"), "step": n, "action": action, "description": text,
            "full_input": format!("i{n}"), "status": "pending", "type": "plan_step"})
    };
    let steps = json!([step(1, "insight", "看"), step(2, "answer", "答")]);
    let items = json!([
        {"id": "insight1", "title": "一", "content": "甲", "kind": "动机", "basis": [], "type": "insight"},
        {"id": "insight2", "title": "二", "content": "乙", "kind": "机会", "basis": [], "type": "insight"},
    ]);
    [
        event(
            id,
            "llm_chunk",
            "nova3_supervisor",
            "plan_step",
            &steps,
            &json!({}),
        ),
        event(
            id,
            "llm_chunk",
            "insight_agent",
            "nova3_insight",
            &items,
            &json!({"insight_count": 2, "task_id": "task001"}),
        ),
    ]
}

fn end(id: &str, status: &str) -> Value {
    let note = json!([{"status": status, "content": status, "type": "status"}]);
    event(id, "system", "Nova3", "system", &note, &json!({}))
}

#[test]
fn each_step_has_the_form_of_the_service() {
    let (harness, _model) = setup_planned();
    let events = lines(&run(&harness, &["--emit", "events"]).out);
    let piece = |text: &str| {
        let data = json!([{"id": "answer1", "content": text, "type": "answer"}]);
        event(
            "a",
            "llm_chunk",
            "answer_agent",
            "final_answer",
            &data,
            &json!({"answer_count": 1, "task_id": "task002"}),
        )
    };
    let mut expected = beginning("a").to_vec();
    expected.extend(["先看。", "再做！", "一共 3.14 元；\n\n", "完"].map(piece));
    expected.push(end("a", "completed"));
    assert_eq!(of(&events, "a"), expected);
    let fault = json!([{"class": "bad_request", "message": "HTTP 400 (invalid_request_error): no"}]);
    let failed = event(
        "b",
        "error",
        "answer_agent",
        "final_answer",
        &fault,
        &json!({"task_id": "task002"}),
    );
    let [plan, insight] = beginning("b");
    assert_eq!(of(&events, "b"), [plan, insight, failed, end("b", "failed")]);
}

#[test]
fn a_pause_and_a_bad_line_are_told() {
    let (harness, _model) = setup_planned();
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"a\",\"session_id\":\"a\",\"query\":\"怎么做？\",\"until\":\"insight\"}\nbad\n",
    );
    let events = lines(&run(&harness, &["--emit", "events"]).out);
    let note =
        json!([{"status": "paused", "content": "paused after task001; next: answer", "type": "status"}]);
    let paused = event(
        "a",
        "system",
        "Nova3",
        "system",
        &note,
        &json!({"task_id": "task001"}),
    );
    let [plan, insight] = beginning("a");
    assert_eq!(of(&events, "a"), [plan, insight, paused]);
    let bad: Vec<&Value> = events
        .iter()
        .filter(|event| event["payload"]["metadata"]["custom_id"].is_null())
        .collect();
    assert_eq!(bad.len(), 2, "{bad:?}");
    assert_eq!(
        (&bad[0]["event_type"], &bad[0]["payload"]["data"][0]["class"]),
        (&json!("error"), &json!("bad_request"))
    );
    assert_eq!(bad[1]["payload"]["data"][0]["status"], "failed");
}

#[test]
fn many_requests_keep_their_order_and_their_ids() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let line = |n: usize| {
        format!(
            "{{\"custom_id\":\"q{n}\",\"query\":\"question {n}\",\"tasks\":[\"insight\",\"hitpoint\",\"answer\"]}}\n"
        )
    };
    harness.write("in.jsonl", (0..20).map(line).collect::<String>());
    run(&harness, &["-o", "out.jsonl", "--events", "events.jsonl"]);
    let mut last = 0;
    let mut kinds: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in harness.results("events.jsonl") {
        let id = event["payload"]["id"].as_i64().unwrap();
        assert!(id > last, "{id} after {last}");
        last = id;
        let of = event["payload"]["metadata"]["custom_id"]
            .as_str()
            .unwrap()
            .to_owned();
        kinds
            .entry(of)
            .or_default()
            .push(event["payload"]["content_type"].as_str().unwrap().to_owned());
    }
    assert_eq!(kinds.len(), 20);
    for mut kinds in kinds.into_values() {
        kinds.dedup();
        assert_eq!(
            kinds,
            [
                "plan_step",
                "nova3_insight",
                "nova3_hitpoint",
                "final_answer",
                "system"
            ]
        );
    }
    assert_eq!(harness.results("out.jsonl").len(), 20);
}

#[test]
fn everywhere_the_same_events_and_each_once() {
    let (harness, model) = setup_planned();
    run(&harness, &["-o", "out.jsonl", "--events", "beside.jsonl"]);
    let (calls, beside, results) = (
        model.bodies().len(),
        harness.read("beside.jsonl"),
        harness.read("out.jsonl"),
    );
    // A second run adds nothing to files, and prints all events once.
    run(&harness, &["-o", "out.jsonl", "--events", "beside.jsonl"]);
    assert_eq!(
        (harness.read("beside.jsonl"), harness.read("out.jsonl")),
        (beside.clone(), results)
    );
    run(&harness, &["--emit", "events", "-o", "instead.jsonl"]);
    assert_eq!(harness.read("instead.jsonl"), beside);
    for _ in 0..2 {
        assert_eq!(run(&harness, &["--emit", "events"]).out, beside);
    }
    // `--events -` beside a result file is standard output too.
    assert_eq!(run(&harness, &["-o", "out.jsonl", "--events", "-"]).out, beside);
    let verified = harness.nova3(&["verify"]);
    assert_eq!(verified.code, Some(0), "{}", verified.out);
    let told = |line: &str| line.rsplit('/').next().unwrap_or_default().to_owned();
    let mut verified: Vec<String> = verified.out.lines().map(told).collect();
    verified.sort_unstable();
    assert_eq!(
        verified,
        [
            "beside.jsonl: 11 lines, each settled step exactly once",
            "instead.jsonl: 11 lines, each settled step exactly once",
            "out.jsonl: 2 lines, each finished request exactly once",
        ]
    );
    // A lost file is rebuilt without a call.
    std::fs::remove_file(harness.path("beside.jsonl")).unwrap();
    run(&harness, &["-o", "out.jsonl", "--events", "beside.jsonl"]);
    assert_eq!(
        (harness.read("beside.jsonl"), model.bodies().len()),
        (beside, calls)
    );
}

#[test]
fn what_goes_on_is_added_behind() {
    let (harness, _model) = setup_planned();
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"a\",\"session_id\":\"a\",\"query\":\"怎么做？\"}\n",
    );
    run(
        &harness,
        &[
            "--until",
            "insight",
            "-o",
            "out.jsonl",
            "--events",
            "events.jsonl",
        ],
    );
    let paused = harness.read("events.jsonl");
    run(&harness, &["-o", "out.jsonl", "--events", "events.jsonl"]);
    let whole = harness.read("events.jsonl");
    assert!(whole.starts_with(&paused) && whole.len() > paused.len());
    assert_eq!(of(&lines(&whole), "a").last(), Some(&end("a", "completed")));
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}

#[test]
fn a_changed_file_is_not_as_the_store_says() {
    let (harness, _model) = setup_planned();
    run(&harness, &["-o", "out.jsonl", "--events", "events.jsonl"]);
    let text = harness.read("events.jsonl");
    harness.write("events.jsonl", text.replacen("insight1", "insight9", 1));
    let ran = harness.nova3(&["verify"]);
    assert_eq!(ran.code, Some(110), "{}", ran.out);
    assert!(
        ran.out.contains("events.jsonl: NOT as the store says"),
        "{}",
        ran.out
    );
}

#[test]
fn events_and_results_never_share_a_file() {
    let (harness, model) = setup_planned();
    let place = "`--events` names the same place as the results (give another file)\n";
    let twice = "`--events` writes events as well as results, but `--emit events` writes no results (remove one of the two)\n";
    for (args, told) in [
        (&["-o", "out.jsonl", "--events", "out.jsonl"][..], place),
        (&["-o", "./out.jsonl", "--events", "out.jsonl"], place),
        (&["--events", "-"], place),
        (&["--emit", "events", "--events", "events.jsonl"], twice),
    ] {
        let ran = harness.nova3(&[&["run", "in.jsonl"][..], args].concat());
        assert_eq!(
            (ran.code, ran.err),
            (Some(2), format!("nova3: {told}")),
            "{args:?}"
        );
    }
    assert_eq!(model.bodies().len(), 0);
    run(&harness, &["-o", "out.jsonl"]);
    let results = harness.read("out.jsonl");
    for args in [
        &["-o", "other.jsonl", "--events", "out.jsonl"][..],
        &["--emit", "events", "-o", "out.jsonl"],
    ] {
        let ran = harness.nova3(&[&["run", "in.jsonl"][..], args].concat());
        assert_eq!(ran.code, Some(110), "{}", ran.err);
        assert_eq!(harness.read("out.jsonl"), results);
    }
}
