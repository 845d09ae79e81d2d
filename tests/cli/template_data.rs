//! The data that templates of own agents name: the row, the metadata, and the results of earlier tasks.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, errors};
use crate::cli::model::{Call, calls, says, setup_saying};
use crate::cli::provider::Scripted;

const SCORE: &str = r#"action = "score"
max_tokens = 200
system = "You rate for {{ metadata.team.name }}."
user = "Rate {{ row.review }}"
schema = '{"type": "object", "properties": {"points": {"type": "integer"}, "why": {"type": "object"}}}'
"#;

const REPLY: &str = r#"action = "reply"
max_tokens = 200
system = "Reply to {{ tasks.score[0].id }}."
user = """{% for item in tasks.score %}{{ item.points * 2 }} {{ item.why.word | upper }}{% endfor %} of {{ row.sku }}"""
"#;

fn with_agents() -> (Harness, Scripted) {
    let (harness, model) = setup_saying(|call: &Call| {
        if call.system().starts_with("You rate") {
            says(r#"{"points": 4, "why": {"word": "{{ row.sku }}"}}"#)
        } else {
            says("thanks")
        }
    });
    harness.write("score.toml", SCORE);
    harness.write("reply.toml", REPLY);
    (harness, model)
}

fn run(harness: &Harness, more: &[&str]) -> crate::cli::harness::Ran {
    let agents = ["--agent", "score.toml", "--agent", "reply.toml"];
    harness.nova3(&[&["run", "in.jsonl", "-o", "out.jsonl"][..], &agents, more].concat())
}

fn line(id: &str, team: &Value) -> String {
    format!(
        "{}\n",
        json!({"custom_id": id, "sku": "A1", "review": "fine", "metadata": {"team": team}})
    )
}

#[test]
fn a_template_names_the_row_the_metadata_and_earlier_results() {
    let (harness, model) = with_agents();
    harness.write("in.jsonl", line("a", &json!({"name": "red"})));
    let ran = run(&harness, &["--tasks", "score,reply"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let sent: Vec<(String, String)> = calls(&model)
        .iter()
        .map(|call| (call.system().to_owned(), call.user().to_owned()))
        .collect();
    let sent: Vec<(&str, &str)> = sent
        .iter()
        .map(|(system, user)| (system.as_str(), user.as_str()))
        .collect();
    assert_eq!(
        sent,
        [
            ("You rate for red.", "Rate fine"),
            ("Reply to score1.", "8 {{ ROW.SKU }} of A1"),
        ]
    );
    assert_eq!(harness.results("out.jsonl")[0]["output"][0]["content"], "thanks");
}

#[test]
fn a_value_that_a_template_needs_fails_its_request_only() {
    let (harness, model) = with_agents();
    harness.write(
        "in.jsonl",
        line("a", &Value::Null) + &line("b", &json!({"name": "blue"})),
    );
    let ran = run(&harness, &["--tasks", "score,reply", "--keep-order"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = harness.results("out.jsonl");
    assert_eq!(
        (&results[0]["ok"], &results[1]["ok"]),
        (&json!(false), &json!(true))
    );
    let (class, message) = errors(&results)[0];
    assert_eq!(class, "bad_request");
    assert!(
        message.starts_with("the prompt cannot be made: undefined value"),
        "{message}"
    );
    assert_eq!(model.bodies().len(), 2);
}

#[test]
fn metadata_is_no_content() {
    let (harness, model) = with_agents();
    harness.write("in.jsonl", line("a", &json!({"name": "red"})));
    assert_eq!(run(&harness, &["--tasks", "score"]).code, Some(0));
    harness.write("in.jsonl", line("a", &json!({"name": "blue"})));
    assert_eq!(run(&harness, &["--tasks", "score"]).code, Some(0));
    assert_eq!(model.bodies().len(), 1);
    assert_eq!(
        harness.results("out.jsonl")[0]["metadata"]["team"]["name"],
        "blue"
    );
}

#[test]
fn an_unknown_task_is_refused_at_the_start() {
    let (harness, model) = with_agents();
    harness.write("in.jsonl", line("a", &json!({"name": "red"})));
    for (tasks, message) in [
        (
            "reply,score",
            "the prompt of `reply` names `tasks.score`, and no task before it is `score`",
        ),
        (
            "reply",
            "the prompt of `reply` names `tasks.score`, and no task before it is `score`",
        ),
    ] {
        let ran = run(&harness, &["--tasks", tasks]);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.err.contains(message), "{}", ran.err);
    }
    harness.write("reply.toml", REPLY.replace("tasks.score[0]", "tasks.scores[0]"));
    let ran = run(&harness, &["--tasks", "score,reply"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(
        ran.err
            .contains("agent file `reply.toml`: it names `tasks.scores`, and there is no agent `scores`"),
        "{}",
        ran.err
    );
    harness.write("reply.toml", REPLY.replace("row.sku", "rows.sku"));
    let ran = run(&harness, &["--tasks", "score,reply"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(
        ran.err
            .contains("agent file `reply.toml` line 4: it names `rows`, expected a name such as `row.rows`"),
        "{}",
        ran.err
    );
    // A line that names its own tasks is a bad line.
    harness.write("reply.toml", REPLY);
    harness.write(
        "in.jsonl",
        json!({"custom_id": "a", "sku": "A1", "review": "r", "tasks": ["reply"]}).to_string(),
    );
    let ran = run(&harness, &["--tasks", "score"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    assert!(
        errors(&harness.results("out.jsonl"))[0]
            .1
            .contains("names `tasks.score`")
    );
    assert_eq!(model.bodies().len(), 0);
}
