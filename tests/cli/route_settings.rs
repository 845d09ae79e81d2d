//! The settings of a route: what `config` shows of them, and which mistakes `check` finds.

use crate::cli::harness::{question, setup};

const ROUTE: &str =
    "[routes.a]\ndialect = \"anthropic\"\nbase_url = \"http://127.0.0.1:1/v1\"\nmodel = \"m\"\n";

#[test]
fn config_shows_each_setting_of_a_route_with_its_origin() {
    let harness = setup().with("TENANT", "planted-1");
    let more = "stream = false\n[routes.a.body]\nservice_tier = \"flex\"\nthinking = { type = \"disabled\" }\n\
                [routes.a.headers]\nX-Title = \"planted-2\"\nX-Tenant = { env = \"TENANT\" }\n\
                [routes.a.timeouts]\ntotal = \"900s\"\n";
    harness.write("nova3.toml", format!("{ROUTE}{more}"));
    let ran = harness.nova3(&["config"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let shown: Vec<String> = ran
        .out
        .lines()
        .filter(|line| line.trim_start().starts_with("routes.a."))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        shown,
        [
            "routes.a.dialect anthropic file nova3.toml",
            "routes.a.base_url http://127.0.0.1:1/v1 file nova3.toml",
            "routes.a.model m file nova3.toml",
            "routes.a.key_header x-api-key default",
            "routes.a.token_field max_tokens default",
            "routes.a.stream false file nova3.toml",
            "routes.a.body.service_tier \"flex\" file nova3.toml",
            "routes.a.body.thinking {\"type\":\"disabled\"} file nova3.toml",
            "routes.a.timeouts.total 900s file nova3.toml",
            "routes.a.headers.X-Tenant … environment TENANT",
            "routes.a.headers.X-Title … file nova3.toml",
        ]
    );
    assert!(!ran.out.contains("planted"), "{}", ran.out);
}

#[test]
fn check_finds_mistakes_of_a_route_before_anything_is_sent() {
    let harness = setup();
    harness.write("in.jsonl", question("q1", "hello"));
    for (more, message) in [
        ("streem = false", "line 5: unknown field `streem`"),
        (
            "[routes.a.body]\nmax_tokens = 5",
            "`routes.a.body.max_tokens` cannot be used: nova3 writes this field itself",
        ),
        (
            "[routes.a.headers]\n\"X Y\" = \"z\"",
            "`routes.a.headers.X Y` cannot be used: it is not the name of a header",
        ),
        (
            "[routes.a.headers]\nX-Y = { env = \"UNSET\" }",
            "`routes.a.headers.X-Y` is missing (set the variable `UNSET`)",
        ),
        (
            "[routes.a.timeouts]\nidle = \"0s\"",
            "`routes.a.timeouts.idle` is `0s`: expected a time above zero",
        ),
        (
            "[routes.a.timeouts]\nfirst_token = \"301s\"",
            "`routes.a.timeouts.first_token` is `301s`: expected no more than `total`, which is 300s",
        ),
        (
            "max_tokens_field = \"max_tokens\"",
            "`routes.a.max_tokens_field` cannot be used: the setting is called `token_field` (rename it)",
        ),
    ] {
        harness.write("nova3.toml", format!("{ROUTE}{more}\n"));
        let ran = harness.nova3(&["check", "in.jsonl"]);
        assert_eq!(ran.code, Some(2), "{more}: {}", ran.err);
        assert!(ran.err.contains(message), "{}", ran.err);
    }
}
