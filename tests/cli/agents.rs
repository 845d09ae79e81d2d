//! Agents that come with the program, and agents of a folder that are added or replace them.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, lines, setup};
use crate::cli::model::{calls, good, says, setup_saying};

const COMMENT: &str = r#"action = "comment"
item = "reply"
description = "answers comments"
max_tokens = 100
system = "You reply, {{ max_results }} at most."
user = """
{% include "material" %}# Comment

{{ input | fenced("任务") }}
"""
schema = '''
{
  "type": "object",
  "required": ["items"],
  "properties": {"items": {"type": "array", "items": {"type": "object", "properties": {"content": {"type": "string"}}}}}
}
'''
"#;

/// A folder of agents with this file in it.
fn add(harness: &Harness, file: &str, text: &str) {
    std::fs::create_dir_all(harness.path("mine")).unwrap();
    harness.write("nova3.toml", "[agents]\nfolder = \"mine\"\n");
    harness.write(&format!("mine/{file}"), text);
}

#[test]
fn agents_are_listed_and_shown() {
    let harness = setup();
    let list = harness.nova3(&["agents", "list"]);
    assert_eq!((list.code, list.err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("agents_list", list.out);
    let json = harness.nova3(&["agents", "list", "--json"]);
    insta::assert_snapshot!("agents_list_json", json.out);
    for line in lines(&json.out) {
        let shown = harness.nova3(&["agents", "show", line["action"].as_str().unwrap()]);
        assert_eq!(shown.code, Some(0), "{}", shown.err);
        let facts: Value = serde_json::from_str(shown.out.lines().next().unwrap()).unwrap();
        assert_eq!(facts, line);
        let headings: Vec<&str> = ["\n# system\n", "\n# answer\n", "\n# file: agents/"]
            .into_iter()
            .filter(|heading| shown.out.contains(heading))
            .collect();
        assert_eq!(headings.len(), 3, "{}", shown.out);
    }
    let none = harness.nova3(&["agents", "show", "dance"]);
    assert_eq!(none.code, Some(4));
    assert!(
        none.err
            .starts_with("nova3: there is no agent `dance` (known: `insight`, "),
        "{}",
        none.err
    );
}

#[test]
fn a_folder_adds_an_agent() {
    let (harness, model) = setup_saying(|call| match call.action() {
        "comment" => says(r#"{"items":[{"content":"one"},{"content":"two"}]}"#),
        "supervisor" => says(r#"{"tasks":[{"action":"comment","description":"d","input":"i"}]}"#),
        _ => good(call),
    });
    add(&harness, "comment.toml", COMMENT);
    let list = harness.nova3(&["agents", "list"]).out;
    assert!(
        list.contains("comment          answers comments  (mine/comment.toml)\n"),
        "{list}"
    );
    let choose = json!({"nova3_reply": [{"id": "reply2", "content": "two, shorter", "selected": true}]});
    let input = [
        json!({"custom_id": "a", "session_id": "s", "query": "a", "tasks": ["comment"]}),
        json!({"custom_id": "b", "session_id": "s", "query": "b", "references": ["@reply1"], "nova3_selections": choose}),
        json!({"custom_id": "c", "session_id": "s", "query": "c", "tasks": ["answer"], "nova3_selections": {"nova3_comment": [{"id": "x1", "content": "c"}]}}),
    ];
    harness.write("in.jsonl", input.map(|line| format!("{line}\n")).concat());
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order", "--events", "events.jsonl"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = lines(&ran.out);
    assert_eq!(
        results[0]["output"],
        json!([{"id": "reply1", "content": "one"}, {"id": "reply2", "content": "two"}])
    );
    assert_eq!(results[1]["output"][0]["id"], "reply3");
    assert_eq!(
        results[2]["error"]["message"],
        "`nova3_selections` has a list `nova3_comment`, which no agent makes (in the line of `custom_id` `c`)"
    );
    let calls = calls(&model);
    assert!(
        calls[1]
            .body()
            .to_string()
            .contains(r#""wechat_article","answer","comment"]"#)
    );
    let user = calls[2].user();
    assert!(user.contains("# 引用条目\n\n<<<reply1\none\nreply1>>>"), "{user}");
    assert!(
        user.contains("# 选中条目\n\n<<<reply2\ntwo, shorter\nreply2>>>"),
        "{user}"
    );
    assert!(user.ends_with("# Comment\n\n<<<任务\ni\n任务>>>"), "{user}");
    assert_eq!(calls[2].system(), "You reply, 5 at most.");
    let events = harness.results("events.jsonl");
    let made = events
        .iter()
        .find(|event| event["agent_source"] == "comment_agent")
        .unwrap();
    assert_eq!(
        (
            &made["payload"]["content_type"],
            &made["payload"]["metadata"]["reply_count"]
        ),
        (&json!("nova3_reply"), &json!(2))
    );
}

#[test]
fn a_folder_takes_the_place_of_an_agent_and_of_the_material() {
    let (harness, model) = setup_saying(good);
    add(
        &harness,
        "any_name.toml",
        &COMMENT
            .replace("\"comment\"", "\"insight\"")
            .replace("\"reply\"", "\"insight\""),
    );
    harness.write(
        "mine/material.jinja",
        "Hello. {% if query %}{{ query | fenced(\"q\") }}{% endif %}\n\n",
    );
    harness.write("mine/README.md", "not an agent");
    harness.write(
        "in.jsonl",
        "{\"query\":\"how?\",\"tasks\":[{\"action\":\"insight\",\"input\":\"look\"}]}\n",
    );
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(0));
    let call = &calls(&model)[0];
    assert_eq!(
        (call.system(), call.user()),
        (
            "You reply, 5 at most.",
            "Hello. <<<q\nhow?\nq>>>\n# Comment\n\n<<<任务\nlook\n任务>>>"
        )
    );
    let listed = lines(&harness.nova3(&["agents", "list", "--json"]).out);
    assert_eq!(listed.len(), 10);
    assert_eq!(
        (&listed[0]["action"], &listed[0]["embedded"]),
        (&json!("insight"), &json!(false))
    );
    harness.write("mine/material.jinja", "Another one.\n\n");
    let again = harness.nova3(&["run", "in.jsonl"]);
    assert!(
        again.err.contains("1 finished with other tasks or prompts"),
        "{}",
        again.err
    );
    assert_eq!(calls(&model).len(), 1);
}

#[test]
fn a_wrong_file_is_named_with_its_line() {
    let changed = |from: &str, to: &str| {
        assert!(COMMENT.contains(from));
        COMMENT.replace(from, to)
    };
    for (text, told) in [
        (changed("max_tokens = 100", "max_tokens = "), " line 4: "),
        (
            changed("max_tokens = 100", "max_tokens = 100\ncolour = 3"),
            " line 5: unknown field `colour`",
        ),
        (
            changed("max_tokens = 100", "max_tokens = 0"),
            " line 4: `max_tokens` is 0, expected 1 to 1000000",
        ),
        (
            changed("max_tokens = 100\n", ""),
            " line 1: missing field `max_tokens`",
        ),
        (
            changed("\"comment\"", "\"My Action\""),
            " line 1: `action` is `My Action`, expected a name such as `insight`",
        ),
        (
            changed("\"reply\"", "\"reply2\""),
            " line 2: `item` is `reply2`, expected a name that does not end in a digit",
        ),
        (
            changed("\"reply\"", "\"insight\""),
            ": `item` is `insight`, as in `agents/insight.toml`",
        ),
        (
            changed("{{ max_results }}", "{{ limit }}"),
            " line 5: undefined value",
        ),
        (
            changed("{{ input |", "{{ inputs |"),
            " line 9: invalid operation: value is not a string",
        ),
        (changed("fenced(", "bold("), " line 9: unknown filter"),
        (
            changed("\"required\": [\"items\"],", "\"required\": [\"items\",],"),
            " line 14: `schema`: trailing comma",
        ),
        (
            changed("\"type\": \"object\",\n", "\"type\": \"array\",\n"),
            " line 12: `schema`: its root must have the type `object`",
        ),
        (
            changed("max_tokens = 100", "max_tokens = 100\nmodel = \"cheap\""),
            ": its `model` `cheap` is no route (routes: ",
        ),
    ] {
        let harness = setup();
        add(&harness, "comment.toml", &text);
        harness.write_questions("in.jsonl", 1);
        for args in [
            &["check", "in.jsonl"][..],
            &["run", "in.jsonl", "--mock"],
            &["plan", "in.jsonl"],
        ] {
            let ran = harness.nova3(args);
            let expected = format!("nova3: agent file `mine/comment.toml`{told}");
            assert_eq!(ran.code, Some(2), "{} {}", ran.out, ran.err);
            assert!(ran.err.contains(&expected), "{args:?} {expected} {}", ran.err);
        }
        assert!(!harness.path("nova3.db").exists());
    }
}

#[test]
fn a_rehearsal_knows_every_route_and_needs_no_key() {
    let harness = setup();
    add(
        &harness,
        "comment.toml",
        &COMMENT.replace("max_tokens = 100", "max_tokens = 100\nmodel = \"cheap\""),
    );
    let route = |name: &str| {
        format!(
            "[routes.{name}]\nbase_url = \"https://127.0.0.1:1/v1\"\nmodel = \"m\"\napi_key_env = \"KEY_OF_{name}\"\n"
        )
    };
    harness.write(
        "nova3.toml",
        format!(
            "[run]\nmodel = \"best\"\n[agents]\nfolder = \"mine\"\n{}{}",
            route("best"),
            route("cheap")
        ),
    );
    let line = |id: &str, model: &str| {
        format!("{{\"custom_id\":\"{id}\",\"query\":\"q\",\"tasks\":[\"comment\",\"answer\"]{model}}}\n")
    };
    harness.write("in.jsonl", line("a", "") + &line("b", ",\"model\":\"cheap\""));
    assert_eq!(
        harness.nova3(&["check", "in.jsonl"]).code,
        Some(2),
        "a run would miss the keys"
    );
    let ran = harness.nova3(&["plan", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    let ran = harness.nova3(&["run", "in.jsonl", "--mock", "--keep-order"]);
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    let routes: Vec<String> = lines(&ran.out).iter().map(routes_of).collect();
    assert_eq!(routes, ["\"cheap\" \"best\"", "\"cheap\" \"cheap\""]);
}

#[test]
fn two_files_for_one_action_are_refused() {
    let harness = setup();
    add(&harness, "a.toml", COMMENT);
    harness.write("mine/b.toml", COMMENT);
    let ran = harness.nova3(&["agents", "list"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            Some(2),
            "nova3: agent file `mine/b.toml`: `action` is `comment`, as in `mine/a.toml` (one file for each)\n"
        )
    );
    harness.write("nova3.toml", "[agents]\nfolder = \"nowhere\"\n");
    let ran = harness.nova3(&["agents", "list"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err
            .contains("`nowhere`: the folder of `agents.folder` cannot be read"),
        "{}",
        ran.err
    );
}

#[test]
fn an_agent_takes_its_own_route_and_a_line_another() {
    let (harness, model) = setup_saying(good);
    let route = |name: &str| {
        format!(
            "[routes.{name}]\nbase_url = \"{}\"\nmodel = \"model-{name}\"\nno_key = true\n",
            model.base_url()
        )
    };
    add(
        &harness,
        "comment.toml",
        &COMMENT.replace("max_tokens = 100", "max_tokens = 100\nmodel = \"cheap\""),
    );
    harness.write(
        "nova3.toml",
        format!(
            "[run]\nmodel = \"best\"\n[agents]\nfolder = \"mine\"\n{}{}",
            route("best"),
            route("cheap")
        ),
    );
    let line = |id: &str, more: &str| {
        format!("{{\"custom_id\":\"{id}\",\"query\":\"q\",\"tasks\":[\"comment\",\"insight\"]{more}}}\n")
    };
    harness.write("in.jsonl", line("a", "") + &line("b", ",\"model\":\"best\""));
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let routes: Vec<String> = lines(&ran.out).iter().map(routes_of).collect();
    assert_eq!(routes, ["\"cheap\" \"best\"", "\"best\" \"best\""]);
}

/// The routes of a line's two tasks.
fn routes_of(line: &Value) -> String {
    format!("{} {}", line["tasks"][0]["route"], line["tasks"][1]["route"])
}

#[test]
fn a_new_agent_is_written_tried_and_run() {
    let harness = setup();
    let ran = harness.nova3(&["agents", "new", "score"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.err
            .contains("wrote score.toml; try `nova3 agents test score.toml"),
        "{}",
        ran.err
    );
    let ran = harness.nova3(&[
        "agents",
        "test",
        "score.toml",
        "--input",
        "Tea is <<<warm",
        "--mock",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for part in [
        "=== system ===\nYou rate texts",
        "=== user ===\n# Task",
        "Tea is << <warm\n",
        "=== answer ===\n[",
        "\"score\": ",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert!(
        ran.err.contains("1 call; ") && ran.err.contains("route `mock`"),
        "{}",
        ran.err
    );
    assert!(!harness.path("nova3-mock.db").exists(), "nothing is stored");

    // The same file does requests once its folder is named.
    std::fs::create_dir(harness.path("agents")).unwrap();
    std::fs::rename(harness.path("score.toml"), harness.path("agents/score.toml")).unwrap();
    harness.write("nova3.toml", "[agents]\nfolder = \"agents\"\n");
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"a\",\"query\":\"Tea\",\"tasks\":[\"score\"]}\n",
    );
    let ran = harness.nova3(&["run", "in.jsonl", "--mock"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(lines(&ran.out)[0]["output"][0]["id"], "score1");
}

#[test]
fn a_name_or_a_file_that_cannot_be_an_agent_is_refused() {
    let harness = setup();
    harness.write("there.toml", "kept");
    for (arguments, said) in [
        (&["agents", "new", "Score"][..], "is no name of an agent"),
        (&["agents", "new", "score1"], "without a digit at the end"),
        (&["agents", "new", "facts"], "there is an agent `facts` already"),
        (
            &["agents", "new", "supervisor"],
            "there is an agent `supervisor` already",
        ),
        (&["agents", "new", "there"], "`there.toml` already exists"),
        (
            &["agents", "test", "gone.toml", "--input", "x", "--mock"],
            "agent file `gone.toml`",
        ),
        (
            &["agents", "test", "there.toml", "--input", "x", "--mock"],
            "agent file `there.toml` line 1",
        ),
    ] {
        let ran = harness.nova3(arguments);
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(2), ""),
            "{arguments:?}: {}",
            ran.err
        );
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.err);
    }
    assert_eq!(harness.read("there.toml"), "kept");
}
