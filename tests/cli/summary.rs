//! The closing block, and `--summary-json`.

use std::os::unix::fs::symlink;

use nova3::mock::MockConfig;
use serde_json::{Value, json};

use crate::cli::harness::{Harness, questions, setup, setup_with};
use crate::cli::provider::{Say, Scripted};

/// A folder whose provider answers every call with this status.
fn refusing(status: u16, message: &str) -> (Harness, Scripted) {
    let body = json!({"error": {"message": message}}).to_string();
    let provider = Scripted::start(move |_| Say {
        status,
        headers: "content-type: application/json\r\n",
        body: body.clone(),
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    (harness, provider)
}

fn summary(harness: &Harness) -> Value {
    let text = harness.read("summary.json");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.starts_with(r#"{"summary_v":1,"#), "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn failures_are_shown_by_class_with_the_next_step() {
    let (harness, _provider) = refusing(400, "no such thing");
    harness.write("in.jsonl", format!("{}bad\n", questions(2)));
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert!(
        lines[0].starts_with("run `in.jsonl`: finished; 0 of 3 done, 3 failed"),
        "{}",
        ran.err
    );
    assert!(
        lines[1].starts_with("  failed   3 bad_request, for example `q1`: "),
        "{}",
        ran.err
    );
    assert!(lines[1].contains("no such thing"), "{}", ran.err);
    assert!(lines[2].starts_with("           Correct the line"), "{}", ran.err);
    assert!(ran.err.contains("\n  results  DIR/out.jsonl\n"), "{}", ran.err);
    assert_eq!(
        *lines.last().unwrap(),
        "  next     nova3 retry in.jsonl, then the same command again"
    );
    // The failures stay those of the whole input when nothing is left to do.
    let again = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert!(again.err.contains("  failed   3 bad_request"), "{}", again.err);
}

#[test]
fn a_summary_has_the_figures_of_its_invocation() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write("in.jsonl", format!("{}bad\n", questions(2)));
    let run = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--summary-json",
        "summary.json",
    ];
    assert_eq!(harness.nova3(&run).code, Some(100));
    let first = summary(&harness);
    assert_eq!(
        (
            &first["run"],
            &first["ending"],
            &first["exit_code"],
            &first["error"]
        ),
        (&json!("in.jsonl"), &json!("finished"), &json!(100), &Value::Null)
    );
    assert_eq!(
        first["requests"],
        json!({"total": 3, "done": 2, "partial": 0, "failed": 1, "paused": 0, "continued": 0, "left": 0, "finished_now": 2})
    );
    let failure = &first["failures"][0];
    assert_eq!(
        (&failure["class"], &failure["requests"]),
        (&json!("bad_request"), &json!(1))
    );
    assert_eq!(
        (&failure["example"]["line"], &failure["example"]["custom_id"]),
        (&json!(3), &Value::Null)
    );
    assert!(
        failure["advice"].as_str().unwrap().starts_with("Correct"),
        "{failure}"
    );
    assert_eq!(first["input"]["compared"], false);
    assert_eq!(
        (&first["now"]["calls"], &first["now"]["cost_usd"]),
        (&json!(2), &Value::Null)
    );
    assert!(first["now"]["output_tokens"].as_u64().unwrap() > 0, "{first}");
    assert_eq!(first["files"], json!([harness.path("out.jsonl")]));
    assert_eq!(first["next"], "correct the lines, then the same command again");
    assert!(first["completed_at"].as_str().unwrap() >= first["started_at"].as_str().unwrap());
    // The next invocation replaces the summary, and compares the input.
    harness.write("in.jsonl", questions(3));
    assert_eq!(harness.nova3(&run).code, Some(0));
    let second = summary(&harness);
    assert_eq!(
        (
            &second["input"]["new"],
            &second["input"]["changed"],
            &second["input"]["removed"]
        ),
        (&json!(1), &json!(0), &json!(1))
    );
    assert_eq!(
        (&second["now"]["calls"], &second["in_all"]["calls"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(
        (&second["failures"], &second["next"]),
        (&json!([]), &json!("nova3 verify in.jsonl"))
    );
}

#[test]
fn a_run_that_ends_with_an_error_has_a_summary_too() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let run = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--summary-json",
        "summary.json",
    ];
    harness.write("in.jsonl", "\n");
    assert_eq!(harness.nova3(&run).code, Some(4));
    let empty = summary(&harness);
    assert_eq!(
        (&empty["ending"], &empty["exit_code"]),
        (&json!("no_requests"), &json!(4))
    );
    harness.write("in.jsonl", questions(1));
    harness.write("out.jsonl", "something else\n");
    assert_eq!(harness.nova3(&run).code, Some(110));
    let failed = summary(&harness);
    assert_eq!(
        (&failed["ending"], &failed["exit_code"]),
        (&json!("error"), &json!(110))
    );
    assert!(
        failed["error"].as_str().unwrap().contains("out.jsonl"),
        "{failed}"
    );
}

#[test]
fn a_place_that_holds_something_else_is_refused_before_anything_is_spent() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    harness.write("notes.txt", "mine");
    harness.write("target.json", "");
    symlink(harness.path("target.json"), harness.path("link.json")).unwrap();
    for (place, code, named) in [
        ("notes.txt", 110, "holds something else"),
        ("link.json", 110, "is a link"),
        ("/dev/null", 110, "is a folder or a device"),
        ("missing/summary.json", 110, "missing"),
        ("in.jsonl", 110, "holds something else"),
        ("out.jsonl", 2, "the same place as another output"),
        ("nova3.db", 2, "the store itself"),
        ("-", 2, "standard output carries results"),
    ] {
        let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--summary-json", place]);
        assert_eq!(ran.code, Some(code), "{place}: {}", ran.err);
        assert!(ran.err.contains(named), "{place}: {}", ran.err);
    }
    assert_eq!(harness.read("notes.txt"), "mine");
    assert_eq!((harness.read("target.json").as_str(), provider.calls()), ("", 0));
    assert!(!harness.path("nova3.db").exists(), "nothing was begun");
    let left: Vec<_> = std::fs::read_dir(harness.path(".")).unwrap().flatten().collect();
    assert!(
        !left
            .iter()
            .any(|file| file.file_name().to_string_lossy().starts_with(".nova3-summary")),
        "{left:?}"
    );
}

#[test]
fn json_has_one_closing_object_with_all_figures() {
    let (harness, _provider) = refusing(400, "no such thing");
    harness.write("in.jsonl", questions(2));
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--log-format", "json"]);
    let closing: Vec<Value> = ran
        .err
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].clone())
        .filter(|fields| !fields["run.ending"].is_null())
        .collect();
    assert_eq!(closing.len(), 1, "{}", ran.err);
    assert_eq!(
        (&closing[0]["failures"], &closing[0]["next"]),
        (
            &json!("bad_request=2"),
            &json!("nova3 retry in.jsonl, then the same command again")
        )
    );
}
