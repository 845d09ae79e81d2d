//! Each call is counted once, whichever worker reports it and however late.

use futures::future::join_all;
use nova3::store::{Claimed, ReleasedLease, RunId, Settled};

use crate::fleet::harness::{self, Lock, Sql, call, claim, leases, tend, workers, wrongs};
use crate::store::harness::{Harness, attempt, completed, request};

async fn reserve(harness: &Harness, run: RunId, queue: &Claimed, spent: u64, worst: u64) -> bool {
    harness::reserve(harness.store(), run, &call(queue.lease, spent, worst), 1000).await
}

/// Returns attempts, cost, uncertain cost and reserved money.
async fn sums(harness: &Harness, run: RunId) -> (u64, u64, u64, u64) {
    let summary = harness.store().summary(run).await.expect("reads");
    (
        summary.attempts,
        summary.cost.0,
        summary.uncertain.0,
        summary.reserved.0,
    )
}

#[tokio::test]
async fn late_calls_replace_what_was_counted_for_a_lost_lease() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let run = first.run("a").await;
    first.read(run, &[request("settled"), request("released")]).await;
    let queues = claim(&first, "p", run, 9).await;
    for queue in &queues {
        assert!(reserve(&first, run, queue, 20, 300).await);
    }
    assert_eq!(sums(&second, run).await, (0, 0, 0, 640));
    sql.expire(&leases(&queues)).await;
    tend(second.store(), "q").await;
    assert_eq!(sums(&second, run).await, (2, 0, 640, 0), "it may have been spent");
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
    let again = claim(&second, "q", run, 9).await;
    assert!(reserve(&second, run, &again[0], 0, 7).await);

    assert_eq!(
        first.settle(completed(queues[0].lease, 0, 1)).await,
        Settled::LostLease
    );
    assert_eq!(sums(&second, run).await, (2, 100, 320, 7), "now it is known");
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
    let left = ReleasedLease {
        task: nova3::domain::task::TaskNo::planned(0),
        attempts: vec![attempt(None, 30), attempt(None, 4)],
        ..ReleasedLease::untouched(queues[1].lease)
    };
    first.store().release(vec![left]).await.expect("releases");
    assert_eq!(sums(&second, run).await, (3, 134, 0, 7));
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
    assert_eq!(second.done(&again[0]).await, Settled::Finished { ok: true });
    assert_eq!(
        sums(&second, run).await,
        (4, 234, 0, 0),
        "what was held back is known"
    );
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_held_back_for_a_lease_that_is_taken_away_meanwhile() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let run = first.run("a").await;
    first.read(run, &[request("x")]).await;
    let queue = claim(&first, "p", run, 1).await.remove(0);
    sql.expire(&[queue.lease]).await;
    // The reservation has found its lease valid and waits for the sums, while the lease expires.
    let mut hold = Lock::of(&url, "SELECT 1 FROM nova3_tallies FOR UPDATE").await;
    let (sends, ()) = tokio::join!(reserve(&first, run, &queue, 0, 50), async {
        hold.until_waited_for(1).await;
        tend(second.store(), "q").await;
        hold.commit().await;
    });
    tend(second.store(), "q").await;
    let counted = sums(&second, run).await;
    let expected = if sends { (1, 0, 50, 0) } else { (0, 0, 0, 0) };
    assert_eq!(counted, expected, "what is sent is counted");
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_a_dead_worker_held_back_for_an_old_version_is_spent() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let run = first.run("a").await;
    let x = |query: &str| request("x").query(query);
    first.read(run, &[x("old"), request("y")]).await;
    let queues = claim(&first, "p", run, 9).await;
    for queue in &queues {
        assert!(reserve(&first, run, queue, 0, 50).await);
    }
    second.read(run, &[x("new"), request("y")]).await;
    tend(second.store(), "q").await;
    assert_eq!(
        sums(&second, run).await,
        (0, 0, 0, 100),
        "a later caller may still tell"
    );
    sql.run("UPDATE nova3_reservations SET created_at = 0").await;
    tend(second.store(), "q").await;
    assert_eq!(sums(&second, run).await, (1, 0, 50, 50), "y is held");
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
    assert_eq!(
        first.settle(completed(queues[0].lease, 0, 1)).await,
        Settled::LostLease
    );
    assert_eq!(sums(&second, run).await, (1, 100, 0, 50));
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_many_hold_back_at_once_never_passes_the_cap() {
    let (url, [first, second]) = workers::<2>().await;
    let run = first.run("a").await;
    let input: Vec<_> = (0..30).map(|number| request(&format!("r{number}"))).collect();
    first.read(run, &input).await;
    let (ours, theirs) = (
        claim(&first, "p", run, 15).await,
        claim(&second, "q", run, 15).await,
    );
    let all = ours
        .iter()
        .map(|queue| (&first, queue))
        .chain(theirs.iter().map(|queue| (&second, queue)));
    let fits = join_all(all.map(|(harness, queue)| reserve(harness, run, queue, 0, 90))).await;
    assert_eq!(fits.into_iter().filter(|fits| *fits).count(), 11);
    assert_eq!(sums(&first, run).await.3, 990);
    assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
}
