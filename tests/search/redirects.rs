//! Tests redirects: a request without a key follows those to its own provider and to public addresses.

use nova3::search::FailureKind;

use super::harness::{attempts_of, items, provider, search, setup, titles};
use super::server::{Reply, Server};

fn to(location: &str) -> Reply {
    Reply::with_header(302, "location", location)
}

#[tokio::test]
async fn a_redirect_to_the_provider_itself_is_followed() {
    let server = Server::start(|call, _| {
        if call.line().starts_with("GET /search/?") {
            items("found")
        } else {
            to("/search/?q=x")
        }
    });
    let outcome = search(&setup(&["one"]).provider("one", &server).searcher())
        .await
        .unwrap();
    assert_eq!(
        (attempts_of(&outcome), titles(&outcome)),
        (vec![("one", 1, None)], vec!["found"])
    );
}

#[tokio::test]
async fn no_redirect_leads_to_a_private_address() {
    let inner = Server::always(items("caught"));
    let port = inner.port();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "localhost",
        "x.localhost",
    ] {
        let server = Server::always(to(&format!("http://{host}:{port}/search")));
        let searcher = setup(&["one"])
            .provider("one", &server)
            .search("retries = 0")
            .searcher();
        let error = search(&searcher).await.unwrap_err();
        assert!(
            error.to_string().contains("public address") || error.to_string().contains("cannot be reached"),
            "{host}: {error}"
        );
    }
    assert!(inner.calls().is_empty());
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let server = Server::always(to("/search?again"));
    let searcher = setup(&["one", "default"]).provider("one", &server).searcher();
    let outcome = search(&searcher).await.unwrap();
    assert_eq!(
        attempts_of(&outcome)[0],
        ("one", 1, Some(FailureKind::Redirected))
    );
    assert_eq!(
        outcome.attempts[0].failure.as_ref().unwrap().message,
        "more than 3 redirects"
    );
    assert_eq!(server.calls().len(), 4);
}

#[tokio::test]
async fn other_schemes_and_posts_are_not_followed() {
    for location in ["file:///etc/passwd", "ftp://example.com/", "gopher://127.0.0.1/"] {
        let server = Server::always(to(location));
        let searcher = setup(&["one", "default"]).provider("one", &server).searcher();
        let outcome = search(&searcher).await.unwrap();
        assert_eq!(
            attempts_of(&outcome)[0],
            ("one", 1, Some(FailureKind::Redirected)),
            "{location}"
        );
    }
    let server = Server::always(to("/search/"));
    let posting = provider("one", &server.origin(), "method = \"POST\"");
    let searcher = setup(&["one", "default"]).file("one.toml", &posting).searcher();
    search(&searcher).await.unwrap();
    assert_eq!(server.calls().len(), 1);
}
