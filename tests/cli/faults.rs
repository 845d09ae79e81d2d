//! Providers that fail: every request finishes in the end, and no incomplete answer is accepted.

use std::time::Duration;

use nova3::mock::{Faults, MockConfig};

use crate::cli::harness::{Harness, Running, errors, ids, lines, setup, setup_with, sorted_ids, until};
use crate::cli::provider::{Say, Scripted};

/// Runs with `--retry-failed` until every request is good. In each run a share of the calls fails.
fn finish(harness: &Harness, args: &[&str]) {
    let ran = harness.nova3(args);
    if ran.code == Some(0) {
        return;
    }
    until("every request is good", || {
        harness.nova3(&[args, &["--retry-failed"]].concat()).code == Some(0)
    });
}

fn every_answer_is_whole(harness: &Harness, count: usize) {
    let results = harness.results("out.jsonl");
    assert_eq!(sorted_ids(&results).len(), count);
    for line in &results {
        assert_eq!(line["status"], "completed");
        // The mock ends each answer with a mark, which a cut answer lacks.
        let content = line["output"][0]["content"].as_str().unwrap();
        assert!(
            content.contains("[mock ") && content.ends_with(']'),
            "cut: {content}"
        );
    }
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}

#[test]
fn each_fault_is_survived() {
    let faults = [
        Faults {
            server_error: 0.3,
            ..Faults::default()
        },
        Faults {
            disconnect: 0.3,
            ..Faults::default()
        },
        Faults {
            truncate: 0.3,
            ..Faults::default()
        },
        Faults {
            stall: 0.2,
            ..Faults::default()
        },
        Faults {
            garbage: 0.3,
            ..Faults::default()
        },
        Faults {
            error_in_stream: 0.3,
            ..Faults::default()
        },
    ];
    for faults in faults {
        let (harness, provider) = setup_with(MockConfig {
            faults,
            ..MockConfig::default()
        });
        harness.write_questions("in.jsonl", 20);
        finish(
            &harness,
            &["run", "in.jsonl", "-o", "out.jsonl", "--idle-timeout", "100ms"],
        );
        every_answer_is_whole(&harness, 20);
        let status = harness.status(&[]);
        assert_eq!(
            (status["attempts"].as_u64(), status["done"].as_u64()),
            (Some(provider.calls()), Some(20))
        );
        assert!(
            status["failed_attempts"].as_u64().unwrap() > 0,
            "{faults:?} did not happen"
        );
    }
}

#[test]
fn a_fault_that_does_not_end_fails_with_its_class() {
    let all = [
        (
            Faults {
                disconnect: 1.0,
                ..Faults::default()
            },
            "network",
        ),
        (
            Faults {
                truncate: 1.0,
                ..Faults::default()
            },
            "network",
        ),
        (
            Faults {
                stall: 1.0,
                ..Faults::default()
            },
            "stalled",
        ),
        (
            Faults {
                garbage: 1.0,
                ..Faults::default()
            },
            "network",
        ),
        (
            Faults {
                error_in_stream: 1.0,
                ..Faults::default()
            },
            "server",
        ),
    ];
    for (faults, class) in all {
        let (harness, provider) = setup_with(MockConfig {
            faults,
            ..MockConfig::default()
        });
        harness.write_questions("in.jsonl", 1);
        let ran = harness.nova3(&["run", "in.jsonl", "--idle-timeout", "50ms"]);
        let results = lines(&ran.out);
        assert_eq!(
            (ran.code, errors(&results)[0].0, provider.calls()),
            (Some(100), class, 4),
            "{faults:?}: {}",
            ran.out
        );
        assert_eq!(results[0]["error"]["causes"].as_array().unwrap().len(), 3);
        assert!(results[0]["output"].is_null());
    }
}

#[test]
fn without_a_network_nobody_fails_and_the_run_gives_up_after_a_while() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 3);
    let args = ["run", "in.jsonl", "-o", "out.jsonl", "--give-up", "300ms"];
    let mut command = harness.command(&args);
    command.env("OPENAI_BASE_URL", "http://127.0.0.1:1/v1");
    let ran = harness.ran(&Running::start(command).output());
    assert_eq!(ran.code, Some(105), "{}", ran.err);
    let refused =
        "connecting to `http://127.0.0.1:1/v1/chat/completions` failed: Connection refused (os error 111)";
    let down = format!("route `default` is down, its calls wait or go elsewhere: {refused}\n");
    assert!(ran.err.contains(&down), "{}", ran.err);
    assert!(ran.err.contains("0 of 3 done, 3 left"), "{}", ran.err);
    assert!(ran.err.contains("longer than 300ms (`--give-up`)"), "{}", ran.err);
    assert_eq!(harness.read("out.jsonl"), "");
    let routes = &harness.status(&[])["routes"];
    assert_eq!(
        (&routes[0]["state"], &routes[0]["reason"]),
        (&"open".into(), &refused.into())
    );
    assert_eq!(harness.nova3(&args).code, Some(0));
    assert_eq!(provider.calls(), 3);
    every_answer_is_whole(&harness, 3);
}

#[test]
fn a_wrong_key_stops_the_run_and_fails_nobody() {
    let (harness, provider) = setup_with(MockConfig {
        api_key: Some("right".to_owned()),
        ..MockConfig::default()
    });
    harness.write_questions("in.jsonl", 30);
    let harness = harness.with("OPENAI_API_KEY", "sk-wrong-planted");
    let args = ["run", "in.jsonl", "-o", "out.jsonl", "-j", "1"];
    let ran = harness.nova3(&args);
    assert_eq!(ran.code, Some(105));
    let reason =
        "route `default`: HTTP 401 (invalid_request_error, invalid_api_key): Incorrect API key provided.";
    let expected = format!(
        "run `in.jsonl`: stopped, no usable route ({reason}); 0 of 30 done, 30 left (run the same command again to go on); \
         1 call in TIME, no price configured\n  results  DIR/out.jsonl\n  next     repair the route that the message names, \
         then the same command again\n"
    );
    assert_eq!(ran.err, expected);
    assert_eq!((provider.calls(), harness.read("out.jsonl").as_str()), (1, ""));
    let harness = harness.with("OPENAI_API_KEY", "right");
    let ran = harness.nova3(&args);
    assert_eq!((ran.code, provider.calls()), (Some(0), 31), "{}", ran.err);
    every_answer_is_whole(&harness, 30);
}

#[test]
fn many_calls_that_meet_a_dead_key_say_it_once() {
    let (harness, _provider) = setup_with(MockConfig {
        api_key: Some("right".to_owned()),
        ..MockConfig::default()
    });
    harness.write_questions("in.jsonl", 200);
    let harness = harness.with("OPENAI_API_KEY", "wrong");
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "50"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(105), ""));
    assert_eq!(ran.err.matches("Incorrect API key").count(), 1, "{}", ran.err);
    assert_eq!(harness.nova3(&["results"]).code, Some(4));
    let quiet = harness.nova3(&["run", "in.jsonl", "-q"]);
    assert_eq!(
        (quiet.code, quiet.err.matches("Incorrect API key").count()),
        (Some(105), 1),
        "{}",
        quiet.err
    );
}

#[test]
fn an_endless_429_pauses_the_route_and_spends_no_attempt() {
    let faults = Faults {
        rate_limited: 1.0,
        ..Faults::default()
    };
    let retry_after = Some(Duration::from_hours(1));
    let (harness, provider) = setup_with(MockConfig {
        faults,
        retry_after,
        ..MockConfig::default()
    });
    harness.write_questions("in.jsonl", 5);
    let args = ["run", "in.jsonl", "-o", "out.jsonl", "-j", "1"];
    let mut run = Running::start(harness.command(&args));
    until("the provider refused", || provider.calls() > 0);
    run.signal(rustix::process::Signal::INT);
    let ran = harness.ran(&run.output());
    assert_eq!(ran.code, Some(130), "{}", ran.err);
    // One call received the pause, and no other call was sent during it.
    assert_eq!(
        (provider.calls(), harness.status(&[])["left"].as_u64()),
        (1, Some(5))
    );
    drop(provider);
    let (_, good) = setup_with(MockConfig::default());
    let harness = harness.with("OPENAI_BASE_URL", &good.base_url());
    assert_eq!(harness.nova3(&args).code, Some(0));
    assert_eq!(good.calls(), 5);
    assert!(
        harness
            .results("out.jsonl")
            .iter()
            .all(|line| line["tasks"][0]["attempts"] == 1)
    );
}

#[test]
fn a_short_429_is_waited_out() {
    let calls = std::sync::atomic::AtomicU32::new(0);
    let provider = Scripted::start(move |_| {
        if calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 6 {
            let body = r#"{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded"}}"#
                .to_owned();
            return Say {
                status: 429,
                headers: "retry-after-ms: 1\r\n",
                body,
            };
        }
        let body =
            r#"{"choices":[{"message":{"role":"assistant","content":"good"},"finish_reason":"stop"}]}"#
                .to_owned();
        Say {
            status: 200,
            headers: "content-type: application/json\r\n",
            body,
        }
    });
    let harness = setup()
        .with("OPENAI_BASE_URL", &provider.base_url())
        .with("OPENAI_MODEL", "m");
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl"]);
    // The calls were refused more often than the number of retries.
    assert_eq!(
        (ran.code, ids(&lines(&ran.out)), provider.bodies().len()),
        (Some(0), vec!["q1"], 7),
        "{}",
        ran.err
    );
}

#[test]
fn a_stored_queue_without_a_task_gives_its_slot_back_and_holds_up_nobody() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 4);
    let run = ["run", "in.jsonl", "-o", "out.jsonl", "-j", "1"];
    harness.nova3(&[&run[..], &["--limit", "1"]].concat());
    assert_eq!(provider.calls(), 1);
    let store = rusqlite::Connection::open(harness.path("nova3.db")).unwrap();
    let damage = "UPDATE nova3_queues SET ready = 0 WHERE queue_id = (SELECT min(queue_id)
        FROM nova3_queues WHERE state = 'open')";
    assert_eq!(store.execute(damage, []).unwrap(), 1);
    drop(store);
    let ran = harness.nova3(&run);
    assert_eq!((ran.code, provider.calls()), (Some(1), 3), "{}", ran.err);
    assert!(ran.err.contains("has no task left"), "{}", ran.err);
    assert_eq!(harness.results("out.jsonl").len(), 3);
    assert_eq!(harness.status(&[])["left"], 1);
}
