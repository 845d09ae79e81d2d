//! Times in which nothing is granted.

use std::time::Duration;

use crate::limit::harness::{Harness, NONE, granted, rpm, waits};

const PAUSE: Duration = Duration::from_secs(2);

pub(crate) async fn a_pause_stops_everyone(harness: &Harness) {
    let limiter = harness.limiter(NONE);
    assert_eq!(*limiter.pauses().borrow(), None);
    limiter.pause(PAUSE, "too many requests");
    let pause = limiter.pauses().borrow().clone().expect("a pause");
    assert_eq!(&*pause.reason, "too many requests");
    waits(&*limiter, 1).await;
    let _grant = granted(&*limiter, 1).await;
    assert!(tokio::time::Instant::now() >= pause.until, "it ended early");
}

pub(crate) async fn a_shorter_pause_ends_no_longer_one(harness: &Harness) {
    let limiter = harness.limiter(NONE);
    limiter.pause(PAUSE, "the longer one");
    limiter.pause(Duration::from_millis(1), "the shorter one");
    let pause = limiter.pauses().borrow().clone().expect("a pause");
    assert_eq!(&*pause.reason, "the longer one");
    waits(&*limiter, 1).await;
}

pub(crate) async fn who_waits_is_stopped_too(harness: &Harness) {
    let limiter = harness.limiter(rpm(100));
    let _grant = granted(&*limiter, 1).await;
    let mut next = Box::pin(limiter.take(1));
    assert!(
        tokio::time::timeout(Duration::from_millis(50), &mut next)
            .await
            .is_err()
    );
    limiter.pause(PAUSE, "too many requests");
    let until = limiter.pauses().borrow().clone().expect("a pause").until;
    let _next = next.await.expect("it is not too large");
    assert!(tokio::time::Instant::now() >= until, "it was granted in a pause");
}
