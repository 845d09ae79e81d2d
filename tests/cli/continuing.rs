//! Queues that pause for a person, and how they go on.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, lines};
use crate::cli::model::{Call, actions, calls, good, says, setup_saying};
use crate::cli::provider::{Say, Scripted};

const PLAN: &str = r#"{"tasks":[{"action":"insight","description":"","input":"i1"},{"action":"profile","description":"","input":"i2"},{"action":"hitpoint","description":"","input":"i3"}]}"#;

fn setup_planned() -> (Harness, Scripted) {
    setup_saying(|call: &Call| -> Say {
        match call.action() {
            "supervisor" => says(PLAN),
            _ => good(call),
        }
    })
}

/// A result line in short: its id, its status, and each task with its status.
fn standing(line: &Value) -> String {
    let tasks = line["tasks"].as_array().unwrap().iter();
    let tasks: Vec<String> = tasks
        .map(|task| {
            format!(
                "{} {}",
                task["action"].as_str().unwrap(),
                task["status"].as_str().unwrap()
            )
        })
        .collect();
    let text = |key: &str| line[key].as_str().unwrap_or("-").to_owned();
    format!(
        "{} {} {}: {}",
        text("custom_id"),
        text("status"),
        line["ok"],
        tasks.join(", ")
    )
}

/// Runs the input into `out.jsonl`. Returns the lines in short, and the actions that were called.
fn run(harness: &Harness, model: &Scripted, more: &[&str]) -> (Vec<String>, String) {
    let before = model.bodies().len();
    let args = [&["run", "in.jsonl", "-o", "out.jsonl", "--keep-order"][..], more].concat();
    let ran = harness.nova3(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let asked = actions(&calls(model)[before..]).join(" ");
    (harness.results("out.jsonl").iter().map(standing).collect(), asked)
}

const PAUSED: &str = "a paused true: insight completed, profile pending, hitpoint pending";
const CONTINUED: &str = "a continued true: insight completed, profile pending, hitpoint pending";
const DONE: &str = "a completed true: insight completed, profile completed, hitpoint completed";

#[test]
fn a_flag_pauses_and_a_run_without_it_goes_on() {
    let (harness, model) = setup_planned();
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"a\",\"session_id\":\"s\",\"query\":\"q\"}\n",
    );
    let until = ["--until", "insight"];
    assert_eq!(
        run(&harness, &model, &until),
        (vec![PAUSED.into()], "supervisor insight".into())
    );
    assert_eq!(harness.results("out.jsonl")[0]["output"][0]["id"], "insight1");
    assert_eq!(
        run(&harness, &model, &until),
        (vec![PAUSED.into()], String::new())
    );
    assert_eq!(
        run(&harness, &model, &[]),
        (vec![DONE.into()], "profile hitpoint".into())
    );
    assert_eq!(run(&harness, &model, &[]), (vec![DONE.into()], String::new()));
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}

#[test]
fn a_line_pauses_and_goes_on_when_it_no_longer_says_so() {
    let (harness, model) = setup_planned();
    let line = |until: &str| format!("{{\"custom_id\":\"a\",{until}\"session_id\":\"s\",\"query\":\"q\"}}\n");
    harness.write("in.jsonl", line("\"until\":\"insight\","));
    assert_eq!(
        run(&harness, &model, &[]),
        (vec![PAUSED.into()], "supervisor insight".into())
    );
    harness.write("in.jsonl", line("\"until\":\"profile\","));
    assert_eq!(
        run(&harness, &model, &[]),
        (
            vec!["a paused true: insight completed, profile completed, hitpoint pending".into()],
            "profile".into()
        )
    );
    harness.write("in.jsonl", line(""));
    assert_eq!(run(&harness, &model, &[]), (vec![DONE.into()], "hitpoint".into()));
}

#[test]
fn without_auto_each_task_waits_for_a_person() {
    let (harness, model) = setup_planned();
    let line = |id: &str, kind: &str, auto: &str| {
        format!(
            "{{\"custom_id\":\"{id}\",\"session_id\":\"s\",\"query\":\"q\",\"interaction_type\":\"{kind}\",\"auto\":{auto}}}\n"
        )
    };
    harness.write("in.jsonl", line("a", "full_analysis", "false"));
    assert_eq!(
        run(&harness, &model, &[]),
        (vec![PAUSED.into()], "supervisor insight".into())
    );
    let second = line("a", "full_analysis", "false") + &line("b", "nova3_continue", "false");
    harness.write("in.jsonl", &second);
    let next = "b paused true: profile completed, hitpoint pending".to_owned();
    assert_eq!(
        run(&harness, &model, &[]),
        (vec![CONTINUED.into(), next.clone()], "profile".into())
    );
    harness.write("in.jsonl", second + &line("c", "nova3_select", "true"));
    let last = "c completed true: hitpoint completed".to_owned();
    assert_eq!(
        run(&harness, &model, &[]),
        (
            vec![CONTINUED.into(), next.replace("paused", "continued"), last],
            "hitpoint".into()
        )
    );
}

#[test]
fn a_later_line_takes_over_what_is_pending() {
    let (harness, model) = setup_planned();
    let first = json!({"custom_id": "a", "session_id": "s", "query": "first", "until": "insight"});
    let second = json!({"custom_id": "b", "session_id": "s", "query": "second", "interaction_type": "nova3_continue",
        "nova3_selections": {"nova3_insight": [{"id": "insight1", "content": "mine", "selected": true, "user_comment": "yes"}]}});
    harness.write("in.jsonl", format!("{first}\n{second}\n"));
    let taken = "b completed true: profile completed, hitpoint completed".to_owned();
    assert_eq!(
        run(&harness, &model, &[]),
        (
            vec![CONTINUED.into(), taken.clone()],
            "supervisor insight profile hitpoint".into()
        )
    );
    let results = harness.results("out.jsonl");
    assert_eq!(
        (&results[1]["plan"]["origin"], &results[1]["plan"]["attempts"]),
        (&json!("continued"), &json!(0))
    );
    let profile = &calls(&model)[2];
    assert!(
        profile
            .user()
            .contains("# 选中条目\n\n<<<insight1\nmine\ninsight1>>>\n<<<insight1.意见\nyes\n")
    );
    assert!(profile.user().contains(
        "<<<需求\nsecond\n需求>>>\n\n# 任务\n\n<<<任务\ni2\n任务>>>\n\nWrite every text in the language"
    ));
    let status = harness.status(&[]);
    let session = json!({
        "user_id": "default", "session_id": "s", "total": 2, "done": 1, "failed": 0, "paused": 0, "continued": 1
    });
    assert_eq!(
        (&status["sessions"], &status["done"], &status["continued"]),
        (&json!([session]), &json!(1), &json!(1))
    );
    // The old line has no more tasks, however often it is run.
    assert_eq!(
        run(&harness, &model, &[]),
        (vec![CONTINUED.into(), taken], String::new())
    );
}

#[test]
fn what_was_taken_over_is_done_by_nobody_else() {
    let (harness, model) = setup_planned();
    let line = |id: &str, kind: &str| {
        let line = json!({"custom_id": id, "session_id": "s", "query": "q", "interaction_type": kind});
        format!("{line}\n")
    };
    harness.write("in.jsonl", line("a", "full_analysis"));
    let (_, asked) = run(&harness, &model, &["--until", "insight"]);
    assert_eq!(asked, "supervisor insight");
    let both = line("a", "full_analysis") + &line("b", "nova3_continue");
    harness.write("in.jsonl", &both);
    let (_, asked) = run(&harness, &model, &["--until", "insight"]);
    assert_eq!(asked, "profile hitpoint");
    // No other line does the tasks: neither the old line without its pause, nor a second line that continues.
    let taken = "b completed true: profile completed, hitpoint completed";
    let (lines, asked) = run(&harness, &model, &[]);
    assert_eq!(
        (lines, asked.as_str()),
        (vec![CONTINUED.into(), taken.into()], "")
    );
    harness.write("in.jsonl", both + &line("c", "nova3_continue"));
    let (_, asked) = run(&harness, &model, &[]);
    assert_eq!(asked, "supervisor insight profile hitpoint");
}

#[test]
fn what_was_left_of_a_paused_queue_stays_out() {
    let (harness, model) = setup_saying(|call| match call.action() {
        "insight" => {
            let item =
                |content: &str| json!({"title": "t", "content": content, "kind": "动机", "basis": "b"});
            says(json!({"items": [item("liked"), item("secret")]}).to_string())
        }
        _ => good(call),
    });
    let first = json!({"custom_id": "a", "session_id": "s", "query": "问", "until": "insight", "tasks": ["insight", "profile", "answer"]});
    let second = json!({"custom_id": "b", "session_id": "s", "interaction_type": "nova3_select", "nova3_selections": {"nova3_insight": [
        {"id": "insight1", "content": "liked", "selected": true},
        {"id": "insight2", "content": "secret", "selected": false, "user_comment": "no"}]}});
    let third = json!({"custom_id": "c", "session_id": "s", "query": "and now", "tasks": ["answer"]});
    harness.write("in.jsonl", format!("{first}\n{second}\n{third}\n"));
    let (_, asked) = run(&harness, &model, &[]);
    assert_eq!(asked, "insight profile answer answer");
    let calls = calls(&model);
    for call in &calls[1..3] {
        assert!(
            call.user().contains("<<<insight1\nliked\ninsight1>>>"),
            "{}",
            call.user()
        );
        assert!(
            call.user().contains("<<<insight2.意见\nno\ninsight2.意见>>>"),
            "{}",
            call.user()
        );
        assert!(!call.user().contains("secret"), "{}", call.user());
    }
}

#[test]
fn with_nothing_pending_a_line_is_planned_afresh() {
    let (harness, model) = setup_planned();
    let line = |id: &str, session: &str| json!({"custom_id": id, "session_id": session, "query": "q", "interaction_type": "nova3_continue"});
    let done = json!({"custom_id": "a", "session_id": "s", "query": "q", "tasks": ["answer"]});
    let other = json!({"custom_id": "p", "session_id": "t", "query": "q", "until": "insight"});
    harness.write("in.jsonl", format!("{done}\n{other}\n{}\n", line("b", "s")));
    let (_, asked) = run(&harness, &model, &["-j", "1"]);
    assert_eq!(
        asked,
        "answer supervisor insight supervisor insight profile hitpoint"
    );
    let results = harness.results("out.jsonl");
    assert_eq!(standing(&results[2]), DONE.replace("a c", "b c"));
    assert_eq!(results[2]["plan"]["origin"], "model");
    let alone = json!({"custom_id": "z", "query": "q", "interaction_type": "nova3_select"});
    harness.write("alone.jsonl", format!("{alone}\n"));
    let ran = harness.nova3(&["run", "alone.jsonl"]);
    assert_eq!(standing(&lines(&ran.out)[0]), DONE.replace("a c", "z c"));
}

#[test]
fn an_until_that_never_comes_is_told() {
    let (harness, model) = setup_planned();
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"a\",\"query\":\"q\",\"until\":\"facts\"}\n",
    );
    assert_eq!(run(&harness, &model, &[]).0, [DONE]);
    assert_eq!(
        harness.results("out.jsonl")[0]["warnings"],
        json!(["`until` is `facts`, and the queue has no such task: it ran through"])
    );
}

#[test]
fn a_line_that_another_run_continues_is_newer_in_the_store_until_its_own_run_comes() {
    let (harness, model) = setup_planned();
    let first = json!({"custom_id": "a", "session_id": "s", "query": "first", "until": "insight"});
    let second =
        json!({"custom_id": "b", "session_id": "s", "query": "second", "interaction_type": "nova3_continue"});
    harness.write("in.jsonl", format!("{first}\n"));
    harness.write("other.jsonl", format!("{second}\n"));
    assert_eq!(run(&harness, &model, &[]).0, [PAUSED]);
    let other = harness.nova3(&["run", "other.jsonl", "-o", "other-out.jsonl"]);
    assert_eq!(other.code, Some(0), "{}", other.err);
    assert_eq!(
        standing(&harness.results("out.jsonl")[0]),
        PAUSED,
        "no other run writes it"
    );
    let shown = harness.nova3(&["results", "in.jsonl", "--status", "continued"]);
    assert_eq!(standing(&lines(&shown.out)[0]), CONTINUED);
    let verified = harness.nova3(&["verify", "in.jsonl"]);
    assert_eq!(verified.code, Some(0), "{}", verified.out);
    assert!(
        verified
            .out
            .contains("exactly once; newer in the store: 1 (continued"),
        "{}",
        verified.out
    );
    let again = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(again.code, Some(0));
    assert!(
        again.err.contains("0 of 1 done, 1 continued; 0 calls"),
        "{}",
        again.err
    );
    assert_eq!(standing(&harness.results("out.jsonl")[0]), CONTINUED);
    assert!(!harness.nova3(&["verify", "in.jsonl"]).out.contains("newer"));
    let damaged = std::fs::read_to_string(harness.path("out.jsonl")).unwrap();
    harness.write("out.jsonl", damaged.replace("insight1", "insight2"));
    assert_eq!(harness.nova3(&["verify", "in.jsonl"]).code, Some(110));
}

#[test]
fn many_lines_that_are_continued_are_replaced_together() {
    let (harness, model) = setup_planned();
    let pair = |n: usize| {
        let session = format!("s{n}");
        let first = json!({"custom_id": format!("a{n}"), "session_id": session, "query": "q", "tasks": ["insight", "answer"], "until": "insight"});
        let second = json!({"custom_id": format!("b{n}"), "session_id": session, "query": "q", "interaction_type": "nova3_continue"});
        format!("{first}\n{second}\n")
    };
    let pairs = 60;
    harness.write("in.jsonl", (0..pairs).map(pair).collect::<String>());
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "-v"]);
    assert_eq!(
        (ran.code, model.bodies().len()),
        (Some(0), 2 * pairs),
        "{}",
        ran.err
    );
    let results = harness.results("out.jsonl");
    let continued = results.iter().filter(|line| line["status"] == "continued");
    assert_eq!((results.len(), continued.count()), (2 * pairs, pairs));
    let rewrites = ran.err.matches("written anew").count();
    assert!(
        (1..pairs / 2).contains(&rewrites),
        "{rewrites} rewrites for {pairs} lines"
    );
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}
