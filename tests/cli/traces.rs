//! Traces: one tree for each request, and collectors that fail in every way.

use std::time::Duration;

use nova3::mock::{Latency, MockConfig};
use serde_json::json;

use crate::cli::fleet::fleet;
use crate::cli::harness::{Harness, Running, setup_with, until};
use crate::support::collector::{Collector, Does, Trace, attribute};

/// Sends traces to this collector, which has `millis` for each request.
fn traced(harness: Harness, collector: &Collector, millis: &str) -> Harness {
    harness
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url())
        .with("OTEL_EXPORTER_OTLP_TIMEOUT", millis)
}

/// A folder with ten questions, a provider, and a collector that does this.
fn ten(collector: &Collector, millis: &str) -> (Harness, crate::cli::harness::Provider) {
    let (harness, provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 10);
    (traced(harness, collector, millis), provider)
}

/// The line about traces that were not delivered.
fn missing(err: &str) -> Option<&str> {
    err.lines().find(|line| line.starts_with("traces of "))
}

#[test]
fn a_request_is_one_tree_with_its_costs() {
    let collector = Collector::accepting();
    let (harness, provider) = setup_with(MockConfig::default());
    let harness = traced(harness, &collector, "10000");
    let route = format!(
        "[routes.mock]\nbase_url = \"{}\"\nmodel = \"m\"\ninput_usd_per_million = 1\noutput_usd_per_million = 1\n",
        provider.base_url()
    );
    harness.write("nova3.toml", harness.read("nova3.toml") + &route);
    let line = json!({"custom_id": "a", "query": "a secret question", "user_id": "u", "session_id": "s"});
    harness.write("in.jsonl", format!("{line}\n"));
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);

    let traces = collector.traces();
    assert_eq!(traces.len(), 1);
    let trace = &traces[0];
    trace.is_whole();
    let root = trace.root();
    assert_eq!(root.name, "invoke_agent nova3");
    let text = |name: &str| attribute(root, name).unwrap_or_default();
    assert_eq!(
        [
            text("nova3.custom_id"),
            text("nova3.run"),
            text("gen_ai.conversation.id"),
            text("nova3.status")
        ],
        ["a", "in.jsonl", "u/s", "completed"]
    );
    let below: Vec<&str> = trace
        .children(root)
        .iter()
        .map(|span| span.name.as_str())
        .collect();
    assert_eq!(below[0], "plan supervisor", "{}", trace.shape());
    assert!(
        below[1..].iter().all(|name| name.starts_with("invoke_agent ")),
        "{}",
        trace.shape()
    );
    assert!(
        trace
            .shape()
            .contains("  invoke_agent facts\n    execute_tool web_search\n"),
        "{}",
        trace.shape()
    );
    let calls: Vec<_> = trace.spans.iter().filter(|span| span.name == "chat m").collect();
    assert_eq!(calls.len() as u64, provider.calls(), "{}", trace.shape());
    let costs: f64 = calls
        .iter()
        .map(|call| attribute(call, "nova3.cost_usd").unwrap().parse::<f64>().unwrap())
        .sum();
    let line = &harness.results("out.jsonl")[0];
    let told = line["cost_usd"].as_f64().unwrap();
    assert!((costs - told).abs() < 1e-9, "{costs} {told}");
    for name in [
        "gen_ai.request.model",
        "gen_ai.usage.input_tokens",
        "gen_ai.response.time_to_first_chunk",
        "nova3.route",
        "server.port",
        "gen_ai.provider.name",
    ] {
        assert!(attribute(calls[0], name).is_some(), "{name}");
    }
    // Content is off by default.
    let bodies = collector.received();
    let leaks = |text: &str| {
        bodies
            .iter()
            .any(|sent| sent.body.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    assert!(!leaks("secret question") && leaks("nova3.custom_id"));
    assert_eq!(missing(&ran.err), None);
}

#[test]
fn texts_are_sent_when_the_switch_is_on() {
    let collector = Collector::accepting();
    let (harness, _provider) = ten(&collector, "10000");
    let harness = harness
        .with("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true")
        .with("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let traces = collector.traces();
    assert_eq!(traces.len(), 10);
    let call = traces[0]
        .spans
        .iter()
        .find(|span| span.name.starts_with("chat "))
        .unwrap();
    let sent = attribute(call, "gen_ai.input.messages").unwrap();
    assert!(
        sent.contains("question") && sent.contains(r#""role":"system""#),
        "{sent}"
    );
    let received = attribute(call, "gen_ai.output.messages").unwrap();
    assert!(received.contains(r#""finish_reason":"stop""#), "{received}");
    assert!(
        attribute(traces[0].root(), "output.value")
            .unwrap()
            .contains("answer1")
    );
}

#[test]
fn langsmith_needs_its_own_variables_alone() {
    let collector = Collector::accepting();
    let (harness, _provider) = setup_with(MockConfig::default());
    let harness = harness
        .with("LANGSMITH_TRACING", "true")
        .with("LANGSMITH_API_KEY", "ls-secret")
        .with("LANGSMITH_ENDPOINT", &collector.url())
        .with("LANGSMITH_PROJECT", "posts")
        .with("LANGSMITH_HIDE_OUTPUTS", "true");
    harness.write_questions("in.jsonl", 2);
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "-vvv"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(!ran.err.contains("ls-secret"));
    let heads: Vec<String> = collector.received().into_iter().map(|sent| sent.head).collect();
    assert!(heads[0].starts_with("post /otel/v1/traces "), "{}", heads[0]);
    assert!(heads[0].contains("x-api-key: ls-secret") && heads[0].contains("langsmith-project: posts"));
    let trace = &collector.traces()[0];
    trace.is_whole();
    let root = trace.root();
    let id = attribute(root, "langsmith.span.id").unwrap();
    assert_eq!(attribute(root, "langsmith.trace.id"), Some(id.clone()));
    let order = attribute(root, "langsmith.span.dotted_order").unwrap();
    assert!(order.ends_with(&id) && order.len() == 22 + 36, "{order}");
    for span in trace.spans.iter().filter(|span| span.span_id != root.span_id) {
        let parent = trace.parent(span).unwrap();
        let above = attribute(parent, "langsmith.span.dotted_order").unwrap();
        let own = attribute(span, "langsmith.span.dotted_order").unwrap();
        assert!(own.starts_with(&format!("{above}.")), "{own}");
        assert_eq!(
            attribute(span, "langsmith.span.parent_id"),
            attribute(parent, "langsmith.span.id")
        );
    }
    let call = trace
        .spans
        .iter()
        .find(|span| span.name.starts_with("chat "))
        .unwrap();
    assert_eq!(attribute(call, "langsmith.span.kind").as_deref(), Some("llm"));
    assert!(
        attribute(call, "langsmith.usage_metadata")
            .unwrap()
            .contains("\"total_tokens\"")
    );
    assert!(
        attribute(call, "gen_ai.input.messages").is_some(),
        "content is on for LangSmith"
    );
    assert!(
        attribute(call, "gen_ai.output.messages").is_none(),
        "outputs are hidden"
    );
}

#[test]
fn langfuse_needs_its_own_variables_alone() {
    let collector = Collector::accepting();
    let (harness, _provider) = setup_with(MockConfig::default());
    let harness = harness
        .with("LANGFUSE_PUBLIC_KEY", "pk")
        .with("LANGFUSE_SECRET_KEY", "sk-secret")
        .with("LANGFUSE_HOST", &collector.url());
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let head = &collector.received()[0].head;
    assert!(head.starts_with("post /api/public/otel/v1/traces "), "{head}");
    assert!(head.contains("authorization: basic ") && head.contains("x-langfuse-ingestion-version: 4"));
    let trace = &collector.traces()[0];
    let call = trace
        .spans
        .iter()
        .find(|span| span.name.starts_with("chat "))
        .unwrap();
    assert_eq!(
        attribute(call, "langfuse.observation.type").as_deref(),
        Some("generation")
    );
}

#[test]
fn a_collector_that_fails_once_gets_every_trace() {
    let scripts: [(&str, Does); 6] = [
        ("429", Does::Answers(429, "retry-after: 1\r\n")),
        ("503", Does::Answers(503, "")),
        ("500", Does::Answers(500, "")),
        ("dies", Does::Dies),
        ("stalls", Does::Stalls),
        ("408", Does::Answers(408, "")),
    ];
    for (name, first) in scripts {
        let collector = Collector::start(move |number, _| if number == 0 { first } else { Does::Accepts });
        let (harness, _provider) = ten(&collector, if first == Does::Stalls { "4000" } else { "10000" });
        // The first batch is sent before the end, so that the end is not its only time.
        let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
        assert_eq!(
            (ran.code, harness.results("out.jsonl").len()),
            (Some(0), 10),
            "{name}"
        );
        if first == Does::Stalls {
            // The time of one request is over when the collector has not answered it.
            assert!(missing(&ran.err).is_some(), "{name}: {}", ran.err);
            continue;
        }
        assert_eq!(
            (collector.traces().len(), missing(&ran.err)),
            (10, None),
            "{name}: {}",
            ran.err
        );
    }
}

#[test]
fn a_collector_that_refuses_is_told_once_and_loses_no_result() {
    for (name, does, reason) in [
        ("404", Does::Answers(404, ""), "it answers 404: not today"),
        ("401", Does::Answers(401, ""), "it answers 401: not today"),
        ("400", Does::Answers(400, ""), "it answers 400: not today"),
        (
            "redirect",
            Does::Answers(302, "location: http://127.0.0.1:1/\r\n"),
            "it answers 302: not today",
        ),
    ] {
        let collector = Collector::start(move |_, _| does);
        let (harness, _provider) = ten(&collector, "10000");
        let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
        assert_eq!(
            (ran.code, harness.results("out.jsonl").len()),
            (Some(0), 10),
            "{name}"
        );
        assert_eq!(
            ran.err.matches("does not take traces").count(),
            1,
            "{name}: {}",
            ran.err
        );
        assert!(ran.err.contains(reason), "{name}: {}", ran.err);
        assert!(
            missing(&ran.err)
                .unwrap()
                .starts_with("traces of 10 of 10 requests"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_collector_that_has_a_span_already_has_it() {
    let collector = Collector::start(|_, _| Does::Answers(409, ""));
    let (harness, _provider) = ten(&collector, "10000");
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!((ran.code, missing(&ran.err)), (Some(0), None), "{}", ran.err);
}

#[test]
fn spans_that_a_collector_rejects_are_counted() {
    let collector = Collector::start(|_, _| Does::Rejects(3));
    let (harness, _provider) = ten(&collector, "10000");
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert!(ran.err.contains("it rejected 3 spans: too old"), "{}", ran.err);
    assert!(missing(&ran.err).is_some(), "{}", ran.err);
}

#[test]
fn a_batch_that_is_too_large_is_halved() {
    let collector = Collector::start(|_, bytes| {
        if bytes > 3000 {
            Does::Answers(413, "")
        } else {
            Does::Accepts
        }
    });
    let (harness, _provider) = ten(&collector, "10000");
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(
        (collector.traces().len(), missing(&ran.err)),
        (10, None),
        "{}",
        ran.err
    );
    assert!(collector.received().len() > 10);
}

#[test]
fn a_trace_that_is_too_large_loses_its_texts() {
    let collector = Collector::start(|_, bytes| {
        if bytes > 20_000 {
            Does::Answers(413, "")
        } else {
            Does::Accepts
        }
    });
    let (harness, _provider) = setup_with(MockConfig::default());
    let harness = traced(harness, &collector, "10000")
        .with("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true");
    let line = json!({"custom_id": "a", "query": "好".repeat(4900), "tasks": ["answer"]});
    harness.write("in.jsonl", format!("{line}\n"));
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    let traces = collector.traces();
    assert_eq!((traces.len(), missing(&ran.err)), (1, None), "{}", ran.err);
    assert!(attribute(traces[0].root(), "input.value").is_none());
}

#[test]
fn a_collector_that_is_not_there_or_never_answers_costs_its_traces_alone() {
    let nobody = Collector::start(|_, _| Does::Stalls);
    for url in ["http://127.0.0.1:9", &nobody.url()] {
        let (harness, _provider) = setup_with(MockConfig::default());
        harness.write_questions("in.jsonl", 300);
        let harness = harness
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", url)
            .with("OTEL_EXPORTER_OTLP_TIMEOUT", "300");
        let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
        assert_eq!(
            (ran.code, harness.results("out.jsonl").len()),
            (Some(0), 300),
            "{}",
            ran.err
        );
        assert!(
            missing(&ran.err)
                .unwrap()
                .starts_with("traces of 300 of 300 requests"),
            "{}",
            ran.err
        );
    }
}

#[test]
fn a_wrong_variable_is_told_and_the_run_goes_on() {
    let (harness, _provider) = setup_with(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    let harness = harness
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317")
        .with("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.err.contains("`OTEL_EXPORTER_OTLP_PROTOCOL` is `grpc`"),
        "{}",
        ran.err
    );
    // `config` shows the destinations in force, and the same warnings.
    let harness = harness
        .with("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .with("LANGSMITH_TRACING", "true");
    let shown = harness.nova3(&["config"]);
    assert!(
        shown.out.contains("traces.otlp") && shown.out.contains("127.0.0.1:4317"),
        "{}",
        shown.out
    );
    assert!(shown.err.contains("LANGSMITH_API_KEY"), "{}", shown.err);
}

/// A provider that takes this many milliseconds for each answer.
fn lazy(ms: u64) -> MockConfig {
    let latency = Latency {
        first_token: Duration::from_millis(ms),
        ..Latency::default()
    };
    MockConfig {
        latency,
        ..MockConfig::default()
    }
}

/// Requests of three tasks each.
fn chains(count: usize) -> String {
    (0..count).fold(String::new(), |text, n| {
        let tasks = ["insight", "profile", "xhs_writing"];
        text + &json!({"custom_id": format!("q{n}"), "query": "q", "tasks": tasks}).to_string() + "\n"
    })
}

/// Requires one whole tree for each request, with all its tasks.
fn all_whole(traces: &[Trace], count: usize) {
    assert_eq!(traces.len(), count);
    for trace in traces {
        trace.is_whole();
        let tasks = trace.children(trace.root());
        let names: Vec<&str> = tasks.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "invoke_agent insight",
                "invoke_agent profile",
                "invoke_agent xhs_writing"
            ]
        );
        for task in tasks {
            assert!(!trace.children(task).is_empty(), "{}", trace.shape());
        }
    }
}

#[test]
fn a_killed_run_goes_on_in_the_same_traces() {
    let collector = Collector::accepting();
    let (harness, provider) = setup_with(lazy(30));
    let harness = traced(harness, &collector, "10000");
    harness.write("in.jsonl", chains(20));
    let run = ["run", "in.jsonl", "-o", "out.jsonl", "-j", "10"];
    let mut first = Running::start(harness.command(&run));
    until("a first task of most requests", || provider.calls() >= 25);
    first.child().kill().unwrap();
    drop(first);
    let ended = collector.traces().len();
    let ran = harness.nova3(&run);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ended < 20, "the kill came in the middle");
    let traces = collector.traces();
    // A request that ended right before the kill may have no trace, and no other request may.
    assert!(traces.len() + 10 >= 20, "{}", traces.len());
    all_whole(&traces, traces.len());
    // Some tree has tasks that the first process did.
    let begun: u64 = traces
        .iter()
        .map(|trace| trace.root().start_time_unix_nano)
        .min()
        .unwrap();
    let ended: u64 = traces
        .iter()
        .map(|trace| trace.root().end_time_unix_nano)
        .max()
        .unwrap();
    assert!(ended > begun);
}

#[test]
fn a_trace_has_the_tasks_of_every_worker() {
    let collector = Collector::accepting();
    let (harness, _provider) = fleet(lazy(5));
    let harness = traced(harness, &collector, "10000");
    harness.write("in.jsonl", chains(40));
    let worker = Running::start(harness.command(&["worker", "-j", "4"]));
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "-j", "4"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let mut worker = worker;
    worker.signal(rustix::process::Signal::TERM);
    worker.output();
    all_whole(&collector.traces(), 40);
}

#[test]
fn a_paused_request_goes_on_in_its_trace() {
    let collector = Collector::accepting();
    let (harness, _provider) = setup_with(MockConfig::default());
    let harness = traced(harness, &collector, "10000");
    harness.write("in.jsonl", chains(1));
    assert_eq!(
        harness
            .nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--until", "insight"])
            .code,
        Some(0)
    );
    let paused = collector.traces();
    assert_eq!(
        attribute(paused[0].root(), "nova3.status").as_deref(),
        Some("paused")
    );
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
    let traces = collector.traces();
    all_whole(&traces, 1);
    assert_eq!(traces[0].root().span_id, paused[0].root().span_id);
}

#[test]
fn failed_tries_and_fallbacks_are_in_the_trace() {
    let collector = Collector::accepting();
    let (harness, provider) = setup_with(MockConfig::default());
    let harness = traced(harness, &collector, "10000");
    let settings = format!(
        "[routes.bad]\nbase_url = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\nno_key = true\n[routes.good]\nbase_url = \"{}\"\nmodel = \"m\"\n\
         [chains]\nboth = [\"bad\", \"good\"]\n",
        provider.base_url()
    );
    harness.write("nova3.toml", harness.read("nova3.toml") + &settings);
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "-m", "both"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let trace = &collector.traces()[0];
    trace.is_whole();
    let task = trace.children(trace.root())[0];
    assert_eq!(
        attribute(task, "nova3.fallback.from").as_deref(),
        Some("bad"),
        "{}",
        trace.shape()
    );
    let calls = trace.children(task);
    let failed = calls
        .iter()
        .filter(|call| attribute(call, "nova3.route").as_deref() == Some("bad"));
    assert!(
        failed.clone().count() > 0
            && failed
                .clone()
                .all(|call| attribute(call, "error.type").as_deref() == Some("network"))
    );
    assert_eq!(
        attribute(calls.last().unwrap(), "nova3.used").as_deref(),
        Some("true")
    );
}
