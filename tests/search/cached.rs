//! Tests fresh and stale answers of the cache, and default material.

use std::time::Duration;

use nova3::search::FailureKind;
use serde_json::json;

use super::harness::{attempts_of, items, query, search, setup, titles};
use super::server::{Reply, Server};

/// A server that answers the first request and fails all later ones.
fn once() -> Server {
    Server::start(|_, number| match number {
        0 => items("found"),
        _ => Reply::status(500, &json!({})),
    })
}

#[tokio::test]
async fn a_fresh_answer_is_returned_without_a_request() {
    let server = once();
    let searcher = setup(&["one", "cached", "default"])
        .provider("one", &server)
        .searcher();
    let first = searcher.search(&query("Oat Milk")).await.unwrap();
    assert_eq!((first.provider.as_str(), first.found_by), ("one", None));
    for same in ["oat  milk", "ＯＡＴ milk"] {
        let outcome = searcher.search(&query(same)).await.unwrap();
        assert_eq!(
            (
                outcome.provider.as_str(),
                outcome.found_by.as_deref(),
                outcome.degraded,
                outcome.looked_up
            ),
            ("cached", Some("one"), false, true)
        );
        assert!(outcome.age.unwrap() < Duration::from_mins(1));
        assert_eq!((outcome.cost.0, outcome.items), (0, first.items.clone()));
        assert_eq!(links_of(&outcome.attempts), ["cached"]);
    }
    assert_eq!(server.calls().len(), 1);
}

fn links_of(attempts: &[nova3::search::LinkAttempt]) -> Vec<&str> {
    attempts.iter().map(|attempt| attempt.link.as_str()).collect()
}

#[tokio::test]
async fn a_stale_answer_is_returned_when_no_provider_answers() {
    let server = once();
    let searcher = setup(&["one", "cached", "default"])
        .provider("one", &server)
        .search("fresh = \"0s\"\nretries = 0")
        .searcher();
    search(&searcher).await.unwrap();
    let outcome = search(&searcher).await.unwrap();
    assert_eq!(
        attempts_of(&outcome),
        [("one", 1, Some(FailureKind::Server)), ("cached", 0, None)]
    );
    assert_eq!(
        (
            outcome.provider.as_str(),
            outcome.found_by.as_deref(),
            outcome.degraded,
            outcome.looked_up
        ),
        ("cached", Some("one"), true, true)
    );
    assert!(outcome.age.is_some());
    assert_eq!(titles(&outcome), ["found"]);
}

#[tokio::test]
async fn an_answer_that_is_too_old_is_not_returned() {
    let server = once();
    let searcher = setup(&["one", "cached", "default"])
        .provider("one", &server)
        .search("fresh = \"0s\"\nstale = \"0s\"\nretries = 0")
        .searcher();
    search(&searcher).await.unwrap();
    let outcome = search(&searcher).await.unwrap();
    assert_eq!((outcome.provider.as_str(), outcome.looked_up), ("default", false));
}

#[tokio::test]
async fn a_fresh_answer_is_kept_although_stale_is_shorter() {
    let server = once();
    let searcher = setup(&["one", "cached"])
        .provider("one", &server)
        .search("fresh = \"1h\"\nstale = \"0s\"")
        .searcher();
    search(&searcher).await.unwrap();
    assert_eq!(search(&searcher).await.unwrap().provider, "cached");
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn a_fresh_answer_is_degraded_by_the_chain_that_asks() {
    let [bad, good] = [Reply::status(400, &json!({})), items("found")].map(Server::always);
    let searcher = setup(&["one", "two", "cached"])
        .provider("one", &bad)
        .provider("two", &good)
        .searcher();
    assert!(search(&searcher).await.unwrap().degraded);
    assert!(search(&searcher).await.unwrap().degraded);
    let chain = ["two", "cached"].map(str::to_owned);
    let outcome = searcher.search_in(&query("燕麦"), &chain).await.unwrap();
    assert_eq!((outcome.provider.as_str(), outcome.degraded), ("cached", false));
}

#[tokio::test]
async fn a_chain_without_the_link_cached_keeps_no_answer() {
    let server = Server::always(items("found"));
    let searcher = setup(&["one"]).provider("one", &server).searcher();
    for _ in 0..2 {
        assert_eq!(search(&searcher).await.unwrap().provider, "one");
    }
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn a_chain_gets_no_cached_answer_of_a_provider_that_it_does_not_name() {
    let [one, two] = ["one", "two"].map(|name| Server::always(items(name)));
    let searcher = setup(&["one", "cached"])
        .provider("one", &one)
        .provider("two", &two)
        .searcher();
    search(&searcher).await.unwrap();
    let chain = ["two", "cached"].map(str::to_owned);
    let outcome = searcher.search_in(&query("燕麦"), &chain).await.unwrap();
    assert_eq!(
        (outcome.provider.as_str(), titles(&outcome)),
        ("two", vec!["two"])
    );
}

#[tokio::test]
async fn default_material_is_chosen_by_words() {
    let material = "[[material]]\nwords = [\"燕麦\"]\ntitle = \"about oats\"\ntext = \"known before\"\n";
    let searcher = setup(&["default"]).file("material.toml", material).searcher();
    let outcome = search(&searcher).await.unwrap();
    assert_eq!(titles(&outcome), ["about oats"]);
    assert_eq!(
        (outcome.degraded, outcome.looked_up, outcome.cost.0),
        (false, false, 0)
    );
    let error = searcher.search(&query("tea")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no search provider answered (`default`: no default material fits this query)"
    );
}

#[tokio::test]
async fn an_unknown_link_is_an_error_that_names_it() {
    let searcher = setup(&["default"]).searcher();
    let error = searcher
        .search_in(&query("tea"), &["nowhere".to_owned()])
        .await
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("there is no search provider `nowhere` (known: `bocha`, ")
            && message.ends_with("`cached`, `default`)"),
        "{message}"
    );
}
