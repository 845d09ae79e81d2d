//! A database that stops, comes back, or cannot be reached: callers wait, and no acknowledged write is lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use futures::future::join_all;
use nova3::store::{RunId, Settled};

use crate::fleet::harness::{Sql, claim, until, workers, wrongs};
use crate::fleet::proxy::{Network, Proxy};
use crate::fleet::server::Server;
use crate::store::harness::{Harness, completed, request};

#[tokio::test]
async fn a_restart_is_waited_for() {
    let server = Server::start(&[]);
    let harness = Harness::at(server.url()).await;
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x").session("s"), request("y"), request("z")])
        .await;
    let queues = claim(&harness, "p", run, 2).await;
    assert_eq!(harness.done(&queues[0]).await, Settled::Finished { ok: true });
    assert_eq!(harness.store().trouble(), None);
    server.stop_immediately();
    let back = async {
        until("trouble", async || harness.store().trouble().is_some()).await;
        let said = harness.store().trouble().expect("trouble");
        assert!(said.starts_with("the database does not answer, for "), "{said}");
        server.start_again();
    };
    let (settled, claimed, counts, page, epoch, ()) = tokio::join!(
        harness.done(&queues[1]),
        claim(&harness, "p", run, 9),
        async { harness.store().counts(run).await.expect("waits") },
        async {
            harness
                .store()
                .finished_by_id(run, vec![queues[0].lease.queue_id])
                .await
                .expect("waits")
        },
        async { harness.store().lines_epoch(run).await.expect("waits") },
        back
    );
    assert_eq!(settled, Settled::Finished { ok: true });
    assert_eq!(
        (claimed.len(), counts.total, page.rows.len(), epoch),
        (1, 3, 1, 0)
    );
    assert_eq!(harness.store().trouble(), None);
    assert_eq!(harness.done(&claimed[0]).await, Settled::Finished { ok: true });
    assert_eq!(
        wrongs(&mut Sql::at(server.url()).await).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn what_is_acknowledged_survives_a_crash_of_a_server_that_need_not_sync() {
    // An unsynced commit is lost in a crash unless a later write syncs it too, which these settings make rare.
    let server = Server::start(&["synchronous_commit=off", "wal_writer_delay=10s"]);
    let harness = Harness::at(server.url()).await;
    let run = harness.run("a").await;
    harness
        .read(run, &[request("x").session("s"), request("y").tasks(2)])
        .await;
    let queues = claim(&harness, "p", run, 2).await;
    for queue in &queues {
        harness.done(queue).await;
    }
    server.stop_immediately();
    server.start_again();
    assert_eq!(harness.finished(run).await.len(), 1);
    let rest = claim(&harness, "p", run, 9).await;
    assert!(rest.is_empty(), "the lease of `y` is still held: {rest:?}");
    let y = queues.iter().find(|queue| queue.tasks.len() == 2).expect("`y`");
    assert_eq!(
        harness.settle(completed(y.lease, 1, 1)).await,
        Settled::Finished { ok: true }
    );
    let mut sql = Sql::at(server.url()).await;
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

async fn work(harness: &Harness, name: &str, run: RunId, acknowledged: &RefCell<BTreeSet<(i64, usize)>>) {
    until("the end of the run", async || {
        let queues = claim(harness, name, run, 3).await;
        join_all(queues.iter().map(async |queue| {
            for task in queue.current_task..queue.tasks.len() {
                let settled = harness.settle(completed(queue.lease, task, 1)).await;
                assert_ne!(settled, Settled::LostLease, "no process takes a lease away here");
                let first = acknowledged.borrow_mut().insert((queue.lease.queue_id, task));
                assert!(first, "a task is settled once");
            }
        }))
        .await;
        !harness.store().has_unfinished(run).await.expect("reads")
    })
    .await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_by_crashes_of_the_database() {
    let server = Server::start(&[]);
    let beds = [Harness::at(server.url()).await, Harness::at(server.url()).await];
    let run = beds[0].run("a").await;
    let input: Vec<_> = (0..80)
        .map(|number| {
            request(&format!("r{number}"))
                .session(&format!("s{}", number % 16))
                .tasks(3)
        })
        .collect();
    beds[0].read(run, &input).await;
    let (acknowledged, ended) = (RefCell::new(BTreeSet::new()), Cell::new(false));
    let working = async {
        tokio::join!(
            work(&beds[0], "p", run, &acknowledged),
            work(&beds[1], "q", run, &acknowledged)
        );
        ended.set(true);
    };
    let crashing = async {
        for crashes in 1..=3 {
            until("some work", async || {
                ended.get() || acknowledged.borrow().len() >= crashes * 50
            })
            .await;
            server.stop_immediately();
            // Working callers notice the outage.
            until("trouble", async || {
                beds.iter().any(|harness| harness.store().trouble().is_some())
            })
            .await;
            server.start_again();
        }
        assert!(!ended.get(), "it was crashed while they worked");
    };
    tokio::join!(working, crashing);
    let mut sql = Sql::at(server.url()).await;
    let rows = sql
        .rows("SELECT queue_id, task_index FROM nova3_tasks WHERE status = 'completed'")
        .await;
    let stored: BTreeSet<(i64, usize)> = rows
        .iter()
        .map(|row| {
            (
                row.get(0),
                usize::try_from(row.get::<_, i32>(1)).expect("a place"),
            )
        })
        .collect();
    assert_eq!((stored.len(), &stored), (240, &*acknowledged.borrow()));
    let calls = "SELECT count(*) FROM nova3_attempts";
    assert_eq!(sql.number(calls).await, 240, "no call is written down twice");
    assert_eq!(wrongs(&mut sql).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_dead_network_is_waited_for() {
    let (url, [near]) = workers::<1>().await;
    let (proxy, by_proxy) = behind(&url);
    let far = Harness::at(&by_proxy).await;
    let run = near.run("a").await;
    near.read(run, &[request("x"), request("y")]).await;
    let queues = claim(&far, "p", run, 1).await;
    proxy.set(Network::Dead);
    let ((settled, claimed), ()) = tokio::join!(
        async { tokio::join!(far.done(&queues[0]), claim(&far, "p", run, 9)) },
        async {
            // The other workers continue in the meantime.
            assert_eq!(near.store().counts(run).await.expect("reads").running, 1);
            proxy.reset_all();
            until("trouble", async || far.store().trouble().is_some()).await;
            proxy.set(Network::Alive);
        }
    );
    assert_eq!((settled, claimed.len()), (Settled::Finished { ok: true }, 1));
    proxy.set(Network::Dead);
    let (counts, ()) = tokio::join!(async { far.store().counts(run).await.expect("waits") }, async {
        assert_eq!(near.store().counts(run).await.expect("reads").done, 1);
        proxy.set(Network::Alive);
    });
    assert_eq!((counts.done, counts.running), (1, 1));
    assert_eq!(far.store().trouble(), None);
}

/// A proxy that can fail, in front of the shared server.
pub(crate) fn behind(url: &str) -> (Proxy, String) {
    let (place, _) = url
        .split_once("/postgres")
        .unwrap_or_else(|| url.rsplit_once('/').expect("a database"));
    let (_, port) = place.rsplit_once(':').expect("a port");
    let port = port.parse().expect("a port");
    // The proxy makes its own runtime, which is not possible inside another one.
    let making = std::thread::spawn(move || Proxy::to(port));
    let proxy = making.join().expect("a proxy");
    let by_proxy = proxy.url(url);
    (proxy, by_proxy)
}
