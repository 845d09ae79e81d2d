//! Promotions that two transactions miss because neither sees the other.

use nova3::store::Settled;

use crate::fleet::harness::{Lock, Sql, claim, tend, until, workers, wrongs};
use crate::store::harness::{Harness, ids, mark, request};

/// A session whose first queue finished in a transaction that did not see the second one come, while that one did not
/// see it finish; the reading goes on.
async fn missed(harness: &Harness, url: &str) -> (nova3::store::RunId, nova3::store::Epoch) {
    let run = harness.run("a").await;
    let epoch = harness.begin(run).await;
    harness.add(run, epoch, &[request("first").session("s")]).await;
    let queue = claim(harness, "p", run, 1).await.remove(0);
    // What a settlement does to its queue and session, up to its commit.
    let finish = format!(
        "WITH gone AS (DELETE FROM nova3_session_leases)
         UPDATE nova3_queues SET state = 'done', status = 'completed', lease_owner = NULL, lease_until = NULL
         WHERE queue_id = {}",
        queue.lease.queue_id
    );
    let hold = Lock::of(url, &finish).await;
    let second = [request("second").session("s")];
    // Its own place in the input, as if it stood on the next line.
    let mut lines = crate::fleet::draft::lines(&second);
    lines[0].index = 1;
    harness
        .store()
        .add(run, epoch, lines, nova3::store::Changes::Replace)
        .await
        .expect("adds");
    hold.commit().await;
    assert!(claim(harness, "p", run, 9).await.is_empty(), "it was missed");
    (run, epoch)
}

#[tokio::test]
async fn an_idle_worker_makes_up_for_a_missed_promotion() {
    let (url, [harness]) = workers::<1>().await;
    let (run, _) = missed(&harness, &url).await;
    tend(harness.store(), "p", run, false).await;
    assert!(
        claim(&harness, "p", run, 9).await.is_empty(),
        "who is busy does not look"
    );
    tend(harness.store(), "p", run, true).await;
    assert_eq!(ids(&claim(&harness, "p", run, 9).await), ["second"]);
}

#[tokio::test]
async fn the_end_of_a_reading_makes_up_for_a_missed_promotion() {
    let (url, [harness]) = workers::<1>().await;
    let (run, epoch) = missed(&harness, &url).await;
    // The line of the other is not part of what was read last, and nobody has to wait for it.
    harness
        .store()
        .end_ingest(run, epoch, &mark(2))
        .await
        .expect("ends");
    assert_eq!(ids(&claim(&harness, "p", run, 9).await), ["second"]);
}

#[tokio::test]
async fn a_queue_given_back_while_its_line_leaves_holds_up_nobody() {
    let (url, [p, q]) = workers::<2>().await;
    let run = p.run("a").await;
    p.read(
        run,
        &[request("gone").session("s"), request("stays").session("s")],
    )
    .await;
    let gone = claim(&p, "p", run, 1).await.remove(0);
    let epoch = q.begin(run).await;
    q.add(run, epoch, &[request("stays").session("s")]).await;
    // It is ready again in a transaction that has not seen the end of the reading, which does not see it ready.
    let release = format!(
        "SELECT nova3_release({}, ARRAY[{}::bigint], ARRAY[{}::bigint], ARRAY[0], ARRAY[0::bigint], ARRAY[1::bigint], '{{}}', '{{}}', '{{}}', '{{}}',
           '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')",
        run.0, gone.lease.queue_id, gone.lease.fence
    );
    let hold = Lock::of(&url, &release).await;
    let ended = std::cell::Cell::new(false);
    let end = async {
        q.end(run, epoch, 1).await;
        ended.set(true);
    };
    let mut hold = Some(hold);
    tokio::join!(end, async {
        let held = hold.as_mut().expect("it is held");
        until("the end of the reading", async || {
            ended.get() || held.waiting().await > 0
        })
        .await;
        hold.take().expect("it is held").commit().await;
    });
    tend(q.store(), "q", run, true).await;
    let next = claim(&q, "q", run, 9).await;
    assert_eq!(ids(&next), ["stays"]);
    assert_eq!(q.done(&next[0]).await, Settled::Finished { ok: true });
    assert!(!q.store().has_unfinished(run).await.expect("reads"));
    assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
}
