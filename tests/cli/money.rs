//! The cost of calls: counted tokens, impossible counts, and calls that never left this machine.

use nova3::mock::MockConfig;
use serde_json::json;

use crate::cli::harness::{lines, question, setup, setup_with};
use crate::cli::model::{says, setup_saying};
use crate::cli::provider::{Say, Scripted};

/// An answer with this count of tokens.
fn counting(usage: &str) -> Say {
    let Say { body, .. } = says("an answer");
    let mut body: serde_json::Value = serde_json::from_str(&body).unwrap();
    body["usage"] = json!("USAGE");
    Say {
        status: 200,
        headers: "content-type: application/json\r\n",
        body: body.to_string().replace("\"USAGE\"", usage),
    }
}

/// A route to that server, with these further settings.
fn route(base_url: &str, settings: &str) -> String {
    format!(
        "[routes.a]\nbase_url = \"{base_url}\"\nmodel = \"m\"\n{settings}\n[retry]\nbase = \"1ms\"\nlongest = \"2ms\"\n"
    )
}

const ABSURD: [&str; 6] = [
    r#"{"prompt_tokens":18446744073709551615,"completion_tokens":-5,"total_tokens":1}"#,
    r#"{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807}"#,
    r#"{"prompt_tokens":1e400,"completion_tokens":1}"#,
    r#"{"prompt_tokens":-1,"completion_tokens":1}"#,
    r#"{"prompt_tokens":10,"completion_tokens":2000000000}"#,
    r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#,
];

#[test]
fn an_absurd_count_is_the_doubt_of_its_request_alone() {
    let model = Scripted::start(|body| {
        match ABSURD
            .iter()
            .enumerate()
            .find(|(n, _)| body.contains(&format!("absurd {n}")))
        {
            Some((_, usage)) => counting(usage),
            None => says("an answer"),
        }
    });
    let harness = setup();
    harness.write(
        "nova3.toml",
        route(
            &model.base_url(),
            "input_usd_per_million = 1.0\noutput_usd_per_million = 2.0",
        ),
    );
    let absurd = (0..ABSURD.len()).map(|n| question(&format!("a{n}"), &format!("absurd {n}")));
    let plain = (0..6).map(|n| question(&format!("p{n}"), &format!("plain {n}")));
    harness.write("in.jsonl", absurd.chain(plain).collect::<String>());
    let ran = harness.nova3(&["run", "in.jsonl", "-j", "3", "--max-cost", "50"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(model.bodies().len(), 12, "nothing is paid twice");
    for line in lines(&ran.out) {
        let id = line["custom_id"].as_str().unwrap();
        assert_eq!(line["ok"], true, "{line}");
        let warnings = line["warnings"].to_string();
        if id.starts_with('a') {
            assert!(line["cost_usd"].is_null(), "{line}");
            assert!(
                warnings.contains("cannot have counted its tokens right"),
                "{line}"
            );
        } else {
            assert_eq!(
                (line["cost_usd"].as_f64(), warnings.as_str()),
                (Some(0.00012), "[]"),
                "{line}"
            );
        }
    }
    let status = harness.status(&[]);
    assert_eq!(
        (&status["unpriced_attempts"], &status["input_tokens"]),
        (&json!(6), &json!(600))
    );
    let uncertain = status["uncertain_usd"].as_f64().unwrap();
    // The upper bound of each call: the bytes of its prompt and its longest answer.
    assert!((0.02..0.2).contains(&uncertain), "{uncertain}");
    let again = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!((again.code, model.bodies().len()), (Some(0), 12), "{}", again.err);
}

/// A price with every condition on which it may depend.
const FORMULA: &str = r#"input_usd_per_million = 1.0
output_usd_per_million = 10.0
cached_input_usd_per_million = 0.1
cache_write_usd_per_million = 1.25
[[routes.a.price.steps]]
above_input_tokens = 1000
input_factor = 2
output_factor = 1.5
[[routes.a.price.hours]]
from = "00:00"
to = "24:00"
factor = 3
[routes.a.price.tiers]
flex = 0.5
priority = 2
"#;

#[test]
fn a_call_costs_what_its_answer_used_and_was_served_as() {
    let rows = [
        (
            100,
            r#"{"prompt_tokens":100,"completion_tokens":10}"#,
            "null",
            0.0006,
        ),
        (
            100,
            r#"{"prompt_tokens":100,"completion_tokens":10}"#,
            "\"flex\"",
            0.0003,
        ),
        (
            100,
            r#"{"prompt_tokens":100,"completion_tokens":10}"#,
            "\"other\"",
            0.0006,
        ),
        (
            100,
            r#"{"prompt_tokens":100,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":20},"completion_tokens":10}"#,
            "null",
            0.000_453,
        ),
        (
            2000,
            r#"{"prompt_tokens":2000,"completion_tokens":10}"#,
            "null",
            0.012_45,
        ),
    ];
    let model = Scripted::start(move |body| {
        let row = rows
            .iter()
            .enumerate()
            .find(|(n, _)| body.contains(&format!("row {n}")));
        let (_, (_, usage, tier, _)) = row.unwrap();
        let Say { body, .. } = counting(usage);
        Say {
            status: 200,
            headers: "content-type: application/json\r\n",
            body: body.replacen('{', &format!("{{\"service_tier\":{tier},"), 1),
        }
    });
    let harness = setup();
    harness.write("nova3.toml", route(&model.base_url(), FORMULA));
    let lines_in: String = (0..rows.len())
        .map(|n| question(&n.to_string(), &format!("row {n}")))
        .collect();
    harness.write("in.jsonl", lines_in);
    let ran = harness.nova3(&["run", "in.jsonl", "--keep-order"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    for (line, (input, _, _, cost)) in lines(&ran.out).iter().zip(rows) {
        assert_eq!(line["usage"]["input_tokens"], input);
        assert!(
            (line["cost_usd"].as_f64().unwrap() - cost).abs() < 1e-12,
            "{line}"
        );
    }
    let status = harness.status(&[]);
    assert_eq!(
        (&status["cached_input_tokens"], &status["cache_write_tokens"]),
        (&json!(60), &json!(20))
    );
}

#[test]
fn a_cap_holds_back_the_dearest_that_may_apply() {
    let model = Scripted::start(|_| says("an answer"));
    let harness = setup();
    let plain = "input_usd_per_million = 1.0\noutput_usd_per_million = 10.0\nmax_tokens = 100\n";
    let dear = format!("{plain}[routes.a.price.tiers]\npriority = 1000\n");
    harness.write("in.jsonl", question("q1", "hello"));
    for (settings, code) in [(dear.as_str(), 103), (plain, 0)] {
        harness.write("nova3.toml", route(&model.base_url(), settings));
        assert_eq!(
            harness.nova3(&["run", "in.jsonl", "--max-cost", "0.5"]).code,
            Some(code)
        );
    }
    assert_eq!(model.bodies().len(), 1);
}

#[test]
fn wrong_prices_are_named() {
    let harness = setup();
    harness.write("in.jsonl", question("q1", "hello"));
    let both = "input_usd_per_million = 1.0\noutput_usd_per_million = 10.0\n";
    for (settings, message) in [
        ("cache_write_usd_per_million = 1.0\n".to_owned(), "is missing (a price needs both)"),
        ("[routes.a.price.tiers]\nflex = 0.5\n".to_owned(), "is missing (a price needs both)"),
        (format!("{both}cache_write_usd_per_million = -1\n"), "`routes.a.cache_write_usd_per_million` is `-1`"),
        (format!("{both}[routes.a.price.tiers]\nflex = 1001\n"), "`routes.a.price.tiers.flex` is `1001`"),
        (format!("{both}[routes.a.price]\nsurprise = 1\n"), "unknown field `surprise`"),
        (
            format!("{both}[[routes.a.price.hours]]\nfrom = \"8:00\"\nto = \"09:00\"\nfactor = 2\n"),
            "`routes.a.price.hours.from` is `8:00`: expected a time of the day in UTC, such as `16:30`",
        ),
        (
            format!("{both}[[routes.a.price.hours]]\nfrom = \"08:00\"\nto = \"24:01\"\nfactor = 2\n"),
            "`routes.a.price.hours.to` is `24:01`",
        ),
        (
            format!("{both}[[routes.a.price.hours]]\ndays = [\"monday\"]\nfrom = \"08:00\"\nto = \"09:00\"\nfactor = 2\n"),
            "`routes.a.price.hours.days` is `monday`: expected one of mon, tue",
        ),
        (
            format!("{both}[[routes.a.price.steps]]\nabove_input_tokens = 9\ninput_factor = 2\noutput_factor = 2\n").replace("above_input_tokens = 9\n", ""),
            "missing field `above_input_tokens`",
        ),
    ] {
        harness.write("nova3.toml", route("http://127.0.0.1:9/v1", &settings));
        let ran = harness.nova3(&["check", "in.jsonl"]);
        assert_eq!(ran.code, Some(2), "{settings}: {}", ran.err);
        assert!(ran.err.contains(message), "{settings}: {}", ran.err);
    }
}

#[test]
fn a_batch_line_with_an_absurd_bound_harms_nobody() {
    let (harness, _) = setup_saying(|_| says("an answer"));
    let line = |id: &str, most: &str| {
        format!(
            "{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{{\"model\":\"m\",\"max_tokens\":{most},\"messages\":[{{\"role\":\"user\",\"content\":\"hi\"}}]}}}}\n"
        )
    };
    harness.write("in.jsonl", line("a", "18446744073709551615") + &line("b", "5"));
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!((ran.code, lines(&ran.out).len()), (Some(0), 2), "{}", ran.err);
}

#[test]
fn what_never_left_this_machine_costs_nothing() {
    let harness = setup();
    // No server listens on this port, so the call is never sent.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let settings = "input_usd_per_million = 1.0\noutput_usd_per_million = 2.0";
    let breaker = "[breaker]\nopen = \"5ms\"\n";
    harness.write(
        "nova3.toml",
        route(&format!("http://{free}/v1"), settings) + breaker,
    );
    harness.write("in.jsonl", question("q1", "hello"));
    let ran = harness.nova3(&["run", "in.jsonl", "--give-up", "100ms", "--max-cost", "1"]);
    assert_eq!(ran.code, Some(105), "{}", ran.err);
    let status = harness.status(&[]);
    assert!(status["attempts"].as_u64().unwrap() > 0, "{status}");
    assert_eq!(
        (&status["cost_usd"], &status["uncertain_usd"]),
        (&json!(0.0), &json!(0.0))
    );
}

#[test]
fn a_connection_that_does_not_come_in_time_costs_nothing() {
    let harness = setup();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let settings = "input_usd_per_million = 1.0\noutput_usd_per_million = 2.0";
    // A server that accepts connections and never speaks TLS. The total time is over before the handshake.
    let address = format!("https://{}/v1", listener.local_addr().unwrap());
    let times = "no_key = true\n[timeouts]\ntotal = \"50ms\"\n[breaker]\nopen = \"5ms\"\n";
    harness.write("nova3.toml", route(&address, &format!("{settings}\n{times}")));
    harness.write("in.jsonl", question("q1", "hello"));
    let ran = harness.nova3(&["run", "in.jsonl", "--give-up", "100ms"]);
    assert_eq!(ran.code, Some(105), "{}", ran.err);
    let status = harness.status(&[]);
    assert!(status["attempts"].as_u64().unwrap() > 0, "{status}");
    assert_eq!(status["uncertain_usd"], json!(0.0), "{status}");
}

#[test]
fn an_answer_that_was_lost_may_have_cost_its_worst() {
    let (harness, provider) = setup_with(MockConfig {
        latency: nova3::mock::Latency {
            first_token: std::time::Duration::from_hours(1),
            ..nova3::mock::Latency::default()
        },
        ..MockConfig::default()
    });
    let url = provider.base_url();
    let settings =
        "input_usd_per_million = 1.0\noutput_usd_per_million = 2.0\n[timeouts]\nfirst_token = \"50ms\"\n";
    harness.write("nova3.toml", route(&url, settings) + "retries = 0\n");
    harness.write("in.jsonl", question("q1", "hello"));
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!(ran.code, Some(100), "{}", ran.err);
    assert!(harness.status(&[])["uncertain_usd"].as_f64().unwrap() > 0.0);
}

#[test]
fn what_is_not_known_is_not_told_as_zero() {
    let model = Scripted::start(|body| {
        if body.contains("refused") {
            return Say {
                status: 400,
                headers: "",
                body: String::new(),
            };
        }
        says("an answer")
    });
    let harness = setup();
    harness.write("nova3.toml", route(&model.base_url(), ""));
    harness.write("in.jsonl", question("q1", "hello") + &question("q2", "refused"));
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(100));
    let status = harness.status(&[]);
    assert!(
        status["cost_usd"].is_null() && status["wasted_usd"].is_null(),
        "{status}"
    );
    let table = harness.nova3(&["status"]).out;
    assert!(
        table.contains("– (no price known), – for nothing") && !table.contains('$'),
        "{table}"
    );
}
