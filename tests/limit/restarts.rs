//! Limits and pauses from one process to the next, where one process at a time uses a store.

use std::time::Duration;

use nova3::limit::{Limiter, Limits};
use tokio::time::Instant;

use crate::limit::harness::{Harness, NAME, NONE, granted, rpm, tpm, until, waits};
use crate::limit::pacing::fullest_minute;

const HOUR: i64 = 3_600_000_000_000;

/// Makes calls as fast as the limiter lets them, until `end`; returns the time of each grant, and its use.
async fn rush(
    limiter: &dyn Limiter,
    (reserved, used): (u64, u64),
    from: Instant,
    end: Instant,
) -> Vec<(i64, u64)> {
    let mut granted = Vec::new();
    while let Ok(grant) = tokio::time::timeout_at(end, limiter.take(reserved)).await {
        let at = i64::try_from(from.elapsed().as_nanos()).expect("a short time");
        granted.push((at, used));
        limiter.settle(grant.expect("it is not too large"), used);
        if used < reserved {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    granted
}

/// Checks that a minute holds at most the limit, and nearly that, although the process is killed, or ends, every few
/// seconds.
async fn across_restarts(harness: &Harness, limits: Limits, call: (u64, u64), limit: u64, ends_well: bool) {
    let from = Instant::now();
    let mut random = fastrand::Rng::with_seed(limit);
    let mut all = Vec::new();
    for _ in 0..40 {
        let limiter = harness.limiter(limits);
        let life = Duration::from_millis(random.u64(50..9_000));
        all.extend(rush(&*limiter, call, from, Instant::now() + life).await);
        if ends_well {
            limiter.close().await;
        }
    }
    let most = fullest_minute(&all);
    assert!((limit * 4 / 10..=limit).contains(&most), "{most} of {limit}");
}

pub(crate) async fn no_minute_holds_more_across_kills(harness: &Harness) {
    across_restarts(harness, rpm(600), (1, 1), 600, false).await;
}

pub(crate) async fn no_minute_holds_more_across_kills_of_large_calls(harness: &Harness) {
    across_restarts(harness, tpm(6_000), (300, 40), 6_000, false).await;
}

pub(crate) async fn no_minute_holds_more_across_clean_ends(harness: &Harness) {
    across_restarts(harness, rpm(60), (1, 1), 60, true).await;
}

pub(crate) async fn a_killed_process_leaves_its_call(harness: &Harness) {
    let limiter = harness.limiter(rpm(1));
    let _grant = granted(&*limiter, 1).await;
    drop(limiter);
    let next = harness.limiter(rpm(1));
    let minute = tokio::time::timeout(Duration::from_secs(59), next.take(1)).await;
    assert!(minute.is_err(), "the call was lost");
    let _grant = granted(&*next, 1).await;
}

pub(crate) async fn other_routes_have_other_limits(harness: &Harness) {
    let limiter = harness.limiter(rpm(1));
    let _grant = granted(&*limiter, 1).await;
    let other = harness.named("other", rpm(1));
    let _grant = granted(&*other, 1).await;
}

pub(crate) async fn a_clean_end_is_exact(harness: &Harness) {
    let at = || {
        harness
            .memory()
            .state(NAME)
            .and_then(|state| state.arrivals.requests)
    };
    let limiter = harness.limiter(rpm(60));
    let _grant = granted(&*limiter, 1).await;
    let ahead = at().expect("a state");
    limiter.close().await;
    let exact = at().expect("a state");
    // The clock may be read a moment later for the second one.
    assert!(
        (ahead - exact - 1_000_000_000).abs() < 500_000_000,
        "{}",
        ahead - exact
    );
    let puts = harness.memory().puts();
    limiter.close().await;
    assert_eq!(harness.memory().puts(), puts, "nothing has changed");
}

pub(crate) async fn a_grant_waits_until_the_store_counts_it(harness: &Harness) {
    harness.memory().stick();
    let limiter = harness.limiter(rpm(60));
    waits(&*limiter, 1).await;
    assert_eq!(harness.memory().state(NAME), None);
    harness.memory().fail(true);
    harness.memory().release();
    waits(&*limiter, 1).await;
    harness.memory().fail(false);
    let _grant = granted(&*limiter, 1).await;
    assert!(harness.memory().state(NAME).is_some());
}

pub(crate) async fn about_one_write_a_second(harness: &Harness) {
    let limiter = harness.limiter(rpm(6_000));
    let from = Instant::now();
    let end = from + Duration::from_secs(60);
    let calls = rush(&*limiter, (1, 1), from, end).await.len();
    let puts = harness.memory().puts();
    assert!(
        calls > 5_900 && (50..=90).contains(&puts),
        "{calls} calls, {puts} writes"
    );
}

pub(crate) async fn without_limits_nothing_is_written(harness: &Harness) {
    let limiter = harness.limiter(NONE);
    let grant = granted(&*limiter, 100).await;
    limiter.settle(grant, 3);
    limiter.close().await;
    assert_eq!(harness.memory().puts(), 0);
}

pub(crate) async fn a_pause_outlives_its_process(harness: &Harness) {
    let limiter = harness.limiter(NONE);
    limiter.pause(Duration::from_secs(60), "too many requests");
    until("the write", || harness.memory().puts() == 1).await;
    drop(limiter);
    let next = harness.limiter(NONE);
    let pause = next.pauses().borrow().clone().expect("a pause");
    assert_eq!(&*pause.reason, "too many requests");
    waits(&*next, 1).await;
    tokio::time::advance(Duration::from_secs(61)).await;
    let _grant = granted(&*next, 1).await;
    drop(next);
    assert_eq!(*harness.limiter(NONE).pauses().borrow(), None, "it is over");
}

pub(crate) async fn a_clock_that_was_set_back_stalls_nothing(harness: &Harness) {
    let limiter = harness.limiter(Limits {
        rpm: Some(60),
        tpm: Some(60_000),
    });
    let _grant = granted(&*limiter, 1).await;
    limiter.pause(Duration::from_secs(5), "too many requests");
    until("the pause", || {
        harness
            .memory()
            .state(NAME)
            .is_some_and(|state| state.pause.is_some())
    })
    .await;
    drop(limiter);
    harness.memory().change(NAME, |state| {
        state.arrivals = state.arrivals.map(|at| at + HOUR);
        let pause = state.pause.as_mut().expect("a pause");
        pause.until += HOUR;
    });
    let next = harness.limiter(Limits {
        rpm: Some(60),
        tpm: Some(60_000),
    });
    let left = next.pauses().borrow().clone().expect("a pause").until - Instant::now();
    assert!(left <= Duration::from_secs(5), "{left:?}");
    let taken = tokio::time::timeout(Duration::from_secs(61), next.take(1)).await;
    let _grant = taken.expect("a minute is enough").expect("it is not too large");
}
