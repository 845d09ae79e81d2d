//! Chains of routes: when the next route takes over, how that is reported, and how long a run waits for them.

use nova3::mock::{Faults, MockConfig};
use serde_json::Value;

use crate::cli::harness::{Harness, Provider, Running, lines, questions, setup, until};
use crate::cli::provider::{Say, Scripted};

/// Settings with a chain of routes at these addresses, and further lines for each route.
fn chain(routes: &[(&str, &str, &str)], further: &str) -> String {
    let mut text = String::from("[retry]\nbase = \"1ms\"\nlongest = \"2ms\"\n");
    text += further;
    for (name, address, more) in routes {
        text += &format!(
            "[routes.{name}]\nbase_url = \"{address}\"\nmodel = \"m-{name}\"\nno_key = true\n{more}\n"
        );
    }
    let names: Vec<String> = routes.iter().map(|(name, ..)| format!("\"{name}\"")).collect();
    text + &format!("[chains]\ndefault = [{}]\n", names.join(", "))
}

fn error(status: u16, code: &str) -> Say {
    Say {
        status,
        headers: "content-type: application/json\r\n",
        body: format!(r#"{{"error":{{"message":"no","type":"t","code":"{code}"}}}}"#),
    }
}

/// A primary that answers by the script, and a mock as the fallback.
fn behind(say: impl Fn(&str) -> Say + Send + 'static) -> (Harness, Scripted, Provider) {
    let (primary, fallback) = (Scripted::start(say), Provider::start(MockConfig::default()));
    let harness = setup();
    let routes = [
        ("primary", primary.base_url(), ""),
        ("fallback", fallback.base_url(), ""),
    ];
    let routes = routes
        .each_ref()
        .map(|(name, url, more)| (*name, url.as_str(), *more));
    harness.write("nova3.toml", chain(&routes, "[breaker]\nopen = \"1h\"\n"));
    (harness, primary, fallback)
}

fn told(results: &[Value]) -> (Vec<&str>, Vec<&str>) {
    let text = |key: &'static str| {
        results
            .iter()
            .map(move |line| {
                line["tasks"][0]
                    .pointer(key)
                    .and_then(Value::as_str)
                    .unwrap_or("-")
            })
            .collect()
    };
    (text("/route"), text("/fallback/reason"))
}

#[test]
fn a_dead_key_sends_everything_to_the_next_route_and_is_said_once() {
    let (harness, primary, fallback) = behind(|_| error(401, "invalid_api_key"));
    harness.write_questions("in.jsonl", 30);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "4"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let results = lines(&ran.out);
    let (routes, reasons) = told(&results);
    assert!(routes.iter().all(|route| *route == "fallback"), "{routes:?}");
    assert!(
        reasons.iter().all(|reason| reason.starts_with("HTTP 401")),
        "{reasons:?}"
    );
    assert_eq!(results[0]["tasks"][0]["fallback"]["from"], "primary");
    assert_eq!(results[0]["tasks"][0]["model"], "m-fallback");
    assert!(primary.bodies().len() <= 4, "a dead route is asked no more");
    assert_eq!(fallback.calls(), 30);
    assert_eq!(ran.err.matches("is dead for this run").count(), 1, "{}", ran.err);
}

#[test]
fn an_empty_account_and_a_filter_and_a_wrong_size_go_elsewhere() {
    for (status, code, once) in [
        (429, "insufficient_quota", true),
        (503, "insufficient_quota", true),
        (404, "model_not_found", true),
        (400, "content_filter", false),
        (400, "context_length_exceeded", false),
    ] {
        let (harness, primary, fallback) = behind(move |_| error(status, code));
        harness.write_questions("in.jsonl", 3);
        let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
        assert_eq!(ran.code, Some(0), "{code}: {}", ran.err);
        let asked = if once { 1 } else { 3 };
        assert_eq!((primary.bodies().len(), fallback.calls()), (asked, 3), "{code}");
    }
}

#[test]
fn a_broken_route_is_left_when_its_breaker_opens() {
    let (harness, primary, fallback) = behind(|_| error(500, "oops"));
    harness.write_questions("in.jsonl", 20);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "2"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    // Five failures in a row, and a call that was in flight during the last of them.
    assert!(
        (5..=6).contains(&primary.bodies().len()),
        "{}",
        primary.bodies().len()
    );
    assert_eq!(fallback.calls(), 20);
    assert_eq!(
        ran.err.matches("route `primary` is down").count(),
        1,
        "{}",
        ran.err
    );
    let status = harness.status(&[]);
    let waste = &status["waste"][0];
    assert_eq!(
        (
            waste["route"].as_str(),
            waste["cause"].as_str(),
            waste["calls"].as_u64()
        ),
        (
            Some("primary"),
            Some("server"),
            Some(primary.bodies().len() as u64)
        )
    );
}

#[test]
fn a_cut_answer_is_never_used_and_the_next_route_answers() {
    let cutting = Provider::start(MockConfig {
        faults: Faults {
            truncate: 1.0,
            ..Faults::default()
        },
        ..MockConfig::default()
    });
    let fallback = Provider::start(MockConfig::default());
    let harness = setup();
    let (primary, second) = (cutting.base_url(), fallback.base_url());
    harness.write(
        "nova3.toml",
        chain(&[("primary", &primary, ""), ("fallback", &second, "")], ""),
    );
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let results = lines(&ran.out);
    assert_eq!(told(&results).0, ["fallback"]);
    assert_eq!(results[0]["tasks"][0]["attempts"], 5);
    assert_eq!((cutting.calls(), fallback.calls()), (4, 1));
}

#[test]
fn a_prompt_that_is_too_large_for_one_window_goes_to_a_larger_one() {
    let (small, large) = (
        Provider::start(MockConfig::default()),
        Provider::start(MockConfig::default()),
    );
    let harness = setup();
    let (a, b) = (small.base_url(), large.base_url());
    let routes = [
        ("primary", a.as_str(), "context_window = 1000"),
        ("fallback", b.as_str(), ""),
    ];
    harness.write("nova3.toml", chain(&routes, ""));
    let long = "长".repeat(2000);
    harness.write("in.jsonl", crate::cli::harness::question("a", &long));
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!((small.calls(), large.calls()), (0, 1));
    let reason = told(&lines(&ran.out)).1[0].to_owned();
    assert!(reason.contains("window of route `primary`"), "{reason}");
}

#[test]
fn a_long_pause_is_not_waited_for_while_another_route_is_free() {
    let (harness, primary, fallback) = behind(|_| Say {
        headers: "content-type: application/json\r\nretry-after: 3000\r\n",
        ..error(429, "rate_limit_exceeded")
    });
    harness.write_questions("in.jsonl", 10);
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!((primary.bodies().len(), fallback.calls()), (1, 10));
}

#[test]
fn an_answer_of_the_wrong_form_goes_to_the_next_route_after_its_repair() {
    let prose = r#"{"choices":[{"message":{"content":"no JSON at all"},"finish_reason":"stop"}]}"#;
    let (harness, primary, fallback) = behind(move |_| Say {
        status: 200,
        headers: "content-type: application/json\r\n",
        body: prose.to_owned(),
    });
    harness.write("in.jsonl", r#"{"query":"q","tasks":["insight"]}"#);
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!((primary.bodies().len(), fallback.calls()), (2, 1));
    let status = harness.status(&[]);
    assert_eq!(
        (&status["waste"][0]["cause"], &status["waste"][0]["calls"]),
        (&"schema".into(), &2.into())
    );
}

#[test]
fn when_all_routes_fail_the_request_every_cause_is_kept() {
    let harness = setup();
    let (a, b) = (
        Scripted::start(|_| error(400, "content_filter")),
        Scripted::start(|_| error(400, "context_length_exceeded")),
    );
    let (first, second) = (a.base_url(), b.base_url());
    harness.write(
        "nova3.toml",
        chain(&[("primary", &first, ""), ("fallback", &second, "")], ""),
    );
    harness.write_questions("in.jsonl", 1);
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    let failure = &lines(&ran.out)[0]["error"];
    assert_eq!(
        (&failure["class"], &failure["route"]),
        (&"context_length".into(), &"fallback".into())
    );
    assert_eq!(
        failure["causes"],
        serde_json::json!(["`primary`: HTTP 400 (t, content_filter): no"])
    );
}

#[test]
fn a_batch_line_is_asked_of_the_next_route_under_that_routes_model() {
    let (harness, primary, fallback) = behind(|_| error(401, "invalid_api_key"));
    let body = r#"{"model":"gpt-x","messages":[{"role":"user","content":"hi"}]}"#;
    harness.write(
        "in.jsonl",
        format!(r#"{{"custom_id":"b","method":"POST","url":"/v1/chat/completions","body":{body}}}"#),
    );
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(primary.bodies(), [body], "the first route gets it as it stands");
    assert_eq!(fallback.calls(), 1);
    assert_eq!(lines(&ran.out)[0]["response"]["body"]["model"], "m-fallback");
}

#[test]
fn lines_of_another_chain_go_on_when_one_is_dead() {
    let (harness, _primary, fallback) = behind(|_| error(401, "invalid_api_key"));
    let line = |id: &str, model: &str| {
        format!(
            "{}\n",
            serde_json::json!({"custom_id": id, "query": "q", "tasks": ["answer"], "model": model})
        )
    };
    harness.write(
        "in.jsonl",
        line("a", "primary") + &line("b", "fallback") + &line("c", "primary"),
    );
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "1"]);
    assert_eq!(ran.code, Some(105), "{}", ran.err);
    assert_eq!(
        (crate::cli::harness::ids(&lines(&ran.out)), fallback.calls()),
        (vec!["b"], 1)
    );
    assert!(ran.err.contains("1 of 3 done, 2 left"), "{}", ran.err);
}

#[test]
fn when_every_route_is_down_the_run_waits_says_why_and_finishes() {
    let harness = setup();
    // The port is closed until the mock starts.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/v1");
    harness.write(
        "nova3.toml",
        chain(
            &[("primary", &url, ""), ("fallback", &url, "")],
            "[breaker]\nopen = \"100ms\"\n",
        ),
    );
    harness.write("in.jsonl", questions(20));
    let run = Running::start(harness.command(&["run", "in.jsonl", "-o", "out.jsonl", "-j", "4"]));
    until("both routes are down", || {
        let status = harness.nova3(&["status", "--json"]);
        let status: Value = serde_json::from_str(&status.out).unwrap_or_default();
        status["routes"]
            .as_array()
            .is_some_and(|routes| routes.len() == 2 && routes.iter().all(|route| route["state"] != "closed"))
    });
    let provider = Provider::start(MockConfig {
        listen: address,
        ..MockConfig::default()
    });
    let ran = harness.ran(&run.output());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for said in [
        "route `primary` is down",
        "route `fallback` is down",
        "Connection refused",
        "answers again",
    ] {
        assert!(ran.err.contains(said), "{said}: {}", ran.err);
    }
    assert_eq!((harness.results("out.jsonl").len(), provider.calls()), (20, 20));
    assert_eq!(harness.nova3(&["verify"]).code, Some(0));
}

#[test]
fn wrong_chains_are_refused_with_what_is_wrong() {
    let refused = |chains: &str| {
        let harness = setup();
        let routes = "[routes.a]\nbase_url = \"http://h\"\nmodel = \"m\"\n[routes.b]\nbase_url = \"http://h\"\nmodel = \"m\"\n";
        harness.write("nova3.toml", format!("{routes}[chains]\n{chains}\n"));
        harness.write_questions("in.jsonl", 1);
        let ran = harness.nova3(&["check", "in.jsonl"]);
        assert_eq!(ran.code, Some(2), "{chains}: {}", ran.out);
        ran.err
    };
    assert_eq!(
        refused("x = [\"a\", \"c\"]"),
        "nova3: `chains.x` is `c`: expected routes of `[routes]`: `a`, `b`\n"
    );
    assert_eq!(
        refused("a = [\"b\"]"),
        "nova3: `chains.a` is `a`: expected a name that no route has\n"
    );
    assert_eq!(
        refused("x = []"),
        "nova3: `chains.x` is `[]`: expected one route or more\n"
    );
    assert_eq!(
        refused("x = [\"a\", \"a\"]"),
        "nova3: `chains.x` is `a`: expected each route once\n"
    );
    let unclear = refused("x = [\"a\"]\ny = [\"b\"]");
    assert!(unclear.contains("name one of `x`, `y`, `a`, `b`"), "{unclear}");
}
