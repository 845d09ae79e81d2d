//! A conversation of six requests has the same outcome in one run, when killed after every line, and when spread over
//! six runs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::form::Form;
use super::harness::Scenario;
use super::input;
use super::oracle;
use super::process::until;
use super::store::Item;

const LINES: usize = 6;

/// The lines: plan and pause, select with a comment, refer, continue, write, and begin something new. No task is
/// pending when the last line comes, so it is planned although it asks to continue.
fn lines() -> [Value; LINES] {
    let line = |n: usize, query: &str| json!({"custom_id": format!("c{n}"), "session_id": "talk", "query": query, "interaction_type": "nova3_continue"});
    let with = |mut line: Value, more: Value| {
        let Value::Object(more) = more else {
            panic!("a line gets keys");
        };
        line.as_object_mut().expect("a line is an object").extend(more);
        line
    };
    let chosen = json!({
        "nova3_insight": [
            {"id": "insight1", "content": "油皮怕的是被人看见在补妆", "selected": true, "user_comment": "再强调通勤没有时间"},
            {"id": "insight2", "content": "成分党嫌步骤多", "selected": false, "user_comment": "太泛，谁都在讲"},
        ],
        "task_context": "品牌在推一款控油散粉",
    });
    let angle =
        json!({"nova3_hitpoint": [{"id": "hitpoint1", "content": "地铁到工位的四十分钟", "selected": true}]});
    let plan = json!({"interaction_type": "full_analysis", "until": "insight"});
    let choose = json!({"interaction_type": "nova3_select", "until": "profile", "nova3_selections": chosen});
    let refer = json!({"references": ["@insight1", "@profile1"], "until": "hitpoint"});
    [
        with(line(1, "研究油皮美妆，从分析到写一篇小红书笔记"), plan),
        with(line(2, "按选中的洞察继续"), choose),
        with(line(3, "角度落到@profile1的早晨，避开测评"), refer),
        with(line(4, "先把依据核实"), json!({"until": "facts"})),
        with(line(5, "就按@hitpoint1写"), json!({"nova3_selections": angle})),
        line(6, "结合@xhs_post1，再为秋季做一套小红书内容"),
    ]
}

/// The expected work of the lines: all five tasks of the plan one after the other, then a plan of their own.
const DO: [(&str, &str); LINES - 1] = [
    ("insight", "continued"),
    ("profile", "continued"),
    ("hitpoint", "continued"),
    ("facts", "continued"),
    ("xhs_writing", "completed"),
];

/// The outcome of the conversation.
#[derive(Debug, PartialEq)]
struct Talk {
    items: Vec<Item>,
    /// For each line: its name, its status, its finished tasks, and its state in the store.
    lines: Vec<Value>,
}

/// Returns how many lines the store has finished.
fn settled(scenario: &Scenario) -> usize {
    let states = scenario.store().map(|store| store.states()).unwrap_or_default();
    let live = ["blocked", "open"];
    states
        .values()
        .filter(|state| !live.contains(&state.as_str()))
        .count()
}

/// Returns how many complete lines the file has.
fn written(scenario: &Scenario) -> usize {
    let bytes = scenario.bytes("out.jsonl");
    bytes.split(|byte| *byte == b'\n').count() - 1
}

fn table(seed: u64) -> Scenario {
    let seed = seed.to_string();
    Scenario::with(
        "conversation",
        Form::get(),
        &["--latency", "8ms", "--tail", "0.05", "--seed", &seed],
    )
}

/// Returns a seed with which the mock plans five tasks for the first line, so that every line has one to do.
fn seed() -> u64 {
    let long = |seed: &u64| {
        let mut scenario = table(*seed);
        input::store_values(&scenario.path("in.jsonl"), &lines()[..1]);
        scenario.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
        let lines = oracle::objects(&scenario.bytes("out.jsonl"));
        lines[0]["tasks"]
            .as_array()
            .is_some_and(|tasks| tasks.len() == DO.len())
    };
    (1..30).find(long).expect("one plan of two has five tasks")
}

/// Reads the outcome, and checks what all ways have in common.
fn heard(scenario: &Scenario, files: &[&str]) -> Talk {
    let store = scenario.store().expect("there is a store");
    let states = store.states();
    let mut lines: Vec<Value> = files
        .iter()
        .flat_map(|file| oracle::objects(&scenario.bytes(file)))
        .collect();
    lines.sort_by_key(|line| line["custom_id"].to_string());
    let told: Vec<_> = lines.iter().flat_map(oracle::items).collect();
    oracle::numbered(&told);
    let items = store.items();
    let stored: BTreeSet<_> = items.iter().map(|item| ("talk".to_owned(), item.id())).collect();
    assert_eq!(
        told.into_iter().collect::<BTreeSet<_>>(),
        stored,
        "oracle `numbers`: the lines tell of other items than the session has"
    );
    let short = |line: &Value| {
        let tasks = line["tasks"].as_array().expect("a line has tasks").iter();
        let done: Vec<Value> = tasks
            .filter(|task| task["status"] == "completed")
            .map(|task| json!([task["task_id"], task["action"], task["result"]]))
            .collect();
        let id = line["custom_id"].as_str().expect("a line has a name");
        json!([id, line["status"], states.get(id), done])
    };
    Talk {
        items,
        lines: lines.iter().map(short).collect(),
    }
}

/// Oracle `continued`: each line does the next task of the plan, and the last one has its own plan.
fn judge(talk: &Talk) {
    assert_eq!(talk.lines.len(), LINES, "oracle `once`: a line for each request");
    for (line, (action, status)) in talk.lines.iter().zip(DO) {
        let state = if status == "continued" {
            "continued"
        } else {
            "done"
        };
        let [_, found, stored, done] = &line.as_array().expect("a list")[..] else {
            panic!("a line was cut down to four parts");
        };
        let done = done.as_array().expect("a list");
        assert!(
            found == status && stored == state && done.len() == 1 && done[0][1] == action,
            "oracle `continued`: expected {action} done, then {status} and {state}: {line}"
        );
    }
    let last = &talk.lines[LINES - 1];
    let tasks = last[3].as_array().expect("a list");
    assert!(
        last[1] == "completed" && last[2] == "done" && tasks.len() >= 3 && tasks[0][1] == "insight",
        "oracle `continued`: nothing was pending, so the last line has a plan of its own: {last}"
    );
}

const RUN: [&str; 4] = ["run", "in.jsonl", "-o", "out.jsonl"];

/// Runs to the end and adds the calls to the account.
fn finish(scenario: &mut Scenario, args: &[&str]) {
    let ended = scenario.nova3(args);
    assert_eq!(ended.code, Some(0), "oracle `exit`: {}", ended.stderr);
    scenario.settle(&[], false);
}

/// All lines in one undisturbed run.
fn in_one_go(seed: u64) -> (Scenario, Talk) {
    let mut scenario = table(seed);
    input::store_values(&scenario.path("in.jsonl"), &lines());
    finish(&mut scenario, &RUN);
    let talk = heard(&scenario, &["out.jsonl"]);
    (scenario, talk)
}

/// All lines in one run that is killed whenever one more line is finished.
fn killed_after_every_line(seed: u64) -> (Scenario, Talk) {
    let mut scenario = table(seed);
    input::store_values(&scenario.path("in.jsonl"), &lines());
    for next in 1..=LINES {
        // By turns, finished in the store and finished in the file.
        let finished = if next % 2 == 0 { written } else { settled };
        let mut running = scenario.start(&RUN);
        until("the next line", || {
            (finished(&scenario) >= next || running.poll().is_some()).then_some(())
        });
        scenario.cut(running);
    }
    finish(&mut scenario, &RUN);
    let talk = heard(&scenario, &["out.jsonl"]);
    (scenario, talk)
}

/// Each line has its own file and run. At the end each run is started once more, without cost.
fn in_six_runs(seed: u64) -> (Scenario, Talk) {
    let mut scenario = table(seed);
    let mut files = Vec::new();
    for (part, line) in lines().into_iter().enumerate() {
        let (name, file) = (format!("part{part}"), format!("part{part}.out"));
        input::store_values(&scenario.path(&name), &[line]);
        finish(&mut scenario, &["run", &name, "-o", &file]);
        files.push(file);
    }
    // A later run continues the lines of an earlier one, whose file is updated at its next invocation.
    for (part, file) in files.iter().enumerate() {
        finish(&mut scenario, &["run", &format!("part{part}"), "-o", file]);
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let talk = heard(&scenario, &files);
    (scenario, talk)
}

#[test]
fn a_conversation_cut_short_or_spread_over_runs_comes_to_the_same() {
    let seed = seed();
    let (whole, expected) = in_one_go(seed);
    judge(&expected);
    let needed = whole.account.calls;

    // Answers quote their prompts, so equal items come from equal prompts.
    let (cut, talk) = killed_after_every_line(seed);
    assert_eq!(talk, expected, "oracle `same`: killed after every line");
    let repeated = cut.account.calls.saturating_sub(needed);
    assert!(
        repeated <= cut.account.lost,
        "oracle `total`: {repeated} calls beside the needed ones"
    );
    let (apart, talk) = in_six_runs(seed);
    assert_eq!(talk, expected, "oracle `same`: spread over six runs");
    assert_eq!(
        apart.account.calls, needed,
        "oracle `total`: six runs, the same calls"
    );
    println!(
        "crash-test: conversation: {LINES} lines, {needed} calls, {} kills, {repeated} repeated, {} items alike in three ways",
        cut.account.kills,
        expected.items.len()
    );
}
