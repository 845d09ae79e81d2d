//! Session commands: show a session, print its items, clear it.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, Ran, lines};
use crate::cli::model::{actions, calls, good, says, setup_saying};
use crate::cli::provider::Scripted;

const POST: &str = r#"{"items":[{"title":"=1+1","content":"一行\n\"引\",二","tags":["a","b","c"],"cover":"c","best_time":"t"}]}"#;

/// A session with a finished request, a paused one, and one of somebody else.
fn setup_sessions() -> (Harness, Scripted) {
    let (harness, model) = setup_saying(|call| match call.action() {
        "xhs_writing" => says(POST),
        _ => good(call),
    });
    let input = [
        json!({"custom_id": "a", "user_id": "u", "session_id": "s", "query": "写 一篇", "tasks": ["xhs_writing"]}),
        json!({"custom_id": "b", "user_id": "u", "session_id": "s", "query": "接着", "tasks": ["insight", "answer"], "until": "insight"}),
        json!({"custom_id": "c", "session_id": "s", "query": "别人的", "tasks": ["answer"]}),
    ];
    harness.write("in.jsonl", input.map(|line| format!("{line}\n")).concat());
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "-j", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    (harness, model)
}

fn of(harness: &Harness, what: &str, more: &[&str]) -> Ran {
    harness.nova3(&[&["session", what, "s", "--user", "u"][..], more].concat())
}

#[test]
fn sessions_are_listed() {
    let (harness, _model) = setup_sessions();
    let list = harness.nova3(&["session", "list"]);
    let mut told: Vec<&str> = list
        .out
        .lines()
        .map(|line| line.split(", last used ").next().unwrap())
        .collect();
    told.sort_unstable();
    assert_eq!(told, ["default/s  1 round, 1 item", "u/s  2 rounds, 2 items"]);
    let mut list = lines(&harness.nova3(&["session", "list", "--json"]).out);
    list.sort_by_key(|entry| entry["user_id"].to_string());
    for entry in &mut list {
        assert!(entry["last_accessed"].take().is_string());
    }
    let entry = |user: &str, count: u32| json!({"user_id": user, "session_id": "s", "rounds": count, "items": count, "last_accessed": null});
    assert_eq!(list, [entry("default", 1), entry("u", 2)]);
}

#[test]
fn a_session_is_shown() {
    let (harness, _model) = setup_sessions();
    insta::assert_snapshot!("session_show", of(&harness, "show", &[]).out);
    let mut shown: Value = serde_json::from_str(&of(&harness, "show", &["--json"]).out).unwrap();
    for round in shown["rounds"].as_array_mut().unwrap() {
        assert!(round["completed_at"].take().is_string());
    }
    insta::assert_snapshot!("session_show_json", serde_json::to_string_pretty(&shown).unwrap());
    let none = harness.nova3(&["session", "show", "nowhere"]);
    assert_eq!(none.code, Some(4));
    assert!(none.err.contains("`nowhere`"), "{}", none.err);
}

#[test]
fn the_queue_of_a_session_is_shown() {
    let (harness, _model) = setup_sessions();
    let status = |more: &[&str]| harness.nova3(&[&["status", "--session", "s"][..], more].concat());
    assert_eq!(
        status(&["--user", "u"]).out,
        "in.jsonl · b · paused, task 1 of 2\n  task001  insight         completed  接着\n  task002  answer          pending    接着\n"
    );
    let task = |id: &str, action: &str, status: &str| json!({"id": id, "action": action, "description": "", "input": "接着", "status": status});
    assert_eq!(
        serde_json::from_str::<Value>(&status(&["--user", "u", "--json"]).out).unwrap(),
        json!({"run": "in.jsonl", "custom_id": "b", "status": "paused", "total_tasks": 2, "current_index": 1,
            "tasks": [task("task001", "insight", "completed"), task("task002", "answer", "pending")]})
    );
    assert_eq!(
        status(&[]).out,
        "in.jsonl · c · done, task 1 of 1\n  task001  answer          completed  别人的\n"
    );
}

#[test]
fn items_are_exported() {
    let (harness, _model) = setup_sessions();
    let text =
        "## xhs_post1\n\n=1+1\n一行\n\"引\",二\n内容由AI辅助生成\nbest_time: t\ncover: c\ntags: a b c\n\n";
    assert_eq!(of(&harness, "export", &["--items", "xhs_post1"]).out, text);
    let all = of(&harness, "export", &["--format", "json"]);
    let post = json!({"id": "xhs_post1", "title": "=1+1", "content": "一行\n\"引\",二\n内容由AI辅助生成", "tags": ["a", "b", "c"], "cover": "c", "best_time": "t", "basis": []});
    let insight = json!({"id": "insight1", "title": "a title", "content": "insight of 接着", "kind": "情绪", "basis": []});
    assert_eq!(
        serde_json::from_str::<Value>(&all.out).unwrap(),
        json!([insight, post])
    );
    let picked = of(
        &harness,
        "export",
        &["--format", "json", "--items", "@xhs_post1,insight1"],
    );
    assert_eq!(
        serde_json::from_str::<Value>(&picked.out).unwrap(),
        json!([post, insight])
    );
    assert_eq!(
        of(&harness, "export", &["--format", "csv"]).out,
        concat!(
            "id,type,title,content,other\r\n",
            "insight1,insight,a title,insight of 接着,\"{\"\"basis\"\":[],\"\"kind\"\":\"\"情绪\"\"}\"\r\n",
            "xhs_post1,xhs_post,'=1+1,\"一行\n\"\"引\"\",二\n内容由AI辅助生成\",\"{\"\"basis\"\":[],\"\"best_time\"\":\"\"t\"\",\"\"cover\"\":\"\"c\"\",\"\"tags\"\":[\"\"a\"\",\"\"b\"\",\"\"c\"\"]}\"\r\n",
        )
    );
    let none = of(&harness, "export", &["--items", "fact1"]);
    assert_eq!(
        (none.code, none.err.as_str()),
        (Some(4), "nova3: the session has no item `fact1`\n")
    );
}

#[test]
fn a_cleared_session_begins_anew_with_higher_numbers() {
    let (harness, model) = setup_sessions();
    let cleared = of(&harness, "clear", &[]);
    assert_eq!(
        (cleared.code, cleared.err.as_str()),
        (
            Some(0),
            "session `s` of user `u`: deleted 2 rounds, 2 items and 1 pending task; results stay with their runs\n"
        )
    );
    let list = harness.nova3(&["session", "list"]).out;
    assert!(list.contains("default/s  1 round, 1 item"), "{list}");
    let results = harness.read("out.jsonl");
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
    let before = model.bodies().len();
    let next =
        json!({"user_id": "u", "session_id": "s", "query": "再来@xhs_post1", "tasks": ["insight", "answer"]});
    harness.write("next.jsonl", format!("{next}\n"));
    let ran = harness.nova3(&["run", "next.jsonl"]);
    let calls = &calls(&model)[before..];
    assert_eq!(actions(calls), ["insight", "answer"]);
    assert!(!calls[0].user().contains("# 前情"), "{}", calls[0].user());
    let line = &lines(&ran.out)[0];
    assert_eq!(line["tasks"][0]["result"][0]["id"], "insight2");
    assert_eq!(
        line["warnings"],
        json!(["`@xhs_post1` names no item that is known here, and was ignored"])
    );
    // The pending tasks were deleted. The line of their request does not change.
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
    assert_eq!(
        (harness.read("out.jsonl"), model.bodies().len()),
        (results, before + 2)
    );
}
