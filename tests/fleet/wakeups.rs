//! Promotions that would be missed if two transactions did not see each other. No sweep repairs a missed one: the
//! second transaction waits for the first and sees its changes.

use nova3::domain::failure::Class;
use nova3::store::{Changes, Claimed, Epoch, NewLine, RunId, Settled};

use crate::fleet::harness::{Lock, Sql, claim, until, workers, wrongs};
use crate::store::harness::{Harness, ids, request};

/// The settlement of the queue's only task, as a statement of an open transaction.
pub(crate) fn settlement(run: RunId, queue: &Claimed, end: &str) -> String {
    format!(
        "SELECT * FROM nova3_settle({}, ARRAY[ROW({}, {}, 0, 1, '{end}', true, NULL, '[]', '{{\"route\":\"r\",\"model\":\"m\"}}',
           NULL, NULL, NULL, '{{}}', '{{}}', '{{}}')::nova3_settlement])",
        run.0, queue.lease.queue_id, queue.lease.fence
    )
}

/// A line that follows one other line.
fn second() -> Vec<NewLine> {
    let mut lines = crate::fleet::draft::lines(&[request("second").session("s")]);
    lines[0].index = 1;
    lines
}

/// A reading under way, whose first line is leased.
async fn first_at_work(harness: &Harness) -> (RunId, Epoch, Claimed) {
    let run = harness.run("a").await;
    let epoch = harness.begin(run).await;
    harness.add(run, epoch, &[request("first").session("s")]).await;
    (run, epoch, claim(harness, "p", run, 1).await.remove(0))
}

async fn add_second(harness: &Harness, run: RunId, epoch: Epoch) {
    let added = harness.store().add(run, epoch, second(), Changes::Replace).await;
    added.expect("adds");
}

#[tokio::test]
async fn a_queue_that_is_added_while_the_one_before_it_ends_goes_on() {
    for end in ["go_on", "fail", "pause"] {
        let (url, [harness]) = workers::<1>().await;
        let (run, epoch, first) = first_at_work(&harness).await;
        let mut hold = Lock::of(&url, &settlement(run, &first, end)).await;
        tokio::join!(add_second(&harness, run, epoch), async {
            hold.until_waited_for(1).await;
            hold.commit().await;
        });
        assert_eq!(ids(&claim(&harness, "p", run, 9).await), ["second"], "{end}");
        assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_queue_that_ends_while_the_next_is_added_lets_it_go_on() {
    let (url, [harness]) = workers::<1>().await;
    let (run, epoch, first) = first_at_work(&harness).await;
    // The next line is written, and its transaction stops before its end.
    let mut hold = Lock::of(&url, "SELECT 1 FROM nova3_runs FOR UPDATE").await;
    tokio::join!(add_second(&harness, run, epoch), async {
        hold.until_waited_for(1).await;
        tokio::join!(
            async {
                let done = harness.done(&first).await;
                assert_eq!(done, Settled::Finished { ok: true });
            },
            async {
                until("the settlement", async || hold.waiting_behind().await >= 1).await;
                hold.commit().await;
            }
        );
    });
    assert_eq!(ids(&claim(&harness, "p", run, 9).await), ["second"]);
}

#[tokio::test]
async fn a_queue_that_is_added_while_one_is_given_back_waits_behind_it() {
    let (url, [harness]) = workers::<1>().await;
    let (run, epoch, first) = first_at_work(&harness).await;
    let mut hold = Lock::of(&url, &given_back(run, &first)).await;
    tokio::join!(add_second(&harness, run, epoch), async {
        hold.until_waited_for(1).await;
        hold.commit().await;
    });
    assert_eq!(ids(&claim(&harness, "p", run, 9).await), ["first"]);
}

/// An earlier request failed and is retried while a later one ends.
#[tokio::test]
async fn a_retry_while_a_later_one_ends_goes_on() {
    let (url, [harness]) = workers::<1>().await;
    let run = harness.run("a").await;
    let input = ["x", "y", "z"].map(|id| request(id).session("s"));
    harness.read(run, &input).await;
    harness
        .fail(&claim(&harness, "p", run, 1).await[0], Class::Server)
        .await;
    let y = claim(&harness, "p", run, 1).await.remove(0);
    let mut hold = Lock::of(&url, &settlement(run, &y, "go_on")).await;
    let (retried, ()) = tokio::join!(harness.retry(run), async {
        hold.until_waited_for(1).await;
        hold.commit().await;
    });
    assert_eq!(retried, 1);
    assert_eq!(harness.drain(run).await, ["x", "z"]);
}

#[tokio::test]
async fn a_session_that_is_added_to_holds_up_the_leases_of_no_other() {
    let (url, [p, q]) = workers::<2>().await;
    let run = p.run("a").await;
    let input = [
        request("busy").session("s"),
        request("next").session("s"),
        request("free").session("t"),
    ];
    p.read(run, &input).await;
    let held = claim(&p, "p", run, 9).await;
    let mut sql = Sql::at(&url).await;
    sql.expire(&crate::fleet::harness::leases(&held)).await;
    let mut hold = Lock::of(
        &url,
        "SELECT 1 FROM nova3_session_heads WHERE session_id = 's' FOR UPDATE",
    )
    .await;
    crate::fleet::harness::tend(q.store(), "q").await;
    assert_eq!(hold.waiting().await, 0);
    assert_eq!(ids(&claim(&q, "q", run, 9).await), ["free"]);
    hold.commit().await;
    crate::fleet::harness::tend(q.store(), "q").await;
    assert_eq!(ids(&claim(&q, "q", run, 9).await), ["busy"]);
}

/// The release of the queue, as a statement of an open transaction.
fn given_back(run: RunId, queue: &Claimed) -> String {
    format!(
        "SELECT nova3_release({}, ARRAY[ROW({}, {}, 0, 1, 0, '{{}}')::nova3_left])",
        run.0, queue.lease.queue_id, queue.lease.fence
    )
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
    // A transaction that has not seen the end of the reading makes the queue ready. The end of the reading does not see
    // it ready.
    let hold = Lock::of(&url, &given_back(run, &gone)).await;
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
    let next = claim(&q, "q", run, 9).await;
    assert_eq!(ids(&next), ["stays"]);
    assert_eq!(q.done(&next[0]).await, Settled::Finished { ok: true });
    assert!(!q.store().has_unfinished(run).await.expect("reads"));
    assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
}
