//! Refusals: equal refusals of several requests are the route's fault. A refusal is the request's fault only when the
//! route answers other requests.

use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cli::harness::{errors, lines};
use crate::cli::provider::{Say, Scripted, read_request};
use crate::cli::refusals::{asked, good};

fn refusal(status: u16, body: &str) -> Say {
    Say {
        status,
        headers: "content-type: application/json\r\n",
        body: body.to_owned(),
    }
}

/// Refuses the calls with these numbers, and answers the others.
fn refuses(which: impl Fn(usize) -> bool + Send + 'static, status: u16, body: &'static str) -> Scripted {
    let calls = AtomicUsize::new(0);
    Scripted::start(move |_| {
        if which(calls.fetch_add(1, Ordering::Relaxed)) {
            refusal(status, body)
        } else {
            good()
        }
    })
}

const NO_MODEL: &str = r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error"}}"#;
const NO_KEY: &str = r#"{"error":{"message":"Unauthorized"}}"#;
const PAGE: &str = "<html><head><title>Blocked</title></head></html>";

#[test]
fn a_route_that_refuses_five_requests_alike_and_answers_none_is_dead_and_fails_nobody() {
    for (jobs, most) in [("1", 5), ("8", 13)] {
        let provider = refuses(|_| true, 400, NO_MODEL);
        let harness = asked(&provider);
        harness.write_questions("in.jsonl", 40);
        let ran = harness.nova3(&["run", "in.jsonl", "-j", jobs]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(105), ""), "{}", ran.err);
        assert!(ran.err.contains("Model Not Exist"), "{}", ran.err);
        assert!(ran.err.contains("0 of 40 done, 40 left"), "{}", ran.err);
        let calls = provider.bodies().len();
        assert!((5..=most).contains(&calls), "{calls}");
    }
}

#[test]
fn a_refusal_fails_its_request_when_there_are_too_few_others_to_prove_more() {
    let provider = refuses(|_| true, 400, NO_MODEL);
    let harness = asked(&provider);
    harness.write_questions("in.jsonl", 4);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
    assert_eq!((ran.code, lines(&ran.out).len()), (Some(100), 4), "{}", ran.err);
    assert!(
        ran.err
            .contains("4 failed (HTTP 400 (invalid_request_error): Model Not Exist)"),
        "{}",
        ran.err
    );
}

#[test]
fn as_many_refusals_as_a_run_may_have_failures_end_it_as_failures() {
    let provider = refuses(|_| true, 400, NO_MODEL);
    let harness = asked(&provider);
    harness.write_questions("in.jsonl", 40);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1", "--max-failures", "2"]);
    assert_eq!((ran.code, provider.bodies().len()), (Some(102), 2), "{}", ran.err);
}

#[test]
fn one_stray_refusal_of_a_key_that_has_worked_is_asked_again() {
    let provider = refuses(|call| call == 2, 401, NO_KEY);
    let harness = asked(&provider);
    harness.write_questions("in.jsonl", 6);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
    assert_eq!((ran.code, provider.bodies().len()), (Some(0), 7), "{}", ran.err);
}

#[test]
fn a_key_that_is_revoked_stops_the_run_and_fails_nobody() {
    let provider = refuses(|call| call >= 2, 401, NO_KEY);
    let harness = asked(&provider);
    harness.write_questions("in.jsonl", 20);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
    assert_eq!((ran.code, lines(&ran.out).len()), (Some(105), 2), "{}", ran.err);
    assert!(ran.err.contains("2 of 20 done, 18 left"), "{}", ran.err);
}

#[test]
fn a_page_of_a_firewall_fails_the_request_that_met_it() {
    let provider = refuses(|call| call == 0, 403, PAGE);
    let harness = asked(&provider);
    harness.write_questions("in.jsonl", 3);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
    let results = lines(&ran.out);
    assert_eq!((ran.code, results.len()), (Some(100), 3), "{}", ran.err);
    assert_eq!(results.iter().filter(|line| line["ok"] == true).count(), 2);
}

#[test]
fn a_wrong_address_is_named() {
    let provider = refuses(|_| true, 404, r#"{"error":{"message":"no such path"}}"#);
    let harness = asked(&provider);
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl"]);
    let address = format!("(asked: `{}/chat/completions`)", provider.base_url());
    assert_eq!((ran.code, ran.out.as_str()), (Some(105), ""), "{}", ran.err);
    assert!(ran.err.contains(&address), "{}", ran.err);
}

#[test]
fn a_server_that_is_out_for_many_tries_of_one_caller_fails_nothing() {
    for status in [500, 503] {
        let provider = refuses(|call| (3..20).contains(&call), status, "{}");
        let harness = asked(&provider);
        harness.write_questions("in.jsonl", 4);
        let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
        assert_eq!((ran.code, provider.bodies().len()), (Some(0), 21), "{}", ran.err);
    }
}

#[test]
fn a_failure_of_the_server_while_it_answers_others_counts_against_its_request() {
    let provider = Scripted::start(|body| {
        if body.contains("question 0") {
            refusal(500, "{}")
        } else {
            good()
        }
    });
    let harness = asked(&provider);
    let lines_of = |id: usize| crate::cli::harness::question(&format!("r{id}"), &format!("question {id}"));
    harness.write(
        "in.jsonl",
        (0..60).map(|id| lines_of(id) + "\n").collect::<String>(),
    );
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "2", "--limit", "60"]);
    let results = lines(&ran.out);
    let failed: Vec<_> = results.iter().filter(|line| line["ok"] == false).collect();
    assert!(failed.len() <= 1, "{failed:?}");
    assert!(results.len() >= 59, "{}", ran.err);
}

#[test]
fn a_connection_that_was_closed_while_it_was_idle_costs_no_try() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // Each connection gets one answer. The next request on it is read and dropped.
                let (mut stream, body) = (stream, good().body);
                read_request(&stream);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
                let answer = format!("{head}{}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).unwrap_or_default();
                read_request(&stream);
            });
        }
    });
    let harness = crate::cli::harness::setup()
        .with("OPENAI_BASE_URL", &format!("http://{address}/v1"))
        .with("OPENAI_MODEL", "m");
    harness.write_questions("in.jsonl", 5);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let attempts: Vec<_> = lines(&ran.out)
        .iter()
        .map(|line| line["tasks"][0]["attempts"].clone())
        .collect();
    assert_eq!(attempts, [1, 1, 1, 1, 1], "{}", ran.err);
    assert!(errors(&lines(&ran.out)).is_empty());
}

#[test]
fn a_server_that_speaks_no_tls_is_a_setting_to_mend() {
    let provider = refuses(|_| false, 200, "");
    let harness = asked(&provider)
        .with("OPENAI_BASE_URL", &provider.base_url().replace("http:", "https:"))
        .with("OPENAI_API_KEY", "k");
    harness.write_questions("in.jsonl", 2);
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(105), ""), "{}", ran.err);
    assert!(
        ran.err.contains("connecting to `https://127.0.0.1:"),
        "{}",
        ran.err
    );
}
