//! Memory: a run stays below its limit for every answer of a provider.

use std::io::Write;
use std::net::TcpListener;

use nova3::mock::MockConfig;

use crate::cli::harness::{Harness, Running, setup, setup_with, until};
use crate::cli::provider::read_request;

/// The memory limit of these runs.
const LIMIT_KIB: u64 = 128 << 10;

/// The highest resident memory of the process so far, in KiB.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[test]
fn answers_of_a_megabyte_fit_into_128_of_them() {
    let (harness, provider) = setup_with(MockConfig {
        answer_tokens: 230_000,
        ..MockConfig::default()
    });
    let line = |n: usize| {
        let body =
            serde_json::json!({"model": "m", "messages": [{"role": "user", "content": format!("q{n}")}]});
        let line = serde_json::json!({
            "custom_id": format!("q{n}"), "method": "POST", "url": "/v1/chat/completions", "body": body,
        });
        format!("{line}\n")
    };
    harness.write("in.jsonl", (0..80).map(line).collect::<String>());
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "-j",
        "50",
        "--memory-limit",
        "128MB",
    ];
    let mut run = Running::start(harness.command(&args));
    let pid = run.child().id();
    let mut most = 0;
    until("the run is over", || {
        most = most.max(peak(pid).unwrap_or(0));
        run.child().try_wait().unwrap().is_some()
    });
    let ran = harness.ran(&run.output());
    assert_eq!((ran.code, provider.calls()), (Some(0), 80), "{}", ran.err);
    let written = std::fs::metadata(harness.path("out.jsonl")).unwrap().len();
    assert!(written > 80 << 20, "answers of a megabyte: {written} bytes");
    assert!((1..LIMIT_KIB).contains(&most), "{most} KiB");
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}

/// A server whose answers begin with `head` and repeat `piece` for ever.
fn endless(head: &'static str, piece: String) -> String {
    endless_of(head, move |_| piece.clone())
}

/// A server whose answers begin with `head` and go on for ever; `piece` makes the next piece from the number of the
/// pieces before it.
fn endless_of(head: &'static str, piece: impl Fn(usize) -> String + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // The thread ends with the test process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let piece = piece.clone();
            std::thread::spawn(move || {
                read_request(&stream);
                let mut goes_on = stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes());
                for nth in 0.. {
                    if goes_on.is_err() {
                        break;
                    }
                    goes_on = stream.write_all(piece(nth).as_bytes());
                }
            });
        }
    });
    format!("http://{address}/v1")
}

/// Twenty Batch lines without a limit of the answer's length.
fn batch(streams: bool) -> String {
    let line = |n: usize| {
        let body = serde_json::json!({
            "model": "m", "stream": streams, "messages": [{"role": "user", "content": format!("q{n}")}],
        });
        let line = serde_json::json!({
            "custom_id": format!("q{n}"), "method": "POST", "url": "/v1/chat/completions", "body": body,
        });
        format!("{line}\n")
    };
    (0..20).map(line).collect()
}

/// Asserts that every request fails alone and the process stays below its limit.
fn stays_below(what: &str, url: &str, input: &str) {
    ends_below(what, url, input, (100, 20));
}

/// Asserts that the process stays below its limit, and ends with this exit code and this many results.
fn ends_below(what: &str, url: &str, input: &str, (code, results): (i32, usize)) {
    let harness = setup().with("OPENAI_BASE_URL", url).with("OPENAI_MODEL", "m");
    harness.write("in.jsonl", input);
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "-j",
        "20",
        "--memory-limit",
        "128MB",
    ];
    let mut run = Running::start(harness.command(&args));
    let pid = run.child().id();
    let mut most = 0;
    until(what, || {
        most = most.max(peak(pid).unwrap_or(0));
        run.child().try_wait().unwrap().is_some()
    });
    let ran = harness.ran(&run.output());
    assert_eq!(ran.code, Some(code), "{what}: {}", ran.err);
    assert!((1..LIMIT_KIB).contains(&most), "{what}: {most} KiB");
    assert_eq!(harness.results("out.jsonl").len(), results, "{what}");
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream";
const BODY: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
const ERROR: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json";

fn token(name: &str) -> String {
    let text = "x".repeat(8 << 10);
    format!("data: {{\"choices\":[{{\"delta\":{{\"{name}\":\"{text}\"}}}}]}}\n\n")
}

#[test]
fn streams_that_never_end_fail_alone_and_fit_into_the_limit() {
    stays_below("streams", &endless(STREAM, token("content")), &batch(true));
}

#[test]
fn answers_of_agents_that_never_end_fail_alone() {
    let url = endless(STREAM, token("content"));
    stays_below("answers of agents", &url, &crate::cli::harness::questions(20));
}

#[test]
fn refusals_that_never_end_fail_alone_and_fit_into_the_limit() {
    stays_below("refusals", &endless(STREAM, token("refusal")), &batch(true));
}

#[test]
fn lines_and_events_that_never_end_fail_alone_and_fit_into_the_limit() {
    let line = "data: ".to_owned() + &"x".repeat(8 << 10);
    stays_below("one line", &endless(STREAM, line), &batch(true));
    let events = "data: ".to_owned() + &"x".repeat(8 << 10) + "\n";
    stays_below("one event", &endless(STREAM, events), &batch(true));
}

#[test]
fn bodies_that_never_end_fail_alone_and_fit_into_the_limit() {
    stays_below("bodies", &endless(BODY, "x".repeat(8 << 10)), &batch(false));
    // The same error for every line is a fault of the route, and fails no request.
    let errors = endless(ERROR, "x".repeat(8 << 10));
    ends_below("errors", &errors, &batch(false), (105, 0));
}

#[test]
fn an_endless_answer_is_cut_off_and_says_why_without_another_try() {
    // Random text: a text that repeats itself would be stopped for that.
    let url = endless_of(STREAM, |nth| {
        let text: String = (0..8 << 10).map(|_| fastrand::alphanumeric()).collect();
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{nth} {text}\"}}}}]}}\n\n")
    });
    let harness = setup().with("OPENAI_BASE_URL", &url).with("OPENAI_MODEL", "m");
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let line = &harness.results("out.jsonl")[0];
    let message = line["error"]["message"].as_str().unwrap();
    assert!(message.contains("more than its request allows"), "{message}");
    assert_eq!(line["tasks"][0]["attempts"], 1);
}

/// A server whose answers are almost as long as an answer may be.
fn largest() -> String {
    let text = "x".repeat((64 << 20) - 512);
    let body = format!(
        r#"{{"choices":[{{"index":0,"finish_reason":"stop","message":{{"role":"assistant","content":"{text}"}}}}]}}"#
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            read_request(&stream);
            let head = format!(
                "{BODY}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            drop(stream.write_all(head.as_bytes()));
            drop(stream.write_all(body.as_bytes()));
        }
    });
    format!("http://{address}/v1")
}

/// The highest resident memory of a command, in KiB.
fn peak_of(harness: &Harness, what: &str, args: &[&str]) -> u64 {
    let mut command = harness.command(args);
    command.stdout(std::fs::File::create(harness.path("printed")).unwrap());
    let mut running = Running::start(command);
    let pid = running.child().id();
    let mut most = 0;
    until(what, || {
        most = most.max(peak(pid).unwrap_or(0));
        running.child().try_wait().unwrap().is_some()
    });
    let ran = harness.ran(&running.output());
    assert_eq!(ran.code, Some(0), "{what}: {}", ran.err);
    most
}

/// Asserts that an answer of 64 MiB has at most three copies in memory while it is stored, and two while it is written.
/// The process itself takes less than 64 MiB.
fn is_copied_seldom(store: Option<&str>) {
    let harness = setup()
        .with("OPENAI_BASE_URL", &largest())
        .with("OPENAI_MODEL", "m");
    let first = batch(false);
    harness.write("in.jsonl", first.lines().next().unwrap());
    let store = store.unwrap_or("nova3.db");
    let run = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--store",
        store,
        "--memory-limit",
        "4GB",
    ];
    for (what, copies, args) in [
        ("run", 3, &run[..]),
        ("results", 2, &["results", "--store", store]),
        ("verify", 2, &["verify", "--store", store]),
    ] {
        let most = peak_of(&harness, what, args);
        let limit = ((copies + 1) * 64) << 10;
        assert!((64 << 10..limit).contains(&most), "{what}: {most} KiB of {limit}");
    }
    assert!(std::fs::metadata(harness.path("out.jsonl")).unwrap().len() > (64 << 20) - 512);
}

#[test]
fn the_largest_answer_is_copied_seldom_with_sqlite() {
    is_copied_seldom(None);
}

#[test]
fn the_largest_answer_is_copied_seldom_with_postgres() {
    let url = crate::support::postgres::fresh_schema(crate::support::postgres::shared());
    is_copied_seldom(Some(&url));
}
