//! The conditions that end a run before its work is done: money, failures, time, a number of requests.

use nova3::mock::{Faults, MockConfig};

use crate::cli::harness::{Harness, Provider, Running, errors, lines, setup, slow, until};
use crate::cli::provider::{Say, Scripted};

/// A route at this address with a price of one dollar for a million tokens.
fn priced(url: &str, more: &str) -> String {
    format!(
        "[retry]\nbase = \"1ms\"\nlongest = \"2ms\"\n[breaker]\nopen = \"50ms\"\n[routes.primary]\nbase_url = \"{url}\"\nmodel = \"m\"\n\
         no_key = true\ninput_usd_per_million = 1.0\noutput_usd_per_million = 1.0\n{more}\n"
    )
}

fn with_prices(config: MockConfig) -> (Harness, Provider) {
    let provider = Provider::start(config);
    let harness = setup();
    harness.write("nova3.toml", priced(&provider.base_url(), ""));
    (harness, provider)
}

fn usd(harness: &Harness, key: &str) -> f64 {
    harness.status(&[])[key].as_f64().unwrap()
}

#[test]
fn a_cap_needs_prices() {
    let provider = Provider::start(MockConfig::default());
    let harness = setup().with("OPENAI_BASE_URL", &provider.base_url());
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl", "--max-cost", "1"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("route `default` has no price"), "{}", ran.err);
    assert!(!harness.path("nova3.db").exists());
}

#[test]
fn a_run_stops_below_its_cap_and_goes_on_under_a_higher_one() {
    let (harness, provider) = with_prices(MockConfig::default());
    harness.write_questions("in.jsonl", 200);
    let run =
        |cap: &str| harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "-j", "8", "--max-cost", cap]);
    let ran = run("0.03");
    assert_eq!(ran.code, Some(103), "{}", ran.err);
    assert!(
        ran.err.contains("stopped below its cost cap of $0.0300"),
        "{}",
        ran.err
    );
    let (spent, calls) = (usd(&harness, "cost_usd"), provider.calls());
    assert!(spent > 0.015 && spent <= 0.03, "{spent}");
    assert!(
        usd(&harness, "reserved_usd") < 1e-12,
        "nothing is held back any more"
    );
    // The cap belongs to the run and not to the invocation, so there is no room for another call.
    let again = run("0.03");
    assert_eq!(again.code, Some(103));
    assert!(
        provider.calls() <= calls + 1,
        "{} then {}",
        calls,
        provider.calls()
    );
    assert!(usd(&harness, "cost_usd") <= 0.03);
    let ran = run("10");
    assert_eq!((ran.code, provider.calls()), (Some(0), 200), "{}", ran.err);
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}

#[test]
fn answers_that_were_lost_count_as_what_they_may_have_cost() {
    let (harness, _provider) = with_prices(MockConfig {
        faults: Faults {
            truncate: 0.5,
            ..Faults::default()
        },
        ..MockConfig::default()
    });
    harness.write_questions("in.jsonl", 20);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "4", "--max-cost", "0.05"]);
    assert_eq!(ran.code, Some(103), "{}", ran.err);
    let (known, lost) = (usd(&harness, "cost_usd"), usd(&harness, "uncertain_usd"));
    assert!(lost > 0.0 && known + lost <= 0.05, "{known} + {lost}");
    assert!(ran.err.contains("more for lost answers"), "{}", ran.err);
}

#[test]
fn a_call_that_a_kill_orphaned_counts_as_its_worst_case() {
    let (harness, provider) = with_prices(slow());
    harness.write_questions("in.jsonl", 4);
    let mut run = Running::start(harness.command(&["run", "in.jsonl", "-j", "4", "--max-cost", "1"]));
    until("calls are on their way", || provider.calls() == 4);
    run.signal(rustix::process::Signal::KILL);
    run.output();
    let held = usd(&harness, "reserved_usd");
    assert!(held > 0.0);
    let good = Provider::start(MockConfig::default());
    harness.write("nova3.toml", priced(&good.base_url(), ""));
    let ran = harness.nova3(&["run", "in.jsonl", "--max-cost", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!((usd(&harness, "uncertain_usd") - held).abs() < 1e-9);
    let status = harness.status(&[]);
    assert_eq!(
        (&status["waste"][0]["cause"], &status["waste"][0]["calls"]),
        (&"abandoned".into(), &4.into())
    );
}

#[test]
fn a_batch_body_without_a_bound_is_refused_under_a_cap_unless_its_route_has_one() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;
    let line = format!(r#"{{"custom_id":"b","method":"POST","url":"/v1/chat/completions","body":{body}}}"#);
    let provider = Scripted::start(|_| {
        Say {
        status: 200,
        headers: "content-type: application/json\r\n",
        body: r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1}}"#
            .to_owned(),
    }
    });
    let harness = setup();
    harness.write("in.jsonl", line);
    harness.write("nova3.toml", priced(&provider.base_url(), ""));
    let ran = harness.nova3(&["run", "in.jsonl", "--max-cost", "1"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let said = lines(&ran.out)[0]["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(said.contains("set `max_completion_tokens` in the line"), "{said}");
    assert_eq!(provider.bodies().len(), 0);
    harness.write("nova3.toml", priced(&provider.base_url(), "max_tokens = 77"));
    let ran = harness.nova3(&["run", "in.jsonl", "--max-cost", "1", "--retry-failed"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let sent: serde_json::Value = serde_json::from_str(&provider.bodies()[0]).unwrap();
    assert_eq!(sent["max_completion_tokens"], 77);
}

#[test]
fn too_many_failures_stop_the_run() {
    let failing = |share: f64| {
        let (harness, provider) = with_prices(MockConfig {
            faults: Faults {
                error_in_stream: share,
                ..Faults::default()
            },
            ..MockConfig::default()
        });
        let settings = priced(&provider.base_url(), "").replace("[retry]", "[retry]\nretries = 0");
        harness.write(
            "nova3.toml",
            settings.replace("[breaker]", "[breaker]\nfailures = 1000"),
        );
        harness.write_questions("in.jsonl", 100);
        (harness, provider)
    };
    let (harness, provider) = failing(1.0);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1", "--max-failures", "3"]);
    assert_eq!((ran.code, provider.calls()), (Some(102), 3), "{}", ran.err);
    assert_eq!(errors(&lines(&ran.out)).len(), 3);
    assert!(
        ran.err.contains("stopped, 3 requests failed (`--max-failures`)"),
        "{}",
        ran.err
    );
    let (harness, provider) = failing(1.0);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1", "--max-failures", "50%"]);
    assert_eq!(
        (ran.code, provider.calls()),
        (Some(102), 20),
        "a share needs twenty: {}",
        ran.err
    );
    let (harness, _provider) = failing(0.1);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1", "--max-failures", "60%"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
}

#[test]
fn at_its_deadline_a_run_drains_and_can_go_on() {
    let (harness, provider) = with_prices(slow());
    harness.write_questions("in.jsonl", 3);
    let ran = harness.nova3(&[
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "-j",
        "1",
        "--deadline",
        "100ms",
        "--grace",
        "100ms",
    ]);
    assert_eq!(ran.code, Some(104), "{}", ran.err);
    assert!(ran.err.contains("stopped at its deadline"), "{}", ran.err);
    let calls = provider.calls();
    let past = [
        "run",
        "in.jsonl",
        "-o",
        "out.jsonl",
        "--deadline",
        "2020-01-01T00:00:00Z",
    ];
    assert_eq!(harness.nova3(&past).code, Some(104));
    assert_eq!(provider.calls(), calls);
    let good = Provider::start(MockConfig::default());
    harness.write("nova3.toml", priced(&good.base_url(), ""));
    assert_eq!(
        harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]).code,
        Some(0)
    );
}

#[test]
fn a_limit_takes_so_many_requests_at_a_time() {
    let (harness, provider) = with_prices(MockConfig::default());
    harness.write_questions("in.jsonl", 12);
    let args = ["run", "in.jsonl", "-o", "out.jsonl", "--limit", "5"];
    for (code, calls, text) in [(101, 5, "`--limit`"), (101, 10, "`--limit`"), (0, 12, "finished")] {
        let ran = harness.nova3(&args);
        assert_eq!((ran.code, provider.calls()), (Some(code), calls), "{}", ran.err);
        assert!(ran.err.contains(text), "{}", ran.err);
        assert_eq!(harness.results("out.jsonl").len() as u64, calls);
    }
}

#[test]
fn wrong_conditions_are_refused_with_their_cure() {
    let (harness, _provider) = with_prices(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    for (args, said) in [
        (["--max-cost", "0"], "`run.max_cost` is `0`"),
        (
            ["--max-failures", "none"],
            "`run.max_failures` is `none`: expected a number above zero, or a share",
        ),
        (
            ["--deadline", "soon"],
            "`run.deadline` is `soon`: expected a duration such as `30m`, or a moment",
        ),
        (["--limit", "0"], "`run.limit` is `0`"),
        (["--give-up", "never"], "`run.give_up` is `never`"),
        (
            ["--memory-limit", "1MB"],
            "`run.memory_limit` is `1MB`: expected 32MB or more",
        ),
    ] {
        let ran = harness.nova3(&[&["run", "in.jsonl"], &args[..]].concat());
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
    }
}

#[test]
fn each_call_has_a_queue_in_memory() {
    let (harness, _provider) = with_prices(MockConfig::default());
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "2000"]);
    assert_eq!(ran.code, Some(0), "the default follows: {}", ran.err);
    harness.write("nova3.toml", "[run]\nmax_queues = 1999\n");
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "2000"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    let said = "`run.max_queues` is `1999`: expected at least `run.concurrency`, which is 2000";
    assert!(ran.err.contains(said), "{}", ran.err);
}
