//! The record of what was done to a run.

use nova3::mock::MockConfig;
use serde_json::Value;

use crate::cli::fleet::fleet;
use crate::cli::harness::{Harness, Running, setup_with, slow, until};
use crate::cli::provider::{Say, Scripted};

/// The recorded actions, the newest first: the command, its flags, and its end.
fn actions(harness: &Harness) -> Vec<(String, String, String)> {
    let status = harness.status(&[]);
    let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
    let flags = |action: &Value| {
        let flags = action["flags"].as_array().unwrap().iter().map(text);
        flags.collect::<Vec<_>>().join(" ")
    };
    let known = status["actions"].as_array().unwrap().iter();
    known
        .map(|action| (text(&action["command"]), flags(action), text(&action["ending"])))
        .collect()
}

#[test]
fn each_invocation_is_recorded_with_its_flags_and_its_end() {
    let refusing = Scripted::start(|_| Say {
        status: 400,
        headers: "content-type: application/json\r\n",
        body: r#"{"error":{"message":"no"}}"#.to_owned(),
    });
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 2);
    let good = harness.variable("OPENAI_BASE_URL");
    let harness = harness
        .with("OPENAI_BASE_URL", &refusing.base_url())
        .with("USER", "night-shift");
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(100)
    );
    assert_eq!(harness.nova3(&["retry", "--class", "bad_request"]).code, Some(0));
    let harness = harness
        .with("OPENAI_BASE_URL", &good)
        .with("NOVA3_CONCURRENCY", "3");
    assert_eq!(
        harness
            .nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--limit", "1"])
            .code,
        Some(101)
    );
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
    assert_eq!(
        harness
            .nova3(&["redo", "--from", "answer", "--id", "q1", "-y"])
            .code,
        Some(0)
    );
    let known = actions(&harness);
    let shown: Vec<(&str, &str, &str)> = known
        .iter()
        .map(|(command, flags, end)| (&**command, &**flags, &**end))
        .collect();
    assert_eq!(
        shown,
        [
            (
                "redo",
                "--from answer --id q1 --yes NOVA3_CONCURRENCY=3",
                "finished"
            ),
            (
                "run",
                "in.jsonl --output out.jsonl NOVA3_CONCURRENCY=3",
                "finished"
            ),
            (
                "run",
                "in.jsonl --output out.jsonl NOVA3_CONCURRENCY=3 --limit 1",
                "limit"
            ),
            ("retry", "--class bad_request", "2 requests put back"),
            ("run", "in.jsonl --output out.jsonl", "finished"),
        ]
    );
    let first = &harness.status(&[])["actions"][4];
    assert_eq!(first["user"], "night-shift");
    assert!(
        first["pid"].as_u64().is_some() && first["began_at"].is_string() && first["ended_at"].is_string()
    );
    assert_eq!(
        first["folder"].as_str(),
        harness.path("").to_str().map(|path| path.trim_end_matches('/'))
    );
    let table = harness.nova3(&["status"]).out;
    assert!(
        table.contains("night-shift@") && table.contains("2 requests put back"),
        "{table}"
    );
}

#[test]
fn a_killed_invocation_has_no_end() {
    let (harness, provider) = setup_with(slow());
    harness.write_questions("in.jsonl", 1);
    let mut first = Running::start(harness.command(&["run", "in.jsonl", "-o", "out.jsonl"]));
    until("the call", || provider.calls() > 0);
    first.child().kill().unwrap();
    drop(first);
    let known = actions(&harness);
    assert_eq!((known.len(), known[0].2.as_str()), (1, "–"));
}

#[test]
fn a_worker_is_one_action_in_each_run() {
    let (harness, _provider) = fleet(MockConfig::default());
    harness.write_questions("in.jsonl", 5);
    assert_eq!(
        harness
            .nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--limit", "1"])
            .code,
        Some(101)
    );
    assert_eq!(harness.nova3(&["worker", "--until-idle"]).code, Some(0));
    let known = actions(&harness);
    let shown: Vec<(&str, &str)> = known
        .iter()
        .map(|(command, _, end)| (&**command, &**end))
        .collect();
    assert_eq!(shown, [("worker", "finished"), ("run", "limit")]);
}
