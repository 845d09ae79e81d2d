//! Pipelines: the tasks of each row as a graph, with conditions.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, Ran, Running, errors, ids, lines, setup_with, slow, until};
use crate::cli::model::{Call, calls, cut, says, setup_saying};
use crate::cli::provider::Scripted;

const TRIAGE: &str = r#"
[[task]]
agent = "score"

[[task]]
agent = "tags"
needs = []

[[task]]
agent = "reply"
needs = ["score", "tags"]
when = "tasks.score[0].points < 3"
"#;

const TABLE: &str = "sku,review,lang\nA1,bad,en\nA2,good,de\n";

/// An agent without a schema whose prompt is this template.
fn agent(name: &str, user: &str) -> String {
    format!("action = \"{name}\"\nmax_tokens = 100\nsystem = \"{name}\"\nuser = '''{user}'''\n")
}

/// A folder with a table, agents and a pipeline. A review with `bad` gets 1 point, any other 5.
fn with_pipeline(pipeline: &str) -> (Harness, Scripted) {
    let (harness, model) = setup_saying(|call: &Call| match call.system() {
        "score" if call.user().contains("bad") => says(r#"{"points": 1}"#),
        "score" => says(r#"{"points": 5}"#),
        "fails" => cut(""),
        name => says(format!("{name} of {}", call.user())),
    });
    prepare(&harness, pipeline);
    (harness, model)
}

fn prepare(harness: &Harness, pipeline: &str) {
    let schema = r#"schema = '{"type": "object", "properties": {"points": {"type": "integer"}}, "required": ["points"]}'"#;
    let score = agent("score", "{{ row.review }}") + schema + "\n";
    let reply = agent("reply", "{{ tasks.score[0].points }} {{ tasks.tags[0].content }}");
    std::fs::create_dir_all(harness.path("agents")).unwrap();
    let files = [
        ("score", score),
        ("tags", agent("tags", "{{ row.sku }}")),
        ("reply", reply),
        ("fails", agent("fails", "{{ row.sku }}")),
        ("last", agent("last", "last {{ row.sku }}")),
    ];
    for (name, text) in files {
        harness.write(&format!("agents/{name}.toml"), text);
    }
    let settings = harness.read("nova3.toml");
    harness.write("nova3.toml", settings + "[agents]\nfolder = \"agents\"\n");
    harness.write("rows.csv", TABLE);
    harness.write("pipeline.toml", pipeline);
}

fn run(harness: &Harness, more: &[&str]) -> Ran {
    let run = [
        "run",
        "rows.csv",
        "--pipeline",
        "pipeline.toml",
        "--id-column",
        "sku",
        "-o",
        "out.jsonl",
        "--keep-order",
    ];
    harness.nova3(&[&run[..], more].concat())
}

/// The actions and statuses of a result line.
fn tasks(line: &Value) -> Vec<(&str, &str)> {
    let tasks = line["tasks"].as_array().unwrap();
    tasks
        .iter()
        .map(|task| (task["action"].as_str().unwrap(), task["status"].as_str().unwrap()))
        .collect()
}

/// The user messages of the calls of an agent, in order of their text.
fn asked(model: &Scripted, name: &str) -> Vec<String> {
    let calls = calls(model);
    let of_agent = calls.iter().filter(|call| call.system() == name);
    let mut asked: Vec<String> = of_agent.map(|call| call.user().to_owned()).collect();
    asked.sort();
    asked
}

#[test]
fn a_condition_decides_for_each_row() {
    let (harness, model) = with_pipeline(TRIAGE);
    let ran = run(&harness, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let results = harness.results("out.jsonl");
    assert_eq!(ids(&results), ["A1", "A2"]);
    assert_eq!(
        tasks(&results[0]),
        [
            ("score", "completed"),
            ("tags", "completed"),
            ("reply", "completed")
        ]
    );
    assert_eq!(
        tasks(&results[1]),
        [
            ("score", "completed"),
            ("tags", "completed"),
            ("reply", "skipped")
        ]
    );
    assert_eq!(results[0]["output"][0]["content"], "reply of 1 tags of A1");
    assert_eq!(results[1]["status"], "completed");
    assert_eq!(results[1]["output"][0]["content"], "tags of A2");
    let skipped = &results[1]["tasks"][2];
    assert_eq!(
        (&skipped["attempts"], &skipped["result"]),
        (&json!(0), &Value::Null)
    );
    assert_eq!(asked(&model, "reply"), ["1 tags of A1"]);
    assert_eq!(model.bodies().len(), 5);
    // The same command has nothing left to do.
    assert_eq!(run(&harness, &[]).code, Some(0));
    assert_eq!(model.bodies().len(), 5);
    assert_eq!(harness.results("out.jsonl"), results);
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}

#[test]
fn tasks_that_need_no_other_run_side_by_side() {
    let (harness, provider) = setup_with(slow());
    prepare(
        &harness,
        "[[task]]\nagent = \"tags\"\n[[task]]\nagent = \"last\"\nneeds = []\n[[task]]\nagent = \"fails\"\nneeds = []\n",
    );
    harness.write("rows.csv", "sku,review\nA1,fine\n");
    let run = [
        "run",
        "rows.csv",
        "--pipeline",
        "pipeline.toml",
        "-o",
        "out.jsonl",
    ];
    let _running = Running::start(harness.command(&run));
    until("three calls at once", || provider.stats().in_flight.now == 3);
}

#[test]
fn a_failed_task_skips_only_the_tasks_that_need_it() {
    let pipeline = "[[task]]\nagent = \"fails\"\n[[task]]\nagent = \"tags\"\nneeds = []\n[[task]]\nagent = \"last\"\nneeds = [\"fails\"]\n";
    let (harness, model) = with_pipeline(pipeline);
    let ran = run(&harness, &[]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = harness.results("out.jsonl");
    for line in &results {
        assert_eq!(line["status"], "failed");
        assert_eq!(
            tasks(line),
            [("fails", "failed"), ("tags", "completed"), ("last", "skipped")]
        );
        assert_eq!(line["error"]["task_id"], "task001");
    }
    assert_eq!(asked(&model, "last"), [""; 0]);
    let tags = asked(&model, "tags").len();
    // A retry keeps the good task.
    assert_eq!(run(&harness, &["--retry-failed"]).code, Some(100));
    assert_eq!(asked(&model, "tags").len(), tags);
    let continued = run(
        &harness,
        &["--on-task-failure", "continue", "--run", "on", "--overwrite"],
    );
    assert_eq!(continued.code, Some(100), "{}", continued.err);
    let results = harness.results("out.jsonl");
    assert_eq!(results[0]["status"], "partial");
    assert_eq!(
        tasks(&results[0]),
        [("fails", "failed"), ("tags", "completed"), ("last", "completed")]
    );
}

#[test]
fn a_pause_stops_behind_its_task_and_goes_on_later() {
    let (harness, model) = with_pipeline(TRIAGE);
    let ran = run(&harness, &["--until", "score"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let results = harness.results("out.jsonl");
    for line in &results {
        assert_eq!(line["status"], "paused");
        assert_eq!(
            tasks(line),
            [
                ("score", "completed"),
                ("tags", "completed"),
                ("reply", "pending")
            ]
        );
    }
    let ran = run(&harness, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let results = harness.results("out.jsonl");
    assert_eq!(results[0]["tasks"][2]["status"], "completed");
    assert_eq!(results[1]["tasks"][2]["status"], "skipped");
    assert_eq!(model.bodies().len(), 5);
}

#[test]
fn one_agent_can_do_two_tasks_with_settings_of_their_own() {
    let pipeline = r#"
[[task]]
agent = "tags"
[[task]]
id = "first"
agent = "last"
samples = 2
keep = "all"
[[task]]
id = "second"
agent = "last"
needs = ["tags"]
for_each = "tags"
"#;
    let (harness, model) = with_pipeline(pipeline);
    let ran = run(&harness, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let line = &harness.results("out.jsonl")[0];
    assert_eq!(
        tasks(line),
        [
            ("tags", "completed"),
            ("first", "completed"),
            ("second", "completed")
        ]
    );
    let ids: Vec<&Value> = line["tasks"][1]["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["id"])
        .collect();
    assert_eq!(ids, ["first1", "first2"]);
    assert_eq!(line["tasks"][2]["result"][0]["id"], "second1");
    assert_eq!(asked(&model, "last").len(), 6);
}

#[test]
fn each_item_of_an_earlier_task_gets_a_part() {
    let (harness, model) = setup_saying(|call: &Call| {
        if call.system() == "topics" {
            says(r#"{"items": [{"title": "one"}, {"title": "two"}, {"title": "three"}]}"#)
        } else {
            says(call.user())
        }
    });
    let schema = r#"schema = '{"type": "object", "properties": {"items": {"type": "array", "items": {"type": "object", "properties": {"title": {"type": "string"}}}}}}'"#;
    harness.write(
        "topics.toml",
        agent("topics", "{{ row.sku }}") + "item = \"topic\"\n" + schema,
    );
    harness.write(
        "post.toml",
        agent(
            "post",
            "{{ row.sku }}:{% for topic in tasks.topics %} {{ topic.title }}{% endfor %}",
        ),
    );
    harness.write(
        "pipeline.toml",
        "[[task]]\nagent = \"topics\"\n[[task]]\nagent = \"post\"\nfor_each = \"topic\"\n",
    );
    harness.write("rows.csv", "sku\nA1\n");
    let ran = run(&harness, &["--agent", "topics.toml", "--agent", "post.toml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(asked(&model, "post"), ["A1: one", "A1: three", "A1: two"]);
    let output = &harness.results("out.jsonl")[0]["output"];
    let made: Vec<(&Value, &Value)> = output
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (&item["content"], &item["topic_title"]))
        .collect();
    assert_eq!(
        made,
        [
            (&json!("A1: one"), &json!("one")),
            (&json!("A1: two"), &json!("two")),
            (&json!("A1: three"), &json!("three"))
        ]
    );
}

#[test]
fn a_task_sees_only_the_results_that_it_needs() {
    let pipeline = "[[task]]\nagent = \"tags\"\n[[task]]\nagent = \"last\"\nneeds = []\n[[task]]\nagent = \"fact\"\nneeds = [\"last\"]\n";
    let (harness, model) = with_pipeline(pipeline);
    let fact = agent("fact", "{% include \"material\" %}fact");
    harness.write("agents/fact.toml", fact + "item = \"found\"\n");
    // One call at a time: `tags` is completed before `fact` begins.
    assert_eq!(run(&harness, &["-j", "1"]).code, Some(0));
    for prompt in asked(&model, "fact") {
        assert!(prompt.contains("last of last"), "{prompt}");
        assert!(!prompt.contains("tags of"), "{prompt}");
    }
    assert_eq!(asked(&model, "fact").len(), 2);
}

#[test]
fn a_condition_that_cannot_be_evaluated_fails_its_request_only() {
    let pipeline = "[[task]]\nagent = \"tags\"\nwhen = \"row.price > 10\"\n";
    let (harness, model) = with_pipeline(pipeline);
    harness.write(
        "rows.json",
        json!([{"sku": "A1", "price": 12}, {"sku": "A2", "price": {"a": 1}}, {"sku": "A3", "price": 9}])
            .to_string(),
    );
    let pipeline = [
        "--pipeline",
        "pipeline.toml",
        "--id-column",
        "sku",
        "--keep-order",
    ];
    let ran = harness.nova3(&[&["run", "rows.json"][..], &pipeline].concat());
    let results = lines(&ran.out);
    let statuses: Vec<&Value> = results.iter().map(|line| &line["tasks"][0]["status"]).collect();
    assert_eq!(
        (ran.code, &statuses[..1]),
        (Some(0), &[&json!("completed")][..]),
        "{}",
        ran.err
    );
    assert_eq!(
        asked(&model, "tags").len() + usize::from(statuses[1] == "skipped"),
        2
    );
    harness.write(
        "pipeline.toml",
        "[[task]]\nagent = \"tags\"\nwhen = \"metadata.price * 2 > 10\"\n",
    );
    let lines_in = [
        json!({"sku": "A1", "metadata": {"price": 9}}),
        json!({"sku": "A2"}),
    ];
    harness.write("in.jsonl", lines_in.map(|line| format!("{line}\n")).concat());
    let ran = harness.nova3(&[&["run", "in.jsonl"][..], &pipeline].concat());
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = lines(&ran.out);
    assert_eq!(results[0]["status"], "completed");
    let (class, message) = errors(&results)[0];
    assert_eq!(class, "bad_request");
    assert!(
        message.starts_with("the condition `metadata.price * 2 > 10` of `tags` cannot be evaluated: "),
        "{message}"
    );
}

/// Checks that each pipeline is refused with its message.
fn refused(harness: &Harness, pipelines: &[(String, &str)]) {
    for (index, (pipeline, told)) in pipelines.iter().enumerate() {
        harness.write("pipeline.toml", pipeline);
        let command = ["run", "check", "plan"][index % 3];
        let ran = harness.nova3(&[command, "rows.csv", "--pipeline", "pipeline.toml"]);
        assert_eq!(ran.code, Some(2), "{pipeline}: {}", ran.err);
        assert!(ran.err.contains(told), "{pipeline}: {}", ran.err);
    }
}

#[test]
fn a_wrong_task_is_refused_at_the_start() {
    let (harness, model) = with_pipeline(TRIAGE);
    let one = "[[task]]\nagent = \"tags\"\n";
    let eleven = "[[task]]\nagent = \"tags\"\n".repeat(11);
    refused(
        &harness,
        &[
            (
                String::new(),
                "pipeline `pipeline.toml` line 1: expected 1 to 10 tasks (`[[task]]`), got 0",
            ),
            (eleven, "expected 1 to 10 tasks (`[[task]]`), got 11"),
            (
                "[[task]]\nagents = \"tags\"\n".to_owned(),
                "line 2: unknown field `agents`",
            ),
            (
                "[[tasks]]\nagent = \"tags\"\n".to_owned(),
                "line 1: unknown field `tasks`",
            ),
            (
                "[[task]]\nneeds = []\n".to_owned(),
                "expected `agent`, got a task without one",
            ),
            (
                format!("{one}action = \"tags\"\n"),
                "line 2: expected `agent` or `action`, got both",
            ),
            (
                one.replace("tags", "tag"),
                "line 2: there is no agent `tag` (known: ",
            ),
            (
                one.repeat(2),
                "line 4: two tasks are named `tags` (give one an `id` of its own)",
            ),
            (
                format!("{one}id = \"last\"\n"),
                "line 3: `id` is `last`, which is the name of another agent",
            ),
            (
                format!("{one}id = \"t1\"\n"),
                "line 3: `id` is `t1`, expected a name that does not end in a digit",
            ),
            (
                format!("{one}samples = 11\n"),
                "line 3: `samples` is 11, expected 2 to 10",
            ),
            (
                format!("{one}for_each = \"nothing\"\n"),
                "line 3: `for_each` is `nothing`, and no agent makes items of that type",
            ),
        ],
    );
    let both = harness.nova3(&[
        "run",
        "rows.csv",
        "--pipeline",
        "pipeline.toml",
        "--tasks",
        "tags",
    ]);
    assert_eq!(both.code, Some(2));
    assert!(
        both.err
            .contains("`--pipeline` and `--tasks` both give the tasks of a request"),
        "{}",
        both.err
    );
    let none = harness.nova3(&["run", "rows.csv", "--pipeline", "none.toml"]);
    assert!(
        none.err.contains("pipeline `none.toml`: No such file"),
        "{}",
        none.err
    );
    assert_eq!(model.bodies().len(), 0);
}

#[test]
fn a_wrong_need_or_condition_is_refused_at_the_start() {
    let (harness, model) = with_pipeline(TRIAGE);
    let one = "[[task]]\nagent = \"tags\"\n";
    let circle = format!("{one}needs = [\"last\"]\n[[task]]\nagent = \"last\"\nneeds = [\"tags\"]\n");
    refused(
        &harness,
        &[
            (
                circle,
                "line 3: `needs` of `tags` names `last`, which is no task before it (tasks before it: none)",
            ),
            (
                format!("{one}needs = [\"tags\"]\n"),
                "`needs` of `tags` names `tags`",
            ),
            (
                format!("{one}when = \"points > 3\"\n"),
                "line 3: `when`: it names `points`, expected `row.points`",
            ),
            (
                format!("{one}when = \"row.a >\"\n"),
                "line 3: `when`: syntax error",
            ),
            (
                format!("{one}when = \"row.sku | shout\"\n"),
                "line 3: `when`: unknown filter",
            ),
            (
                format!("{one}when = \"tasks.score\"\n"),
                "`tags` names `tasks.score`, and `needs` does not lead to that task (needed: none)",
            ),
            (
                TRIAGE.replace("[\"score\", \"tags\"]", "[\"score\"]"),
                "`reply` names `tasks.tags`, and `needs` does not lead to that task (needed: `score`)",
            ),
            (
                format!("{one}when = \"row.price\"\n"),
                "expected a column `price`",
            ),
        ],
    );
    assert_eq!(model.bodies().len(), 0);
}

#[test]
fn a_changed_pipeline_is_another_prompt_or_another_plan() {
    let (harness, model) = with_pipeline(TRIAGE);
    assert_eq!(run(&harness, &[]).code, Some(0));
    harness.write("pipeline.toml", TRIAGE.replace("< 3", "< 9"));
    let ran = run(&harness, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.err
            .contains("2 finished with other tasks or prompts; they stay"),
        "{}",
        ran.err
    );
    assert_eq!(model.bodies().len(), 5);
}
