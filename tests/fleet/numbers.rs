//! Numbers of finished requests and events have no gap and become visible in their order, so a reader that continues
//! from the last number misses none. Also the numbers of a session's items.

use std::cell::Cell;

use futures::future::join_all;
use nova3::store::{Order, RunId, Settled};

use crate::fleet::harness::{DEADLINE, Lock, Sql, call, claim, reserve, until, workers, wrongs};
use crate::store::harness::{Harness, completed, ids, request};

/// Reads on from the last number until told that no more will come, and then once more.
async fn follow(harness: &Harness, run: RunId, ended: &Cell<bool>) -> (Vec<i64>, Vec<i64>) {
    let (mut finished, mut events) = (Vec::new(), Vec::new());
    let (mut after, mut after_event) = (0, 0);
    loop {
        let last = ended.get();
        loop {
            let page = harness
                .store()
                .finished(run, Order::Completion, None, after, 5)
                .await
                .expect("reads");
            let told = harness
                .store()
                .events(run, false, after_event, 5)
                .await
                .expect("reads");
            finished.extend(page.rows.iter().map(|row| row.finish_no));
            events.extend(told.rows.iter().map(|event| event.event_no));
            if page.rows.is_empty() && told.rows.is_empty() {
                break;
            }
            (after, after_event) = (page.after.max(after), told.after.max(after_event));
        }
        if last {
            return (finished, events);
        }
        tokio::task::yield_now().await;
    }
}

async fn work(harness: &Harness, name: &str, run: RunId) {
    until("the end of the run", async || {
        let queues = claim(harness, name, run, 4).await;
        join_all(queues.iter().map(async |queue| {
            for task in 0..queue.tasks.len() {
                harness.settle(completed(queue.lease, task, 1)).await;
            }
        }))
        .await;
        !harness.store().has_unfinished(run).await.expect("reads")
    })
    .await;
}

/// Returns the events that a new reader gets.
async fn told(harness: &Harness, run: RunId) -> Vec<i64> {
    let page = harness.store().events(run, false, 0, 9999).await.expect("reads");
    page.rows.iter().map(|event| event.event_no).collect()
}

#[tokio::test]
async fn a_reader_misses_nothing_while_many_settle() {
    let (url, [reader, p, q, r]) = workers::<4>().await;
    let run = p.run("a").await;
    let input: Vec<_> = (0..60)
        .map(|number| request(&format!("r{number}")).tasks(2))
        .collect();
    p.read(run, &input).await;
    let ended = Cell::new(false);
    let all = async {
        join_all([(&p, "p"), (&q, "q"), (&r, "r")].map(|(harness, name)| work(harness, name, run))).await;
        ended.set(true);
    };
    let ((finished, events), ()) = tokio::join!(follow(&reader, run, &ended), all);
    assert_eq!(finished, (1..=60).collect::<Vec<_>>());
    assert_eq!(events, told(&reader, run).await);
    assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
}

#[tokio::test]
async fn whoever_is_held_up_gets_a_later_number() {
    let (url, [p, q]) = workers::<2>().await;
    let run = p.run("a").await;
    p.read(run, &[request("slow"), request("quick")]).await;
    let slow = claim(&p, "p", run, 1).await.remove(0);
    let quick = claim(&q, "q", run, 1).await.remove(0);
    assert!(reserve(p.store(), run, &call(slow.lease, 0, 1), 9).await);
    // The last row that a settlement touches before it draws its numbers.
    let mut hold = Lock::of(&url, "SELECT 1 FROM nova3_reservations FOR UPDATE").await;
    let ended = Cell::new(false);
    let settle = async {
        let held_up = async {
            p.done(&slow).await;
            ended.set(true);
        };
        tokio::join!(held_up, async {
            hold.until_waited_for(1).await;
            assert_eq!(q.done(&quick).await, Settled::Finished { ok: true });
            until("the reader", async || q.names(run).await.len() == 1).await;
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            hold.commit().await;
        });
    };
    let following = tokio::time::timeout(DEADLINE, follow(&q, run, &ended));
    let (followed, ()) = tokio::join!(following, settle);
    assert_eq!(followed.expect("ends"), (vec![1, 2], told(&p, run).await));
    let names = ids_in_order(&q, run).await;
    assert_eq!(names, ["quick", "slow"]);
}

async fn ids_in_order(harness: &Harness, run: RunId) -> Vec<String> {
    let rows = harness.finished(run).await;
    rows.into_iter().filter_map(|row| row.custom_id).collect()
}

#[tokio::test]
async fn what_is_not_committed_holds_back_later_numbers() {
    let (url, [p, q]) = workers::<2>().await;
    let run = p.run("a").await;
    p.read(run, &[request("first"), request("second")]).await;
    let queues = claim(&p, "p", run, 2).await;
    assert_eq!(ids(&queues), ["first", "second"]);
    // A transaction that has written the first number and has not committed yet.
    let given =
        "UPDATE nova3_tallies SET next_finish_no = next_finish_no + 1, next_event_no = next_event_no + 1";
    let mut hold = Lock::of(&url, given).await;
    let (settled, ()) = tokio::join!(p.done(&queues[1]), async {
        hold.until_waited_for(1).await;
        assert_eq!(
            q.names(run).await,
            Vec::<String>::new(),
            "nothing after it is seen before it"
        );
        hold.commit().await;
    });
    assert_eq!(settled, Settled::Finished { ok: true });
    assert_eq!(q.finished(run).await[0].finish_no, 2);
}

#[tokio::test]
async fn items_of_a_session_are_numbered_without_a_gap_across_runs() {
    let (url, [p, q]) = workers::<2>().await;
    let (a, b) = (p.run("a").await, q.run("b").await);
    for (harness, run, name) in [(&p, a, "a"), (&q, b, "b")] {
        let input: Vec<_> = (0..10)
            .map(|number| request(&format!("{name}{number}")).session("s").tasks(2))
            .collect();
        harness.read(run, &input).await;
    }
    tokio::join!(work(&p, "p", a), work(&q, "q", b));
    let mut sql = Sql::at(&url).await;
    let numbers = "SELECT count(*) || ' ' || min(number) || ' ' || max(number) FROM nova3_items";
    assert_eq!(sql.text(numbers).await, "40 1 40");
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}
