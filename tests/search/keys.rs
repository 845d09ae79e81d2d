//! Tests that a key is sent only in its header or parameter and only to its host.

use serde_json::json;

use super::harness::{attempts_of, items, provider, query, search, setup};
use super::server::{Reply, Server};

const KEY: &str = "jx_Planted/Key+0123456789";

/// Returns a provider file that sends its key in a header.
fn keyed(origin: &str) -> String {
    provider("one", origin, "key_env = \"ONE_KEY\"").replace(
        "[query]",
        "[headers]\nauthorization = \"Bearer {{ key }}\"\n\n[query]",
    )
}

#[tokio::test]
async fn a_key_is_sent_in_its_header_only() {
    let server = Server::always(items("found"));
    let searcher = setup(&["one"])
        .file("one.toml", &keyed(&server.origin()))
        .env("ONE_KEY", &format!(" {KEY}\n"))
        .searcher();
    search(&searcher).await.unwrap();
    let call = &server.calls()[0];
    assert_eq!(
        call.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(call.line(), "GET /search?q=%E7%87%95%E9%BA%A6");
    assert_eq!((call.head.matches(KEY).count(), call.body.as_str()), (1, ""));
    assert!(!format!("{searcher:?}").contains("Planted"));
}

#[tokio::test]
async fn a_key_can_come_from_a_file() {
    let server = Server::always(items("found"));
    let harness = setup(&["one"]);
    let path = harness.path("key");
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    let text = keyed(&server.origin()).replace("key_env = \"ONE_KEY\"", &format!("key_file = {path:?}"));
    search(&harness.file("one.toml", &text).searcher()).await.unwrap();
    assert_eq!(
        server.calls()[0].header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
}

#[tokio::test]
async fn a_key_that_a_provider_repeats_is_masked() {
    let in_json = KEY.replace('/', r"\/");
    let echo = format!(
        r#"{{"code": 0, "items": [{{"title": "key {in_json}", "text": "{KEY}", "url": "https://h/?q={}"}}]}}"#,
        KEY.replace('/', "%2F").replace('+', "%2B")
    );
    let refusal = format!(r#"{{"code": 9, "message": "bad key {in_json}"}}"#);
    let server = Server::start(move |_, number| {
        let body = if number == 0 { &echo } else { &refusal };
        Reply::Say(200, String::new(), body.clone().into_bytes())
    });
    let searcher = setup(&["one"])
        .file("one.toml", &keyed(&server.origin()))
        .env("ONE_KEY", KEY)
        .searcher();
    let outcome = search(&searcher).await.unwrap();
    assert!(!format!("{outcome:?}").contains("Planted"), "{outcome:?}");
    assert_eq!(outcome.items[0].title, "key [redacted]");
    let error = search(&searcher).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no search provider answered (`one`: HTTP 200, code 9: bad key [redacted])"
    );
}

#[tokio::test]
async fn a_key_that_a_provider_escapes_is_masked() {
    let in_json = KEY.replace('+', r"\u002b");
    let in_html = KEY.replace('+', "&#43;");
    let in_url = KEY.replace('/', "%2f").replace('+', "%2b");
    let echo = format!(
        r#"{{"code": 0, "items": [{{"title": "key {in_json}", "text": "{in_html}", "url": "https://h/?q={in_url}"}}]}}"#
    );
    let refusal = format!(r#"{{"code": 9, "message": "bad key {in_json} {in_html}"}}"#);
    let server = Server::start(move |_, number| {
        let body = if number == 0 { &echo } else { &refusal };
        Reply::Say(200, String::new(), body.clone().into_bytes())
    });
    let searcher = setup(&["one"])
        .file("one.toml", &keyed(&server.origin()))
        .env("ONE_KEY", KEY)
        .searcher();
    let outcome = search(&searcher).await.unwrap();
    assert!(!format!("{outcome:?}").contains("Planted"), "{outcome:?}");
    let error = search(&searcher).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no search provider answered (`one`: HTTP 200, code 9: bad key [redacted] [redacted])"
    );
}

#[tokio::test]
async fn a_key_in_a_parameter_is_in_no_error() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let text = keyed(&origin)
        .replace("[headers]\nauthorization = \"Bearer {{ key }}\"", "")
        .replace("[query]", "[query]\ntoken = \"{{ key }}\"");
    let searcher = setup(&["one"])
        .file("one.toml", &text)
        .env("ONE_KEY", KEY)
        .searcher();
    let error = search(&searcher).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("Planted"), "{error}");
}

#[tokio::test]
async fn a_request_with_a_key_follows_no_redirect() {
    let other = Server::always(items("caught"));
    let to = format!("{}/search?token=abc", other.origin());
    for status in [301, 302, 303, 307, 308] {
        let server = Server::always(Reply::with_header(status, "location", &to));
        let searcher = setup(&["one"])
            .file("one.toml", &keyed(&server.origin()))
            .env("ONE_KEY", KEY)
            .searcher();
        let error = search(&searcher).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "no search provider answered (`one`: it redirects to `{}/search?token=redacted`: a request \
                 with a key follows no redirect (put the address into `url`))",
                other.origin()
            )
        );
        let same = Server::always(Reply::with_header(status, "location", "/elsewhere"));
        let searcher = setup(&["one"])
            .file("one.toml", &keyed(&same.origin()))
            .env("ONE_KEY", KEY)
            .searcher();
        search(&searcher).await.unwrap_err();
        assert_eq!(same.calls().len(), 1);
    }
    assert!(other.calls().is_empty());
}

#[tokio::test]
async fn a_query_cannot_change_host_or_headers() {
    let server = Server::always(items("found"));
    let text = keyed(&server.origin())
        .replace("/search\"", "/{{ query }}/search\"")
        .replace("[query]", "x-about = \"about {{ query }}\"\n\n[query]");
    let searcher = setup(&["one"])
        .file("one.toml", &text)
        .env("ONE_KEY", KEY)
        .searcher();
    let hostile = query("../..//@evil.example:1/?a#b&c {{ key }}");
    let outcome = searcher.search(&hostile).await.unwrap();
    assert_eq!(attempts_of(&outcome), [("one", 1, None)]);
    let call = &server.calls()[0];
    assert_eq!(
        call.line(),
        "GET /..%2F..%2F%2F%40evil.example%3A1%2F%3Fa%23b%26c%20%7B%7B%20key%20%7D%7D/search?q=\
         ..%2F..%2F%2F%40evil.example%3A1%2F%3Fa%23b%26c%20%7B%7B%20key%20%7D%7D"
    );
    assert_eq!(
        call.header("x-about"),
        Some("about ../..//@evil.example:1/?a#b&c {{ key }}")
    );
    assert_eq!(json!(call.head.matches("Planted").count()), 1);
}

#[tokio::test]
async fn a_key_that_is_too_short_to_mask_is_refused() {
    let server = Server::always(items("found"));
    let harness = setup(&["one"]).file("one.toml", &keyed(&server.origin()));
    let error = harness
        .env("ONE_KEY", "seven77")
        .load()
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.ends_with(
            "the key in `ONE_KEY` is too short to be masked in messages: expected at least 8 characters"
        ) && !error.contains("seven77"),
        "{error}"
    );
}
