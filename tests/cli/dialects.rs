//! Routes of both dialects: the same work, one chain, and what a route adds to its requests.

use nova3::mock::{Faults, MockConfig, key_id};
use serde_json::{Value, json};

use crate::cli::harness::{Harness, Provider, lines, question, questions, setup};

/// The fields that differ between two runs of the same work.
const OWN: [&str; 13] = [
    "completed_at",
    "found_at",
    "created_at",
    "route",
    "model",
    "cost_usd",
    "started_at",
    "finished_at",
    "duration_ms",
    "first_token_ms",
    "request_id",
    "usage",
    "queued_ms",
];

/// A value without what differs.
fn shared(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| !OWN.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), shared(value)))
            .collect(),
        Value::Array(list) => list.iter().map(shared).collect(),
        other => other.clone(),
    }
}

/// A route of this dialect with further lines.
fn route(name: &str, dialect: &str, provider: &Provider, more: &str) -> String {
    format!(
        "[routes.{name}]\ndialect = \"{dialect}\"\nbase_url = \"{}\"\nmodel = \"m\"\n{more}\n",
        provider.base_url()
    )
}

/// Settings with quick retries and these routes.
fn settings(routes: &str) -> String {
    format!("[retry]\nbase = \"1ms\"\nlongest = \"2ms\"\n[breaker]\nopen = \"50ms\"\n{routes}")
}

fn results(harness: &Harness) -> Vec<Value> {
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    harness.results("out.jsonl")
}

#[test]
fn both_dialects_give_the_same_results() {
    let provider = Provider::start(MockConfig::default());
    // A Batch line is Chat Completions as it stands.
    let requests = include_str!("../../fixtures/requests.jsonl").lines();
    let requests: Vec<&str> = requests.filter(|line| !line.contains("\"body\":")).collect();
    let through = |dialect: &str, more: &str| {
        // A store of its own: a session would go on from the run before.
        let harness = setup();
        harness.write("in.jsonl", requests.join("\n") + "\n");
        harness.write("nova3.toml", settings(&route("a", dialect, &provider, more)));
        results(&harness)
    };
    let chat = through("openai", "");
    assert_eq!(chat.len(), requests.len());
    for more in ["", "stream = false"] {
        let messages = through("anthropic", more);
        for (left, right) in chat.iter().zip(&messages) {
            assert_eq!(shared(left), shared(right), "{more}");
        }
        assert_eq!(chat.len(), messages.len());
    }
}

#[test]
fn a_rehearsal_goes_through_the_dialect_of_each_route() {
    let harness = setup();
    harness.write("in.jsonl", questions(3));
    let routes = "[routes.claude]\ndialect = \"anthropic\"\nbase_url = \"https://api.anthropic.com/v1\"\nmodel = \"m\"\n";
    harness.write("nova3.toml", settings(routes));
    let ran = harness.nova3(&["run", "in.jsonl", "--mock"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let made = lines(&ran.out);
    assert_eq!(made.len(), 3);
    assert!(made.iter().all(|line| line["tasks"][0]["route"] == "claude"));
}

#[test]
fn a_chain_over_both_dialects_falls_back() {
    let overloaded = Provider::start(MockConfig {
        faults: Faults {
            overloaded: 1.0,
            ..Faults::default()
        },
        ..MockConfig::default()
    });
    let sound = Provider::start(MockConfig::default());
    let harness = setup();
    harness.write("in.jsonl", questions(5));
    let routes = route("claude", "anthropic", &overloaded, "")
        + &route("gpt", "openai", &sound, "")
        + "[chains]\ndefault = [\"claude\", \"gpt\"]\n";
    harness.write("nova3.toml", settings(&routes));
    for line in results(&harness) {
        let task = &line["tasks"][0];
        assert_eq!(task["route"], "gpt", "{line}");
        assert_eq!(task["fallback"]["from"], "claude", "{line}");
    }
    assert_eq!(sound.calls(), 5);
    assert!(overloaded.calls() > 0);
}

#[test]
fn faults_of_the_messages_api_are_survived() {
    let faults = Faults {
        rate_limited: 0.1,
        server_error: 0.05,
        disconnect: 0.05,
        truncate: 0.05,
        garbage: 0.05,
        error_in_stream: 0.1,
        overloaded: 0.05,
        ..Faults::default()
    };
    let provider = Provider::start(MockConfig {
        faults,
        retry_after: Some(std::time::Duration::from_millis(1)),
        ..MockConfig::default()
    });
    let harness = setup();
    harness.write("in.jsonl", questions(40));
    let retries = "[retry]\nretries = 12\nbase = \"1ms\"\nlongest = \"2ms\"\n[breaker]\nfailures = 100\n";
    harness.write(
        "nova3.toml",
        retries.to_owned() + &route("claude", "anthropic", &provider, ""),
    );
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "4"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(lines(&ran.out).len(), 40);
    assert!(provider.calls() > 40);
}

#[test]
fn extra_fields_and_headers_arrive_and_no_value_of_a_header_is_shown() {
    const PLANTED: &str = "PlantedTenant0123456789";
    for dialect in ["openai", "anthropic"] {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("calls.jsonl");
        let provider = Provider::start(MockConfig {
            log: Some(log.clone()),
            ..MockConfig::default()
        });
        let harness = setup().with("TENANT", PLANTED);
        harness.write("in.jsonl", question("q1", "hello"));
        let more = "[routes.a.body]\nservice_tier = \"flex\"\nenable_thinking = false\n\
                    [routes.a.headers]\nX-Tenant = { env = \"TENANT\" }\n";
        harness.write("nova3.toml", settings(&route("a", dialect, &provider, more)));
        let mut said = String::new();
        for args in [
            &["run", "in.jsonl", "-o", "out.jsonl", "-vvv"][..],
            &["config"],
            &["config", "--json"],
            &["status", "--json"],
        ] {
            let ran = harness.nova3(args);
            assert_eq!(ran.code, Some(0), "{}", ran.err);
            said += &(ran.out + &ran.err);
        }
        drop(provider);
        assert!(!said.contains(PLANTED), "{said}");
        for entry in std::fs::read_dir(harness.path("")).unwrap() {
            let path = entry.unwrap().path();
            let bytes = if path.is_file() {
                std::fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            let shown = bytes
                .windows(PLANTED.len())
                .any(|part| part == PLANTED.as_bytes());
            assert!(!shown, "in {}", path.display());
        }
        let calls = lines(&std::fs::read_to_string(&log).unwrap());
        let start = calls.iter().find(|line| line["event"] == "start").unwrap();
        assert_eq!(
            start["fields"],
            json!({"service_tier": "flex", "enable_thinking": false})
        );
        assert_eq!(start["headers"], json!({"x-tenant": key_id(PLANTED)}));
    }
}

#[test]
fn whole_answers_are_asked_for_without_a_stream() {
    for dialect in ["openai", "anthropic"] {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("calls.jsonl");
        let provider = Provider::start(MockConfig {
            log: Some(log.clone()),
            ..MockConfig::default()
        });
        let harness = setup();
        harness.write("in.jsonl", question("q1", "hello"));
        harness.write(
            "nova3.toml",
            settings(&route("a", dialect, &provider, "stream = false")),
        );
        results(&harness);
        drop(provider);
        let calls = lines(&std::fs::read_to_string(&log).unwrap());
        let streams: Vec<&Value> = calls
            .iter()
            .filter(|line| line["event"] == "start")
            .map(|line| &line["stream"])
            .collect();
        assert_eq!(streams, [&json!(false)], "{dialect}");
    }
}

#[test]
fn the_key_goes_into_the_header_that_the_route_names() {
    for (dialect, header) in [
        ("openai", ""),
        ("openai", "key_header = \"api-key\"\n"),
        ("anthropic", ""),
    ] {
        let provider = Provider::start(MockConfig {
            api_key: Some("a-secret-key".to_owned()),
            ..MockConfig::default()
        });
        let harness = setup().with("KEY", "a-secret-key");
        harness.write("in.jsonl", question("q1", "hello"));
        let more = format!("api_key_env = \"KEY\"\n{header}");
        harness.write("nova3.toml", settings(&route("a", dialect, &provider, &more)));
        results(&harness);
    }
}
