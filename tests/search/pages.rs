//! Tests the reading of pages: the texts that items get, the readers, and the addresses that are refused.

use nova3::search::{FailureKind, PageRead, SearchItem, Searcher};
use serde_json::{Value, json};

use super::harness::{Harness, search, setup};
use super::server::{Reply, Server};

const KEY: &str = "jina_0123456789";

/// A reader at this server, in the form of the built-in one.
fn reader(server: &Server) -> String {
    let built_in = include_str!("../../search/jina_reader.toml");
    built_in.replace("https://r.jina.ai/", &format!("{}/read", server.origin()))
}

fn reading(found: &Server, pages: &Server) -> Harness {
    reading_with("jina_reader", found, pages)
}

fn reading_with(name: &str, found: &Server, pages: &Server) -> Harness {
    setup(&["one"])
        .provider("one", found)
        .file("jina_reader.toml", &reader(pages))
        .search(&format!("reader = \"{name}\""))
        .env("JINA_API_KEY", KEY)
}

/// A server that finds these addresses.
fn finding(addresses: &[&str]) -> Server {
    let items: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"title": address, "url": address, "text": "a snippet"}))
        .collect();
    Server::always(Reply::json(&json!({"code": 0, "items": items})))
}

async fn read(searcher: &Searcher, count: usize) -> (Vec<SearchItem>, Vec<PageRead>) {
    let mut items = search(searcher).await.unwrap().items;
    let read = searcher.read_pages(&mut items, count).await;
    (items, read)
}

fn kinds(read: &[PageRead]) -> Vec<(&str, Option<FailureKind>)> {
    let kind = |page: &PageRead| page.failure.as_ref().map(|failure| failure.kind);
    read.iter().map(|page| (page.item.as_str(), kind(page))).collect()
}

fn page(text: &str) -> Reply {
    Reply::json(
        &json!({"code": 200, "status": 20000, "data": {"content": text, "usage": {"tokens": 2_000_000}}}),
    )
}

#[tokio::test]
async fn items_get_the_texts_of_their_pages() {
    let pages = Server::start(|call, _| {
        let asked: Value = serde_json::from_str(&call.body).unwrap();
        let text =
            "# Title\n\nA *long* text with a [link](https://x/) and <script>steal()</script>more.\u{1b}[2J";
        page(&format!("{text} {}", asked["url"].as_str().unwrap()))
    });
    let found = finding(&[
        "https://example.com/1",
        "https://example.com/2",
        "https://example.com/3",
    ]);
    let searcher = reading(&found, &pages).searcher();
    let before = search(&searcher).await.unwrap().items;
    let (items, read) = read(&searcher, 2).await;
    assert_eq!(kinds(&read), [("s1", None), ("s2", None)]);
    for (item, old) in items.iter().zip(&before).take(2) {
        let url = item.url.as_deref().unwrap();
        let expected = format!("# Title\n\nA *long* text with a link and more.[2J {url}");
        assert_eq!((item.text.as_str(), &item.title), (expected.as_str(), &old.title));
        assert!(item.hash != old.hash && item.hash.len() == 64);
    }
    assert_eq!(items[2], before[2]);
    let costs: Vec<f64> = read.iter().map(|page| page.cost.usd()).collect();
    assert_eq!(costs, [0.1, 0.1]);
    let calls = pages.calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| {
        call.line() == "POST /read" && call.header("authorization") == Some(format!("Bearer {KEY}").as_str())
    }));
}

#[tokio::test]
async fn a_page_that_fails_leaves_its_item_as_it_was() {
    for (reply, kind) in [
        (Reply::Cut, FailureKind::Network),
        (Reply::status(503, &json!({})), FailureKind::Server),
        (
            Reply::with_header(429, "retry-after", "3600"),
            FailureKind::Limited,
        ),
        (
            Reply::status(402, &json!({"message": "no balance"})),
            FailureKind::Terminal,
        ),
        (Reply::status(451, &json!({"code": 45102})), FailureKind::Refused),
        (Reply::json(&json!({"data": null})), FailureKind::Malformed),
        (
            Reply::Say(200, String::new(), b"<html>".to_vec()),
            FailureKind::Malformed,
        ),
        (page(" "), FailureKind::Empty),
        (page("short"), FailureKind::Empty),
    ] {
        let searcher = reading(&finding(&["https://example.com/1"]), &Server::always(reply)).searcher();
        let before = search(&searcher).await.unwrap().items;
        let (items, read) = read(&searcher, 5).await;
        assert_eq!((kinds(&read), items), (vec![("s1", Some(kind))], before));
        let warned = searcher.take_warnings();
        assert_eq!(
            warned.len(),
            usize::from(kind == FailureKind::Terminal),
            "{warned:?}"
        );
    }
}

#[tokio::test]
async fn no_reader_gets_a_private_address() {
    let inner = Server::always(page(
        "a text from the inner network, which is longer than the snippet",
    ));
    let local = format!("{}/secret", inner.origin());
    let named = format!("http://localhost:{}/secret", inner.port());
    for reader in ["http", "jina_reader"] {
        let found = finding(&[&local, "http://169.254.169.254/latest", "http://[fd00::1]/"]);
        let searcher = reading_with(reader, &found, &inner).searcher();
        let (items, read) = read(&searcher, 5).await;
        assert!(
            read.iter().all(|page| {
                let failure = page.failure.as_ref().unwrap();
                failure.kind == FailureKind::Refused && failure.message == "it is not a public address"
            }),
            "{read:?}"
        );
        assert!(read.len() == 3 && items.iter().all(|item| item.text == "a snippet"));
    }
    // A name is checked when it is resolved.
    let searcher = reading_with("http", &finding(&[&named]), &inner).searcher();
    assert_eq!(
        kinds(&read(&searcher, 5).await.1),
        [("s1", Some(FailureKind::Network))]
    );
    assert!(inner.calls().is_empty());
}

#[tokio::test]
async fn a_reader_without_its_key_is_not_asked() {
    let pages = Server::always(page("a text that is longer than the snippet"));
    let searcher = setup(&["one"])
        .provider("one", &finding(&["https://example.com/1"]))
        .file("jina_reader.toml", &reader(&pages))
        .search("reader = \"jina_reader\"")
        .searcher();
    assert_eq!(
        kinds(&read(&searcher, 1).await.1),
        [("s1", Some(FailureKind::NoKey))]
    );
    assert!(pages.calls().is_empty());
}

#[tokio::test]
async fn items_without_an_address_are_passed_over() {
    let pages = Server::always(page("a text that is longer than the snippet"));
    let found = finding(&["no address", "https://example.com/1"]);
    let searcher = reading(&found, &pages).searcher();
    assert_eq!(kinds(&read(&searcher, 1).await.1), [("s2", None)]);
    assert!(read(&searcher, 0).await.1.is_empty());
}

#[test]
fn a_reader_is_no_link_and_a_link_is_no_reader() {
    for (chain, reader, message) in [
        (
            "jina_reader",
            "http",
            "`search.providers` names `jina_reader`: expected one of `jina`, `xhs`",
        ),
        (
            "jina",
            "jina",
            "`search.reader` is `jina`: expected one of `http`, `jina_reader`",
        ),
    ] {
        let harness = setup(&[chain]).search(&format!("reader = \"{reader}\""));
        let error = harness.load().err().unwrap().to_string();
        assert!(error.contains(message), "{error}");
    }
    let wrong = setup(&["jina"]).file("one.toml", "kind = \"book\"\nname = \"one\"\nurl = \"https://h/\"\n[answer]\nitems = [\"/i\"]\n[item]\ntext = [\"/t\"]\n");
    let error = wrong.load().err().unwrap().to_string();
    assert!(
        error.ends_with("line 1: `kind` is `book`: expected `search` or `reader`"),
        "{error}"
    );
}
