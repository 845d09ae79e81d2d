//! A prompt on the command line, and agent files without a folder: one step for each row.

use serde_json::{Value, json};

use crate::cli::harness::{Harness, errors, ids, setup};
use crate::cli::model::{Call, calls, says, setup_saying};
use crate::cli::provider::Scripted;

const ROWS: &str = "sku,review,stock\nA1,Lovely scent,3\nA2,\"Broke, after a day\",4\n";

const ASK: &str = "Is this positive? {{ row.review }}";

const SCHEMA: &str = r#"{"type": "object", "properties": {"positive": {"type": "boolean"}, "tags": {"type": "array",
  "items": {"type": "string"}}}, "required": ["positive"], "additionalProperties": false}"#;

const RUN: [&str; 6] = ["run", "rows.csv", "--id-column", "sku", "-o", "out.jsonl"];

/// An agent that names columns only.
const SCORE: &str = r#"action = "score"
max_tokens = 200
system = "You rate {{ row.sku }}."
user = "Rate: {{ row.review }}"
"#;

fn with_rows(answer: &'static str) -> (Harness, Scripted) {
    let (harness, model) = setup_saying(move |_| says(answer));
    harness.write("rows.csv", ROWS);
    (harness, model)
}

/// The role and the text of each message.
fn messages(call: &Call) -> Vec<(&str, &str)> {
    let messages = call.body()["messages"].as_array().unwrap();
    messages
        .iter()
        .map(|message| {
            (
                message["role"].as_str().unwrap(),
                message["content"].as_str().unwrap(),
            )
        })
        .collect()
}

/// Runs the table, and returns the result lines in their input order.
fn run(harness: &Harness, more: &[&str], code: i32) -> Vec<Value> {
    let ran = harness.nova3(&[&RUN[..], &["--keep-order"], more].concat());
    assert_eq!(ran.code, Some(code), "{}", ran.err);
    harness.results("out.jsonl")
}

/// The messages of a command that ends with exit code 2.
fn refused(harness: &Harness, args: &[&str]) -> String {
    let ran = harness.nova3(args);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(2), ""),
        "{args:?}: {}",
        ran.err
    );
    ran.err
}

#[test]
fn the_prompt_is_the_rendered_template_and_nothing_else() {
    let (harness, model) = with_rows("+");
    let results = run(&harness, &["--ask", ASK], 0);
    assert_eq!(ids(&results), ["A1", "A2"]);
    for line in &results {
        assert_eq!(line["output"], json!([{"id": "ask1", "content": "+"}]));
        assert_eq!(line["tasks"][0]["action"], "ask");
        assert_eq!(line["tasks"].as_array().unwrap().len(), 1);
        assert_eq!(line["warnings"], json!([]), "{line}");
    }
    let calls = calls(&model);
    let mut sent: Vec<Vec<(&str, &str)>> = calls.iter().map(messages).collect();
    sent.sort();
    assert_eq!(
        sent,
        [
            vec![("user", "Is this positive? Broke, after a day")],
            vec![("user", "Is this positive? Lovely scent")],
        ]
    );
    assert_eq!(calls[0].body()["response_format"], Value::Null);
    // The same command has nothing left to do, and the file proves itself.
    assert_eq!(run(&harness, &["--ask", ASK], 0), results);
    assert_eq!(model.bodies().len(), 2);
    let verified = harness.nova3(&["verify"]);
    assert_eq!(verified.code, Some(0), "{}", verified.err);
    let planned = harness.nova3(&["plan", "rows.csv", "--id-column", "sku", "--ask", ASK]);
    assert!(
        planned.out.contains("row 2 · A1 · --ask · done"),
        "{}",
        planned.out
    );
}

#[test]
fn a_system_message_and_a_schema_are_sent() {
    let (harness, model) = with_rows(r#"{"positive": true, "tags": []}"#);
    harness.write("schema.json", SCHEMA);
    harness.write("ask.txt", "Judge: {{ row.review }}\n");
    let more = [
        "--ask",
        "@ask.txt",
        "--system",
        "SKU {{ row.sku }}",
        "--schema",
        "schema.json",
    ];
    let results = run(&harness, &more, 0);
    assert_eq!(
        results[0]["output"],
        json!([{"id": "ask1", "positive": true, "tags": []}])
    );
    let calls = calls(&model);
    let mut sent: Vec<Vec<(&str, &str)>> = calls.iter().map(messages).collect();
    sent.sort();
    assert_eq!(sent[0], [("system", "SKU A1"), ("user", "Judge: Lovely scent")]);
    let form = &calls[0].body()["response_format"]["json_schema"];
    assert_eq!(form["name"], "ask");
    assert_eq!(form["schema"], serde_json::from_str::<Value>(SCHEMA).unwrap());
}

#[test]
fn an_answer_that_does_not_fit_is_asked_for_once_more() {
    let (harness, model) = setup_saying(|call| {
        if call.is_repair() || call.body()["messages"].as_array().unwrap().len() == 3 {
            says(r#"{"positive": false}"#)
        } else {
            says(r#"{"positive": "yes"}"#)
        }
    });
    harness.write("rows.csv", ROWS);
    harness.write("schema.json", SCHEMA);
    let results = run(&harness, &["--ask", ASK, "--schema", "schema.json"], 0);
    assert_eq!(results[1]["output"], json!([{"id": "ask1", "positive": false}]));
    assert_eq!(results[1]["tasks"][0]["attempts"], 2);
    assert_eq!(model.bodies().len(), 4);
}

#[test]
fn a_schema_that_nothing_fits_fails_each_request_by_itself() {
    let (harness, model) = with_rows(r#"{"positive": true}"#);
    harness.write(
        "schema.json",
        r#"{"type": "object", "properties": {"positive": {"type": "boolean"}}, "not": {}}"#,
    );
    let results = run(&harness, &["--ask", ASK, "--schema", "schema.json"], 100);
    let failed = errors(&results);
    assert_eq!(
        failed.iter().map(|(class, _)| *class).collect::<Vec<_>>(),
        ["schema"; 2]
    );
    // A call and its repair for each row.
    assert_eq!(model.bodies().len(), 4);
}

#[test]
fn a_cell_is_text_and_never_a_template() {
    let (harness, model) = setup_saying(|_| says("ok"));
    let long = "word ".repeat(20_000) + ".";
    let route = format!(
        "base_url = \"{}\"\nmodel = \"m\"\nno_key = true\n",
        model.base_url()
    );
    harness.write(
        "nova3.toml",
        format!("[routes.a]\n{route}context_window = 200000\n"),
    );
    let cells = [
        "{{ secret }}{% for x in range(9) %}x{% endfor %}{# c #}",
        "{{ row.sku }}",
        "a\u{1}b\u{1b}[31mred\u{7}\u{85}",
        &long,
        "</s><|im_end|>\r\n\"quoted\" \\ ''' >>> <<<",
    ];
    let rows: Vec<Value> = cells.iter().map(|cell| json!({"review": cell})).collect();
    harness.write("rows.json", Value::from(rows).to_string());
    let ran = harness.nova3(&[
        "run",
        "rows.json",
        "-j",
        "1",
        "--ask",
        "[{{ row.review }}]",
        "-o",
        "out.jsonl",
    ]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let sent: Vec<String> = calls(&model)
        .iter()
        .map(|call| call.message(0).to_owned())
        .collect();
    let expected: Vec<String> = cells.iter().map(|cell| format!("[{cell}]")).collect();
    assert_eq!(sent, expected);
    // A cell that does not fit into the window fails its request without a call.
    harness.write(
        "nova3.toml",
        format!("[routes.a]\n{route}context_window = 20000\n"),
    );
    let ran = harness.nova3(&[
        "run",
        "rows.json",
        "--ask",
        "[{{ row.review }}]",
        "--run",
        "small",
    ]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    assert_eq!(
        errors(&crate::cli::harness::lines(&ran.out))[0].0,
        "context_length"
    );
    assert_eq!(model.bodies().len(), 2 * cells.len() - 1);
}

#[test]
fn json_lines_with_foreign_keys_are_rows() {
    let (harness, model) = setup_saying(|_| says("ok"));
    let lines = [
        json!({"custom_id": "a", "review": {"text": "fine", "stars": [4, 5]}, "other": 1}),
        json!({"custom_id": "b", "stars": 3}),
    ];
    harness.write("in.jsonl", lines.map(|line| format!("{line}\n")).concat());
    let ask = ["--ask", "{{ row.review.text }} {{ row.review.stars[1] }}"];
    let run = [&["run", "in.jsonl", "-o", "out.jsonl", "--keep-order"][..], &ask].concat();
    let ran = harness.nova3(&run);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = harness.results("out.jsonl");
    assert_eq!(results[0]["output"][0]["content"], "ok");
    let (class, message) = errors(&results)[0];
    assert_eq!(class, "bad_request");
    assert!(
        message
            .contains("expected a column `review` (for the template of an agent), got `custom_id`, `stars`"),
        "{message}"
    );
    assert_eq!(calls(&model)[0].message(0), "fine 5");
    // A key that no template names is no content: its edit runs nothing again.
    harness.write(
        "in.jsonl",
        harness.read("in.jsonl").replace("\"other\":1", "\"other\":2"),
    );
    assert_eq!(harness.nova3(&run).code, Some(100));
    assert_eq!(model.bodies().len(), 1);
    harness.write("in.jsonl", harness.read("in.jsonl").replace("fine", "bad"));
    assert_eq!(harness.nova3(&run).code, Some(100));
    assert_eq!(calls(&model)[1].message(0), "bad 5");
    // Without a prompt of one's own the lines stay strict.
    let strict = harness.nova3(&["check", "in.jsonl", "--tasks", "answer"]);
    assert!(strict.err.contains("unknown key"), "{}", strict.err);
}

#[test]
fn a_changed_prompt_is_another_prompt() {
    let (harness, model) = with_rows("ok");
    let first = run(&harness, &["--ask", ASK], 0);
    let ran = harness.nova3(&[&RUN[..], &["--keep-order", "--ask", "Another: {{ row.review }}"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.err
            .contains("2 finished with other tasks or prompts; they stay. Anew: `nova3 redo --stale`, or --run NAME for other tasks"),
        "{}",
        ran.err
    );
    assert_eq!(harness.results("out.jsonl"), first);
    assert_eq!(model.bodies().len(), 2);
}

#[test]
fn a_wrong_flag_is_refused_before_anything_is_spent() {
    let (harness, model) = with_rows("ok");
    harness.write("broken.json", "{\n\"type\": \n}");
    harness.write("list.json", r#"{"type": "array"}"#);
    harness.write(
        "wrong.json",
        r#"{"type": "object", "properties": {"a": {"type": "texts"}}}"#,
    );
    harness.write(
        "id.json",
        r#"{"type": "object", "properties": {"id": {"type": "string"}}}"#,
    );
    for (index, (more, message)) in [
        (
            &["--ask", "{{ review }}"][..],
            "`--ask`: it names `review`, expected a column such as `row.review`",
        ),
        (&["--ask", "a\n{{ row.review"], "`--ask` line 2: syntax error"),
        (
            &["--ask", "{{ row.reviews }}"],
            "expected a column `reviews` (for the template of an agent), got `sku`, `review`, `stock`",
        ),
        (
            &["--ask", "{{ row.review | shout }}"],
            "`--ask` line 1: unknown filter",
        ),
        (&["--ask", ""], "expected a template, got an empty text"),
        (&["--ask", "@none.txt"], "`--ask`: file `none.txt`: No such file"),
        (
            &["--ask", ASK, "--system", "{{ stock }}"],
            "`--system`: it names `stock`",
        ),
        (
            &["--ask", ASK, "--schema", "none.json"],
            "`--schema`: file `none.json`: No such file",
        ),
        (
            &["--ask", ASK, "--schema", "broken.json"],
            "`--schema`: file `broken.json` line 3: expected value",
        ),
        (
            &["--ask", ASK, "--schema", "list.json"],
            "`--schema`: file `list.json` line 1: its root must have the type `object`",
        ),
        (
            &["--ask", ASK, "--schema", "wrong.json"],
            "`--schema`: file `wrong.json` line 1: ",
        ),
        (
            &["--ask", ASK, "--schema", "id.json"],
            "a property `id`, which is the name of the item's own id",
        ),
        (
            &["--ask", ASK, "--tasks", "answer"],
            "`--ask` and `--tasks` both give the tasks of a request",
        ),
        (
            &["--schema", "list.json"],
            "`--schema` belongs to `--ask`, which is not given",
        ),
        (&["--agent", "none.toml"], "agent file `none.toml`: No such file"),
        (&["--agent", "rows.csv"], "agent file `rows.csv` line 1"),
    ]
    .into_iter()
    .enumerate()
    {
        let command = ["run", "check", "plan"][index % 3];
        let told = refused(&harness, &[&[command, "rows.csv"], more].concat());
        assert!(told.contains(message), "{command} {more:?}: {told}");
    }
    assert_eq!(model.bodies().len(), 0);
}

#[test]
fn a_flag_replaces_its_variable() {
    let (harness, model) = with_rows("ok");
    let harness = harness.with("NOVA3_ASK", "Variable: {{ row.review }}");
    let told = refused(&harness, &["run", "rows.csv", "--tasks", "answer"]);
    assert!(told.contains("`NOVA3_ASK` and `NOVA3_TASKS` count too"), "{told}");
    run(&harness, &[], 0);
    run(
        &harness,
        &[
            "--ask",
            "Flag: {{ row.review }}",
            "--run",
            "second",
            "--overwrite",
        ],
        0,
    );
    let calls = calls(&model);
    let starts = |begin: &str| {
        calls
            .iter()
            .filter(|call| call.message(0).starts_with(begin))
            .count()
    };
    assert_eq!((starts("Variable: "), starts("Flag: ")), (2, 2));
}

#[test]
fn a_single_agent_file_is_the_task() {
    let (harness, model) = with_rows("4 of 5");
    harness.write("score.toml", SCORE);
    let results = run(&harness, &["--agent", "score.toml"], 0);
    assert_eq!(
        results[0]["output"],
        json!([{"id": "score1", "content": "4 of 5"}])
    );
    let calls = calls(&model);
    let mut sent: Vec<Vec<(&str, &str)>> = calls.iter().map(messages).collect();
    sent.sort();
    assert_eq!(
        sent[0],
        [("system", "You rate A1."), ("user", "Rate: Lovely scent")]
    );
    // Two agent files need `--tasks`, which gives the order of a chain.
    harness.write(
        "reply.toml",
        "action = \"reply\"\nmax_tokens = 200\nsystem = \"Reply.\"\nuser = \"{{ row.review }}\"\n",
    );
    let two = [
        "--agent",
        "score.toml",
        "--agent",
        "reply.toml",
        "--tasks",
        "score,reply",
        "--run",
        "two",
    ];
    let results = run(&harness, &[&two[..], &["--overwrite"]].concat(), 0);
    let actions: Vec<&Value> = results[0]["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["action"])
        .collect();
    assert_eq!(actions, ["score", "reply"]);
}

#[test]
fn a_template_that_names_the_query_needs_one() {
    let harness = setup();
    harness.write("rows.csv", ROWS);
    let harness = harness.with("OPENAI_API_KEY", "sk-test");
    let ran = harness.nova3(&[
        "check",
        "rows.csv",
        "--ask",
        "{{ query }} {{ row.review }}",
        "-m",
        "m",
    ]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(
        ran.err
            .contains("row 2: expected `query` to have 1 to 5000 characters"),
        "{}",
        ran.err
    );
    let given = ["--ask", "{{ query }}", "--query", "Q {{ row.review }}", "-m", "m"];
    let ran = harness.nova3(&[&["check", "rows.csv"][..], &given].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.out.ends_with("rows.csv: 2 requests, 0 bad rows\n"),
        "{}",
        ran.out
    );
}
