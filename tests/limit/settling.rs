//! Settlements of calls that used less or more than they reserved.

use crate::limit::harness::{Harness, granted, rpm, tpm, until, waits};

pub(crate) async fn what_was_not_used_is_free_again(harness: &Harness) {
    let limiter = harness.limiter(tpm(60_000));
    let grant = granted(&*limiter, 30_000).await;
    limiter.settle(grant, 0);
    let _next = granted(&*limiter, 30_000).await;
}

pub(crate) async fn an_excess_is_charged(harness: &Harness) {
    let limiter = harness.limiter(tpm(60_000));
    let grant = granted(&*limiter, 1).await;
    limiter.settle(grant, 30_000);
    waits(&*limiter, 1).await;
}

pub(crate) async fn a_call_not_made_gives_its_request_back(harness: &Harness) {
    let limiter = harness.limiter(rpm(2));
    let grant = granted(&*limiter, 1).await;
    limiter.give_back(grant);
    let _next = granted(&*limiter, 1).await;
    waits(&*limiter, 1).await;
}

pub(crate) async fn who_stops_waiting_takes_nothing(harness: &Harness) {
    let limiter = harness.limiter(tpm(600_000));
    let _grant = granted(&*limiter, 6_000).await;
    for _ in 0..2 {
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let limiter = std::sync::Arc::clone(&limiter);
            waiting.spawn(async move { limiter.take(6_000).await });
        }
        until("their wait", || limiter.waiting() == 50).await;
        waiting.shutdown().await;
        assert_eq!(limiter.waiting(), 0);
    }
    let _next = granted(&*limiter, 6_000).await;
}

pub(crate) async fn who_waits_hears_of_what_comes_back(harness: &Harness) {
    let limiter = harness.limiter(tpm(60_000));
    let grant = granted(&*limiter, 30_000).await;
    let settled = async {
        until("the wait", || limiter.waiting() == 1).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        limiter.settle(grant, 0);
    };
    let (_next, ()) = tokio::join!(granted(&*limiter, 30_000), settled);
}
