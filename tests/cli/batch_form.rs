//! OpenAI Batch files: what goes in goes out, byte by byte.

use nova3::mock::{Faults, MockConfig};
use serde_json::{Value, json};

use crate::cli::harness::{Harness, errors, lines, setup, setup_with};
use crate::cli::provider::{Say, Scripted};

fn line(id: &str, body: &str) -> String {
    format!(
        "{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{body}}}\n"
    )
}

const ASK: &str = r#"{"model":"gpt-x","messages":[{"role":"user","content":"hi"}]}"#;

fn setup_scripted(say: impl Fn(&str) -> Say + Send + 'static) -> (Harness, Scripted) {
    let provider = Scripted::start(say);
    (setup().with("OPENAI_BASE_URL", &provider.base_url()), provider)
}

const JSON: &str = "content-type: application/json\r\nx-request-id: req_7\r\n";

#[test]
fn bodies_are_sent_and_returned_verbatim() {
    let odd = r#"{"z":1.50,"choices":[{"message":{"content":"a\u00e9\u001b[31m","role":"assistant"},"finish_reason":"stop","logprobs":null,"index":0}],"big":12345678901234567890123,"e":1E+2,"usage":{"total_tokens":3,"prompt_tokens":1,"completion_tokens":2},"a":-0.0}"#;
    let (harness, provider) = setup_scripted(move |_| Say {
        status: 200,
        headers: JSON,
        body: odd.to_owned(),
    });
    let body = r#"{"temperature":1.0,"model":"gpt-x","seed":18446744073709551616,"messages":[{"content":"h\u0069","role":"user"}],"x":{"y":1e3}}"#;
    harness.write("in.jsonl", line("a", body));
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(provider.bodies(), [body]);
    let result = &lines(&ran.out)[0];
    let keys: Vec<&String> = result.as_object().unwrap().keys().collect();
    assert_eq!(keys.len(), 4);
    assert_eq!(
        (&result["custom_id"], &result["error"]),
        (&json!("a"), &Value::Null)
    );
    assert_eq!(
        (
            &result["response"]["status_code"],
            &result["response"]["request_id"]
        ),
        (&json!(200), &json!("req_7"))
    );
    assert!(ran.out.contains(&format!("\"body\":{odd}}}")), "{}", ran.out);
    assert_eq!(
        harness.nova3(&["results", "--format", "text"]).out,
        "## a\n\naé[31m\n\n"
    );
}

#[test]
fn an_odd_body_is_its_providers_to_judge() {
    let odd = [
        r#"{"model":"a","model":"b","messages":[]}"#,
        r#"{"model":5,"max_tokens":"many","messages":[],"stream":null}"#,
    ];
    let (harness, provider) = setup_scripted(|_| Say {
        status: 400,
        headers: JSON,
        body: r#"{"error":{"message":"odd","type":"invalid_request_error"}}"#.to_owned(),
    });
    harness.write("in.jsonl", line("a", odd[0]) + &line("b", odd[1]));
    assert_eq!(harness.nova3(&["check", "in.jsonl"]).code, Some(0));
    assert_eq!(harness.nova3(&["run", "in.jsonl", "-j", "1"]).code, Some(100));
    assert_eq!(provider.bodies(), odd);
}

#[test]
fn an_http_error_is_an_answer_and_not_good() {
    let refusal =
        r#"{"error":{"message":"no such parameter","type":"invalid_request_error","param":"x","code":null}}"#;
    let (harness, provider) = setup_scripted(move |body| {
        if body.contains("bad") {
            return Say {
                status: 400,
                headers: JSON,
                body: refusal.to_owned(),
            };
        }
        let body = r#"{"choices":[{"message":{"role":"assistant","content":"y"},"finish_reason":"stop"}]}"#
            .to_owned();
        Say {
            status: 200,
            headers: JSON,
            body,
        }
    });
    harness.write(
        "in.jsonl",
        line("good", ASK) + &line("bad", &ASK.replace("hi", "bad")),
    );
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order", "-o", "out.jsonl"]);
    assert_eq!((ran.code, provider.bodies().len()), (Some(100), 2), "{}", ran.err);
    let results = harness.results("out.jsonl");
    assert_eq!(results[0]["response"]["status_code"], 200);
    assert_eq!(results[1]["response"]["status_code"], 400);
    assert_eq!(results[1]["error"], Value::Null);
    assert!(
        harness
            .read("out.jsonl")
            .contains(&format!("\"body\":{refusal}}}"))
    );
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
    // Failed is final: asked again only when somebody says so.
    assert_eq!(
        (
            harness
                .nova3(&["run", "in.jsonl", "--keep-order", "-o", "out.jsonl"])
                .code,
            provider.bodies().len()
        ),
        (Some(100), 2)
    );
    assert_eq!(
        harness.nova3(&["retry", "--id", "bad"]).err,
        "run `in.jsonl`: 1 failed request put back; run it again to do them\n"
    );
}

#[test]
fn everything_else_that_fails_stands_in_the_error() {
    let (harness, _provider) = setup_with(MockConfig {
        faults: Faults {
            disconnect: 1.0,
            ..Faults::default()
        },
        ..MockConfig::default()
    });
    harness.write("in.jsonl", line("a", ASK) + &line("b", "7"));
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = lines(&ran.out);
    assert_eq!(
        (&results[0]["response"], &results[0]["error"]["code"]),
        (&Value::Null, &json!("network"))
    );
    assert_eq!(errors(&results[1..])[0].0, "bad_request");
}

#[test]
fn a_streamed_body_is_answered_as_one_object() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let streamed = ASK.replace("\"model\"", "\"stream\":true,\"model\"");
    harness.write("in.jsonl", line("plain", ASK) + &line("streamed", &streamed));
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let results = lines(&ran.out);
    let content = |line: &Value| line["response"]["body"]["choices"][0]["message"]["content"].clone();
    assert_eq!(content(&results[0]), content(&results[1]));
    assert_eq!(results[1]["response"]["body"]["object"], "chat.completion");
    assert_eq!(
        results[1]["response"]["body"]["choices"][0]["finish_reason"],
        "stop"
    );
}

#[test]
fn a_fault_in_a_batch_line_is_tried_again() {
    let (harness, provider) = setup_with(MockConfig {
        faults: Faults {
            server_error: 0.1,
            truncate: 0.1,
            garbage: 0.1,
            error_in_stream: 0.1,
            ..Faults::default()
        },
        ..MockConfig::default()
    });
    harness.write(
        "in.jsonl",
        (0..20)
            .map(|n| line(&format!("b{n}"), &ASK.replace("hi", &format!("hi {n}"))))
            .collect::<String>(),
    );
    let args = ["run", "in.jsonl", "-o", "out.jsonl", "--retry-failed"];
    crate::cli::harness::until("every request is good", || harness.nova3(&args).code == Some(0));
    let results = harness.results("out.jsonl");
    assert_eq!(results.len(), 20);
    for line in results {
        let content = line["response"]["body"]["choices"][0]["message"]["content"]
            .as_str()
            .unwrap();
        assert!(content.ends_with(']'), "cut: {content}");
    }
    assert!(provider.calls() > 20);
}

#[test]
fn a_bad_batch_line_comes_back_in_batch_form() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let bad =
        r#"{"custom_id":"bad","method":"POST","url":"/v1/chat/completions","body":{"messages":"none"}}"#;
    let twice = line("a", r#"{"model":"m","messages":[]}"#);
    harness.write("in.jsonl", format!("{bad}\n{twice}{twice}"));
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let results = lines(&ran.out);
    let keys = |n: usize| -> Vec<&str> {
        results[n]
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect()
    };
    for result in [0, 2] {
        assert_eq!(keys(result), ["custom_id", "error", "id", "response"]);
        assert_eq!(results[result]["error"]["code"], "bad_request");
        assert_eq!(results[result]["response"], serde_json::Value::Null);
    }
    assert_eq!(
        (&results[0]["custom_id"], &results[2]["custom_id"]),
        (&"bad".into(), &serde_json::Value::Null)
    );
    let message = results[2]["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("line 3: `custom_id` `a` stands on an earlier line"),
        "{message}"
    );
}
