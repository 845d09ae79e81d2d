//! The right to work on a queue: its owner, and how it is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use nova3::store::{Claimable, Failures, Lease, Owner, ReleasedLease, Settled};

use crate::store::harness::{Harness, LEASE_MS, ids, owner, request};

pub(crate) async fn a_queue_is_claimed_once_and_in_order(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [
        request("c").priority(2),
        request("a"),
        request("d").priority(2),
        request("b"),
    ];
    harness.read(run, &input).await;
    assert!(harness.claim(run, 0).await.is_empty());
    assert_eq!(ids(&harness.claim(run, 1).await), ["a"]);
    let next = harness.claim(run, 2).await;
    assert_eq!(ids(&next), ["b", "c"]);
    assert_eq!((next[0].index, next[1].index), (3, 0));
    assert_eq!(next[0].tasks.len(), 1);
    assert_eq!(
        (next[0].tasks[0].task_id.as_str(), next[0].tasks[0].input.as_str()),
        ("task001", "answer: do it")
    );
    assert_eq!(ids(&harness.claim(run, 9).await), ["d"]);
    assert!(harness.claim(run, 9).await.is_empty());
}

pub(crate) async fn priority_never_reorders_a_session(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [
        request("s1").session("s").priority(9),
        request("s2").session("s").priority(-9),
        request("alone").priority(1),
    ];
    harness.read(run, &input).await;
    assert_eq!(harness.drain(run).await, ["alone", "s1", "s2"]);
}

pub(crate) async fn the_fence_grows_with_every_claim(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    let mut fences = Vec::new();
    for _ in 0..3 {
        let queue = harness.claim_one(run).await;
        fences.push(queue.lease.fence);
        harness
            .store()
            .release(vec![ReleasedLease::untouched(queue.lease)])
            .await
            .expect("releases");
        harness
            .store()
            .release(vec![ReleasedLease::untouched(queue.lease)])
            .await
            .expect("a lost lease is no error");
        assert_eq!(harness.done(&queue).await, Settled::LostLease);
        let queue = harness.claim_one(run).await;
        fences.push(queue.lease.fence);
        harness.fail(&queue, nova3::domain::failure::Class::Server).await;
        assert_eq!(
            harness
                .store()
                .retry(run, &Failures::default())
                .await
                .expect("retries"),
            1
        );
    }
    let queue = harness.claim_one(run).await;
    fences.push(queue.lease.fence);
    if harness.crash().await {
        assert_eq!(harness.done(&queue).await, Settled::LostLease);
        fences.push(harness.claim_one(run).await.lease.fence);
    }
    assert!(fences.windows(2).all(|pair| pair[0] < pair[1]), "{fences:?}");
}

/// Queues that wait for a snoozed one in its session continue to wait.
pub(crate) async fn what_is_snoozed_comes_later(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [
        request("long").session("s"),
        request("behind").session("s"),
        request("short"),
        request("other"),
    ];
    harness.read(run, &input).await;
    let queues = harness.claim(run, 2).await;
    assert_eq!(ids(&queues), ["long", "short"]);
    let snoozes = [Duration::from_secs(3600), Duration::from_millis(1)];
    let left = queues.iter().zip(snoozes).map(|(queue, snooze)| ReleasedLease {
        snooze,
        ..ReleasedLease::untouched(queue.lease)
    });
    harness.store().release(left.collect()).await.expect("releases");
    let mut came = BTreeSet::new();
    while !came.contains("short") {
        came.extend(harness.drain(run).await);
    }
    assert_eq!(came, BTreeSet::from(["other", "short"].map(str::to_owned)));
    let unfinished = harness.store().has_unfinished(run).await.expect("reads");
    assert!(unfinished, "the other two are still to come");
}

pub(crate) async fn renewing_names_the_lost_ones(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x"), request("y"), request("z")])
        .await;
    let queues = harness.claim(run, 3).await;
    let leases: Vec<Lease> = queues.iter().map(|queue| queue.lease).collect();
    assert!(
        harness
            .store()
            .renew(&owner(), &leases, LEASE_MS)
            .await
            .expect("renews")
            .is_empty()
    );
    harness.done(&queues[0]).await;
    harness
        .store()
        .release(vec![ReleasedLease::untouched(leases[1])])
        .await
        .expect("releases");
    assert_eq!(
        harness
            .store()
            .renew(&owner(), &leases, LEASE_MS)
            .await
            .expect("renews"),
        leases[..2]
    );
    let again = harness.claim_one(run).await.lease;
    assert_ne!(again, leases[1]);
    let unknown = Lease {
        queue_id: 999,
        fence: 1,
    };
    let asked = [leases[1], again, unknown];
    assert_eq!(
        harness
            .store()
            .renew(&owner(), &asked, LEASE_MS)
            .await
            .expect("renews"),
        [leases[1], unknown]
    );
}

pub(crate) async fn a_second_opening_voids_no_live_lease(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    let queue = harness.claim_one(run).await;
    harness.run("b").await;
    harness.run("a").await;
    assert_eq!(harness.done(&queue).await, Settled::Finished { ok: true });
}

pub(crate) async fn a_crash_voids_leases_and_keeps_what_is_settled(harness: &mut Harness) {
    let run = harness.run("a").await;
    let input = [
        request("x").tasks(2),
        request("y"),
        request("s1").session("s"),
        request("s2").session("s"),
    ];
    harness.read(run, &input).await;
    let before = harness.claim(run, 9).await;
    assert_eq!(ids(&before), ["x", "y", "s1"]);
    assert_eq!(harness.done(&before[0]).await, Settled::Stepped);
    assert_eq!(harness.done(&before[1]).await, Settled::Finished { ok: true });
    if !harness.crash().await {
        return;
    }
    harness.run("a").await;
    let after = harness.claim(run, 9).await;
    assert_eq!(ids(&after), ["x", "s1"]);
    assert_eq!((after[0].current_task, after[1].current_task), (1, 0));
    assert!(after[0].lease.fence > before[0].lease.fence && after[1].lease.fence > before[2].lease.fence);
    assert_eq!(harness.done(&before[2]).await, Settled::LostLease);
    assert_eq!(harness.names(run).await, ["y@1 completed completed[answer1]"]);
}

pub(crate) async fn the_largest_numbers_do_no_harm(harness: &mut Harness) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x")]).await;
    let owner = Owner("a test".to_owned());
    let limit = usize::try_from(i64::MAX).expect("64 bits");
    let claimed = harness
        .store()
        .claim(run, &owner, Claimable::All, limit, i64::MAX)
        .await
        .expect("claims")
        .queues;
    assert_eq!(ids(&claimed), ["x"]);
    assert!(
        harness
            .store()
            .renew(&owner, &[claimed[0].lease], i64::MAX)
            .await
            .expect("renews")
            .is_empty()
    );
}

/// A queue of a removed line, a sleeping one, a leased one and one behind another of its session cannot be claimed.
pub(crate) async fn claimable_tasks_of_all_runs_are_counted(harness: &mut Harness) {
    let count = async |harness: &Harness| harness.store().claimable_tasks().await.expect("counts");
    assert_eq!(count(harness).await, 0);
    let one = harness.run("one").await;
    let input = [
        request("a"),
        request("b"),
        request("c"),
        request("s1").session("s"),
        request("s2").session("s"),
    ];
    harness.read(one, &input).await;
    assert_eq!(count(harness).await, 4);
    let other = harness.run("other").await;
    harness.read(other, &[request("x"), request("y")]).await;
    assert_eq!(count(harness).await, 6);
    let claimed = harness.claim(one, 2).await;
    assert_eq!(count(harness).await, 4);
    let mut asleep = ReleasedLease::untouched(claimed[0].lease);
    asleep.snooze = Duration::from_secs(3600);
    let awake = ReleasedLease::untouched(claimed[1].lease);
    harness
        .store()
        .release(vec![asleep, awake])
        .await
        .expect("releases");
    assert_eq!(count(harness).await, 5);
    harness.read(other, &[request("x")]).await;
    assert_eq!(count(harness).await, 4, "`y` is no longer part of the input");
    assert_eq!(harness.drain(other).await, ["x"]);
    assert_eq!(count(harness).await, 3);
}
