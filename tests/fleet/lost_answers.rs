//! Lost answers: the store itself repeats the operation and finds it done.

use std::cell::Cell;

use nova3::domain::ids::{SessionId, UserId};
use nova3::domain::usage::Cost;
use nova3::store::{AddOutcome, Changes, Cleared, Failures, ReleasedLease, Settled, TakeOver};

use crate::fleet::draft::lines;
use crate::fleet::harness::{Lock, Sql, call, claim, reserve, until, workers, wrongs};
use crate::fleet::outages::behind;
use crate::fleet::proxy::{Network, Proxy};
use crate::store::harness::{Harness, attempt, completed, mark, nameless, planned, request};

/// A worker behind a network that loses answers, and a view of what arrived.
pub(crate) struct Scene {
    pub(crate) harness: Harness,
    proxy: Proxy,
    sql: Sql,
    url: String,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let (url, [_]) = workers::<1>().await;
        let (proxy, by_proxy) = behind(&url);
        let harness = Harness::at(&by_proxy).await;
        let sql = Sql::at(&url).await;
        Self {
            harness,
            proxy,
            sql,
            url,
        }
    }

    /// The call's statement arrives and its answer is lost. The connection is reset once the effect is visible.
    pub(crate) async fn lose<T>(&mut self, happened: &str, call: impl AsyncFn(&Harness) -> T) -> T {
        let connections = self.proxy.accepted();
        self.proxy.set(Network::NoAnswers);
        let (proxy, sql) = (&self.proxy, &mut self.sql);
        let (answer, ()) = tokio::join!(call(&self.harness), async {
            until(happened, async || sql.number(happened).await > 0).await;
            proxy.reset_all();
            proxy.set(Network::Alive);
        });
        assert!(self.proxy.accepted() > connections, "it was asked again");
        answer
    }

    /// The call's transaction is committed, and the answer to the commit is lost.
    async fn lose_commit<T>(&mut self, happened: &str, call: impl AsyncFn(&Harness) -> T) -> T {
        let connections = self.proxy.accepted();
        self.sql.run(AT_COMMIT).await;
        let lock = "SELECT pg_advisory_xact_lock(hashtextextended(current_schema(), 0))";
        let mut hold = Lock::of(&self.url, lock).await;
        let (proxy, sql) = (&self.proxy, &mut self.sql);
        let (answer, ()) = tokio::join!(call(&self.harness), async {
            hold.until_waited_for(1).await;
            proxy.set(Network::NoAnswers);
            hold.commit().await;
            until(happened, async || sql.number(happened).await > 0).await;
            proxy.reset_all();
            proxy.set(Network::Alive);
        });
        assert!(self.proxy.accepted() > connections, "it was asked again");
        answer
    }

    pub(crate) async fn wrongs(&mut self) -> Vec<String> {
        wrongs(&mut self.sql).await
    }
}

/// Makes the commit of a transaction that wrote its run or deleted items wait for a lock of the test.
const AT_COMMIT: &str = "
DROP TRIGGER IF EXISTS at_commit ON nova3_runs;
DROP TRIGGER IF EXISTS at_commit ON nova3_items;
CREATE OR REPLACE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_advisory_xact_lock_shared(hashtextextended(current_schema(), 0)); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON nova3_runs DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION at_commit();
CREATE CONSTRAINT TRIGGER at_commit AFTER DELETE ON nova3_items DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION at_commit()";

#[tokio::test]
async fn of_claims_and_what_gives_leases_back() {
    let mut scene = Scene::new().await;
    let run = scene.harness.run("a").await;
    let input = [request("x"), request("y").session("s"), request("z").session("s")];
    scene.harness.read(run, &input).await;
    let claimed = scene
        .lose(
            "SELECT count(*) FROM nova3_tasks WHERE status = 'leased'",
            async |harness: &Harness| claim(harness, "p", run, 9).await,
        )
        .await;
    assert_eq!(crate::store::harness::ids(&claimed), ["x", "y"]);
    assert!(claimed.iter().all(|queue| queue.lease.fence == 1));
    assert_eq!(
        scene
            .sql
            .number("SELECT count(*) FROM nova3_tasks WHERE status = 'leased'")
            .await,
        2
    );

    let left = || ReleasedLease {
        task: nova3::domain::task::TaskNo::planned(0),
        attempts: vec![attempt(None, 5)],
        ..ReleasedLease::untouched(claimed[1].lease)
    };
    scene
        .lose(
            "SELECT count(*) FROM nova3_attempts",
            async |harness: &Harness| {
                harness.store().release(vec![left()]).await.expect("releases");
            },
        )
        .await;
    let stands = "SELECT t.status || ' ' || t.fence || ' ' || t.attempt FROM nova3_tasks t JOIN nova3_queues q USING (queue_id) WHERE q.custom_id = 'y'";
    assert_eq!(scene.sql.text(stands).await, "ready 1 0");
    assert_eq!(scene.sql.number("SELECT count(*) FROM nova3_attempts").await, 1);
    assert_eq!(scene.wrongs().await, Vec::<String>::new());
}

#[tokio::test]
async fn of_a_claim_that_is_asked_again_while_it_is_under_way() {
    let mut scene = Scene::new().await;
    let run = scene.harness.run("a").await;
    let other = scene.harness.run("b").await;
    scene.harness.read(other, &[request("o").session("s")]).await;
    scene
        .harness
        .read(run, &[request("x"), request("y").session("s"), request("z")])
        .await;
    // Another run is about to hold the session and has not committed yet.
    let taken = "INSERT INTO nova3_session_leases SELECT user_id, session_id, queue_id FROM nova3_queues WHERE custom_id = 'o'";
    let mut hold = Lock::of(&scene.url, taken).await;
    hold.and("UPDATE nova3_queues SET leased = 1, ready = 0, fence = 1 WHERE custom_id = 'o'")
        .await;
    hold.and(
        "UPDATE nova3_tasks SET status = 'leased', lease_owner = 'q', lease_until = 0, fence = 1
         WHERE queue_id = (SELECT queue_id FROM nova3_queues WHERE custom_id = 'o')",
    )
    .await;
    let answered = Cell::new(false);
    let asking = async {
        let claimed = claim(&scene.harness, "p", run, 9).await;
        answered.set(true);
        claimed
    };
    let (claimed, ()) = tokio::join!(asking, async {
        hold.until_waited_for(1).await;
        scene.proxy.reset_all();
        // The repeated call is answered, or waits for the first one.
        until("it to be asked again", async || {
            answered.get() || hold.waiting_behind().await > 0
        })
        .await;
        hold.commit().await;
    });
    assert_eq!(
        crate::store::harness::ids(&claimed),
        ["x", "z"],
        "nothing is leased without an owner"
    );
    let leased = "SELECT count(*) FROM nova3_tasks WHERE status = 'leased' AND lease_owner = 'p'";
    assert_eq!(scene.sql.number(leased).await, 2);
}

#[tokio::test]
async fn of_settlements() {
    let mut scene = Scene::new().await;
    let run = scene.harness.run("a").await;
    scene
        .harness
        .read(
            run,
            &[request("x").session("s").tasks(2), request("y").session("s")],
        )
        .await;
    let queue = claim(&scene.harness, "p", run, 9).await.remove(0);
    let step = scene
        .lose(
            "SELECT current_task_index::bigint FROM nova3_queues WHERE custom_id = 'x'",
            async |harness: &Harness| harness.settle(completed(queue.lease, 0, 2)).await,
        )
        .await;
    assert_eq!(step, Settled::Stepped);
    let end = scene
        .lose(
            "SELECT count(*) FROM nova3_queues WHERE state = 'done'",
            async |harness: &Harness| harness.settle(completed(queue.lease, 1, 1)).await,
        )
        .await;
    assert_eq!(end, Settled::Finished { ok: true });
    assert_eq!(
        scene.harness.names(run).await,
        ["x@0 completed completed[answer1,answer2] completed[answer3]"]
    );
    assert_eq!(scene.sql.number("SELECT count(*) FROM nova3_events").await, 2);
    assert_eq!(
        scene.harness.store().summary(run).await.expect("reads").attempts,
        2
    );
    assert_eq!(scene.harness.drain(run).await, ["y"]);
    assert_eq!(scene.wrongs().await, Vec::<String>::new());
}

#[tokio::test]
async fn of_plans_and_of_what_is_taken_over() {
    let mut scene = Scene::new().await;
    let run = scene.harness.run("a").await;
    scene
        .harness
        .read(
            run,
            &[
                request("x").session("s").unplanned().until("insight"),
                request("y").session("s").unplanned(),
            ],
        )
        .await;
    let queue = claim(&scene.harness, "p", run, 1).await.remove(0);
    let plan = scene
        .lose("SELECT count(*) FROM nova3_plans", async |harness: &Harness| {
            harness
                .settle_plan(planned(queue.lease, &["insight", "answer"]))
                .await
        })
        .await;
    assert_eq!(plan, Settled::Stepped);
    assert_eq!(
        scene
            .sql
            .number("SELECT count(*) FROM nova3_tasks WHERE task_index >= 0")
            .await,
        2
    );
    assert_eq!(
        scene
            .harness
            .settle(crate::store::harness::made(
                queue.lease,
                0,
                "insight",
                nova3::store::Then::Pause
            ))
            .await,
        Settled::Finished { ok: true }
    );
    let next = claim(&scene.harness, "p", run, 1).await.remove(0);
    let taken = scene
        .lose(
            "SELECT count(*) FROM nova3_plans WHERE continues IS NOT NULL",
            async |harness: &Harness| harness.take_over(&next).await,
        )
        .await;
    assert_eq!(taken, TakeOver::Taken(crate::store::harness::tasks(&["answer"])));
    assert_eq!(scene.sql.number("SELECT count(*) FROM nova3_events").await, 3);
    assert_eq!(
        scene.harness.store().summary(run).await.expect("reads").attempts,
        2
    );
    assert_eq!(scene.wrongs().await, Vec::<String>::new());
}

#[tokio::test]
async fn of_what_is_held_back() {
    let mut scene = Scene::new().await;
    let run = scene.harness.run("a").await;
    scene.harness.read(run, &[request("x")]).await;
    let queue = claim(&scene.harness, "p", run, 1).await.remove(0);
    let call = call(queue.lease, 4, 60);
    let fits = scene
        .lose(
            "SELECT count(*) FROM nova3_reservations",
            async |harness: &Harness| reserve(harness.store(), run, &call, 64).await,
        )
        .await;
    assert!(fits);
    assert_eq!(
        scene.harness.store().summary(run).await.expect("reads").reserved,
        Cost(64)
    );
    assert_eq!(scene.wrongs().await, Vec::<String>::new());
}

#[tokio::test]
async fn of_a_chunk_of_lines() {
    let mut scene = Scene::new().await;
    let run = scene.harness.run("a").await;
    scene
        .harness
        .read(
            run,
            &[request("x").query("old"), request("known"), request("done")],
        )
        .await;
    let done = claim(&scene.harness, "p", run, 9).await.remove(2);
    scene.harness.done(&done).await;
    let drafts = [
        request("x").query("new"),
        request("known"),
        request("done"),
        nameless("the same"),
        request("new").session("s"),
        nameless("the same"),
        request("new").session("s"),
        crate::store::harness::bad("no request"),
        nameless("the same"),
        crate::store::harness::bad("no request"),
    ];
    let epoch = scene.harness.begin(run).await;
    // Another process has begun the same reading and has seen these lines too.
    let outcomes = scene
        .lose_commit(
            "SELECT (max(next_seq) > 3)::int::bigint FROM nova3_runs",
            async |harness: &Harness| {
                harness
                    .store()
                    .add(run, epoch, lines(&drafts), Changes::Replace)
                    .await
                    .expect("adds")
            },
        )
        .await;
    let kinds: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match outcome {
            AddOutcome::Queued => "queued",
            AddOutcome::Waiting(_) => "waiting",
            AddOutcome::Finished(_) => "finished",
            AddOutcome::Changed => "changed",
            AddOutcome::Bad(_) => "bad",
            AddOutcome::Duplicate(_) => "duplicate",
        })
        .collect();
    let expected = [
        "changed",
        "waiting",
        "finished",
        "queued",
        "queued",
        "queued",
        "duplicate",
        "bad",
        "queued",
        "bad",
    ];
    assert_eq!(kinds, expected);
    // The next chunk of the reading knows the ticket of the lost one.
    let more = [nameless("the same"), request("new").session("s")];
    let mut next = lines(&more);
    next.iter_mut().for_each(|line| line.index += 10);
    scene
        .harness
        .store()
        .add(run, epoch, next, Changes::Replace)
        .await
        .expect("adds");
    scene
        .harness
        .store()
        .end_ingest(run, epoch, &mark(12))
        .await
        .expect("ends");
    let keys = "SELECT string_agg(split_part(queue_key, ':', 3), ',' ORDER BY queue_id) FROM nova3_requests WHERE queue_key LIKE 'sha256:%'";
    assert_eq!(scene.sql.text(keys).await, "1,2,3,4");
    let counts = scene.harness.store().counts(run).await.expect("counts");
    assert_eq!((counts.total, counts.failed), (12, 4));
    assert_eq!(scene.wrongs().await, Vec::<String>::new());
}

#[tokio::test]
async fn of_the_end_of_a_reading() {
    let mut scene = Scene::new().await;
    let run = scene.harness.run("a").await;
    scene.harness.read(run, &[request("x"), request("gone")]).await;
    scene.harness.drain(run).await;
    let before = scene.harness.lines_epoch(run).await;
    let epoch = scene.harness.begin(run).await;
    scene.harness.add(run, epoch, &[request("x")]).await;
    scene
        .lose_commit(
            "SELECT max(complete_ingest) - 1 FROM nova3_runs",
            async |harness: &Harness| {
                harness.end(run, epoch, 1).await;
            },
        )
        .await;
    assert_eq!(scene.harness.lines_epoch(run).await, before + 1);
    assert_eq!(scene.harness.finished(run).await.len(), 1);
}

#[tokio::test]
async fn of_what_is_put_back() {
    let mut scene = Scene::new().await;
    let run = scene.harness.run("a").await;
    scene
        .harness
        .read(run, &[request("x"), request("y"), request("z")])
        .await;
    let queues = claim(&scene.harness, "p", run, 9).await;
    for queue in &queues[..2] {
        scene
            .harness
            .fail(queue, nova3::domain::failure::Class::Server)
            .await;
    }
    let before = scene.harness.lines_epoch(run).await;
    let put_back = scene
        .lose_commit(
            "SELECT count(*) FROM nova3_queues WHERE ready > 0",
            async |harness: &Harness| {
                harness
                    .store()
                    .retry(run, &Failures::default())
                    .await
                    .expect("retries")
            },
        )
        .await;
    assert_eq!(put_back, 2, "what was put back is told of");
    assert_eq!(scene.harness.lines_epoch(run).await, before + 1);
    assert_eq!(scene.harness.drain(run).await, ["x", "y"]);
}

#[tokio::test]
async fn of_what_is_forgotten() {
    let mut scene = Scene::new().await;
    let run = scene.harness.run("a").await;
    let of = |id: &str| request(id).session("s").plan(&["answer"]).tasks(1);
    scene.harness.read(run, &[of("x"), of("y")]).await;
    for _ in 0..2 {
        scene.harness.done(&scene.harness.claim_one(run).await).await;
    }
    let (user, session) = (UserId::default(), SessionId::parse("s").expect("a name"));
    let cleared = scene
        .lose_commit(
            "SELECT (count(*) = 0)::int::bigint FROM nova3_items",
            async |harness: &Harness| {
                harness
                    .store()
                    .clear_session(&user, &session)
                    .await
                    .expect("clears")
            },
        )
        .await;
    let expected = Cleared {
        rounds: 2,
        items: 2,
        pending: 0,
    };
    assert_eq!(cleared, expected, "the lost change is reported");
}

#[tokio::test]
async fn of_opening_a_run_that_was_begun_otherwise() {
    let mut scene = Scene::new().await;
    let run = scene.harness.run("a").await;
    scene.harness.read(run, &[request("x").tasks(2)]).await;
    let queue = claim(&scene.harness, "p", run, 9).await.remove(0);
    scene.harness.done(&queue).await;
    let opening = nova3::store::RunOpening {
        recipe: crate::store::harness::recipe("another"),
        ..crate::store::harness::opening("a")
    };
    let opened = scene
        .lose_commit(
            "SELECT count(*) FROM nova3_runs WHERE recipe = 'another:m'",
            async |harness: &Harness| harness.store().open_run(&opening).await.expect("opens"),
        )
        .await;
    assert!(
        opened.recipe_changed,
        "it is told once, to the process that changed it"
    );
}
