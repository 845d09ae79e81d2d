//! Metrics: what they count, the file for a textfile collector, and the endpoint for a scraper.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use nova3::mock::{Faults, Latency, MockConfig};
use nova3::observe::{METRICS, MetricKind};
use rustix::process::Signal;
use serde_json::json;

use crate::cli::fleet::fleet;
use crate::cli::harness::{Harness, Provider, Running, question, questions, setup, setup_with, slow, until};
use crate::cli::provider::{Say, Scripted};
use crate::cli::searches::with_web;
use crate::support::exposition::Exposition;
use crate::support::process;

const FILE: &[&str] = &[
    "run",
    "in.jsonl",
    "-o",
    "out.jsonl",
    "--metrics-file",
    "nova3.prom",
];

fn metrics(harness: &Harness) -> Exposition {
    Exposition::read(&harness.read("nova3.prom"))
}

/// A run with a dead route, a fallback, retries, searches, a cost cap and limits.
pub(crate) struct EventfulRun {
    harness: Harness,
    _dead: Scripted,
    _providers: [Provider; 2],
    running: Option<(Running, SocketAddr)>,
}

impl EventfulRun {
    /// Its settings. `latency` is the time that each answer takes.
    fn prepare(latency: Duration) -> Self {
        let dead = Scripted::start(|_| Say {
            status: 401,
            headers: "content-type: application/json\r\n",
            body: json!({"error": {"message": "no", "code": "invalid_api_key"}}).to_string(),
        });
        let good = Provider::start(MockConfig {
            faults: Faults {
                server_error: 0.3,
                ..Faults::default()
            },
            latency: Latency {
                first_token: latency,
                ..Latency::default()
            },
            ..MockConfig::default()
        });
        let web = Provider::start(MockConfig::default());
        let harness = setup();
        with_web(&harness, &web.base_url(), "0.001");
        let route = |name: &str, url: &str| {
            format!(
                "[routes.{name}]\nbase_url = \"{url}\"\nmodel = \"m-{name}\"\nno_key = true\nrpm = 100000\n\
                 tpm = 100000000\ninput_usd_per_million = 1.0\noutput_usd_per_million = 2.0\n"
            )
        };
        // So many retries that no request fails, although three calls of ten do.
        let patient = harness
            .read("nova3.toml")
            .replacen("[retry]", "[retry]\nretries = 30", 1);
        let settings = patient
            + &route("dead", &dead.base_url())
            + &route("good", &good.base_url())
            + "[chains]\ndefault = [\"dead\", \"good\"]\n";
        harness.write("nova3.toml", settings);
        let run = Self {
            harness,
            _dead: dead,
            _providers: [good, web],
            running: None,
        };
        run.write_input("in.jsonl", 30);
        run
    }

    /// Requests of which every fifth searches.
    fn write_input(&self, name: &str, count: usize) {
        let line = |n: usize| {
            let task = if n.is_multiple_of(5) { "facts" } else { "answer" };
            json!({"custom_id": format!("q{n}"), "query": format!("topic {n}"), "tasks": [task]}).to_string()
        };
        let lines: Vec<String> = (0..count).map(line).collect();
        self.harness.write(name, lines.join("\n"));
    }

    /// Runs a short input to its end.
    fn finish(&self) {
        let ran = self.harness.nova3(&[FILE, &["--max-cost", "50"]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.err);
    }

    /// A run that works for longer than any test waits, behind a short one that has succeeded.
    pub(crate) fn endless() -> Self {
        let mut run = Self::prepare(Duration::from_millis(50));
        run.finish();
        run.write_input("long.jsonl", 100_000);
        let args = [
            "run",
            "long.jsonl",
            "-o",
            "long.out",
            "-j",
            "2",
            "--max-cost",
            "50",
            "--metrics-file",
            "nova3.prom",
            "--metrics-addr",
            "127.0.0.1:0",
            "--progress",
            "plain",
        ];
        run.running = Some(started(&run.harness, &args));
        run
    }

    /// The address of its metrics.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.as_ref().unwrap().1
    }
}

/// The metrics file of a finished eventful run.
pub(crate) fn eventful_run() -> String {
    let run = EventfulRun::prepare(Duration::ZERO);
    run.finish();
    run.harness.read("nova3.prom")
}

#[test]
fn the_file_counts_exactly_what_the_run_did() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write("in.jsonl", questions(20) + "bad\n");
    let ran = harness.nova3(FILE);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let metrics = metrics(&harness);
    let value = |name: &str, labels: &[(&str, &str)]| metrics.value(name, labels);
    let work = [("status", "completed"), ("agent", "answer"), ("model", "m")];
    assert_eq!(value("nova3_requests_total", &work), Some(20.0));
    assert_eq!(metrics.sum("nova3_requests_total"), Some(20.0));
    assert_eq!(metrics.sum("nova3_request_duration_seconds_count"), Some(20.0));
    let finished = |status| value("nova3_requests_finished_total", &[("status", status)]);
    assert_eq!(
        (finished("completed"), finished("failed")),
        (Some(20.0), Some(0.0)),
        "a bad line is no work"
    );
    let calls = [("route", "default"), ("model", "m"), ("outcome", "answered")];
    assert_eq!(value("nova3_llm_calls_total", &calls), Some(20.0));
    assert_eq!(provider.calls(), 20);
    let states =
        ["good", "failed", "unfinished"].map(|state| value("nova3_run_requests", &[("state", state)]));
    assert_eq!(states, [Some(20.0), Some(1.0), Some(0.0)]);
    assert_eq!(value("nova3_run_exit_code", &[]), Some(100.0));
    assert_eq!(value("nova3_run_active", &[]), Some(0.0));
    assert_eq!(value("nova3_active_queues", &[]), Some(0.0));
    assert_eq!(value("nova3_run_last_success_timestamp_seconds", &[]), None);
    let mode = harness
        .path("nova3.prom")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o644, "the collector is another user");
    let left = std::fs::read_dir(harness.path("")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().starts_with(".nova3")),
        "{left:?}"
    );
}

/// The ledger of the store and the counters agree, also with calls that fail in every way.
#[test]
fn counters_of_calls_are_those_of_the_ledger() {
    let faults = Faults {
        rate_limited: 0.05,
        server_error: 0.1,
        disconnect: 0.05,
        truncate: 0.05,
        garbage: 0.05,
        ..Faults::default()
    };
    let (harness, _provider) = setup_with(MockConfig {
        faults,
        retry_after: Some(Duration::ZERO),
        ..MockConfig::default()
    });
    harness.write_questions("in.jsonl", 100);
    let ran = harness.nova3(&[FILE, &["-j", "20"]].concat());
    assert!(matches!(ran.code, Some(0 | 100)), "{}", ran.err);
    let (metrics, status) = (metrics(&harness), harness.status(&[]));
    let calls = |outcome: fn(&str) -> bool| {
        let calls = metrics.of("nova3_llm_calls_total");
        let counted = calls.filter(|sample| outcome(&sample.labels["outcome"]));
        counted
            .map(|sample| sample.value)
            .reduce(|sum, value| sum + value)
    };
    assert_eq!(calls(|_| true), status["attempts"].as_f64());
    assert_eq!(
        calls(|outcome| outcome != "answered"),
        status["failed_attempts"].as_f64()
    );
    for direction in ["input", "output"] {
        let labels = [("direction", direction), ("model", "m")];
        let tokens = metrics.value("nova3_llm_tokens_total", &labels);
        assert_eq!(tokens, status[format!("{direction}_tokens")].as_f64(), "{status}");
    }
    let finished = |status| metrics.value("nova3_requests_finished_total", &[("status", status)]);
    assert_eq!(finished("completed"), status["done"].as_f64(), "{status}");
    assert_eq!(finished("failed"), status["failed"].as_f64(), "{status}");
    assert_eq!(metrics.sum("nova3_requests_total"), Some(100.0));
}

/// The table of metrics, as far as a command shows it that worked and ended with a success.
#[test]
fn every_metric_has_the_labels_and_the_type_that_its_table_says() {
    let metrics = Exposition::read(&eventful_run());
    let labels = metrics.labels();
    let of_present = [
        "nova3_claimable_tasks",
        "nova3_claimable_tasks_read_timestamp_seconds",
    ];
    let mut expected = BTreeSet::new();
    for metric in METRICS.iter().filter(|metric| !of_present.contains(&metric.name)) {
        assert_eq!(
            metrics.types.get(metric.name).map(String::as_str),
            Some(metric.kind.name()),
            "{}",
            metric.name
        );
        assert_eq!(
            metrics.help.get(metric.name).map(String::as_str),
            Some(metric.meaning),
            "{}",
            metric.name
        );
        let own: BTreeSet<String> = metric.label_names().map(str::to_owned).collect();
        let series = match metric.kind {
            MetricKind::Histogram(_) => vec!["_bucket", "_sum", "_count"],
            _ => vec![""],
        };
        for ending in series {
            let mut own = own.clone();
            own.extend((ending == "_bucket").then(|| "le".to_owned()));
            let name = format!("{}{ending}", metric.name);
            assert_eq!(labels.get(&name), Some(&own), "{name}");
            expected.insert(name);
        }
    }
    assert_eq!(
        labels.into_keys().collect::<BTreeSet<_>>(),
        expected,
        "no other metric is there"
    );
    let value = |name: &str, labels: &[(&str, &str)]| metrics.value(name, labels);
    assert_eq!(value("nova3_circuit_state", &[("target", "dead")]), Some(2.0));
    assert_eq!(value("nova3_route_latched", &[("route", "dead")]), Some(1.0));
    assert_eq!(value("nova3_route_latched", &[("route", "good")]), Some(0.0));
    assert_eq!(value("nova3_run_cost_limit_usd", &[]), Some(50.0));
    for (name, labels) in [
        ("nova3_fallback_total", &[("from", "dead"), ("to", "good")][..]),
        ("nova3_llm_retries_total", &[("reason", "server")]),
        (
            "nova3_search_requests_total",
            &[("provider", "web"), ("outcome", "answered")],
        ),
    ] {
        assert!(value(name, labels) > Some(0.0), "{name}");
    }
    let (calls, run) = (
        metrics.sum("nova3_cost_usd_total"),
        metrics.sum("nova3_run_cost_usd"),
    );
    assert!(
        calls > Some(0.0) && run > calls,
        "the run has the cost of searches too: {calls:?} {run:?}"
    );
}

#[test]
fn a_failed_run_keeps_the_time_of_the_last_success() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let success = |harness: &Harness| metrics(harness).value("nova3_run_last_success_timestamp_seconds", &[]);
    harness.write_questions("in.jsonl", 1);
    assert_eq!(harness.nova3(FILE).code, Some(0));
    let first = success(&harness);
    assert!(first.is_some());
    harness.write("in.jsonl", questions(1) + "bad\n");
    assert_eq!(harness.nova3(FILE).code, Some(100));
    assert_eq!(success(&harness), first);
    // Also an error that ends the run keeps it, and the exit code is there.
    harness.write("nova3.db", "no store");
    assert_eq!(harness.nova3(FILE).code, Some(106));
    assert_eq!(success(&harness), first);
    assert_eq!(metrics(&harness).value("nova3_run_exit_code", &[]), Some(106.0));
}

#[test]
fn a_file_that_is_no_metrics_file_is_refused_before_any_call() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    harness.write("other", "text\n");
    symlink(harness.path("other"), harness.path("link")).unwrap();
    std::fs::create_dir(harness.path("folder")).unwrap();
    let refused = |file: &str, code: i32, reason: &str| {
        let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--metrics-file", file]);
        assert_eq!(ran.code, Some(code), "{file}: {}", ran.err);
        assert!(ran.err.contains(reason), "{file}: {}", ran.err);
    };
    refused("other", 110, "holds something else than metrics of nova3");
    refused("link", 110, "is a link");
    refused("folder", 110, "is a folder or a device");
    refused("/dev/full", 110, "is a folder or a device");
    refused("nowhere/nova3.prom", 110, "its folder cannot be used");
    refused("-", 2, "needs a file");
    refused("in.jsonl", 110, "holds something else");
    refused("out.jsonl", 2, "names the same place as another output");
    refused("nova3.db-wal", 2, "is the store itself");
    assert_eq!(harness.read("other"), "text\n");
    assert_eq!(provider.calls(), 0);
    let both = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--metrics-file",
        "m",
        "--summary-json",
        "m",
    ];
    let ran = harness.nova3(&both);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
}

/// A folder that takes the place of the file while the run works is not replaced, and the run is not disturbed.
#[test]
fn a_file_that_cannot_be_written_later_is_a_warning() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    // The input is a pipe: the run waits for it after the file was checked.
    let command = harness.shell(
        "mkfifo pipe; nova3 run - -o out.jsonl --metrics-file m <pipe & exec 3>pipe; \
         until [ -s m ]; do sleep 0.01; done; rm m; mkdir m; cat in.jsonl >&3; exec 3>&-; wait $!",
    );
    assert_eq!(command.code, Some(0), "{}", command.err);
    assert!(
        command.err.contains("metrics file `DIR/m` is a folder"),
        "{}",
        command.err
    );
    assert_eq!(harness.results("out.jsonl").len(), 1);
}

#[test]
fn models_that_no_route_names_are_one_value() {
    let (harness, _provider) = setup_with(MockConfig::default());
    let line = |n: usize| {
        let body = json!({"model": format!("model-{n}"), "messages": [{"role": "user", "content": "hi"}]});
        json!({"custom_id": format!("b{n}"), "method": "POST", "url": "/v1/chat/completions", "body": body})
            .to_string()
    };
    let lines: Vec<String> = (0..300).map(line).collect();
    harness.write("in.jsonl", lines.join("\n") + "\n" + &question("q", "question"));
    let ran = harness.nova3(FILE);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let metrics = metrics(&harness);
    for name in [
        "nova3_requests_total",
        "nova3_llm_calls_total",
        "nova3_llm_tokens_total",
    ] {
        let models = metrics.values(name, "model");
        assert_eq!(
            models,
            BTreeSet::from(["m".to_owned(), "other".to_owned()]),
            "{name}"
        );
    }
    assert_eq!(metrics.sum("nova3_requests_total"), Some(301.0));
}

/// A command that serves metrics, and their address.
fn started(harness: &Harness, args: &[&str]) -> (Running, SocketAddr) {
    let mut running = Running::start(harness.command(args));
    let stderr = BufReader::new(running.child().stderr.take().unwrap());
    let address = stderr.lines().map_while(Result::ok).find_map(|line| {
        Some(
            line.strip_prefix("metrics: http://")?
                .strip_suffix("/metrics")?
                .to_owned(),
        )
    });
    (running, address.unwrap().parse().unwrap())
}

/// A run whose calls never end, and the address of its metrics.
fn scraped(harness: &Harness) -> (Running, SocketAddr) {
    let args = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--metrics-addr",
        "127.0.0.1:0",
        "--progress",
        "plain",
    ];
    started(harness, &args)
}

/// The metrics of a run that works, as a scraper sees them after the store has answered.
pub(crate) fn scraped_run() -> Exposition {
    let (harness, _provider) = setup_with(slow());
    harness.write_questions("in.jsonl", 1);
    let (_running, address) = scraped(&harness);
    process::until("the store's answer", || {
        scrape(address).filter(|metrics| metrics.value("nova3_claimable_tasks", &[]).is_some())
    })
}

/// Sends these bytes, and returns everything that comes back. Empty if the connection is refused or cut.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut answer = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        stream.write_all(bytes).unwrap_or_default();
        stream.read_to_end(&mut answer).unwrap_or_default();
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(address: SocketAddr, path: &str) -> String {
    exchange(
        address,
        format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes(),
    )
}

fn scrape(address: SocketAddr) -> Option<Exposition> {
    let answer = get(address, "/metrics");
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    Some(Exposition::read(body))
}

#[test]
fn the_endpoint_shows_a_run_while_it_works() {
    let (harness, _provider) = setup_with(slow());
    harness.write_questions("in.jsonl", 9);
    let (_running, address) = scraped(&harness);
    until("calls in flight", || {
        scrape(address).is_some_and(|metrics| {
            metrics.value("nova3_llm_calls_in_flight", &[("route", "default")]) == Some(9.0)
        })
    });
    let metrics = scrape(address).unwrap();
    let value = |name: &str| metrics.value(name, &[]);
    assert_eq!(
        (value("nova3_active_queues"), value("nova3_run_active")),
        (Some(9.0), Some(1.0))
    );
    assert_eq!(
        metrics.value("nova3_run_requests", &[("state", "unfinished")]),
        Some(9.0)
    );
    assert!(value("nova3_memory_usage_bytes").unwrap() > 1e6);
    let status = |path: &str| get(address, path).lines().next().unwrap_or_default().to_owned();
    assert_eq!(status("/healthz"), "HTTP/1.1 200 OK");
    assert_eq!(status("/"), "HTTP/1.1 404 Not Found");
    let post = exchange(
        address,
        b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
    );
    assert!(
        post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET"),
        "{post}"
    );
}

#[test]
fn hostile_scrapers_hold_nothing() {
    let (harness, _provider) = setup_with(slow());
    harness.write_questions("in.jsonl", 1);
    let (mut running, address) = scraped(&harness);
    let huge = [b"GET /metrics HTTP/1.1\r\nx: ".as_slice(), &vec![b'a'; 1 << 20]].concat();
    let many = "x: y\r\n".repeat(10_000);
    let many = format!("GET /metrics HTTP/1.1\r\n{many}\r\n");
    for request in [
        b"\0\xff\x16\x03garbage\r\n\r\n".as_slice(),
        &huge,
        many.as_bytes(),
        b"\r\n",
    ] {
        let answer = exchange(address, request);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // Connections that send half a request, or nothing.
    let mut stalled: Vec<TcpStream> = (0..300)
        .filter_map(|_| TcpStream::connect(address).ok())
        .collect();
    for stream in stalled.iter_mut().step_by(2) {
        stream.write_all(b"GET /metr").unwrap_or_default();
    }
    let folder = format!("/proc/{}/fd", running.child().id());
    until("few open files", || {
        std::fs::read_dir(&folder).unwrap().count() < 60
    });
    until("a place for a scraper", || scrape(address).is_some());
    drop(stalled);
}

#[test]
fn an_address_that_cannot_be_used_stops_the_command_at_its_start() {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (address, reason) in [
        (address.as_str(), "cannot be used"),
        ("localhost", "an address and a port"),
        ("192.0.2.1:9", "cannot be used"),
    ] {
        let ran = harness.nova3(&["run", "in.jsonl", "--metrics-addr", address]);
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(
            ran.err.contains(reason) && ran.err.contains(address),
            "{}",
            ran.err
        );
    }
    assert_eq!(provider.calls(), 0);
    assert!(!harness.path("nova3.db").exists());
}

#[test]
fn settings_give_metrics_and_labels_of_their_own() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    let with = |lines: &str| {
        harness.write(
            "nova3.toml",
            format!("[metrics]\nfile = \"nova3.prom\"\n[metrics.labels]\n{lines}\n"),
        );
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"])
    };
    let ran = with("job_name = \"night \\\\ \\\"1\\\"\"");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let text = harness.read("nova3.prom");
    assert!(
        text.contains(r#"nova3_run_exit_code{job_name="night \\ \"1\""} 0"#),
        "{text}"
    );
    for wrong in ["model = \"x\"", "\"a b\" = \"x\"", "__x = \"x\"", "x = \"\""] {
        assert_eq!(with(wrong).code, Some(2), "{wrong}");
    }
    harness.write("nova3.toml", "[metrics]\nfile = \"a.prom\"\n");
    let shown = harness
        .with("NOVA3_METRICS_ADDR", "127.0.0.1:9464")
        .nova3(&["config", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(shown["metrics.file"]["value"], "a.prom", "{shown}");
    let addr = json!({"value": "127.0.0.1:9464", "source": "environment NOVA3_METRICS_ADDR"});
    assert_eq!(shown["metrics.addr"], addr);
}

#[test]
fn an_idle_worker_shows_the_tasks_that_it_could_claim() {
    let (harness, _provider) = fleet(MockConfig::default());
    harness.write_questions("in.jsonl", 3);
    // The run ends with work left, and the worker works on another run only.
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--limit", "1"]);
    assert_eq!(ran.code, Some(101), "{}", ran.err);
    let args = ["worker", "--run", "another", "--metrics-addr", "127.0.0.1:0"];
    let (mut running, address) = started(&harness, &args);
    until("the claimable tasks", || {
        scrape(address).is_some_and(|metrics| metrics.value("nova3_claimable_tasks", &[]) == Some(2.0))
    });
    running.signal(Signal::TERM);
    assert_eq!(running.output().status.code(), Some(143));
}
