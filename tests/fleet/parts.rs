//! Parts of one queue under several workers, and the session that a queue holds between its tasks.

use std::cell::Cell;
use std::time::Duration;

use futures::future::join_all;
use nova3::domain::task::{TaskKind, TaskNo};
use nova3::store::{Claimed, ReleasedLease, RunId, Settled, Settlement, Then};

use crate::fleet::harness::{
    DEADLINE, Sql, call, claim, join, leases, reserve, tend, until, workers, wrongs,
};
use crate::fleet::lost_answers::Scene;
use crate::store::harness::{Harness, completed, ids, items, making, request};
use crate::store::parts::{new_parts, part_done};

async fn settle(harness: &Harness, queue: &Claimed, settlement: Settlement) -> Option<TaskNo> {
    match harness.settle(settlement).await {
        Settled::Moved(task) => Some(task),
        Settled::Yielded | Settled::Finished { .. } => None,
        other => panic!("{} of {:?}: {other:?}", queue.task, queue.lease),
    }
}

/// Works on each claimed task: planned tasks fan out, parts make one item, joins make two.
async fn work(harness: &Harness, name: &str, run: RunId, split: usize) -> usize {
    let mut settled = 0;
    while harness.store().has_unfinished(run).await.expect("reads") {
        let queues = claim(harness, name, run, 3).await;
        if queues.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let each = queues.iter().map(async |queue| {
            let (mut next, mut count, mut kind) = (Some(queue.task), 0, queue.kind);
            while let Some(task) = next {
                let settlement = match (task.is_part(), kind) {
                    (true, _) => part_done(queue, task, "text"),
                    (false, TaskKind::Join) => {
                        Settlement::completed(queue.lease, task, items(2), Then::GoOn, making(0), vec![])
                    }
                    (false, _) => Settlement::fanned_out(queue.lease, task, new_parts(split)),
                };
                next = settle(harness, queue, settlement).await;
                kind = TaskKind::Join;
                count += 1;
            }
            count
        });
        settled += join_all(each).await.into_iter().sum::<usize>();
    }
    settled
}

#[tokio::test]
async fn many_workers_share_the_parts_of_few_queues() {
    let (url, beds) = workers::<4>().await;
    let run = beds[0].run("a").await;
    let input: Vec<_> = (0..6)
        .map(|number| {
            let draft = request(&format!("r{number}"));
            if number % 2 == 0 {
                draft.session("s")
            } else {
                draft
            }
        })
        .collect();
    beds[0].read(run, &input).await;
    let names = ["p", "q", "r", "t"];
    for (harness, name) in beds.iter().zip(names) {
        join(harness.store(), name, run).await;
    }
    let working = beds
        .iter()
        .zip(names)
        .map(|(harness, name)| work(harness, name, run, 9));
    let settled = tokio::time::timeout(DEADLINE, join_all(working))
        .await
        .expect("ends");
    assert_eq!(settled.iter().sum::<usize>(), 6 * 11);
    let mut sql = Sql::at(&url).await;
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
    let alone = "SELECT count(DISTINCT fence) FROM nova3_tasks WHERE task_index >= 1048576";
    assert!(sql.number(alone).await > 1, "they shared them");
    let finished = beds[0].finished(run).await;
    assert!(finished.iter().all(|queue| queue.tasks[0].parts.len() == 9));
}

#[tokio::test]
async fn a_part_that_is_lost_is_done_by_another_and_its_join_waits() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let run = first.run("a").await;
    first.read(run, &[request("x").session("s")]).await;
    let queue = claim(&first, "p", run, 1).await.remove(0);
    let split = Settlement::fanned_out(queue.lease, 0, new_parts(2));
    assert_eq!(first.settle(split).await, Settled::Moved(TaskNo::part(0, 1)));
    let other = claim(&second, "q", run, 9).await.remove(0);
    assert_eq!(other.task, TaskNo::part(0, 2));
    sql.run("UPDATE nova3_tasks SET lease_until = 0 WHERE lease_owner = 'p'")
        .await;
    tend(second.store(), "q").await;
    let late = part_done(&queue, TaskNo::part(0, 1), "late");
    assert_eq!(first.settle(late).await, Settled::LostLease);
    let again = settle(&second, &other, part_done(&other, other.task, "b")).await;
    assert_eq!(again, Some(TaskNo::part(0, 1)));
    let done = part_done(&other, TaskNo::part(0, 1), "a");
    assert_eq!(second.settle(done).await, Settled::Moved(TaskNo::planned(0)));
    assert_eq!(
        second.settle(completed(other.lease, 0, 2)).await,
        Settled::Finished { ok: true }
    );
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_task_that_sleeps_holds_up_no_other_queue() {
    let (_, [harness]) = workers::<1>().await;
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y")]).await;
    let queue = claim(&harness, "p", run, 1).await.remove(0);
    let split = Settlement::fanned_out(queue.lease, 0, new_parts(3));
    assert_eq!(harness.settle(split).await, Settled::Moved(TaskNo::part(0, 1)));
    let left = ReleasedLease {
        snooze: Duration::from_secs(60),
        task: TaskNo::part(0, 1),
        ..ReleasedLease::untouched(queue.lease)
    };
    harness.store().release(vec![left]).await.expect("releases");
    // The first part is asleep, and the others are leased one after the other.
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let queues = claim(&harness, "p", run, 1).await;
        tasks.extend(
            queues
                .iter()
                .map(|queue| format!("{} {}", ids(&queues)[0], queue.task)),
        );
    }
    assert_eq!(tasks, ["x task001.2", "x task001.3", "y task001"]);
}

#[tokio::test]
async fn a_session_stays_with_its_queue_while_workers_of_its_run_live() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let (a, b) = (first.run("a").await, second.run("b").await);
    first.read(a, &[request("a1").session("s").tasks(2)]).await;
    second.read(b, &[request("b1").session("s")]).await;
    join(first.store(), "p", a).await;
    join(second.store(), "q", b).await;
    let queue = claim(&first, "p", a, 9).await.remove(0);
    assert_eq!(first.settle(completed(queue.lease, 0, 1)).await, Settled::Stepped);
    first.release(&queue).await;
    assert!(
        claim(&second, "q", b, 9).await.is_empty(),
        "its own run may go on"
    );
    sql.run("UPDATE nova3_workers SET last_seen = 0 WHERE worker_id = 'p'")
        .await;
    let other = claim(&second, "q", b, 9).await;
    assert_eq!(ids(&other), ["b1"], "no worker is left to go on");
    assert!(claim(&first, "p", a, 9).await.is_empty());
    sql.expire(&leases(&other)).await;
    tend(second.store(), "q").await;
    sql.run("UPDATE nova3_workers SET last_seen = 0 WHERE worker_id = 'q'")
        .await;
    let queue = claim(&first, "p", a, 9).await.remove(0);
    assert_eq!(queue.task, TaskNo::planned(1));
    assert_eq!(
        first.settle(completed(queue.lease, 1, 1)).await,
        Settled::Finished { ok: true }
    );
    assert_eq!(second.drain(b).await, ["b1"]);
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn answers_about_parts_and_outside_jobs_are_lost() {
    let mut scene = Scene::new().await;
    let run = scene.harness.run("a").await;
    scene
        .harness
        .read(run, &[request("x").session("s").tasks(2)])
        .await;
    let queue = claim(&scene.harness, "p", run, 1).await.remove(0);
    let parts = "SELECT count(*) FROM nova3_tasks WHERE task_index >= 1048576";
    let split = scene
        .lose(parts, async |harness: &Harness| {
            harness
                .settle(Settlement::fanned_out(queue.lease, 0, new_parts(2)))
                .await
        })
        .await;
    assert_eq!(split, Settled::Moved(TaskNo::part(0, 1)));
    let one = "SELECT count(*) FROM nova3_tasks WHERE task_index >= 1048576 AND status = 'completed'";
    let part = scene
        .lose(one, async |harness: &Harness| {
            harness.settle(part_done(&queue, TaskNo::part(0, 1), "a")).await
        })
        .await;
    assert_eq!(part, Settled::Moved(TaskNo::part(0, 2)));
    let both = "SELECT count(*) - 1 FROM nova3_tasks WHERE task_index >= 1048576 AND status = 'completed'";
    let part = scene
        .lose(both, async |harness: &Harness| {
            harness.settle(part_done(&queue, TaskNo::part(0, 2), "b")).await
        })
        .await;
    assert_eq!(part, Settled::Moved(TaskNo::planned(0)));
    let submitted = "SELECT count(*) FROM nova3_tasks WHERE status = 'submitted'";
    let done = scene
        .lose(submitted, async |harness: &Harness| {
            harness.store().submit(queue.lease, "job").await
        })
        .await;
    assert!(done.expect("submits"));
    let ready = "SELECT count(*) FROM nova3_tasks WHERE status = 'ready'";
    let left = || ReleasedLease {
        task: TaskNo::planned(0),
        ..ReleasedLease::untouched(queue.lease)
    };
    let back = scene
        .lose(ready, async |harness: &Harness| {
            harness.store().take_back("job", left()).await
        })
        .await;
    assert!(back.expect("takes back"));
    let queue = claim(&scene.harness, "p", run, 1).await.remove(0);
    assert!(
        scene
            .harness
            .store()
            .submit(queue.lease, "job2")
            .await
            .expect("submits")
    );
    let end = scene
        .lose(
            "SELECT current_task_index::bigint FROM nova3_queues",
            async |harness: &Harness| {
                let settlement = completed(queue.lease, 0, 2).of_handle("job2".to_owned());
                harness.settle(settlement).await
            },
        )
        .await;
    assert_eq!(end, Settled::Yielded);
    let last = claim(&scene.harness, "p", run, 1).await.remove(0);
    assert_eq!(
        scene.harness.settle(completed(last.lease, 1, 1)).await,
        Settled::Finished { ok: true }
    );
    assert_eq!(scene.wrongs().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_an_outside_job_may_cost_is_no_orphan() {
    let (url, [first, second]) = workers::<2>().await;
    let mut sql = Sql::at(&url).await;
    let run = first.run("a").await;
    first.read(run, &[request("x"), request("y")]).await;
    let queues = claim(&first, "p", run, 2).await;
    for queue in &queues {
        assert!(reserve(first.store(), run, &call(queue.lease, 0, 70), 1000).await);
    }
    assert!(
        first
            .store()
            .submit(queues[0].lease, "job")
            .await
            .expect("submits")
    );
    sql.run("UPDATE nova3_reservations SET created_at = 0").await;
    sql.expire(&leases(&queues)).await;
    tend(second.store(), "q").await;
    let reserved = Cell::new(0);
    until("the reservation of the other", async || {
        let row = "SELECT (reserved::text || uncertain::text)::bigint FROM nova3_tallies";
        reserved.set(sql.number(row).await);
        reserved.get() == 7070
    })
    .await;
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}
