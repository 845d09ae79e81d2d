//! Statements that the database cancels at their time limit: they are made smaller or get more time, and are never sent
//! again unchanged.

use futures::future::join_all;
use nova3::store::{Settled, StoreError};

use crate::fleet::harness::{DEADLINE, Lock, Sql, claim, join, leases, owner, tend, workers, wrongs};
use crate::store::harness::{Harness, LEASE_MS, completed, request};

/// A store with that time limit for statements, in which each settled task takes `each` seconds.
async fn slow(limit: &str, each: &str) -> (String, Harness, Sql) {
    let (url, [_]) = workers::<1>().await;
    let mut sql = Sql::at(&url).await;
    sql.run(&format!(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_sleep({each}); RETURN NEW; END $$;
         CREATE TRIGGER slowly AFTER UPDATE ON nova3_tasks FOR EACH ROW EXECUTE FUNCTION slowly()"
    ))
    .await;
    let harness = Harness::at(&format!("{url}%20-cstatement_timeout%3D{limit}")).await;
    (url, harness, sql)
}

#[tokio::test]
async fn a_group_of_settlements_that_takes_too_long_is_halved() {
    let (_, harness, mut sql) = slow("700ms", "0.2").await;
    let run = harness.run("a").await;
    let input: Vec<_> = (0..9).map(|number| request(&format!("r{number}"))).collect();
    harness.read(run, &input).await;
    let queues = claim(&harness, "p", run, 99).await;
    // The first goes alone. The other eight gather in the meantime, and need more than twice the limit.
    let settling = join_all(queues.iter().map(async |queue| harness.done(queue).await));
    let settled = tokio::time::timeout(DEADLINE, settling).await;
    let settled = settled.expect("the group is not sent again as it was");
    assert_eq!(settled, vec![Settled::Finished { ok: true }; 9]);
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_statement_that_cannot_be_smaller_gets_more_time() {
    let (url, harness, mut sql) = slow("300ms", "0.6").await;
    let run = harness.run("a").await;
    harness.read(run, &[request("x").tasks(2)]).await;
    let queue = claim(&harness, "p", run, 1).await.remove(0);
    let settled = tokio::time::timeout(DEADLINE, harness.settle(completed(queue.lease, 0, 1))).await;
    assert_eq!(settled.expect("it is not sent again as it was"), Settled::Stepped);
    // Other jobs behave the same. The test holds the run's row for longer than the limit.
    let mut hold = Lock::of(&url, "SELECT 1 FROM nova3_runs FOR UPDATE").await;
    let waits = async {
        harness.store().begin_ingest(run).await.expect("in the end");
    };
    let freed = async {
        hold.until_waited_for(1).await;
        // The first try has ended when the second one waits.
        let first = hold.and("SELECT pg_sleep(0.4)").await;
        drop(first);
        hold.until_waited_for(1).await;
        hold.commit().await;
    };
    let both = async { tokio::join!(waits, freed) };
    tokio::time::timeout(DEADLINE, both)
        .await
        .expect("it is waited for");
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

/// A renewal that includes a locked row fails at once. The other leases can be renewed by a call of their own.
#[tokio::test]
async fn a_renewal_does_not_wait_for_a_row_that_is_locked() {
    let (url, [harness]) = workers::<1>().await;
    let run = harness.run("a").await;
    harness.read(run, &[request("x"), request("y")]).await;
    let queues = claim(&harness, "p", run, 9).await;
    let hold = Lock::of(
        &url,
        "SELECT 1 FROM nova3_queues WHERE custom_id = 'x' FOR UPDATE",
    )
    .await;
    let both = harness
        .store()
        .renew(&owner("p"), &leases(&queues), LEASE_MS)
        .await;
    assert!(matches!(both, Err(StoreError::Slow { .. })), "{both:?}");
    let one = harness
        .store()
        .renew(&owner("p"), &leases(&queues[1..]), LEASE_MS)
        .await;
    assert_eq!(one.expect("renews"), []);
    hold.commit().await;
    let both = harness
        .store()
        .renew(&owner("p"), &leases(&queues), LEASE_MS)
        .await;
    assert_eq!(both.expect("renews"), []);
}

#[tokio::test]
async fn leases_are_taken_away_in_smaller_groups_where_all_of_them_take_too_long() {
    let (url, [first]) = workers::<1>().await;
    let mut sql = Sql::at(&url).await;
    let run = first.run("a").await;
    let input: Vec<_> = (0..12).map(|number| request(&format!("r{number}"))).collect();
    first.read(run, &input).await;
    let queues = claim(&first, "p", run, 99).await;
    sql.expire(&leases(&queues)).await;
    sql.run(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END $$;
         CREATE TRIGGER slowly AFTER UPDATE ON nova3_tasks FOR EACH ROW EXECUTE FUNCTION slowly()",
    )
    .await;
    let second = Harness::at(&format!("{url}%20-cstatement_timeout%3D500ms")).await;
    join(second.store(), "q", run).await;
    let left = "SELECT count(*) FROM nova3_tasks WHERE status = 'leased'";
    let reaping = async {
        while sql.number(left).await > 0 {
            tend(second.store(), "q").await;
        }
    };
    tokio::time::timeout(DEADLINE, reaping)
        .await
        .expect("some of them each time");
}
