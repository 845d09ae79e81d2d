//! The estimate of a run against its bill: near it when the lengths of answers are known, and never above the worst case.

use std::fmt::Write as _;

use nova3::mock::{Faults, MockConfig};
use serde_json::{Value, json};

use crate::cli::harness::{Harness, Provider, lines, setup};
use crate::cli::searches::with_web;

const PRICES: &str =
    "input_usd_per_million = 0.4\noutput_usd_per_million = 1.6\ncached_input_usd_per_million = 0.04\n";

/// A harness whose only route has prices.
fn priced(config: MockConfig) -> (Harness, Provider) {
    let provider = Provider::start(config);
    let harness = setup();
    add_settings(&harness, &route("primary", &provider, PRICES));
    (harness, provider)
}

fn route(name: &str, provider: &Provider, more: &str) -> String {
    format!(
        "[routes.{name}]\nbase_url = \"{}\"\nmodel = \"m\"\nno_key = true\n{more}",
        provider.base_url()
    )
}

fn add_settings(harness: &Harness, more: &str) {
    harness.write("nova3.toml", harness.read("nova3.toml") + more);
}

fn write(harness: &Harness, name: &str, requests: &[Value]) {
    let text = requests.iter().fold(String::new(), |mut text, request| {
        writeln!(text, "{request}").unwrap();
        text
    });
    harness.write(name, text);
}

fn estimate(harness: &Harness, args: &[&str]) -> Value {
    let ran = harness.nova3(&[&["check", "--estimate", "--json"], args].concat());
    assert_eq!(ran.code, Some(0), "{} {}", ran.out, ran.err);
    lines(&ran.out).remove(0)
}

/// Runs an input. Returns the cost of all its calls, failed ones included.
fn bill(harness: &Harness, args: &[&str]) -> f64 {
    let ran = harness.nova3(&[&["run", "-o", "out.jsonl", "--overwrite"], args].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    harness.status(&[])["cost_usd"].as_f64().unwrap()
}

/// Runs the first input, so that lengths are known. Then compares the estimate of the second input with its bill.
fn compare(harness: &Harness, first: &str, second: &str, flags: &[&str]) -> Value {
    let unknown = estimate(harness, &[&[first], flags].concat());
    assert!(unknown["total"]["by_limit"].as_u64().unwrap() > 0, "{unknown}");
    let cost = bill(harness, &[&[first], flags].concat());
    assert_covers(&unknown, cost);
    let known = estimate(harness, &[&[second], flags].concat());
    assert_eq!(known["total"]["by_limit"], 0, "{known}");
    let cost = bill(harness, &[&[second], flags].concat());
    assert_covers(&known, cost);
    let expected = known["total"]["expected_usd"].as_f64().unwrap();
    assert!(
        (expected / cost - 1.0).abs() < 0.1,
        "expected {expected}, the bill is {cost}: {known:#}"
    );
    known
}

fn assert_covers(estimate: &Value, cost: f64) {
    let total = |key: &str| estimate["total"][key].as_f64().unwrap();
    assert!(cost > 0.0);
    let (once, worst) = (total("without_retries_usd"), total("worst_usd"));
    assert!(cost <= once && once <= worst, "the bill is {cost}: {estimate:#}");
}

const TOPICS: [&str; 8] = [
    "通勤路上的早餐",
    "租房党的收纳",
    "油皮夏天的底妆",
    "新手养猫的第一周",
    "周末两天的短途旅行",
    "程序员的护颈",
    "一个人的晚饭",
    "开学前的文具",
];

/// Requests about these topics, each with further fields.
fn requests(topics: std::ops::Range<usize>, more: &Value) -> Vec<Value> {
    let one = |n: usize| {
        let mut request =
            json!({"custom_id": format!("r{n}"), "query": format!("为{}写第{n}组内容", TOPICS[n % 8])});
        for (key, value) in more.as_object().unwrap() {
            request[key] = value.clone();
        }
        request
    };
    topics.map(one).collect()
}

/// Compares two inputs of requests with these fields.
fn compare_requests(more: &Value) -> Value {
    let (harness, _provider) = priced(MockConfig::default());
    write(&harness, "a.jsonl", &requests(0..24, more));
    write(&harness, "b.jsonl", &requests(24..48, more));
    compare(&harness, "a.jsonl", "b.jsonl", &[])
}

#[test]
fn a_list_of_tasks() {
    compare_requests(&json!({"tasks": ["insight", "hitpoint", "xhs_writing"]}));
}

#[test]
fn a_quick_answer() {
    let quick = |n: usize| json!({"query": format!("How do I improve habit number {n}?"), "interaction_type": "quick_suggestion"});
    let (harness, _provider) = priced(MockConfig::default());
    write(&harness, "a.jsonl", &(0..24).map(quick).collect::<Vec<_>>());
    write(&harness, "b.jsonl", &(30..60).map(quick).collect::<Vec<_>>());
    compare(&harness, "a.jsonl", "b.jsonl", &[]);
}

#[test]
fn a_plan_of_the_supervisor() {
    let (harness, _provider) = priced(MockConfig::default());
    write(&harness, "a.jsonl", &requests(0..12, &json!({})));
    write(&harness, "b.jsonl", &requests(24..36, &json!({})));
    let known = compare(&harness, "a.jsonl", "b.jsonl", &[]);
    let agents: Vec<&str> = known["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["agent"].as_str().unwrap())
        .collect();
    assert!(agents.contains(&"supervisor") && agents.len() > 4, "{agents:?}");
}

#[test]
fn a_task_for_each_chosen_profile() {
    let profile =
        |n: usize| json!({"id": format!("profile{n}"), "title": TOPICS[n], "content": TOPICS[n].repeat(20)});
    let chosen: Vec<Value> = (1..4).map(profile).collect();
    let known =
        compare_requests(&json!({"tasks": ["insight"], "nova3_selections": {"nova3_profile": chosen}}));
    assert_eq!(known["total"]["calls"], 72);
}

#[test]
fn several_samples_of_an_answer() {
    let (harness, _provider) = priced(MockConfig::default());
    std::fs::create_dir_all(harness.path("agents")).unwrap();
    let agent = include_str!("../../agents/hitpoint.toml");
    harness.write(
        "agents/hitpoint.toml",
        agent.replacen("max_tokens", "samples = 3\nmax_tokens", 1),
    );
    add_settings(&harness, "[agents]\nfolder = \"agents\"\n");
    let more = json!({"tasks": ["hitpoint", "answer"]});
    write(&harness, "a.jsonl", &requests(0..24, &more));
    write(&harness, "b.jsonl", &requests(24..48, &more));
    let known = compare(&harness, "a.jsonl", "b.jsonl", &[]);
    assert_eq!(known["rows"][1]["calls"], 72, "{known}");
}

#[test]
fn a_table() {
    let (harness, _provider) = priced(MockConfig::default());
    let rows = |from: usize| {
        (from..from + 24).fold("sku,title,price\n".to_owned(), |rows, n| {
            rows + &format!("A{n},Oat milk number {n},{n}.49\n")
        })
    };
    harness.write("a.csv", rows(1));
    harness.write("b.csv", rows(50));
    let query = "A post about {{ row.title }} for {{ row.price }} euros";
    let flags = [
        "--query",
        query,
        "--id-column",
        "sku",
        "--tasks",
        "hitpoint,xhs_writing",
    ];
    compare(&harness, "a.csv", "b.csv", &flags);
}

#[test]
fn openai_batch_lines() {
    let line = |n: usize| {
        json!({"custom_id": format!("b{n}"), "method": "POST", "url": "/v1/chat/completions",
            "body": {"model": "gpt-4.1-mini", "max_completion_tokens": 800,
                "messages": [{"role": "system", "content": "Answer in three points, and be brief."},
                    {"role": "user", "content": format!("What is the difference between plan {n} and plan {}?", n + 1)}]}})
    };
    let (harness, _provider) = priced(MockConfig::default());
    write(&harness, "a.jsonl", &(0..24).map(line).collect::<Vec<_>>());
    write(&harness, "b.jsonl", &(30..60).map(line).collect::<Vec<_>>());
    compare(&harness, "a.jsonl", "b.jsonl", &[]);
    let mut unbounded = line(30);
    unbounded["body"]
        .as_object_mut()
        .unwrap()
        .remove("max_completion_tokens");
    write(&harness, "c.jsonl", &[unbounded]);
    let known = estimate(&harness, &["c.jsonl"]);
    assert_eq!(known["total"]["worst_usd"], Value::Null, "{known}");
    assert!(known["total"]["expected_usd"].as_f64().unwrap() > 0.0);
}

#[test]
fn searches_that_cost_money() {
    let (harness, provider) = priced(MockConfig::default());
    with_web(&harness, &provider.base_url(), "0.002");
    let facts = json!({"tasks": ["facts", "answer"]});
    write(&harness, "a.jsonl", &requests(0..20, &facts));
    // One topic is known, and two are equal: 20 of 22 searches are asked.
    let mut second = requests(19..40, &facts);
    let mut again = second[9].clone();
    again["custom_id"] = json!("again");
    second.push(again);
    write(&harness, "b.jsonl", &second);
    let known = compare(&harness, "a.jsonl", "b.jsonl", &[]);
    let search = known["rows"]
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["route"] == "search:web")
        .unwrap();
    assert_eq!(
        (&search["calls"], &search["expected_usd"]),
        (&json!(20), &json!(0.04))
    );
}

#[test]
fn the_rounds_of_a_session() {
    let (harness, _provider) = priced(MockConfig::default());
    let session = |name: &str, from: usize| {
        let one = |n: usize| {
            let more = json!({"session_id": format!("{name}{}", n % 4), "tasks": ["hitpoint"]});
            requests(n..n + 1, &more).remove(0)
        };
        (from..from + 24).map(one).collect::<Vec<_>>()
    };
    write(&harness, "a.jsonl", &session("one", 0));
    write(&harness, "b.jsonl", &session("two", 24));
    compare(&harness, "a.jsonl", "b.jsonl", &[]);
}

#[test]
fn long_requests() {
    let previous: Vec<String> = TOPICS
        .iter()
        .map(|topic| format!("{topic}，").repeat(60))
        .collect();
    let more = json!({"tasks": ["insight", "wechat_article"], "background": {"previous_content": previous}});
    compare_requests(&more);
}

#[test]
fn a_chain_whose_first_route_is_dead() {
    let (dead, alive) = (
        Provider::start(MockConfig {
            api_key: Some("another".to_owned()),
            ..MockConfig::default()
        }),
        Provider::start(MockConfig::default()),
    );
    let harness = setup();
    let settings = route(
        "first",
        &dead,
        "input_usd_per_million = 2\noutput_usd_per_million = 8\n",
    ) + &route("second", &alive, PRICES)
        + "[chains]\ndefault = [\"first\", \"second\"]\n";
    add_settings(&harness, &settings);
    let more = json!({"tasks": ["insight", "answer"]});
    write(&harness, "a.jsonl", &requests(0..24, &more));
    write(&harness, "b.jsonl", &requests(24..48, &more));
    let known = compare(&harness, "a.jsonl", "b.jsonl", &[]);
    let rows = known["rows"].as_array().unwrap();
    let calls = |name: &str| -> u64 {
        let of_route = rows.iter().filter(|row| row["route"] == name);
        of_route.map(|row| row["calls"].as_u64().unwrap()).sum()
    };
    assert!(calls("first") == 0 && calls("second") >= 48, "{known:#}");
}

#[test]
fn prompts_in_the_cache_of_a_provider() {
    let provider = Provider::start(MockConfig::default());
    let harness = setup();
    let prices = format!("dialect = \"anthropic\"\n{PRICES}cache_write_usd_per_million = 0.5\n");
    add_settings(&harness, &route("claude", &provider, &prices));
    let more = json!({"tasks": ["xhs_writing"]});
    write(&harness, "a.jsonl", &requests(0..24, &more));
    write(&harness, "b.jsonl", &requests(24..48, &more));
    compare(&harness, "a.jsonl", "b.jsonl", &[]);
}

#[test]
fn calls_that_fail_stay_below_the_worst_case() {
    let faults = Faults {
        truncate: 0.3,
        ..Faults::default()
    };
    let (harness, _provider) = priced(MockConfig {
        faults,
        ..MockConfig::default()
    });
    write(
        &harness,
        "in.jsonl",
        &requests(0..8, &json!({"tasks": ["insight", "answer"]})),
    );
    let unknown = estimate(&harness, &["in.jsonl"]);
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl"]);
    assert!(matches!(ran.code, Some(0 | 100)), "{}", ran.err);
    let status = harness.status(&[]);
    let most = status["cost_usd"].as_f64().unwrap() + status["uncertain_usd"].as_f64().unwrap();
    assert!(
        most <= unknown["total"]["worst_usd"].as_f64().unwrap(),
        "{most} {unknown:#}"
    );
}

#[test]
fn finished_and_bad_lines_are_free() {
    let (harness, _provider) = priced(MockConfig::default());
    let more = json!({"tasks": ["insight", "answer"]});
    write(&harness, "in.jsonl", &requests(0..4, &more));
    bill(&harness, &["in.jsonl"]);
    let done = estimate(&harness, &["in.jsonl"]);
    assert_eq!(
        (&done["finished"], &done["total"]["calls"], &done["time"]["binds"]),
        (&json!(4), &json!(0), &json!("nothing"))
    );
    // One more request, a bad line, and a name that is used twice.
    let text = harness.read("in.jsonl");
    let new = requests(4..5, &more).remove(0);
    harness.write("in.jsonl", format!("{text}{new}\nno JSON\n{new}\n"));
    let ran = harness.nova3(&["check", "--estimate", "--json", "in.jsonl"]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    let found = lines(&ran.out).remove(0);
    assert_eq!(
        (
            &found["requests"],
            &found["bad"],
            &found["finished"],
            &found["total"]["calls"]
        ),
        (&json!(5), &json!(2), &json!(4), &json!(2))
    );
    let elsewhere = harness.nova3(&["check", "--estimate", "--json", "in.jsonl", "--run", "another"]);
    assert_eq!(lines(&elsewhere.out)[0]["finished"], 0);
}

#[test]
fn a_request_that_was_stopped_costs_the_rest() {
    let (harness, _provider) = priced(MockConfig::default());
    write(
        &harness,
        "in.jsonl",
        &requests(0..3, &json!({"tasks": ["insight", "hitpoint", "answer"]})),
    );
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--until", "insight"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let rest = estimate(&harness, &["in.jsonl"]);
    assert_eq!(
        (&rest["finished"], &rest["total"]["calls"]),
        (&json!(0), &json!(6))
    );
    let again = harness.nova3(&["run", "in.jsonl", "--until", "insight", "--dry-run"]);
    assert!(
        again.out.contains("3 requests are finished and free"),
        "{} {}",
        again.out,
        again.err
    );
}

#[test]
fn a_dry_run_sends_and_writes_nothing() {
    let (harness, provider) = priced(MockConfig::default());
    write(
        &harness,
        "in.jsonl",
        &requests(0..2, &json!({"tasks": ["answer"]})),
    );
    let ran = harness.nova3(&["run", "in.jsonl", "-o", "out.jsonl", "--dry-run"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(ran.out, harness.nova3(&["check", "in.jsonl", "--estimate"]).out);
    for part in [
        "2 requests, 0 bad lines",
        "answer",
        "primary",
        "expected  $0.",
        "at most   $0.",
        "time      about ",
        "the longest request",
        "3 retries",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let mock = harness.nova3(&["run", "in.jsonl", "--mock", "--dry-run"]);
    assert!(
        mock.out.contains("expected  $0.0000"),
        "{} {}",
        mock.out,
        mock.err
    );
    assert_eq!(provider.calls(), 0);
    for file in ["out.jsonl", "nova3.db", "nova3-mock.db"] {
        assert!(!harness.path(file).exists(), "{file}");
    }
    let limited = harness.nova3(&["run", "in.jsonl", "--dry-run", "--rpm", "1", "--max-cost", "5"]);
    assert!(
        limited.out.contains("1 requests a minute of route `primary`"),
        "{}",
        limited.out
    );
    let capped = harness.nova3(&["run", "in.jsonl", "--dry-run", "--max-cost", "0.0001"]);
    assert!(capped.out.contains("`max_cost` stops the run"), "{}", capped.out);
}

#[test]
fn a_route_without_a_price_has_tokens_and_no_cost() {
    let provider = Provider::start(MockConfig::default());
    let harness = setup();
    add_settings(&harness, &route("primary", &provider, ""));
    write(
        &harness,
        "in.jsonl",
        &requests(0..2, &json!({"tasks": ["answer"]})),
    );
    let found = estimate(&harness, &["in.jsonl"]);
    let total = &found["total"];
    assert_eq!(
        (&total["expected_usd"], &total["worst_usd"]),
        (&Value::Null, &Value::Null)
    );
    assert!(total["input_tokens"].as_u64().unwrap() > 500, "{found}");
    let text = harness.nova3(&["check", "in.jsonl", "--estimate"]).out;
    assert!(
        text.contains("expected  unknown, ") && text.contains("a route has no price"),
        "{text}"
    );
}

#[test]
fn a_vocabulary_counts_the_tokens_of_its_route() {
    let (harness, provider) = priced(MockConfig::default());
    write(
        &harness,
        "in.jsonl",
        &requests(0..2, &json!({"tasks": ["answer"]})),
    );
    let estimated = estimate(&harness, &["in.jsonl"]);
    // A vocabulary of single bytes: more tokens than any other one makes.
    harness.write("bytes.tiktoken", byte_ranks());
    let settings = route("primary", &provider, PRICES) + "tokenizer = \"bytes.tiktoken\"\n";
    harness.write("nova3.toml", settings);
    let counted = estimate(&harness, &["in.jsonl"]);
    let tokens = |found: &Value| found["total"]["input_tokens"].as_u64().unwrap();
    assert!(tokens(&counted) > 2 * tokens(&estimated), "{counted} {estimated}");
    let text = harness.nova3(&["check", "in.jsonl", "--estimate"]).out;
    assert!(
        text.contains("counted with the `tokenizer` of `primary`"),
        "{text}"
    );
    harness.write("bytes.tiktoken", "no ranks");
    let refused = harness.nova3(&["check", "in.jsonl", "--estimate"]);
    assert_eq!(refused.code, Some(2), "{}", refused.out);
    assert!(
        refused
            .err
            .contains("route `primary`: tokenizer `bytes.tiktoken`: "),
        "{}",
        refused.err
    );
}

/// The ranks of all single bytes, in tiktoken's form.
fn byte_ranks() -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..=255_u8).fold(String::new(), |ranks, byte| {
        let digit = |six: u8| char::from(DIGITS[usize::from(six)]);
        ranks + &format!("{}{}== {byte}\n", digit(byte >> 2), digit((byte & 3) << 4))
    })
}
