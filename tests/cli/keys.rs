//! API keys: where they are sent, and where they are not.

use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use nova3::mock::MockConfig;

use crate::cli::harness::{Harness, question, setup, setup_with};
use crate::cli::provider::read_request;

const KEY: &str = "sk-proj-REALKEY0001";

/// A server whose every answer is the given one, and the heads of the calls that it receives.
fn listening(answer: String) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (heard, heads) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (head, _) = read_request(&stream);
            let head = head.to_ascii_lowercase();
            let answered = std::io::Write::write_all(&mut stream, answer.as_bytes());
            if answered.is_err() || heard.send(head).is_err() {
                return;
            }
        }
    });
    (url, heads)
}

fn refusal() -> String {
    "HTTP/1.1 400 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
}

fn bench_with(routes: &str) -> Harness {
    let harness = setup().with("OPENAI_API_KEY", KEY);
    harness.write("nova3.toml", routes);
    harness.write("in.jsonl", question("q1", "hello"));
    harness
}

#[test]
fn the_key_of_the_environment_goes_to_no_route_that_does_not_name_it() {
    for (named, sent) in [("", false), ("api_key_env = \"OPENAI_API_KEY\"\n", true)] {
        let (url, heads) = listening(refusal());
        let harness = bench_with(&format!(
            "[routes.local]\nbase_url = \"{url}\"\nmodel = \"m\"\n{named}"
        ));
        let ran = harness.nova3(&["run", "in.jsonl"]);
        assert_eq!(ran.code, Some(100), "{}", ran.err);
        let head = heads.recv().unwrap();
        assert_eq!(head.contains("realkey"), sent, "{head}");
    }
    // The route from the environment names the key of the environment.
    let (url, heads) = listening(refusal());
    let harness = bench_with("")
        .with("OPENAI_BASE_URL", &url)
        .with("OPENAI_MODEL", "m");
    assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(100));
    assert!(heads.recv().unwrap().contains("realkey"));
}

#[test]
fn a_route_that_needs_a_key_and_names_none_stops_before_anything_is_sent() {
    let harness = bench_with("[routes.a]\nbase_url = \"https://example.com/v1\"\nmodel = \"m\"\n");
    for command in ["run", "check"] {
        let ran = harness.nova3(&[command, "in.jsonl"]);
        let message = "nova3: route `a` has no key (name its variable with `api_key_env`; `OPENAI_API_KEY` goes to OpenAI alone \
                       unless a route names it, or `api_key_file`, or `no_key = true`; or rehearse with `--mock`)\n";
        assert_eq!((ran.code, ran.err.as_str()), (Some(2), message), "{command}");
    }
    // A key that is named and not set is an error, also for a server on this machine.
    let named =
        "[routes.a]\nbase_url = \"http://127.0.0.1:9/v1\"\nmodel = \"m\"\napi_key_env = \"NOT_THERE\"\n";
    let harness = bench_with(named);
    for args in [
        &["run", "in.jsonl"][..],
        &["check", "in.jsonl"],
        &["plan", "--call", "in.jsonl"],
        &["worker"],
    ] {
        let ran = harness.nova3(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
        assert!(ran.err.contains("set the variable `NOT_THERE`"), "{}", ran.err);
        assert!(!harness.path("nova3.db").exists());
    }
    assert_eq!(harness.nova3(&["plan", "in.jsonl"]).code, Some(0));
    assert_eq!(harness.nova3(&["run", "in.jsonl", "--mock"]).code, Some(0));
}

#[test]
fn no_key_leaves_this_machine_in_clear_text_unless_its_route_allows_it() {
    let route = |more: &str| {
        format!(
            "[routes.a]\nbase_url = \"http://192.0.2.1:9/v1\"\nmodel = \"m\"\napi_key_env = \"OPENAI_API_KEY\"\n{more}"
        )
    };
    let message = |cure: &str| {
        format!(
            "nova3: route `{}` would send its key to `192.0.2.1` over plain http (use https; {cure})\n",
            if cure.starts_with("unset") { "default" } else { "a" }
        )
    };
    let refused = bench_with(&route("")).nova3(&["check", "in.jsonl"]);
    let cure = "`key_over_http = true` allows it in a network that you trust";
    assert_eq!((refused.code, refused.err), (Some(2), message(cure)));
    let allowed = bench_with(&route("key_over_http = true\n")).nova3(&["check", "in.jsonl"]);
    assert_eq!(allowed.code, Some(0), "{}", allowed.err);
    let of_environment = bench_with("")
        .with("OPENAI_BASE_URL", "http://192.0.2.1:9/v1")
        .with("OPENAI_MODEL", "m")
        .nova3(&["run", "in.jsonl"]);
    let cure = "unset `OPENAI_API_KEY`, or make a route with `key_over_http = true`";
    assert_eq!(
        (of_environment.code, of_environment.err),
        (Some(2), message(cure))
    );
    for here in [
        "localhost",
        "127.0.0.1",
        "127.8.8.8",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "api.localhost",
        "LOCALHOST.",
    ] {
        let harness = bench_with("")
            .with("OPENAI_BASE_URL", &format!("http://{here}:9/v1"))
            .with("OPENAI_MODEL", "m");
        let ran = harness.nova3(&["check", "in.jsonl"]);
        assert_eq!(ran.code, Some(0), "{here}: {}", ran.err);
    }
    for other in [
        "localhost.example.com",
        "notlocalhost",
        "10.0.0.1",
        "[2001:db8::1]",
        "api.openai.com",
    ] {
        let harness = bench_with("")
            .with("OPENAI_BASE_URL", &format!("http://{other}:9/v1"))
            .with("OPENAI_MODEL", "m");
        assert_eq!(harness.nova3(&["check", "in.jsonl"]).code, Some(2), "{other}");
    }
}

#[test]
fn a_redirect_takes_no_key_anywhere() {
    let (elsewhere, heads) = listening(refusal());
    for status in [301, 302, 307, 308] {
        let moved = format!(
            "HTTP/1.1 {status} Moved\r\nlocation: {elsewhere}/chat/completions\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let (url, asked) = listening(moved);
        let harness = bench_with("")
            .with("OPENAI_BASE_URL", &url)
            .with("OPENAI_MODEL", "m");
        assert_eq!(harness.nova3(&["run", "in.jsonl"]).code, Some(105));
        assert!(asked.recv().unwrap().contains("realkey"));
    }
    assert!(heads.try_recv().is_err(), "the redirect was followed");
}

#[test]
fn no_proxy_is_asked_for_a_server_of_this_machine() {
    let (proxy, heads) = listening(refusal());
    let proxied = |harness: Harness| {
        [
            "http_proxy",
            "HTTP_PROXY",
            "https_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "ALL_PROXY",
        ]
        .into_iter()
        .fold(harness, |harness, name| harness.with(name, &proxy))
    };
    let (harness, provider) = setup_with(MockConfig::default());
    let harness = proxied(harness);
    harness.write("in.jsonl", question("q1", "hello"));
    let ran = harness.nova3(&["run", "in.jsonl", "--mock"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let ran = harness.nova3(&["run", "in.jsonl"]);
    assert_eq!((ran.code, provider.calls()), (Some(0), 1), "{}", ran.err);
    assert!(heads.try_recv().is_err(), "the proxy was asked");
    // The proxy is used for other hosts.
    let settings = "[routes.a]\nbase_url = \"http://192.0.2.1:9/v1\"\nmodel = \"m\"\n";
    harness.write("nova3.toml", settings);
    assert_eq!(harness.nova3(&["run", "in.jsonl", "--run", "b"]).code, Some(100));
    assert!(heads.recv().unwrap().starts_with("post http://192.0.2.1:9/v1"));
}
