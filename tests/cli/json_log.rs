//! `--log-format json`: every line on stderr is a JSON object.

use nova3::mock::MockConfig;
use serde_json::Value;

use crate::cli::harness::{setup, setup_with};
use crate::cli::provider::{Say, Scripted};

/// The JSON objects of stderr, one for each line.
fn objects(err: &str) -> Vec<Value> {
    err.lines()
        .map(|line| {
            let object = serde_json::from_str(line);
            assert!(object.is_ok(), "no JSON: {line}");
            object.unwrap()
        })
        .collect()
}

#[test]
fn the_closing_line_carries_its_figures() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write("in.jsonl", format!("{}bad\n", crate::cli::harness::questions(2)));
    for verbosity in [&[][..], &["-q"], &["-vvv"]] {
        let args = [
            &["run", "in.jsonl", "-o", "out.jsonl", "--log-format", "json"],
            verbosity,
        ]
        .concat();
        let ran = harness.nova3(&args);
        assert_eq!(ran.code, Some(100), "{}", ran.err);
        let objects = objects(&ran.err);
        let fields = &objects.last().unwrap()["fields"];
        let message = fields["message"].as_str().unwrap();
        assert!(
            message.starts_with("run `in.jsonl`: finished; 2 of 3 done, 1 failed"),
            "{message}"
        );
        let figures =
            ["run.ending", "requests.total", "requests.done", "requests.failed"].map(|name| &fields[name]);
        assert_eq!(
            figures,
            [&Value::from("finished"), &3.into(), &2.into(), &1.into()]
        );
    }
}

#[test]
fn errors_are_objects_too() {
    let harness = setup().with("OPENAI_API_KEY", "k");
    harness.write("in.jsonl", "bad\n");
    let wrong = [
        (&["run", "missing.jsonl"][..], 3, "missing.jsonl"),
        (&["run", "--no-such-flag"], 2, "--no-such-flag"),
        (&["check", "in.jsonl"], 3, "line 1"),
        (
            &["run", "in.jsonl", "--progress", "bar", "--mock"],
            2,
            "--progress bar",
        ),
    ];
    for (args, code, named) in wrong {
        let ran = harness.nova3(&[args, &["--log-format", "json"]].concat());
        assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.err);
        let told = objects(&ran.err);
        let names = |object: &Value| object["fields"]["message"].as_str().unwrap().contains(named);
        assert!(told.iter().any(names), "{args:?}: {told:?}");
    }
}

#[test]
fn a_log_line_names_its_request_and_its_task() {
    // A 500 is retried, and the retry is logged.
    let provider = Scripted::start(|_| Say {
        status: 500,
        headers: "content-type: application/json\r\n",
        body: r#"{"error":{"message":"no"}}"#.to_owned(),
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    harness.write(
        "in.jsonl",
        "{\"custom_id\":\"a\",\"query\":\"q\",\"tasks\":[\"answer\"]}\n",
    );
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "-v",
        "--log-format",
        "json",
        "--give-up",
        "1ms",
    ];
    let ran = harness.nova3(&args);
    let told = objects(&ran.err);
    let retry = told.iter().find(|object| {
        let message = object["fields"]["message"].as_str().unwrap_or_default();
        message.starts_with("call failed")
    });
    assert_eq!(spans(retry.unwrap()), ["in.jsonl", "a", "task001"]);
}

/// The run, the request and the task that a log line names.
fn spans(line: &Value) -> Vec<&str> {
    let named = [
        ("run", "run.name"),
        ("request", "request.id"),
        ("task", "task.id"),
    ];
    let spans = line["spans"].as_array().unwrap();
    spans
        .iter()
        .zip(named)
        .map(|(span, (name, field))| {
            assert_eq!(span["name"], name, "{line}");
            span[field].as_str().unwrap()
        })
        .collect()
}

#[test]
fn each_event_of_a_task_and_its_calls_is_logged() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let line =
        |id| format!("{{\"custom_id\":\"{id}\",\"query\":\"q\",\"tasks\":[\"insight\",\"profile\"]}}\n");
    harness.write("in.jsonl", format!("{}{}", line("a"), line("b")));
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "-vv",
        "--log-format",
        "json",
    ];
    let ran = harness.nova3(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let logged = objects(&ran.err);
    for request in ["a", "b"] {
        for task in ["task001", "task002"] {
            let of_task = logged.iter().filter(|line| line["level"] == "DEBUG");
            let messages: Vec<&str> = of_task
                .filter(|line| line["spans"].is_array() && spans(line) == ["in.jsonl", request, task])
                .map(|line| line["fields"]["message"].as_str().unwrap())
                .collect();
            // The last task also logs the end of its request.
            let messages: Vec<&str> = match messages.as_slice() {
                [tasks @ .., "request ended"] if task == "task002" => tasks.to_vec(),
                _ => messages,
            };
            assert_eq!(
                messages,
                [
                    "task begun",
                    "call begun",
                    "first token",
                    "call answered",
                    "task completed"
                ],
                "{request} {task}"
            );
        }
    }
    assert!(ran.err.contains("cost_usd"), "{}", ran.err);
}

#[test]
fn every_log_line_can_be_read_alone() {
    let failing = std::sync::atomic::AtomicUsize::new(0);
    let provider = Scripted::start(move |_| {
        let first = failing.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        let answer = r#"{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
        Say {
            status: if first { 500 } else { 200 },
            headers: "content-type: application/json\r\n",
            body: answer.to_owned(),
        }
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    harness.write_questions("in.jsonl", 2);
    let ran = harness.nova3(&[
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--log-format",
        "json",
        "-vvv",
    ]);
    let lines = objects(&ran.err);
    let (log, messages): (Vec<&Value>, Vec<&Value>) = lines.iter().partition(|line| line["spans"].is_array());
    assert!(messages.iter().all(|line| {
        line["fields"]["message"]
            .as_str()
            .unwrap()
            .contains("run `in.jsonl`")
    }));
    assert!(log.len() > 8, "{}", ran.err);
    for line in log {
        let spans = line["spans"].as_array().unwrap();
        for name in ["run.name", "request.id", "task.id"] {
            assert!(
                spans.iter().any(|span| span[name].is_string()),
                "no {name}: {line}"
            );
        }
        let message = line["fields"]["message"].as_str().unwrap();
        let is_of_call = message.starts_with("call ") || message.starts_with("first token");
        assert!(
            !is_of_call || line["fields"]["llm.route"].is_string(),
            "no route: {line}"
        );
    }
}
