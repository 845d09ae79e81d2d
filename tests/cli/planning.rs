//! The tasks of a request, and the cost of planning them.

use serde_json::{Value, json};

use crate::cli::harness::{Ran, errors, lines, setup};
use crate::cli::model::{ACTIONS, Call, actions, calls, good, refuses, says, setup_saying};
use crate::cli::provider::Say;

const PLAN: &str = r#"{"tasks":[{"action":"insight","description":"看清现象","input":"look"},{"action":"hitpoint","description":"定角度","input":"choose"}]}"#;

/// Answers the planner with this plan, and other agents with a good answer.
fn planned(plan: &'static str) -> impl Fn(&Call) -> Say + Send + 'static {
    move |call| {
        if call.action() == "supervisor" {
            says(plan)
        } else {
            good(call)
        }
    }
}

/// The plan of the only result line: its origin, its attempts, and the actions that were done.
fn plan_of(ran: &Ran) -> (Value, Value, Vec<Value>) {
    let line = &lines(&ran.out)[0];
    let tasks = line["tasks"].as_array().unwrap();
    (
        line["plan"]["origin"].clone(),
        line["plan"]["attempts"].clone(),
        tasks.iter().map(|task| task["action"].clone()).collect(),
    )
}

#[test]
fn a_request_is_planned_by_a_call_with_a_strict_schema() {
    let (harness, model) = setup_saying(planned(PLAN));
    harness.write("in.jsonl", "{\"custom_id\":\"a\",\"query\":\"how?\"}\n");
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let calls = calls(&model);
    assert_eq!(actions(&calls), ["supervisor", "insight", "hitpoint"]);
    let temperatures: Vec<&Value> = calls.iter().map(|call| &call.body()["temperature"]).collect();
    assert_eq!(temperatures, [&json!(0.2), &Value::Null, &Value::Null]);
    let format = &calls[0].body()["response_format"];
    assert_eq!(
        (&format["type"], &format["json_schema"]["strict"]),
        (&json!("json_schema"), &json!(true))
    );
    let task = &format["json_schema"]["schema"]["properties"]["tasks"]["items"]["properties"];
    assert_eq!(task["action"]["enum"], json!(ACTIONS));
    assert!(
        calls[1]
            .user()
            .contains("# 需求\n\n<<<需求\nhow?\n需求>>>\n\n# 任务\n\n<<<任务\nlook\n任务>>>")
    );
    assert!(
        calls[2]
            .user()
            .contains("# 已有结果\n\n<<<insight1\na title\ninsight of look\n")
    );
    assert_eq!(
        plan_of(&ran),
        (
            json!("model"),
            json!(1),
            vec![json!("insight"), json!("hitpoint")]
        )
    );
}

#[test]
fn an_unusable_plan_is_shown_to_the_model_once() {
    let task = |nth: usize| json!({"action": "insight", "description": "d", "input": format!("i{nth}")});
    let eleven = json!({"tasks": (0..11).map(task).collect::<Vec<_>>()}).to_string();
    for (bad, told) in [
        ("I would rather not.", "the answer is no JSON"),
        (
            r#"{"tasks":[{"action":"dance","description":"d","input":"i"}]}"#,
            "at `/tasks/0/action`: \"dance\" is not one of",
        ),
        (&eleven, "the plan has 11 tasks, 1 to 10 are asked"),
        (r#"{"tasks":[]}"#, "at `/tasks`: [] has less than 1 item"),
        (
            r#"{"tasks":[{"action":"insight","description":"","input":" "}]}"#,
            "the plan's task `insight` has no `input`",
        ),
    ] {
        let first = bad.to_owned();
        let (harness, model) = setup_saying(move |call| match call.action() {
            "supervisor" if !call.is_repair() => says(first.clone()),
            "supervisor" => says(PLAN),
            _ => good(call),
        });
        harness.write("in.jsonl", "{\"query\":\"how?\"}\n");
        let ran = harness.nova3(&["run", "in.jsonl"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let calls = calls(&model);
        assert_eq!(
            actions(&calls),
            ["supervisor", "supervisor", "insight", "hitpoint"]
        );
        assert_eq!(
            (calls[1].system(), calls[1].user()),
            (calls[0].system(), calls[0].user())
        );
        let shown = calls[1].message(2);
        assert!(
            bad == shown || shown.chars().count() == 301 && bad.starts_with(shown.trim_end_matches('…')),
            "{shown}"
        );
        assert!(calls[1].message(3).contains(told), "{}", calls[1].message(3));
        assert_eq!(
            plan_of(&ran),
            (
                json!("model"),
                json!(2),
                vec![json!("insight"), json!("hitpoint")]
            )
        );
        assert_eq!(lines(&ran.out)[0]["warnings"], json!([]));
    }
}

#[test]
fn a_plan_that_stays_unusable_gives_way_to_the_default_one() {
    let (harness, model) = setup_saying(planned(r#"{"tasks":[]}"#));
    harness.write(
        "nova3.toml",
        "[agents]\ndefault_plan = [\"insight\", \"answer\"]\n",
    );
    harness.write("in.jsonl", "{\"query\":\"how?\"}\n");
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let calls = calls(&model);
    assert_eq!(actions(&calls), ["supervisor", "supervisor", "insight", "answer"]);
    assert_eq!(
        plan_of(&ran),
        (
            json!("default"),
            json!(2),
            vec![json!("insight"), json!("answer")]
        )
    );
    let wrong = "the JSON does not fit the schema: at `/tasks`: [] has less than 1 item";
    let warning = format!(
        "the model's plan could not be used ({wrong}; before its one repair: {wrong}), the default plan was taken"
    );
    assert_eq!(lines(&ran.out)[0]["warnings"], json!([warning]));
}

#[test]
fn a_plan_that_cannot_be_had_fails_the_request() {
    let (harness, model) = setup_saying(|_| refuses(400, "no such parameter"));
    harness.write("in.jsonl", "{\"query\":\"how?\"}\n");
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = lines(&ran.out);
    assert_eq!(
        errors(&results),
        [(
            "bad_request",
            "planning failed: HTTP 400 (invalid_request_error): no such parameter"
        )]
    );
    assert_eq!(
        (&results[0]["status"], &results[0]["tasks"]),
        (&json!("failed"), &json!([]))
    );
    assert_eq!(actions(&calls(&model)), ["supervisor"]);
}

#[test]
fn a_line_beats_a_flag_beats_the_kind_of_interaction() {
    let (harness, model) = setup_saying(good);
    let quick = r#"{"custom_id":"b","query":"b?","interaction_type":"quick_suggestion"}"#;
    harness.write(
        "in.jsonl",
        format!("{{\"custom_id\":\"a\",\"query\":\"a?\",\"tasks\":[\"profile\"]}}\n{quick}\n"),
    );
    let run = |name: &str, more: &[&str]| {
        let before = model.bodies().len();
        let args = [&["run", "in.jsonl", "-j", "1", "--run", name][..], more].concat();
        let ran = harness.nova3(&args);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        actions(&calls(&model)[before..]).join(" ")
    };
    assert_eq!(
        run("flag", &["--tasks", "insight,hitpoint"]),
        "profile insight hitpoint"
    );
    assert_eq!(run("none", &[]), "profile answer");
}

#[test]
fn a_quick_suggestion_is_one_answer() {
    let (harness, model) = setup_saying(good);
    harness.write(
        "in.jsonl",
        "{\"query\":\"how?\",\"interaction_type\":\"quick_suggestion\"}\n",
    );
    let ran = harness.nova3(&["run", "in.jsonl"]);
    let line = &lines(&ran.out)[0];
    assert_eq!(
        line["output"],
        json!([{"id": "answer1", "content": "answer of how?"}])
    );
    assert_eq!(line["plan"], Value::Null);
    let calls = calls(&model);
    assert_eq!(actions(&calls), ["answer"]);
    assert_eq!(calls[0].body()["response_format"], Value::Null);
    assert!(
        calls[0]
            .user()
            .starts_with("# Question\n\n<<<Question\nhow?\nQuestion>>>"),
        "{}",
        calls[0].user()
    );
}

const QUEUES: &str = r#"{"custom_id":"given","session_id":"s","query":"q","tasks":["insight",{"action":"answer","input":"say it"}]}
{"query":"quick","interaction_type":"quick_suggestion"}
{"custom_id":"open","query":"open"}
{"custom_id":"on","session_id":"s","query":"on","interaction_type":"nova3_continue"}
{"custom_id":"raw","body":{"model":"m","messages":[]}}
"#;

#[test]
fn queues_are_shown_without_spending() {
    let (harness, model) = setup_saying(good);
    harness.write("in.jsonl", QUEUES);
    let text = harness.nova3(&["plan", "in.jsonl"]);
    assert_eq!((text.code, text.err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("plan", text.out);
    let json = harness.nova3(&["plan", "in.jsonl", "--json"]);
    insta::assert_snapshot!("plan_json", json.out);
    let flag = harness.nova3(&["plan", "in.jsonl", "--tasks", "facts", "--json"]);
    let origins: Vec<Value> = lines(&flag.out)
        .iter()
        .map(|line| line["origin"].clone())
        .collect();
    assert_eq!(
        origins,
        [
            "its line",
            "--tasks",
            "--tasks",
            "--tasks",
            "an OpenAI Batch line"
        ]
    );
    assert_eq!(
        (model.bodies().len(), harness.path("nova3.db").exists()),
        (0, false)
    );
    harness.write(
        "bad.jsonl",
        "{\"query\":1}\n{\"custom_id\":\"ok\",\"query\":\"q\",\"tasks\":[\"answer\"]}\n",
    );
    let bad = harness.nova3(&["plan", "bad.jsonl"]);
    assert_eq!(bad.code, Some(3));
    assert!(bad.out.starts_with("line 2 · ok"), "{}", bad.out);
}

#[test]
fn a_plan_is_paid_once_and_kept() {
    let (harness, model) = setup_saying(planned(PLAN));
    harness.write("in.jsonl", "{\"custom_id\":\"a\",\"query\":\"how?\"}\n");
    let first = harness.nova3(&["plan", "in.jsonl", "--call"]);
    assert_eq!(first.code, Some(0), "{}", first.err);
    assert_eq!(
        first.out,
        "line 1 · a · planned · open\n  task001  insight         pending    看清现象\n  task002  hitpoint        pending    定角度\n"
    );
    let again = harness.nova3(&["plan", "in.jsonl", "--call"]);
    assert_eq!(
        (again.code, again.out, model.bodies().len()),
        (Some(0), first.out, 1)
    );
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(actions(&calls(&model)), ["supervisor", "insight", "hitpoint"]);
    let done = lines(&harness.nova3(&["plan", "in.jsonl", "--json"]).out);
    let status = |task: usize| done[0]["tasks"][task]["status"].clone();
    assert_eq!((status(0), status(1)), (json!("completed"), json!("completed")));
}

#[test]
fn a_plan_is_not_paid_for_standard_input() {
    let (harness, model) = setup_saying(planned(PLAN));
    let line = "{\"custom_id\":\"a\",\"query\":\"how?\"}\n";
    let shown = harness.nova3_reading(&["plan", "-"], line);
    assert_eq!(
        (shown.code, shown.out.as_str()),
        (Some(0), "line 1 · a · not planned yet\n")
    );
    let called = harness.nova3_reading(&["plan", "-", "--call"], line);
    let told = "nova3: `plan --call` reads its input twice (give a file instead of standard input)\n";
    assert_eq!((called.code, called.err.as_str()), (Some(2), told));
    assert_eq!(
        (model.bodies().len(), harness.path("nova3.db").exists()),
        (0, false)
    );
}

#[test]
fn a_plan_that_failed_is_no_good_plan() {
    let (harness, model) = setup_saying(|_| refuses(400, "no such parameter"));
    harness.write("in.jsonl", "{\"custom_id\":\"a\",\"query\":\"how?\"}\n");
    let called = harness.nova3(&["plan", "in.jsonl", "--call"]);
    let told = "line 1 · a · planning failed (`nova3 retry` puts it back)\n";
    assert_eq!((called.code, called.out.as_str()), (Some(100), told));
    assert_eq!(harness.nova3(&["plan", "in.jsonl"]).out, told);
    assert_eq!(model.bodies().len(), 1);
    harness.write("bad.jsonl", "bad\n{\"query\":\"q\",\"tasks\":[\"answer\"]}\n");
    assert_eq!(harness.nova3(&["plan", "bad.jsonl", "--call"]).code, Some(3));
}

#[test]
fn a_prompt_is_shown_by_name_or_line() {
    let harness = setup().with("OPENAI_MODEL", "m");
    harness.write("in.jsonl", QUEUES);
    let shown = |id: &str| harness.nova3(&["plan", "in.jsonl", "--show-prompt", id]);
    assert_eq!(shown("given"), shown("1"));
    assert!(
        shown("open")
            .out
            .starts_with("=== plan supervisor · system ===\n")
    );
    assert_eq!(
        shown("2")
            .out
            .split("=== ")
            .map(|part| part.lines().next().unwrap_or(""))
            .collect::<Vec<_>>(),
        ["", "task001 answer · system ===", "task001 answer · user ==="]
    );
    let none = shown("absent");
    assert_eq!(
        (none.code, none.err.as_str()),
        (
            Some(4),
            "nova3: no request has the `custom_id` or line number `absent`\n"
        )
    );
    assert_eq!(shown("raw").code, Some(2));
    let modelless = setup();
    modelless.write("in.jsonl", QUEUES);
    let ran = modelless.nova3(&["plan", "in.jsonl", "--show-prompt", "open"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("=== plan supervisor · user ==="), "{}", ran.out);
}
