//! Tests of the settings of routes: allowed and refused values.

use std::time::Duration;

use reqwest::header::HeaderName;
use secrecy::ExposeSecret;
use serde_json::json;

use super::{Config, Dialect, Flags, Given, KeyHeader, RouteSettings, Source};

const ENV: &[(&str, &str)] = &[
    ("OPENAI_API_KEY", "sk-openai"),
    ("ANTHROPIC_API_KEY", "sk-anthropic"),
    ("TENANT", "planted-tenant"),
];

fn env(name: &str) -> Option<String> {
    let found = ENV.iter().find(|(known, _)| *known == name);
    found.map(|(_, value)| (*value).to_owned())
}

fn load_with(text: &str, flags: Flags) -> Result<Config, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let flags = Flags {
        config: Some(file.path().to_path_buf()),
        ..flags
    };
    Config::load(&flags, &env).map_err(|error| error.to_string())
}

fn load(text: &str) -> Result<Config, String> {
    load_with(text, Flags::default())
}

const HERE: &str = "[routes.a]\nbase_url = \"http://127.0.0.1:1/v1\"\n";

/// Returns a route on this machine with these settings.
fn route(lines: &str) -> RouteSettings {
    load(&format!("{HERE}{lines}")).unwrap().routes.remove(0)
}

fn refused(lines: &str) -> String {
    load(&format!("{HERE}{lines}")).unwrap_err()
}

#[test]
fn a_route_is_openais_unless_it_says_otherwise() {
    let route = route("");
    assert_eq!(route.dialect, Dialect::OpenAi);
    assert_eq!(route.endpoint.path(), "/v1/chat/completions");
    assert_eq!(
        (route.token_field.as_str(), route.stream),
        ("max_completion_tokens", true)
    );
    assert_eq!(route.key_header, KeyHeader::Bearer);
    assert!(route.body.is_empty() && route.headers.is_empty());
}

#[test]
fn anthropics_dialect_has_its_address_field_header_and_key() {
    let config =
        load("[routes.a]\ndialect = \"anthropic\"\nbase_url = \"https://api.anthropic.com/v1\"\n").unwrap();
    let route = &config.routes[0];
    assert_eq!(route.dialect, Dialect::Anthropic);
    assert_eq!(route.endpoint.as_str(), "https://api.anthropic.com/v1/messages");
    assert_eq!(route.token_field, "max_tokens");
    assert_eq!(
        route.key_header,
        KeyHeader::Named(HeaderName::from_static("x-api-key"))
    );
    let key = route.key.as_ref().map(ExposeSecret::expose_secret);
    assert_eq!(key, Some("sk-anthropic"));
}

#[test]
fn a_complete_address_is_accepted_and_one_of_the_other_dialect_refused() {
    for (dialect, path) in [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages")] {
        let text = |path: &str| {
            format!("[routes.a]\ndialect = \"{dialect}\"\nbase_url = \"http://127.0.0.1:1{path}\"\n")
        };
        assert_eq!(load(&text(path)).unwrap().routes[0].endpoint.path(), path);
    }
    let message = load("[routes.a]\nbase_url = \"http://127.0.0.1:1/v1/messages\"\n").unwrap_err();
    assert_eq!(
        message,
        "`routes.a.base_url` cannot be used: its end `/messages` belongs to another dialect \
         (set `dialect = \"anthropic\"`, or remove the end)"
    );
}

#[test]
fn keys_go_to_their_own_host_alone() {
    let elsewhere = load("[routes.a]\ndialect = \"anthropic\"\nbase_url = \"https://h/v1\"\n").unwrap_err();
    assert!(elsewhere.contains("has no key"), "{elsewhere}");
    // Anthropic's host accepts Chat Completions too.
    let config = load("[routes.a]\nbase_url = \"https://api.anthropic.com/v1\"\n").unwrap();
    let key = config.routes[0].key.as_ref().map(ExposeSecret::expose_secret);
    assert_eq!(key, Some("sk-anthropic"));
}

#[test]
fn what_means_nothing_is_refused() {
    for (lines, key, reason) in [
        (
            "dialect = \"anthropic\"\nstream_usage = true",
            "routes.a.stream_usage",
            "Anthropic's dialect always sends usage",
        ),
        (
            "dialect = \"anthropic\"\ntoken_field = \"max_tokens\"",
            "routes.a.token_field",
            "Anthropic's dialect has one field for it, `max_tokens`",
        ),
        (
            "stream = false\nstream_usage = true",
            "routes.a.stream_usage",
            "`stream = false` leaves no stream to ask it for",
        ),
        (
            "max_tokens_field = \"max_tokens\"",
            "routes.a.max_tokens_field",
            "the setting is called `token_field`",
        ),
        (
            "stream = false\ntimeouts.first_token = \"5s\"",
            "routes.a.timeouts.first_token",
            "`stream = false` leaves no first piece of a stream to wait for",
        ),
        (
            "no_key = true\nkey_header = \"api-key\"",
            "routes.a.key_header",
            "`no_key = true` sends no key",
        ),
    ] {
        let message = refused(lines);
        let expected = format!("`{key}` cannot be used: {reason} (");
        assert!(message.starts_with(&expected), "{message}");
    }
    let message = refused("dialect = \"gemini\"");
    assert_eq!(
        message,
        "`routes.a.dialect` is `gemini`: expected `openai` or `anthropic`"
    );
    assert!(refused("dialekt = \"openai\"").contains("unknown field `dialekt`"));
}

#[test]
fn extra_fields_are_json() {
    let route = route(
        "[routes.a.body]\nservice_tier = \"flex\"\nenable_thinking = false\ntop_k = 20\nmin_p = 0.5\n\
         provider = { order = [\"x\", \"y\"] }\n",
    );
    let expected = json!({"service_tier": "flex", "enable_thinking": false, "top_k": 20, "min_p": 0.5,
        "provider": {"order": ["x", "y"]}});
    assert_eq!(serde_json::Value::Object(route.body), expected);
    let message = refused("[routes.a.body]\nsince = 2026-01-01\n");
    assert!(
        message.starts_with("`routes.a.body.since` is `2026-01-01`: expected text"),
        "{message}"
    );
    assert!(refused("[routes.a.body]\nmin_p = nan\n").contains("`routes.a.body.min_p`"));
}

#[test]
fn fields_that_nova3_writes_are_refused_with_their_setting() {
    for (field, cure) in [
        ("model", "set `model` of the route"),
        ("stream", "set `stream` of the route"),
        ("stream_options", "set `stream_usage` of the route"),
        ("max_tokens", "set `max_tokens` of the route"),
        ("response_format", "set `structured` of the route"),
        ("output_config", "set `structured` of the route"),
        ("temperature", "set it in the agent's file"),
        ("messages", "the agents' prompts make them"),
    ] {
        let message = refused(&format!("[routes.a.body]\n{field} = 1\n"));
        let expected =
            format!("`routes.a.body.{field}` cannot be used: nova3 writes this field itself ({cure}");
        assert!(message.starts_with(&expected), "{message}");
    }
    let message = refused("token_field = \"max_output\"\n[routes.a.body]\nmax_output = 1\n");
    assert!(
        message.contains("`routes.a.body.max_output` cannot be used"),
        "{message}"
    );
}

#[test]
fn headers_come_from_the_file_the_environment_or_a_file_of_their_own() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "planted-file\n").unwrap();
    let lines = format!(
        "[routes.a.headers]\nX-Title = \"planted title\"\nX-Tenant = {{ env = \"TENANT\" }}\n\
         X-More = {{ file = \"{}\" }}\n",
        file.path().display()
    );
    let config = load(&format!("{HERE}{lines}")).unwrap();
    let headers = &config.routes[0].headers;
    let read: Vec<_> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose_secret()))
        .collect();
    assert_eq!(
        read,
        [
            ("x-more", "planted-file"),
            ("x-tenant", "planted-tenant"),
            ("x-title", "planted title")
        ]
    );
    assert!(!format!("{config:?}").contains("planted"));
    let origin = |key: &str| config.origins.iter().find(|origin| origin.key == key).unwrap();
    assert_eq!(origin("routes.a.headers.X-Title").value, "…");
    let tenant = origin("routes.a.headers.X-Tenant");
    assert_eq!(
        (tenant.value.as_str(), &tenant.source),
        ("…", &Source::Env("TENANT".to_owned()))
    );
}

#[test]
fn headers_that_cannot_be_sent_are_refused() {
    for (line, key, reason) in [
        ("Authorization = \"planted\"", "Authorization", "it carries a key"),
        (
            "Content-Type = \"planted\"",
            "Content-Type",
            "nova3 sends this header itself",
        ),
        ("Host = \"planted\"", "Host", "nova3 sends this header itself"),
        (
            "\"X Title\" = \"planted\"",
            "X Title",
            "it is not the name of a header",
        ),
    ] {
        let message = refused(&format!("[routes.a.headers]\n{line}\n"));
        let expected = format!("`routes.a.headers.{key}` cannot be used: {reason} (");
        assert!(message.starts_with(&expected), "{message}");
        assert!(!message.contains("planted"), "{message}");
    }
    let named = refused("key_header = \"api-key\"\n[routes.a.headers]\nApi-Key = \"planted\"\n");
    assert!(
        named.contains("it carries a key") && !named.contains("planted"),
        "{named}"
    );
    let version = refused("dialect = \"anthropic\"\n[routes.a.headers]\nanthropic-version = \"1\"\n");
    assert!(version.contains("nova3 sends this header itself"), "{version}");
    let twice = refused("[routes.a.headers]\nX-A = \"1\"\nx-a = \"2\"\n");
    assert!(twice.contains("the same header is written twice"), "{twice}");
    for value in [
        "\"planted\\n\"",
        "\"\"",
        "1",
        "{ env = \"\" }",
        "{ evn = \"TENANT\" }",
        "\"é\"",
    ] {
        let message = refused(&format!("[routes.a.headers]\nX-A = {value}\n"));
        assert!(
            message.starts_with("`routes.a.headers.X-A` is `…`: expected text"),
            "{message}"
        );
    }
    assert_eq!(
        refused("[routes.a.headers]\nX-A = { env = \"UNSET\" }\n"),
        "`routes.a.headers.X-A` is missing (set the variable `UNSET`)"
    );
}

#[test]
fn a_header_of_the_environment_is_not_sent_in_the_open() {
    let open = |more: &str| {
        let text = format!(
            "[routes.a]\nbase_url = \"http://h/v1\"\n{more}\n[routes.a.headers]\nX-A = {{ env = \"TENANT\" }}\n"
        );
        load(&text)
    };
    assert!(open("").unwrap_err().contains("over plain http"));
    assert_eq!(open("key_over_http = true").unwrap().routes[0].headers.len(), 1);
}

#[test]
fn a_rehearsal_reads_no_header_of_the_environment() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let headers = "[routes.a.headers]\nX-A = { env = \"UNSET\" }\nX-B = \"b\"\n";
    std::fs::write(file.path(), format!("{HERE}{headers}")).unwrap();
    let flags = Flags {
        config: Some(file.path().to_path_buf()),
        ..Flags::default()
    };
    let config = Config::load_without_keys(&flags, &env).unwrap();
    let names: Vec<_> = config.routes[0]
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["x-b"]);
}

#[test]
fn the_header_of_the_key_can_be_named() {
    let named = |header: &str| route(&format!("key_header = \"{header}\"\n")).key_header;
    assert_eq!(
        named("api-key"),
        KeyHeader::Named(HeaderName::from_static("api-key"))
    );
    assert_eq!(named("Authorization"), KeyHeader::Bearer);
    let anthropic = route("dialect = \"anthropic\"\nkey_header = \"authorization\"\n");
    assert_eq!(anthropic.key_header, KeyHeader::Bearer);
    for wrong in ["sk planted", "content-type", ""] {
        let message = refused(&format!("key_header = \"{wrong}\"\n"));
        assert!(message.starts_with("`routes.a.key_header` is `"), "{message}");
        assert!(!message.contains("planted"), "{message}");
    }
}

#[test]
fn a_route_has_time_outs_of_its_own_over_those_of_the_run() {
    let own = "[routes.a.timeouts]\nfirst_token = \"600s\"\ntotal = \"900s\"\n";
    let config = load(&format!("[timeouts]\nidle = \"7s\"\n{HERE}{own}")).unwrap();
    let timeouts = config.routes[0].timeouts;
    let seconds = [
        timeouts.connect,
        timeouts.first_token,
        timeouts.idle,
        timeouts.total,
    ];
    assert_eq!(seconds, [10, 600, 7, 900].map(Duration::from_secs));
    assert_eq!(config.timeouts.total, Duration::from_secs(300));
    let shown: Vec<_> = config
        .origins
        .iter()
        .filter(|origin| origin.key.starts_with("routes.a.timeouts"))
        .map(|origin| (origin.key.as_str(), origin.value.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("routes.a.timeouts.first_token", "600s"),
            ("routes.a.timeouts.total", "900s")
        ]
    );
}

#[test]
fn a_flag_goes_before_the_time_outs_of_a_route() {
    let flags = Flags {
        total: Some(Given {
            value: "60s".to_owned(),
            source: Source::Flag("--timeout"),
        }),
        ..Flags::default()
    };
    let own = "[routes.a.timeouts]\nfirst_token = \"600s\"\ntotal = \"900s\"\n";
    let config = load_with(&format!("{HERE}{own}"), flags).unwrap();
    assert_eq!(config.routes[0].timeouts.total, Duration::from_secs(60));
}

#[test]
fn time_outs_that_make_no_sense_are_refused() {
    let wrong = |lines: &str| refused(&format!("[routes.a.timeouts]\n{lines}\n"));
    assert_eq!(
        wrong("idle = \"0s\""),
        "`routes.a.timeouts.idle` is `0s`: expected a time above zero"
    );
    assert_eq!(
        wrong("first_token = \"400s\""),
        "`routes.a.timeouts.first_token` is `400s`: expected no more than `total`, which is 300s"
    );
    assert!(wrong("connect = \"soon\"").contains("`routes.a.timeouts.connect` is `soon`"));
    assert!(wrong("read = \"1s\"").contains("unknown field `read`"));
}

#[test]
fn a_rehearsal_keeps_the_dialect() {
    for (dialect, path) in [("openai", "/v1/chat/completions"), ("anthropic", "/v1/messages")] {
        let written = route(&format!(
            "dialect = \"{dialect}\"\n[routes.a.body]\nservice_tier = \"flex\"\n"
        ));
        let mock = RouteSettings::mock("http://127.0.0.1:2/v1", &written).unwrap();
        assert_eq!((mock.dialect, mock.endpoint.path()), (written.dialect, path));
        assert_eq!(mock.body, written.body);
    }
}
