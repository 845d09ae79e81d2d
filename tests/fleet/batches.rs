//! Settlements that share one statement.

use futures::future::join_all;
use nova3::domain::outcome::{NewItem, Product};
use nova3::store::{Lease, Settled, Settlement, StoreError, Then};

use crate::fleet::harness::{Sql, claim, workers, wrongs};
use crate::store::harness::{attempt, body, completed, making, request};

/// An item whose kind no column can hold.
fn impossible(lease: Lease) -> Settlement {
    let item = NewItem {
        kind: "an\0swer".to_owned(),
        body: body(),
    };
    let product = Product::Items(vec![item]);
    Settlement::completed(lease, 0, product, Then::GoOn, making(1), vec![attempt(None, 1)])
}

#[tokio::test]
async fn a_bad_settlement_spoils_nobody_elses() {
    let (url, [harness]) = workers::<1>().await;
    let run = harness.run("a").await;
    let input: Vec<_> = (0..20).map(|number| request(&format!("r{number}"))).collect();
    harness.read(run, &input).await;
    let queues = claim(&harness, "p", run, 99).await;
    // The first settlement goes alone. The others gather while it is in flight.
    let settled = join_all(queues.iter().enumerate().map(async |(number, queue)| {
        let settlement = if number == 7 {
            impossible(queue.lease)
        } else {
            completed(queue.lease, 0, 1)
        };
        harness.store().settle(settlement).await
    }))
    .await;
    for (number, settled) in settled.iter().enumerate() {
        let as_it_should = match settled {
            Ok(settled) => number != 7 && *settled == Settled::Finished { ok: true },
            Err(error) => number == 7 && matches!(error, StoreError::Row { .. }),
        };
        assert!(as_it_should, "{number}: {settled:?}");
    }
    assert_eq!(harness.finished(run).await.len(), 19);
    assert_eq!(
        harness.done(&queues[7]).await,
        Settled::Finished { ok: true },
        "its lease is good"
    );
    assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_settled_twice_at_once_is_settled_once() {
    let (url, [harness]) = workers::<1>().await;
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x").session("s"), request("y")])
        .await;
    let queues = claim(&harness, "p", run, 9).await;
    let store = harness.store();
    let twice = |lease| [completed(lease, 0, 1), completed(lease, 0, 1)];
    let all = queues
        .iter()
        .flat_map(|queue| twice(queue.lease))
        .map(|one| store.settle(one));
    let settled: Vec<Settled> = join_all(all)
        .await
        .into_iter()
        .map(|one| one.expect("settles"))
        .collect();
    let good = settled
        .iter()
        .filter(|one| **one == Settled::Finished { ok: true })
        .count();
    let lost = settled.iter().filter(|one| **one == Settled::LostLease).count();
    assert_eq!((good, lost), (2, 2));
    assert_eq!(
        Sql::at(&url)
            .await
            .number("SELECT count(*) FROM nova3_events")
            .await,
        2
    );
    assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
}

#[tokio::test]
async fn settlements_of_two_runs_go_each_to_its_own() {
    let (url, [harness]) = workers::<1>().await;
    let (a, b) = (harness.run("a").await, harness.run("b").await);
    for run in [a, b] {
        let input: Vec<_> = (0..10).map(|number| request(&format!("r{number}"))).collect();
        harness.read(run, &input).await;
    }
    let mut queues = claim(&harness, "p", a, 99).await;
    queues.extend(claim(&harness, "p", b, 99).await);
    join_all(queues.iter().map(async |queue| harness.done(queue).await)).await;
    for run in [a, b] {
        assert_eq!(harness.finished(run).await.len(), 10);
    }
    assert_eq!(wrongs(&mut Sql::at(&url).await).await, Vec::<String>::new());
}
