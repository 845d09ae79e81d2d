//! A search: it is a task before its planned task, it is settled once, and its result is durable.

use nova3::domain::failure::{Class, Failure};
use nova3::domain::outcome::Product;
use nova3::domain::task::{TaskKind, TaskNo};
use nova3::domain::task_search::{QueryRecord, SourceRecord, TaskSearch};
use nova3::domain::usage::Cost;
use nova3::store::{Claimable, Claimed, NewPart, RunId, Settled, Settlement, Then};

use crate::store::harness::{Harness, attempt, completed, failed, items, making, request};

/// A search that found one source.
fn found(text: &str) -> TaskSearch {
    TaskSearch {
        queries: vec![QueryRecord {
            query: "oat milk".to_owned(),
            provider: Some("jina".to_owned()),
            found_by: None,
            looked_up: true,
            degraded: false,
            age_s: None,
            failures: Vec::new(),
        }],
        sources: vec![SourceRecord {
            id: "s1".to_owned(),
            query: "oat milk".to_owned(),
            provider: "jina".to_owned(),
            title: "Oat \u{0}milk".to_owned(),
            url: Some("https://example.com/a".to_owned()),
            text: text.to_owned(),
            published_at: None,
            found_at: 7,
            hash: "h".to_owned(),
            looked_up: true,
        }],
    }
}

fn search_done(queue: &Claimed, search: TaskSearch) -> Settlement {
    let product = Product::Search(Box::new(search));
    let calls = vec![attempt(None, 5)];
    Settlement::completed(
        queue.lease,
        TaskNo::search(0),
        product,
        Then::GoOn,
        making(5),
        calls,
    )
}

/// A run whose request `x` has two tasks, the first of which waits for its search. The lease is on the search.
async fn searching(harness: &mut Harness) -> (RunId, Claimed) {
    let run = harness.run("a").await;
    harness.read(run, &[request("x").session("s").tasks(2)]).await;
    let queue = harness.claim_one(run).await;
    let waits = Settlement::searches(queue.lease, 0);
    assert_eq!(harness.settle(waits).await, Settled::Moved(TaskNo::search(0)));
    (run, queue)
}

async fn result(harness: &Harness, queue: &Claimed) -> Option<Result<TaskSearch, Failure>> {
    let result = harness.store().task_search(queue.lease.queue_id, 0).await;
    result.expect("reads")
}

pub(crate) async fn a_search_comes_before_its_task(harness: &mut Harness) {
    let (run, queue) = searching(harness).await;
    assert!(harness.claim(run, 9).await.is_empty(), "the search has the lease");
    assert_eq!(result(harness, &queue).await, None);
    let end = harness.settle(search_done(&queue, found("a text"))).await;
    assert_eq!(end, Settled::Moved(TaskNo::planned(0)));
    let stored = result(harness, &queue)
        .await
        .expect("it is settled")
        .expect("it has a result");
    assert_eq!(
        (stored.sources[0].id.as_str(), stored.sources[0].text.as_str()),
        ("s1", "a text")
    );
    assert_eq!(
        harness.settle(completed(queue.lease, 0, 1)).await,
        Settled::Stepped
    );
    let end = harness.settle(completed(queue.lease, 1, 1)).await;
    assert_eq!(end, Settled::Finished { ok: true });
    let row = harness.finished(run).await.remove(0);
    let search = row.tasks[0].search.as_ref().expect("its task shows it");
    let sources = &search.found.as_ref().expect("it has a result").sources;
    assert_eq!(
        (sources[0].hash.as_str(), sources[0].text.as_str()),
        ("h", ""),
        "lines show no texts"
    );
    assert_eq!(search.making.as_ref().expect("it has one").cost, Some(Cost(5)));
    assert!(row.tasks[0].parts.is_empty() && row.tasks[1].search.is_none());
    let told = harness.events(run, true).await;
    assert!(told.iter().all(|event| !event.contains("search")), "{told:?}");
    let summary = harness.store().summary(run).await.expect("reads");
    assert_eq!(summary.attempts, 3, "the search is in the ledger");
    harness.store().check().await.expect("the store is whole");
}

pub(crate) async fn a_search_is_claimed_as_one_after_a_crash(harness: &mut Harness) {
    let (run, queue) = searching(harness).await;
    harness.release(&queue).await;
    let again = harness.claim_one(run).await;
    assert_eq!((again.task, again.kind), (TaskNo::search(0), TaskKind::Search));
    assert_eq!((again.current_task, again.parts.len()), (0, 0));
    if !harness.crash().await {
        return;
    }
    harness.run("a").await;
    let late = harness.settle(search_done(&again, found("late"))).await;
    assert_eq!(late, Settled::LostLease);
    let again = harness.claim_one(run).await;
    assert_eq!(again.kind, TaskKind::Search);
    harness.settle(search_done(&again, found("a"))).await;
    harness.crash().await;
    harness.run("a").await;
    let task = harness.claim_one(run).await;
    assert_eq!((task.task, task.kind), (TaskNo::planned(0), TaskKind::Call));
    assert!(result(harness, &task).await.is_some_and(|result| result.is_ok()));
}

pub(crate) async fn a_settled_search_is_not_repeated_by_a_retry(harness: &mut Harness) {
    let (run, queue) = searching(harness).await;
    harness.settle(search_done(&queue, found("a"))).await;
    let end = harness.settle(failed(queue.lease, 0, Class::Server)).await;
    assert_eq!(end, Settled::Finished { ok: false });
    assert_eq!(harness.retry(run).await, 1);
    let again = harness.claim_one(run).await;
    assert_eq!((again.task, again.kind), (TaskNo::planned(0), TaskKind::Call));
    assert!(result(harness, &again).await.is_some(), "the sources are there");
    harness.settle(completed(again.lease, 0, 1)).await;
    let end = harness.settle(completed(again.lease, 1, 1)).await;
    assert_eq!(end, Settled::Finished { ok: true });
}

pub(crate) async fn a_failed_search_fails_no_request(harness: &mut Harness) {
    let (run, queue) = searching(harness).await;
    let failure = Failure::new(Class::Poison, "it crashed");
    let failed_search = Settlement::failed(queue.lease, TaskNo::search(0), failure, None, making(0), vec![]);
    assert_eq!(
        harness.settle(failed_search).await,
        Settled::Moved(TaskNo::planned(0))
    );
    let stored = result(harness, &queue).await.expect("it is settled");
    assert_eq!(stored.expect_err("it failed").class, Class::Poison);
    harness.settle(failed(queue.lease, 0, Class::Server)).await;
    assert_eq!(harness.retry(run).await, 1);
    let again = harness.claim_one(run).await;
    assert_eq!(again.task, TaskNo::planned(0), "a search is settled once");
    assert!(harness.claim(run, 9).await.is_empty());
    harness.settle(completed(again.lease, 0, 1)).await;
    let end = harness.settle(completed(again.lease, 1, 1)).await;
    assert_eq!(end, Settled::Finished { ok: true });
    let row = harness.finished(run).await.remove(0);
    let search = row.tasks[0].search.as_ref().expect("its task shows it");
    assert_eq!(search.failure.as_ref().expect("it failed").class, Class::Poison);
}

pub(crate) async fn a_search_is_poison_by_itself(harness: &mut Harness) {
    let (run, _queue) = searching(harness).await;
    if !harness.crash().await {
        return;
    }
    harness.run("a").await;
    assert_eq!(harness.claim_one(run).await.task, TaskNo::search(0));
    harness.crash().await;
    harness.run("a").await;
    for owner in ["p", "q"] {
        let group = harness.claim_as(owner, run, Claimable::Quarantined, 9).await;
        assert_eq!(group[0].task, TaskNo::search(0));
        harness.crash().await;
        harness.run("a").await;
    }
    let task = harness.claim_one(run).await;
    assert_eq!(task.task, TaskNo::planned(0), "the queue has not failed");
    let failure = result(harness, &task)
        .await
        .expect("it is settled")
        .expect_err("it failed");
    assert_eq!(
        (failure.class, failure.task_id.as_deref()),
        (Class::Poison, Some("task001.search"))
    );
}

pub(crate) async fn a_task_that_searched_can_be_split(harness: &mut Harness) {
    let (_, queue) = searching(harness).await;
    harness.settle(search_done(&queue, found("a"))).await;
    let part = |subject: &str| NewPart {
        subject: Some(subject.to_owned()),
        description: String::new(),
        input: "i".to_owned(),
    };
    let split = Settlement::fanned_out(queue.lease, 0, vec![part("profile1"), part("profile2")]);
    assert_eq!(harness.settle(split).await, Settled::Moved(TaskNo::part(0, 1)));
    let parts = harness
        .store()
        .parts(queue.lease.queue_id, 0)
        .await
        .expect("reads");
    assert!(parts.is_empty(), "the search is no part");
    for number in [1, 2] {
        let done = Settlement::completed(
            queue.lease,
            TaskNo::part(0, number),
            items(1),
            Then::GoOn,
            making(1),
            vec![],
        );
        harness.settle(done).await;
    }
    let parts = harness
        .store()
        .parts(queue.lease.queue_id, 0)
        .await
        .expect("reads");
    assert_eq!(parts.len(), 2);
}

pub(crate) async fn a_result_of_another_kind_is_refused(harness: &mut Harness) {
    let (_, queue) = searching(harness).await;
    let wrong = [
        (TaskNo::search(0), items(1)),
        (TaskNo::planned(0), Product::Search(Box::default())),
    ];
    for (task, product) in wrong {
        let settlement = Settlement::completed(queue.lease, task, product, Then::GoOn, making(0), vec![]);
        let end = harness.store().settle(settlement).await;
        let is_refused = match &end {
            // The planned task has no lease, so that its settlement is refused or finds no lease.
            Ok(settled) => task == TaskNo::planned(0) && *settled == Settled::LostLease,
            Err(error) => error.is_of_one_row(),
        };
        assert!(is_refused, "{task}: {end:?}");
    }
    let end = harness.settle(search_done(&queue, found("a"))).await;
    assert_eq!(end, Settled::Moved(TaskNo::planned(0)), "the lease is still good");
}
