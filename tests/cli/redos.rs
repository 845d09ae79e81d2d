//! `redo`: tasks of finished requests are made anew, and each earlier result stays until the new one is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use nova3::mock::{Latency, MockConfig};
use serde_json::{Value, json};

use crate::cli::fleet::fleet;
use crate::cli::harness::{Harness, Running, lines, setup_with, sorted_ids, until};
use crate::cli::model::{Call, actions, calls, good, refuses, says, setup_saying};
use crate::cli::provider::Scripted;

const TASKS: [&str; 3] = ["insight", "hitpoint", "answer"];

/// Writes `count` requests with three tasks, of which `answer` is the last.
fn write_input(harness: &Harness, count: usize) {
    let line = |n| {
        json!({"custom_id": format!("r{n}"), "query": format!("question {n}"), "tasks": TASKS}).to_string()
    };
    let lines: Vec<String> = (1..=count).map(line).collect();
    harness.write("in.jsonl", lines.join("\n"));
}

/// Changes the prompt of an agent.
fn change_agent(harness: &Harness, name: &str, text: &str) {
    std::fs::create_dir_all(harness.path("prompts")).unwrap();
    let original = std::fs::read_to_string(format!("agents/{name}.toml")).unwrap();
    harness.write(
        &format!("prompts/{name}.toml"),
        original.replacen("system = \"\"\"\n", &format!("system = \"\"\"\n{text}\n"), 1),
    );
    let settings = harness.read("nova3.toml");
    if !settings.contains("[agents]") {
        harness.write(
            "nova3.toml",
            format!("{settings}[agents]\nfolder = \"prompts\"\n"),
        );
    }
}

fn finished(count: usize) -> (Harness, Scripted) {
    let (harness, model) = setup_saying(good);
    write_input(&harness, count);
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    (harness, model)
}

/// The actions of the calls after the first `before`.
fn asked(model: &Scripted, before: usize) -> Vec<String> {
    let calls = calls(model);
    actions(&calls[before..]).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_changed_prompt_redoes_only_its_task() {
    let (harness, model) = finished(100);
    let old = harness.results("out.jsonl");
    assert_eq!(
        harness.nova3(&["redo", "--stale", "--dry-run"]).code,
        Some(4),
        "nothing is stale"
    );
    change_agent(&harness, "answer", "# Another rule");
    let shown = harness.nova3(&["plan", "in.jsonl", "--stale", "--json"]);
    let stale = lines(&shown.out);
    assert_eq!((shown.code, stale.len()), (Some(0), 100));
    assert_eq!(
        (&stale[0]["tasks"][0]["action"], &stale[0]["tasks"][0]["reason"]),
        (&json!("answer"), &json!("agent"))
    );
    let dry = harness.nova3(&["redo", "--stale", "--dry-run"]);
    assert!(
        dry.out.contains("answer  100 tasks: its agent file changed"),
        "{}",
        dry.out
    );
    assert_eq!(calls(&model).len(), 300, "nothing was sent");
    let ran = harness.nova3(&["redo", "--stale"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(asked(&model, 300), vec!["answer"; 100]);
    let new = harness.results("out.jsonl");
    assert_eq!(sorted_ids(&new), sorted_ids(&old), "each line once");
    for line in &new {
        let before = old
            .iter()
            .find(|old| old["custom_id"] == line["custom_id"])
            .unwrap();
        assert_eq!(line["tasks"][0], before["tasks"][0], "the rest is reused");
        assert_eq!(line["tasks"][1], before["tasks"][1]);
        assert_eq!(before["output"][0]["id"], "answer1");
        assert_eq!(line["output"][0]["id"], "answer2", "new items get new numbers");
    }
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
    assert_eq!(
        harness.nova3(&["redo", "--stale"]).code,
        Some(4),
        "nothing is stale"
    );
    assert_eq!(calls(&model).len(), 400);
}

#[test]
fn a_killed_redo_goes_on_with_the_same_command() {
    let (harness, provider) = setup_with(MockConfig {
        latency: Latency {
            first_token: std::time::Duration::from_millis(20),
            ..Latency::default()
        },
        ..MockConfig::default()
    });
    write_input(&harness, 100);
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let old = harness.results("out.jsonl");
    let paid = provider.calls();
    assert_eq!(paid, 300);
    let redo = ["redo", "--from", "answer", "-j", "4"];
    for round in 1..=2 {
        let running = Running::start(harness.command(&redo));
        until("some answers are new", || provider.calls() >= paid + 30 * round);
        drop(running);
        let now = harness.results("out.jsonl");
        assert_eq!(sorted_ids(&now), sorted_ids(&old), "each line is old or new");
        let is_new = |line: &&Value| line["output"][0]["id"] == "answer2";
        assert!(now.iter().filter(is_new).count() < 100);
    }
    let ran = harness.nova3(&redo);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("an earlier redo is unfinished"), "{}", ran.err);
    // At most as many calls as slots were on their way at each kill.
    let calls = provider.calls() - paid;
    assert!((100..=108).contains(&calls), "{calls} calls");
    let new = harness.results("out.jsonl");
    assert_eq!(sorted_ids(&new), sorted_ids(&old));
    assert!(new.iter().all(|line| line["output"][0]["id"] == "answer2"));
    assert_eq!(harness.nova3(&["verify", "--store-check"]).code, Some(0));
    let again = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!((again.code, provider.calls() - paid), (Some(0), calls));
}

#[test]
fn standard_output_has_each_request_once() {
    let (harness, _model) = finished(6);
    let ran = harness.nova3(&[
        "redo", "in.jsonl", "--id", "r2,r4", "--from", "hitpoint", "-o", "-",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let printed = lines(&ran.out);
    assert_eq!(sorted_ids(&printed), ["r1", "r2", "r3", "r4", "r5", "r6"]);
    for line in &printed {
        let is_new = line["custom_id"] == "r2" || line["custom_id"] == "r4";
        let id = if is_new { "hitpoint2" } else { "hitpoint1" };
        assert_eq!(line["tasks"][1]["result"][0]["id"], id);
    }
    let ordered = harness.nova3(&["redo", "in.jsonl", "--id", "r2", "--keep-order", "-o", "-"]);
    let printed = lines(&ordered.out);
    let order: Vec<_> = printed.iter().map(|line| line["index"].clone()).collect();
    assert_eq!(order, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_failed_redo_keeps_the_earlier_result_and_says_so() {
    let fails = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&fails);
    let (harness, _model) = setup_saying(move |call: &Call| {
        if asked.load(SeqCst) > 0 && call.user().contains("question 2") {
            return refuses(400, "no such thing");
        }
        good(call)
    });
    write_input(&harness, 3);
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
    let of_r2 = |harness: &Harness| {
        let lines = harness.results("out.jsonl");
        lines.into_iter().find(|line| line["custom_id"] == "r2").unwrap()
    };
    let old = of_r2(&harness);
    fails.store(1, SeqCst);
    let ran = harness.nova3(&["redo", "--from", "answer"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let now = of_r2(&harness);
    assert_eq!(
        (&now["output"], &now["status"]),
        (&old["output"], &json!("completed"))
    );
    let warning = now["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("a redo failed, so this is the earlier result: "),
        "{warning}"
    );
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
    fails.store(0, SeqCst);
    assert_eq!(harness.nova3(&["redo", "--id", "r2"]).code, Some(0));
    assert_eq!(of_r2(&harness)["warnings"], json!([]));
}

#[test]
fn later_requests_of_a_session_that_used_replaced_items_are_stale() {
    let (harness, _model) = setup_saying(good);
    harness.write(
        "in.jsonl",
        concat!(
            r#"{"custom_id":"a","session_id":"s","query":"a?","tasks":["insight"]}"#,
            "\n",
            r#"{"custom_id":"b","session_id":"s","query":"see @insight1","tasks":["answer"]}"#,
            "\n",
            r#"{"custom_id":"c","session_id":"other","query":"c?","tasks":["answer"]}"#,
            "\n"
        ),
    );
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
    assert_eq!(harness.nova3(&["redo", "--id", "a"]).code, Some(0));
    let shown = harness.nova3(&["plan", "in.jsonl", "--stale", "--json"]);
    let stale = lines(&shown.out);
    assert_eq!(stale.len(), 1, "{}{}", shown.out, shown.err);
    assert_eq!(
        (&stale[0]["custom_id"], &stale[0]["tasks"][0]["reason"]),
        (&json!("b"), &json!("replaced"))
    );
    let session = harness.nova3(&["session", "show", "s", "--json"]);
    assert!(session.out.contains("\"insight1\""), "the old id still resolves");
    assert!(session.out.contains("\"insight2\""), "{}", session.out);
}

#[test]
fn a_changed_model_and_a_changed_context_are_named() {
    let (harness, model) = finished(2);
    let stale = harness.nova3(&["plan", "in.jsonl", "--stale", "-m", "another"]);
    assert!(
        stale.out.contains("task001 insight: its model changed"),
        "{}",
        stale.out
    );
    assert!(
        stale.out.contains("task003 answer: behind task002"),
        "{}",
        stale.out
    );
    change_agent(&harness, "insight", "# Another rule");
    let before = calls(&model).len();
    let ran = harness.nova3(&["redo", "--stale"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let mut again = asked(&model, before);
    again.sort();
    let twice = ["answer", "answer", "hitpoint", "hitpoint", "insight", "insight"];
    assert_eq!(again, twice, "the tasks behind it depend on it");
}

#[test]
fn filters_choose_requests() {
    let (harness, model) = setup_saying(|call: &Call| {
        if call.user().contains("question 2") && call.action() == "answer" {
            return refuses(400, "no such thing");
        }
        good(call)
    });
    write_input(&harness, 3);
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(100)
    );
    for (filter, expected) in [
        ("status=completed", Some("2 requests")),
        ("status=failed", Some("1 request ")),
        ("class=bad_request", Some("1 request ")),
        ("user=nobody", None),
        ("model=m", Some("3 requests")),
    ] {
        let ran = harness.nova3(&["redo", "--where", filter, "--dry-run"]);
        match expected {
            Some(text) => assert!(ran.out.contains(text), "{filter}: {}{}", ran.out, ran.err),
            None => assert_eq!(ran.code, Some(4), "{filter}: {}", ran.out),
        }
    }
    let before = calls(&model).len();
    for (args, message) in [
        (&["redo"][..], "nothing says which tasks to make anew"),
        (&["redo", "--where", "state=x"], "`--where`: `state` is no key"),
        (&["redo", "--from", "answer", "--stale"], "cannot be used with"),
    ] {
        let ran = harness.nova3(args);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.contains(message), "{}", ran.err);
    }
    assert_eq!(harness.nova3(&["redo", "--from", "profile"]).code, Some(4));
    assert_eq!(calls(&model).len(), before);
}

#[test]
fn a_run_from_a_pipe_needs_its_input_again() {
    let (harness, model) = setup_saying(|_: &Call| says("a"));
    let input = r#"{"custom_id":"a","query":"a?","tasks":["answer"]}"#;
    let ran = harness.nova3_reading(&["run", "--run", "piped"], input);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = harness.nova3(&["redo", "--id", "a"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("nova3 redo - --run piped"), "{}", ran.err);
    let ran = harness.nova3_reading(&["redo", "-", "--run", "piped", "--id", "a"], input);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!((lines(&ran.out).len(), calls(&model).len()), (1, 2));
}

#[test]
fn in_a_graph_only_tasks_that_need_the_chosen_one_are_redone() {
    let (harness, model) = setup_saying(good);
    harness.write("in.jsonl", r#"{"custom_id":"a","query":"a?"}"#);
    harness.write(
        "graph.toml",
        "[[task]]\nagent = \"insight\"\n[[task]]\nagent = \"hitpoint\"\n[[task]]\nagent = \"profile\"\nneeds = [\"insight\"]\n\
         [[task]]\nagent = \"answer\"\nneeds = [\"hitpoint\"]\n",
    );
    let run = ["run", "in.jsonl", "-o", "out.jsonl", "--pipeline", "graph.toml"];
    let ran = harness.nova3(&run);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let stale = harness.nova3(&["plan", "in.jsonl", "--stale", "--pipeline", "graph.toml"]);
    assert_eq!(stale.code, Some(4), "{}", stale.out);
    for (from, expected) in [
        ("hitpoint", vec!["answer", "hitpoint"]),
        ("profile", vec!["profile"]),
        ("insight", vec!["answer", "hitpoint", "insight", "profile"]),
    ] {
        let before = calls(&model).len();
        let ran = harness.nova3(&["redo", "--pipeline", "graph.toml", "--from", from]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let mut again = asked(&model, before);
        again.sort();
        assert_eq!(again, expected);
    }
    let line = harness.results("out.jsonl").remove(0);
    let ids: Vec<_> = (0..4)
        .map(|task| line["tasks"][task]["result"][0]["id"].clone())
        .collect();
    assert_eq!(ids, ["insight2", "hitpoint3", "profile3", "answer3"]);
    assert_eq!(harness.nova3(&["verify", "--store-check"]).code, Some(0));
}

#[test]
fn workers_of_a_database_redo_each_task_once() {
    let (harness, provider) = fleet(MockConfig::default());
    write_input(&harness, 60);
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let paid = provider.calls();
    let workers: Vec<Running> = (0..2)
        .map(|_| Running::start(harness.command(&["worker", "-j", "5"])))
        .collect();
    let ran = harness.nova3(&["redo", "--from", "hitpoint", "-j", "5"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(provider.calls() - paid, 120);
    let lines = harness.results("out.jsonl");
    assert_eq!(lines.len(), 60);
    assert!(lines.iter().all(|line| line["output"][0]["id"] == "answer2"));
    assert_eq!(harness.nova3(&["verify", "--store-check"]).code, Some(0));
    drop(workers);
}
