//! The search provider of the mock: its results, its faults, its counts, and the provider that asks it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nova3::config::{Flags, search_in_force};
use nova3::limit::{InProcess, Limiter, Limits};
use nova3::mock::{Faults, Latency, MockConfig};
use nova3::search::{FailureKind, MemoryCache, Provider, Providers, Query, Searcher};
use serde_json::Value;

use super::harness::{Harness, harness, prompt};
use crate::support::evidence::Log;

async fn get(harness: &Harness, path: &str) -> (u16, String) {
    let url = format!("{}{path}", harness.mock.base_url());
    let response = harness.client.get(url).send().await.expect("a response");
    let status = response.status().as_u16();
    (status, response.text().await.unwrap_or_default())
}

fn always(faults: Faults) -> MockConfig {
    MockConfig {
        faults,
        retry_after: Some(Duration::from_secs(3)),
        ..MockConfig::default()
    }
}

#[tokio::test]
async fn results_repeat_and_searches_are_counted_apart_from_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("calls.jsonl");
    let harness = harness(MockConfig {
        log: Some(log.clone()),
        ..MockConfig::default()
    })
    .await;
    let (status, first) = get(&harness, "/search?q=%E7%87%95%E9%BA%A6+%E5%A5%B6&limit=9").await;
    assert_eq!(status, 200);
    assert_eq!(first, get(&harness, "/search?q=燕麦%20奶").await.1);
    let value: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(
        (value["code"].as_i64(), value["data"].as_array().map(Vec::len)),
        (Some(200), Some(5))
    );
    let two: Value = serde_json::from_str(&get(&harness, "/search?q=oats&limit=2").await.1).expect("JSON");
    assert_eq!(two["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(get(&harness, "/search?limit=2").await.0, 400);
    harness.ask(&prompt("Hi")).await;

    let stats = harness.mock.stats();
    assert_eq!((stats.calls, stats.searches, stats.queries), (1, 4, 3));
    let outcomes: Vec<_> = stats.search_outcomes.into_iter().collect();
    assert_eq!(outcomes, [("bad_request", 1), ("ok", 3)]);
    harness.mock.stop().await;
    let mut read = Log::new(&log);
    read.read_on();
    assert_eq!(read.queries(), ["燕麦 奶", "燕麦 奶", "oats", ""]);
    assert!(read.count() == 1 && read.whole());
}

#[tokio::test]
async fn searches_have_the_faults_and_the_latency_of_the_server() {
    let limited = harness(always(Faults {
        rate_limited: 1.0,
        ..Faults::default()
    }))
    .await;
    let url = format!("{}/search?q=oats", limited.mock.base_url());
    let response = limited.client.get(url).send().await.expect("a response");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (429, &"3".parse().expect("a header"))
    );

    let failing = harness(always(Faults {
        server_error: 1.0,
        ..Faults::default()
    }))
    .await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(get(&failing, "/search?q=oats").await.0);
    }
    assert!(statuses.iter().all(|status| [500, 503].contains(status)));
    assert!(statuses.contains(&500) && statuses.contains(&503), "{statuses:?}");

    let broken = harness(always(Faults {
        truncate: 1.0,
        ..Faults::default()
    }))
    .await;
    let (status, half) = get(&broken, "/search?q=oats").await;
    assert!(status == 200 && serde_json::from_str::<Value>(&half).is_err());

    let slow = harness(MockConfig {
        latency: Latency {
            first_token: Duration::from_millis(80),
            ..Latency::default()
        },
        ..MockConfig::default()
    })
    .await;
    let began = Instant::now();
    assert_eq!(get(&slow, "/search?q=oats").await.0, 200);
    assert!(began.elapsed() >= Duration::from_millis(80));
}

fn searcher(base_url: &str) -> Searcher {
    let mut settings = search_in_force(&Flags::default(), &|_| None).expect("the default settings");
    settings.providers = vec!["mock".to_owned(), "default".to_owned()];
    settings.retry.retries = 0;
    let providers = Providers::rehearsal(base_url).expect("the provider of a rehearsal");
    assert_eq!(providers.all().len(), 1);
    let limiter = |provider: &Provider| -> Arc<dyn Limiter> {
        let rpm = provider.rpm;
        Arc::new(InProcess::new(Limits { rpm, tpm: None }))
    };
    let cache = Arc::new(MemoryCache::new(settings.cache_bytes));
    Searcher::new(providers, settings, cache, &limiter)
}

#[tokio::test]
async fn a_rehearsal_searches_with_the_mock() {
    let query = Query::new("燕麦奶 市场", 5).expect("a query");
    let sound = harness(MockConfig::default()).await;
    let found = searcher(&sound.mock.base_url()).search(&query).await;
    let found = found.expect("results");
    assert_eq!(
        (
            found.provider.as_str(),
            found.degraded,
            found.looked_up,
            found.cost.usd()
        ),
        ("mock", false, true, 0.0)
    );
    assert_eq!(found.items.len(), 5);
    for item in &found.items {
        assert!(
            item.text.contains("燕麦奶 市场") && item.text.contains("模拟服务器"),
            "{item:?}"
        );
        assert!(item.url.is_some() && item.published_at.is_some());
    }

    for (faults, kind) in [
        (
            Faults {
                rate_limited: 1.0,
                ..Faults::default()
            },
            FailureKind::Limited,
        ),
        (
            Faults {
                server_error: 1.0,
                ..Faults::default()
            },
            FailureKind::Server,
        ),
        (
            Faults {
                overloaded: 1.0,
                ..Faults::default()
            },
            FailureKind::Server,
        ),
        (
            Faults {
                disconnect: 1.0,
                ..Faults::default()
            },
            FailureKind::Network,
        ),
        (
            Faults {
                truncate: 1.0,
                ..Faults::default()
            },
            FailureKind::Malformed,
        ),
        (
            Faults {
                garbage: 1.0,
                ..Faults::default()
            },
            FailureKind::Malformed,
        ),
        (
            Faults {
                error_in_stream: 1.0,
                ..Faults::default()
            },
            FailureKind::Server,
        ),
    ] {
        let faulty = harness(always(faults)).await;
        let found = searcher(&faulty.mock.base_url()).search(&query).await;
        let found = found.expect("default material");
        let failure = found.attempts[0].failure.as_ref().map(|failure| failure.kind);
        assert_eq!((found.provider.as_str(), failure), ("default", Some(kind)));
        assert!(found.degraded && !found.looked_up);
    }
}
