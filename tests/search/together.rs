//! Tests that equal searches at the same moment send one request.

use futures::FutureExt;
use futures::future::join_all;
use nova3::search::Searcher;

use super::harness::{items, query, setup};
use super::server::Server;

fn searcher(server: &Server) -> Searcher {
    setup(&["one"]).provider("one", server).searcher()
}

#[tokio::test]
async fn fifty_equal_searches_send_one_request() {
    let server = Server::always(items("found"));
    let searcher = searcher(&server);
    let queries: Vec<_> = (0..50)
        .map(|n| query(if n % 2 == 0 { "oat milk" } else { " OAT  milk" }))
        .collect();
    let outcomes = join_all(queries.iter().map(|query| searcher.search(query))).await;
    assert_eq!(server.calls().len(), 1);
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    assert!(outcomes.iter().all(|outcome| outcome.items == outcomes[0].items));
    // One of them is charged.
    assert_eq!(outcomes.iter().filter(|outcome| !outcome.joined).count(), 1);
    let paid: Vec<f64> = outcomes
        .iter()
        .map(|outcome| outcome.cost.usd())
        .filter(|cost| *cost > 0.0)
        .collect();
    assert_eq!(paid, [0.25]);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.joined == (outcome.attempts[0].cost.0 == 0))
    );
}

#[tokio::test]
async fn different_searches_do_not_wait_for_each_other() {
    let server = Server::always(items("found"));
    let searcher = searcher(&server);
    let queries: Vec<_> = (0..20).map(|n| query(&format!("query {n}"))).collect();
    join_all(queries.iter().map(|query| searcher.search(query))).await;
    assert_eq!(server.calls().len(), 20);
}

#[tokio::test]
async fn a_search_continues_when_its_first_caller_is_cancelled() {
    let server = Server::always(items("found"));
    let searcher = searcher(&server);
    let query = query("oat milk");
    let mut first = Box::pin(searcher.search(&query));
    assert!((&mut first).now_or_never().is_none());
    let mut second = Box::pin(searcher.search(&query));
    assert!((&mut second).now_or_never().is_none());
    drop(first);
    let outcome = second.await.unwrap();
    assert_eq!(
        (outcome.joined, outcome.cost.usd().to_string()),
        (false, "0.25".to_owned())
    );
    assert_eq!(server.calls().len(), 1);
}
