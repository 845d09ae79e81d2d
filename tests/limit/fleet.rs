//! One limit for several processes, also when its database fails.

use std::sync::Arc;
use std::time::Duration;

use nova3::domain::bucket::TOLERANCE;
use nova3::limit::{Limiter, Limits};
use tokio::time::Instant;

use crate::limit::harness::{Harness, NAME, Teller, granted, rpm, together, tpm, until, waits};
use crate::limit::server::Server;

/// Lets this many callers take until the moment; returns how many grants they got.
async fn callers(limiter: &Arc<dyn Limiter>, many: usize, until: Instant) -> usize {
    let calls = (0..many).map(|_| {
        let limiter = Arc::clone(limiter);
        async move {
            let mut grants = 0;
            while tokio::time::timeout_at(until, limiter.take(1)).await.is_ok() {
                grants += 1;
            }
            grants
        }
    });
    together(calls).await.into_iter().sum()
}

fn number(text: &str) -> i64 {
    text.parse().expect("a number")
}

/// Returns how many calls of a limit were granted so far.
fn counted(harness: &Harness) -> i64 {
    number(&harness.sql(&format!("select granted from nova3_limits where name = '{NAME}'")))
}

pub(crate) async fn two_share_one_limit(harness: &Harness) {
    let (one, two) = (harness.limiter(rpm(6_000)), harness.limiter(rpm(6_000)));
    let begun = Instant::now();
    let end = begun + Duration::from_secs(2);
    let (first, second) = tokio::join!(callers(&one, 20, end), callers(&two, 20, end));
    let most = begun.elapsed().as_secs_f64() * 100.0;
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let granted = (first + second) as f64;
    assert!(granted <= most, "{granted} of {most}");
    assert!(first > 0 && second > 0, "{first} and {second}");
}

pub(crate) async fn who_asks_for_little_gets_its_share(harness: &Harness) {
    let (greedy, modest) = (harness.limiter(rpm(6_000)), harness.limiter(rpm(6_000)));
    let end = Instant::now() + Duration::from_secs(2);
    let (much, little) = tokio::join!(callers(&greedy, 200, end), callers(&modest, 1, end));
    assert!(little >= 10, "{little}, beside {much}");
}

pub(crate) async fn other_names_are_other_limits(harness: &Harness) {
    let (one, other) = (harness.named("one", rpm(1)), harness.named("other", rpm(1)));
    let _grant = granted(&*one, 1).await;
    waits(&*one, 1).await;
    let _other = granted(&*other, 1).await;
}

pub(crate) async fn a_pause_of_one_is_everyones(harness: &Harness) {
    let (one, other) = (harness.limiter(rpm(6_000)), harness.limiter(rpm(6_000)));
    let _grant = granted(&*other, 1).await;
    let reason = format!("slow down\0{}", "!".repeat(1_000));
    one.pause(Duration::from_secs(30), &reason);
    until("the pause in the database", || {
        harness.sql("select 1 from nova3_limits where pause_until > 0") == "1"
    })
    .await;
    let left = |limiter: &dyn Limiter| {
        let pause = limiter.pauses().borrow().clone();
        pause.map(|pause| {
            (
                pause.until.saturating_duration_since(Instant::now()).as_secs(),
                pause.reason,
            )
        })
    };
    assert_eq!(left(&*other), None);
    waits(&*other, 1).await;
    let (seconds, told) = left(&*other).expect("a pause");
    assert!((20..=30).contains(&seconds), "{seconds}");
    assert_eq!(*told, reason[..200]);
    let late = harness.limiter(rpm(6_000));
    late.pause(Duration::from_secs(3), "shorter");
    waits(&*late, 1).await;
    let later = harness.limiter(rpm(6_000));
    waits(&*later, 1).await;
    let (seconds, still_told) = left(&*later).expect("a pause");
    assert!(seconds > 10, "{seconds}");
    assert_eq!(still_told, told);
}

pub(crate) async fn a_lower_limit_of_one_is_everyones(harness: &Harness) {
    let limits = Limits {
        rpm: Some(60_000),
        tpm: Some(600_000),
    };
    let lower = |rpm, tpm| Limits {
        rpm: Some(rpm),
        tpm: Some(tpm),
    };
    let (one, two, other) = (
        harness.limiter(limits),
        harness.limiter(limits),
        harness.limiter(limits),
    );
    let in_force = "select rpm, tpm from nova3_limits";
    one.learn(lower(6, 2_000));
    until("the limits in the database", || harness.sql(in_force) == "6|2000").await;
    two.learn(lower(60, 1_000));
    until("the lower of both", || harness.sql(in_force) == "6|1000").await;
    let _first = granted(&*other, 1).await;
    waits(&*other, 1).await;
    // The charge is more than the minute of the limit, and yet the call is not refused.
    waits(&*other, 1_001).await;
    // No process has reported the lower limit for long.
    harness.sql("update nova3_limits set rpm_until = 1, tpm_until = 1, requests = 0, tokens = 0");
    let _large = granted(&*other, 1_001).await;
}

pub(crate) async fn who_is_behind_comes_first(harness: &Harness) {
    let limits = rpm(6_000);
    let (mut last, mut behind) = (Teller::new(harness, limits), Teller::new(harness, limits));
    assert_eq!(last.take(&[1], (0, 0)).await.taken, 0);
    last.now = 1_000_000_000;
    last.since = Some(last.take(&[1; 100], (0, 0)).await.since);
    behind.since = Some(0);
    // A quarter of the tolerance has filled again.
    last.now += TOLERANCE / 4;
    behind.now = last.now;
    assert_eq!(last.take(&[1], (0, 0)).await.taken, 0);
    assert_eq!(behind.take(&[1], (0, 0)).await.taken, 1);
    last.now += TOLERANCE / 2;
    assert_eq!(last.take(&[1], (0, 0)).await.taken, 1);
}

pub(crate) async fn a_grant_that_comes_late_is_not_used(harness: &Harness) {
    let limiter = harness.limiter(rpm(6_000));
    let _first = granted(&*limiter, 1).await;
    assert_eq!(counted(harness), 1);
    let mut other = harness.locked().await;
    let release = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        other.commit().await.expect("commits");
    };
    let (grant, ()) = tokio::join!(granted(&*limiter, 1), release);
    assert!(grant.is_fresh());
    assert!(counted(harness) >= 3, "none of them grew old");
}

pub(crate) async fn what_is_granted_to_one_who_has_gone_is_free_again(harness: &Harness) {
    let limiter = harness.limiter(tpm(60_000));
    let grant = granted(&*limiter, 30_000).await;
    limiter.settle(grant, 0);
    until("the settlement", || {
        harness.sql("select 1 from nova3_limits where tokens < nova3_limit_now() + 1000000000") == "1"
    })
    .await;
    let mut other = harness.locked().await;
    // The statement of this call is in progress, and the call does not wait for the answer.
    waits(&*limiter, 30_000).await;
    other.commit().await.expect("commits");
    until("its grant", || counted(harness) == 2).await;
    let _next = granted(&*limiter, 30_000).await;
}

pub(crate) async fn what_may_have_been_given_back_is_not_given_back_again(harness: &Harness) {
    let limiter = harness.limiter(tpm(60_000));
    let grant = granted(&*limiter, 30_000).await;
    let reserved = harness.sql("select tokens from nova3_limits");
    let mut other = harness.locked().await;
    limiter.settle(grant, 0);
    // The settling statement waits for the lock and is terminated without an answer. Statements of other tests wait for
    // other locks.
    let holder: i32 = other
        .row("SELECT pg_backend_pid()", &[])
        .await
        .expect("a pid")
        .get(0);
    let stuck = format!(
        "select pg_terminate_backend(pid) from pg_stat_activity where {holder} = any(pg_blocking_pids(pid))"
    );
    until("the statement", || !harness.sql(&stuck).is_empty()).await;
    other.commit().await.expect("commits");
    waits(&*limiter, 30_000).await;
    assert_eq!(counted(harness), 1);
    let tokens = harness.sql("select tokens from nova3_limits");
    assert!(
        number(&tokens) >= number(&reserved),
        "given back, perhaps for the second time"
    );
}

pub(crate) async fn no_wait_is_longer_than_a_minute(harness: &Harness) {
    let limiter = harness.limiter(rpm(6_000));
    let _grant = granted(&*limiter, 1).await;
    // As if the server's clock had been set back by a day.
    harness.sql("update nova3_limits set requests = requests + 86400000000000");
    waits(&*limiter, 1).await;
    let left = harness.sql("select (requests - nova3_limit_now()) / 1000000000 from nova3_limits");
    assert!((55..=60).contains(&number(&left)), "{left}");
}

pub(crate) async fn nothing_lasts_longer_after_the_clock_was_set_back(harness: &Harness) {
    let limits = Limits {
        rpm: Some(6_000),
        tpm: Some(600_000),
    };
    let limiter = harness.limiter(limits);
    limiter.learn(rpm(60));
    limiter.pause(Duration::from_secs(2), "slow down");
    until("the pause in the database", || {
        harness.sql("select 1 from nova3_limits where pause_until > 0 and rpm_until > 0") == "1"
    })
    .await;
    harness.sql(
        "update nova3_limits set requests = requests + 3600000000000, tokens = tokens + 3600000000000,
         rpm_until = rpm_until + 3600000000000, tpm = 1, tpm_until = rpm_until + 3600000000000,
         largest = 600000, largest_at = nova3_limit_now() + 3600000000000, pause_until = pause_until + 3600000000000",
    );
    let other = harness.limiter(limits);
    waits(&*other, 1).await;
    let left = |what: &str| {
        let sql = format!("select ({what} - nova3_limit_now()) / 1000000000 from nova3_limits");
        number(&harness.sql(&sql))
    };
    for (what, most) in [
        ("pause_until", 2),
        ("greatest(requests, tokens)", 60),
        ("greatest(rpm_until, tpm_until)", 600),
        ("largest_at", 0),
    ] {
        assert!(left(what) <= most, "{what}: {}", left(what));
    }
}

pub(crate) async fn without_its_database_nothing_is_granted_and_a_lost_row_waits_a_minute(_: &Harness) {
    let server = Server::start(&[]);
    let harness = Harness::on(&server);
    let limiter = harness.limiter(rpm(6_000));
    let _grant = granted(&*limiter, 1).await;
    server.stop_immediately();
    waits(&*limiter, 1).await;
    server.start_again();
    assert_eq!(
        harness.sql("select count(*) from nova3_limits"),
        "0",
        "the row was not lost"
    );
    let mut next = Box::pin(limiter.take(1));
    let row = "select (requests - nova3_limit_now()) / 1000000000 from nova3_limits";
    let seen = async { until("the row", || !harness.sql(row).is_empty()).await };
    tokio::select! {
        _ = &mut next => panic!("its grants were lost"),
        () = seen => {}
    }
    let left = harness.sql(row);
    assert!((50..=60).contains(&number(&left)), "{left}");
    assert!(
        tokio::time::timeout(Duration::from_millis(300), &mut next)
            .await
            .is_err()
    );
    // The minute passes.
    harness.sql("update nova3_limits set requests = requests - 61000000000");
    let next = tokio::time::timeout(Duration::from_secs(10), next).await;
    let _grant = next.expect("it goes on").expect("it is not too large");
}
