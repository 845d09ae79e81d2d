//! A provider that refuses a parameter: the call is repeated without it, and later calls do not send it.

use serde_json::Value;

use crate::cli::harness::{Harness, lines, setup};
use crate::cli::provider::{Say, Scripted};

fn refusal(status: u16, message: &str) -> Say {
    Say {
        status,
        headers: "content-type: application/json\r\n",
        body: serde_json::json!({ "error": { "message": message } }).to_string(),
    }
}

pub(super) fn good() -> Say {
    let body = r#"{"choices":[{"message":{"role":"assistant","content":"A good answer."},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":5}}"#;
    Say {
        status: 200,
        headers: "content-type: application/json\r\n",
        body: body.to_owned(),
    }
}

pub(super) fn asked(provider: &Scripted) -> Harness {
    setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m")
}

#[test]
fn a_longest_answer_that_is_refused_comes_down_for_the_whole_run_and_is_said_once() {
    let provider = Scripted::start(|body| {
        let body: Value = serde_json::from_str(body).unwrap();
        if body["max_completion_tokens"].as_u64().unwrap() > 700 {
            refusal(
                400,
                "Invalid max_tokens value, the valid range of max_tokens is [1, 700]",
            )
        } else {
            good()
        }
    });
    let harness = asked(&provider);
    harness.write_questions("in.jsonl", 4);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
    assert_eq!((ran.code, provider.bodies().len()), (Some(0), 5), "{}", ran.err);
    assert_eq!(
        ran.err.matches("at most 700 from now on").count(),
        1,
        "{}",
        ran.err
    );
}

#[test]
fn a_field_that_is_not_known_is_swapped_or_left_out() {
    let provider = Scripted::start(|body| {
        let body: Value = serde_json::from_str(body).unwrap();
        for field in ["max_completion_tokens", "stream_options"] {
            if body.get(field).is_some() {
                return refusal(422, &format!("Unrecognized request argument supplied: {field}"));
            }
        }
        good()
    });
    let harness = asked(&provider);
    harness.write_questions("in.jsonl", 3);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
    assert_eq!((ran.code, provider.bodies().len()), (Some(0), 5), "{}", ran.err);
    let last: Value = serde_json::from_str(provider.bodies().last().unwrap()).unwrap();
    assert!(last["max_tokens"].is_u64(), "{last}");
}

#[test]
fn a_server_that_counts_no_tokens_is_told_of_once_and_its_use_is_unknown() {
    let provider = Scripted::start(|_| Say {
        body: r#"{"choices":[{"message":{"content":"A good answer."},"finish_reason":"stop"}]}"#.to_owned(),
        ..good()
    });
    let harness = asked(&provider);
    let settings = harness.read("nova3.toml")
        + &format!(
            "[routes.p]\nbase_url = \"{}\"\nmodel = \"m\"\nno_key = true\ninput_usd_per_million = 1.0\noutput_usd_per_million = 2.0\n",
            provider.base_url()
        );
    harness.write("nova3.toml", settings);
    harness.write_questions("in.jsonl", 3);
    let ran = harness.nova3(&["run", "in.jsonl", "-m", "p"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for line in lines(&ran.out) {
        assert_eq!((&line["usage"], &line["cost_usd"]), (&Value::Null, &Value::Null));
        assert_eq!(line["tasks"][0]["usage"], Value::Null);
    }
    assert_eq!(ran.err.matches("sends no `usage`").count(), 1, "{}", ran.err);
    assert!(!ran.err.contains("lost answers"), "{}", ran.err);
}

#[test]
fn a_finish_reason_that_is_not_known_is_told_once() {
    let provider = Scripted::start(|_| Say {
        body: good().body.replace("\"stop\"", "\"satisfied\""),
        ..good()
    });
    let harness = asked(&provider);
    harness.write_questions("in.jsonl", 3);
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!((ran.code, lines(&ran.out).len()), (Some(0), 3), "{}", ran.err);
    assert_eq!(ran.err.matches("`satisfied`").count(), 1, "{}", ran.err);
}
