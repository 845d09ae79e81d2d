//! The options of an invocation decide its further work. Requests that keep their old options are reported.

use serde_json::json;

use crate::cli::harness::{Harness, lines};
use crate::cli::model::{Call, actions, calls, good, says, setup_saying};
use crate::cli::provider::{Say, Scripted};

const PLAN: &str = r#"{"tasks":[{"action":"insight","description":"","input":"i1"},{"action":"hitpoint","description":"","input":"i2"}]}"#;

const INPUT: &str = r#"{"custom_id":"a","query":"a?"}
{"custom_id":"b","query":"b?","tasks":["profile"]}
{"custom_id":"c","query":"c?"}
"#;

fn setup() -> (Harness, Scripted) {
    let (harness, model) = setup_saying(|call: &Call| -> Say {
        match call.action() {
            "supervisor" => says(PLAN),
            _ => good(call),
        }
    });
    harness.write("in.jsonl", INPUT);
    (harness, model)
}

/// Runs the input. Returns the actions that were called, and the messages about requests that stay as they were.
fn run(harness: &Harness, model: &Scripted, more: &[&str]) -> (String, String) {
    let before = model.bodies().len();
    let args = [&["run", "in.jsonl", "-o", "out.jsonl", "-j", "1"][..], more].concat();
    let ran = harness.nova3(&args);
    assert!(matches!(ran.code, Some(0 | 101)), "{}", ran.err);
    let said: Vec<&str> = ran
        .err
        .lines()
        .filter(|line| line.contains("Anew:"))
        .map(|line| line.trim_start_matches("run `in.jsonl`: "))
        .collect();
    (actions(&calls(model)[before..]).join(" "), said.join("\n"))
}

const OTHER_TASKS: &str = "finished with other tasks or prompts; they stay. Anew: `nova3 redo --stale`, or --run NAME for other tasks";

#[test]
fn new_tasks_take_the_place_of_plans_that_were_not_begun() {
    let (harness, model) = setup();
    assert_eq!(harness.nova3(&["plan", "in.jsonl", "--call"]).code, Some(0));
    assert_eq!(actions(&calls(&model)), ["supervisor", "supervisor"]);
    let shown = harness.nova3(&["plan", "in.jsonl", "--tasks", "answer", "--json"]);
    let origins: Vec<_> = lines(&shown.out)
        .iter()
        .map(|line| (line["origin"].clone(), line["tasks"][0]["action"].clone()))
        .collect();
    let flag = (json!("--tasks"), json!("answer"));
    assert_eq!(
        origins,
        [flag.clone(), (json!("its line"), json!("profile")), flag]
    );
    assert_eq!(
        run(&harness, &model, &["--tasks", "answer"]),
        ("answer profile answer".into(), String::new())
    );
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}

#[test]
fn what_is_finished_with_other_tasks_stays_and_is_said_each_time() {
    let (harness, model) = setup();
    let (asked, said) = run(&harness, &model, &["--limit", "1"]);
    assert_eq!(
        (asked.as_str(), said.as_str()),
        ("supervisor insight hitpoint", "")
    );
    let told = &["--tasks", "answer"];
    let one = format!("1 {OTHER_TASKS}");
    assert_eq!(
        run(&harness, &model, told),
        ("profile answer".into(), one.clone())
    );
    assert_eq!(
        run(&harness, &model, told),
        (String::new(), one),
        "nothing is left to do"
    );
    let status = harness.nova3(&["status"]);
    assert!(
        status.out.contains(&format!("1 {OTHER_TASKS}\n")),
        "{}",
        status.out
    );
    assert_eq!(
        run(&harness, &model, &[]),
        (String::new(), format!("1 {OTHER_TASKS}"))
    );
    let anew = run(
        &harness,
        &model,
        &["--tasks", "answer", "--run", "anew", "--overwrite"],
    );
    assert_eq!(anew, ("answer profile answer".into(), String::new()));
}

#[test]
fn other_prompts_and_models_are_said() {
    let (harness, model) = setup();
    run(&harness, &model, &["--tasks", "answer"]);
    let model_changed = run(&harness, &model, &["--tasks", "answer", "-m", "another"]);
    let told = "3 finished with other models; they stay. Anew: `nova3 redo --stale`";
    assert_eq!(model_changed, (String::new(), told.into()));
    assert_eq!(run(&harness, &model, &["--tasks", "answer"]).1, "");
    let changed = format!("# changed\n{}", include_str!("../../agents/answer.toml"));
    std::fs::create_dir(harness.path("prompts")).unwrap();
    harness.write("prompts/answer.toml", changed);
    harness.write(
        "nova3.toml",
        "[retry]\nbase = \"1ms\"\nlongest = \"2ms\"\n[agents]\nfolder = \"prompts\"\n",
    );
    let prompts_changed = run(&harness, &model, &["--tasks", "answer"]);
    assert_eq!(prompts_changed, (String::new(), format!("3 {OTHER_TASKS}")));
}

#[test]
fn other_extra_fields_of_a_route_are_reported_as_other_models() {
    let (harness, model) = setup();
    let route = |more: &str| {
        format!(
            "[routes.default]\nbase_url = \"{}\"\nmodel = \"m\"\nno_key = true\n{more}",
            model.base_url()
        )
    };
    harness.write("nova3.toml", route(""));
    run(&harness, &model, &["--tasks", "answer"]);
    assert_eq!(run(&harness, &model, &["--tasks", "answer"]).1, "");
    harness.write(
        "nova3.toml",
        route("[routes.default.body]\nenable_thinking = true\n"),
    );
    let told = "3 finished with other models; they stay. Anew: `nova3 redo --stale`";
    assert_eq!(
        run(&harness, &model, &["--tasks", "answer"]),
        (String::new(), told.into())
    );
}
