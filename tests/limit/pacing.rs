//! How much is granted, when, and to whom.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nova3::limit::{Limits, TooLarge};
use tokio::time::Instant;

use crate::limit::harness::{Harness, NONE, granted, rpm, tpm, until, waits};

const SECOND: i64 = 1_000_000_000;

/// Returns the most that any 60 seconds contain.
pub(crate) fn fullest_minute(granted: &[(i64, u64)]) -> u64 {
    let (mut from, mut sum, mut most) = (0, 0, 0);
    for &(at, used) in granted {
        sum += used;
        while granted[from].0 + 60 * SECOND <= at {
            sum -= granted[from].1;
            from += 1;
        }
        most = most.max(sum);
    }
    most
}

/// Returns calls of many sizes, the larger ones late; some use less than they reserve.
fn mixed() -> Vec<(u64, u64)> {
    let sizes = [
        (20, 20, 300),
        (100, 40, 50),
        (900, 900, 3),
        (1, 1, 200),
        (2_500, 2_500, 2),
    ];
    sizes
        .iter()
        .flat_map(|&(reserved, used, times)| std::iter::repeat_n((reserved, used), times))
        .collect()
}

pub(crate) async fn no_minute_holds_more_than_the_limit(harness: &Harness) {
    if let Harness::Postgres(_) = harness {
        harness.sql("insert into nova3_limits_seen values ('absent')");
    }
    let most = fullest_minute(&harness.rush(tpm(6_000), &mixed(), 400).await);
    assert!((3_000..=6_000).contains(&most), "{most}");
}

pub(crate) async fn nearly_all_of_the_limit_is_used(harness: &Harness) {
    for limit in [1, 2, 3, 59, 60, 600, 60_000] {
        match harness {
            Harness::InProcess => {}
            Harness::Stored(memory) => memory.clear(),
            Harness::Postgres(_) => drop(harness.sql("truncate nova3_limits, nova3_limits_seen")),
        }
        let granted = harness.rush(rpm(limit), &[(1, 1)], 180).await;
        let most = fullest_minute(&granted);
        assert!(most <= u64::from(limit), "{limit}: {most}");
        let late = granted.iter().filter(|(at, _)| *at > SECOND / 2).count();
        assert!(late >= (179 * limit as usize * 99 / 100) / 60, "{limit}: {late}");
    }
}

pub(crate) async fn begins_empty(harness: &Harness) {
    let limiter = harness.limiter(Limits {
        rpm: Some(60_000),
        tpm: Some(1_000_000),
    });
    let begun = Instant::now();
    let _grant = granted(&*limiter, 10).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(95),
        "a restart adds a burst"
    );
}

pub(crate) async fn first_come_first_served(harness: &Harness) {
    let limiter = harness.limiter(rpm(6_000));
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..3 {
        let (limiter, order) = (Arc::clone(&limiter), Arc::clone(&order));
        let here = Arc::clone(&limiter);
        callers.spawn(async move {
            for _ in 0..20 {
                let _grant = granted(&*limiter, 1).await;
                order.lock().expect("no panic").push(n);
            }
        });
        until("its place", || here.waiting() > n).await;
    }
    callers.join_all().await;
    let turns: Vec<usize> = (0..60).map(|turn| turn % 3).collect();
    assert_eq!(*order.lock().expect("no panic"), turns);
    assert_eq!(limiter.waiting(), 0);
}

pub(crate) async fn without_limits_nobody_waits(harness: &Harness) {
    let limiter = harness.limiter(NONE);
    for _ in 0..100 {
        let grant = granted(&*limiter, 1_000_000).await;
        limiter.settle(grant, 3);
    }
}

pub(crate) async fn a_call_above_the_limit_is_refused(harness: &Harness) {
    let limiter = harness.limiter(tpm(1_000));
    let refusal = TooLarge {
        asked: 1_001,
        limit: 1_000,
    };
    assert_eq!(limiter.take(1_001).await.expect_err("it is too large"), refusal);
    let _whole = granted(&*limiter, 1_000).await;
}

pub(crate) async fn a_learned_limit_slows_down_and_a_higher_one_does_not(harness: &Harness) {
    let limiter = harness.limiter(rpm(600_000));
    for _ in 0..100 {
        let _grant = granted(&*limiter, 1).await;
    }
    limiter.learn(rpm(60));
    limiter.learn(rpm(600_000));
    let _grant = granted(&*limiter, 1).await;
    waits(&*limiter, 1).await;
}

pub(crate) async fn a_learned_limit_refuses_no_call(harness: &Harness) {
    let limiter = harness.limiter(tpm(60_000));
    limiter.learn(tpm(100));
    // Each call is charged a whole minute until its settlement shows that it used nothing.
    for _ in 0..3 {
        let grant = granted(&*limiter, 1_000).await;
        waits(&*limiter, 1_000).await;
        limiter.settle(grant, 0);
    }
}

pub(crate) async fn a_model_has_learned_limits_of_its_own(harness: &Harness) {
    let limiter = harness.limiter(rpm(60_000));
    let (slow, other) = (limiter.of_model("slow"), limiter.of_model("other"));
    slow.learn(rpm(1));
    let _grant = granted(&*slow, 1).await;
    waits(&*slow, 1).await;
    for free in [&limiter, &other] {
        for _ in 0..3 {
            let _grant = granted(&**free, 1).await;
        }
    }
}

pub(crate) async fn limits_that_change_hold_from_then_on(harness: &Harness) {
    let limiter = harness.limiter(NONE);
    let _free = granted(&*limiter, 1_000).await;
    limiter.keep(Limits {
        rpm: Some(60),
        tpm: Some(900),
    });
    assert_eq!(limiter.take(1_000).await.expect_err("it is too large").limit, 900);
    let _first = granted(&*limiter, 1).await;
    waits(&*limiter, 1).await;
    limiter.keep(NONE);
    for _ in 0..3 {
        let _free = granted(&*limiter, 1_000).await;
    }
}
