//! A store under test, and short ways to bring it into any state.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use nova3::config::{Source, StoreAddress};
use nova3::domain::failure::{Class, Failure};
use nova3::domain::lane::Lane;
use nova3::domain::outcome::{Attempt, CallEnd, Finished, NewItem, PlanOrigin, Product, Provenance};
use nova3::domain::stream_event::{Happening, SettledEvent};
use nova3::domain::usage::{Cost, Usage};
use nova3::postgres::Database;
use nova3::store::postgres::PostgresStore;
use nova3::store::sqlite::SqliteStore;
use nova3::store::{
    AddOutcome, Changes, Claimable, Claimed, ConfigFingerprint, CrashMark, Epoch, Failures, InputMark, Lease,
    Order, Owner, PlanEnd, PlanSettlement, RunConstraints, RunId, RunOpening, Settled, Settlement, Store,
    StoreError, TakeOver, Then, WorkerProgress,
};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::store::draft::steps;
pub(crate) use crate::store::draft::{Draft, bad, batch, lines, nameless, request, tasks};
use crate::store::server;
use crate::store::transitions;

pub(crate) const LEASE_MS: i64 = 30_000;

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(work)
}

/// How a harness is opened again after a crash.
enum Again {
    /// The store is lost.
    Never,
    /// From the file in this folder.
    File(tempfile::TempDir),
    /// From the database.
    Postgres(String),
}

/// A store that was empty, and how to open it again.
pub(crate) struct Harness {
    store: Option<Box<dyn Store>>,
    again: Again,
}

impl Harness {
    #[expect(clippy::unused_async, reason = "as the other engines")]
    pub(crate) async fn memory() -> Self {
        let store = SqliteStore::open(Path::new(":memory:"), Duration::ZERO, "a test").expect("opens");
        Self {
            store: Some(Box::new(store)),
            again: Again::Never,
        }
    }

    pub(crate) async fn file() -> Self {
        Self::over(Again::File(tempfile::tempdir().expect("a folder"))).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::at(&server::fresh_schema(server::shared())).await
    }

    /// A harness in the database of that address, where other processes may be at work.
    pub(crate) async fn at(url: &str) -> Self {
        Self::over(Again::Postgres(url.to_owned())).await
    }

    async fn over(again: Again) -> Self {
        let mut harness = Self { store: None, again };
        harness.open().await;
        harness
    }

    async fn open(&mut self) {
        self.store = Some(match &self.again {
            Again::Never => return,
            Again::File(folder) => {
                let path = folder.path().join("nova3.db");
                let store = SqliteStore::open(&path, Duration::ZERO, "a test").expect("opens");
                transitions::hold_in_file(&path);
                Box::new(store)
            }
            Again::Postgres(url) => {
                let store = postgres_store(url).await;
                transitions::hold_in_postgres(url).await;
                Box::new(store)
            }
        });
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_deref().expect("it is open")
    }

    /// Ends the store without closing it, and opens it again when all leases have ended. Returns whether the engine can
    /// do this.
    pub(crate) async fn crash(&mut self) -> bool {
        if matches!(self.again, Again::Never) {
            return false;
        }
        drop(self.store.take());
        match &self.again {
            Again::Never => {}
            // A process that crashes leaves its text in the lock file.
            Again::File(folder) => {
                let text = "nova3 store lock, held by a dead test";
                std::fs::write(folder.path().join("nova3.db.lock"), text).expect("writes");
            }
            Again::Postgres(url) => {
                server::psql(
                    url,
                    "UPDATE nova3_tasks SET lease_until = 0 WHERE status = 'leased'",
                );
                server::psql(url, "UPDATE nova3_workers SET last_seen = 0");
            }
        }
        self.open().await;
        let nobody = Owner("nobody".to_owned());
        let tended = self
            .store()
            .heartbeat(&nobody, WorkerProgress::default(), LEASE_MS)
            .await;
        tended.expect("takes away what has run out");
        true
    }

    pub(crate) async fn run(&self, name: &str) -> RunId {
        self.store().open_run(&opening(name)).await.expect("opens").id
    }

    pub(crate) async fn begin(&self, run: RunId) -> Epoch {
        self.store().begin_ingest(run).await.expect("begins")
    }

    pub(crate) async fn try_add(
        &self,
        run: RunId,
        epoch: Epoch,
        drafts: &[Draft],
        changes: Changes,
    ) -> Result<Vec<AddOutcome>, StoreError> {
        let outcomes = self.store().add(run, epoch, lines(drafts), changes).await?;
        // Another law covers the number of the waiting queue; here it would only disturb comparisons.
        let nameless = |outcome| match outcome {
            AddOutcome::Waiting(_) => AddOutcome::Waiting(0),
            other => other,
        };
        Ok(outcomes.into_iter().map(nameless).collect())
    }

    pub(crate) async fn add(&self, run: RunId, epoch: Epoch, drafts: &[Draft]) -> Vec<AddOutcome> {
        self.try_add(run, epoch, drafts, Changes::Replace)
            .await
            .expect("adds")
    }

    pub(crate) async fn end(&self, run: RunId, epoch: Epoch, requests: usize) {
        self.store()
            .end_ingest(run, epoch, &mark(requests))
            .await
            .expect("ends");
    }

    /// Does a complete reading of an input of these lines.
    pub(crate) async fn read(&self, run: RunId, drafts: &[Draft]) -> Vec<AddOutcome> {
        let epoch = self.begin(run).await;
        let outcomes = self.add(run, epoch, drafts).await;
        self.end(run, epoch, drafts.len()).await;
        outcomes
    }

    pub(crate) async fn claim(&self, run: RunId, limit: usize) -> Vec<Claimed> {
        self.claim_of(run, Claimable::All, limit).await
    }

    pub(crate) async fn claim_of(&self, run: RunId, which: Claimable, limit: usize) -> Vec<Claimed> {
        self.claim_as("a test", run, which, limit).await
    }

    pub(crate) async fn claim_as(
        &self,
        owner: &str,
        run: RunId,
        which: Claimable,
        limit: usize,
    ) -> Vec<Claimed> {
        let owner = Owner(owner.to_owned());
        self.store()
            .claim(run, &owner, which, limit, LEASE_MS)
            .await
            .expect("claims")
            .queues
    }

    /// Marks the queue as waiting for its answer, with no other work for it.
    pub(crate) async fn waits(&self, queue: &Claimed) {
        let held = self.store().mark(queue.lease, CrashMark::Waiting).await;
        assert!(held.expect("marks"), "the lease is good");
    }

    /// Claims the only queue that can be claimed.
    pub(crate) async fn claim_one(&self, run: RunId) -> Claimed {
        let mut claimed = self.claim(run, 100).await;
        assert_eq!(claimed.len(), 1, "one queue can be claimed");
        claimed.remove(0)
    }

    pub(crate) async fn settle(&self, settlement: Settlement) -> Settled {
        self.store().settle(settlement).await.expect("settles")
    }

    pub(crate) async fn settle_plan(&self, settlement: PlanSettlement) -> Settled {
        self.store().settle_plan(settlement).await.expect("settles")
    }

    pub(crate) async fn take_over(&self, queue: &Claimed) -> TakeOver {
        self.store().take_over(queue.lease).await.expect("takes over")
    }

    /// Settles the current task with one item of the kind of its action, and pauses behind it.
    pub(crate) async fn pause(&self, queue: &Claimed) -> Settled {
        self.make(queue, queue.current_task, Then::Pause).await
    }

    /// Settles a task with one item of the kind of its action.
    pub(crate) async fn make(&self, queue: &Claimed, task: usize, then: Then) -> Settled {
        let kind = &queue.tasks[task].action;
        self.settle(made(queue.lease, task, kind, then)).await
    }

    /// Releases the queue's lease.
    pub(crate) async fn release(&self, queue: &Claimed) {
        self.store()
            .release(vec![nova3::store::ReleasedLease::untouched(queue.lease)])
            .await
            .expect("releases");
    }

    /// Settles the current task with one item of kind `answer`.
    pub(crate) async fn done(&self, queue: &Claimed) -> Settled {
        self.settle(completed(queue.lease, queue.current_task, 1)).await
    }

    pub(crate) async fn fail(&self, queue: &Claimed, class: Class) -> Settled {
        self.settle(failed(queue.lease, queue.current_task, class)).await
    }

    /// Claims and completes queues one at a time until none can be claimed. Returns their order.
    pub(crate) async fn drain(&self, run: RunId) -> Vec<String> {
        let mut order = Vec::new();
        while let Some(queue) = self.claim(run, 1).await.pop() {
            for task in queue.current_task..queue.tasks.len() {
                self.settle(completed(queue.lease, task, 1)).await;
            }
            order.push(id(&queue));
        }
        order
    }

    pub(crate) async fn retry(&self, run: RunId) -> u64 {
        self.store()
            .retry(run, &Failures::default())
            .await
            .expect("retries")
    }

    /// Returns all finished requests of the present input, in order of completion.
    pub(crate) async fn finished(&self, run: RunId) -> Vec<Finished> {
        self.pages(run, Order::Completion, None).await
    }

    /// Returns all pages. Each page is small, so that every law also tests paging.
    pub(crate) async fn pages(&self, run: RunId, order: Order, since: Option<i64>) -> Vec<Finished> {
        let mut after = match order {
            Order::Completion => 0,
            Order::Input => -1,
        };
        let mut rows = Vec::new();
        loop {
            let page = self
                .store()
                .finished(run, order, since, after, 3)
                .await
                .expect("reads");
            if page.rows.is_empty() {
                return rows;
            }
            assert!(page.rows.len() <= 3 && page.after > after);
            after = page.after;
            rows.extend(page.rows);
        }
    }

    pub(crate) async fn names(&self, run: RunId) -> Vec<String> {
        self.finished(run).await.iter().map(show).collect()
    }

    /// Returns all settled events in short form. They are read in small pages.
    pub(crate) async fn events(&self, run: RunId, present: bool) -> Vec<String> {
        let mut after = 0;
        let mut rows = Vec::new();
        loop {
            let page = self.store().events(run, present, after, 2).await.expect("reads");
            if page.rows.is_empty() {
                break;
            }
            assert!(page.after > after);
            after = page.after;
            rows.extend(page.rows);
        }
        let numbers: Vec<i64> = rows.iter().map(|event| event.event_no).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        rows.iter().map(tell).collect()
    }

    pub(crate) async fn lines_epoch(&self, run: RunId) -> i64 {
        self.store().lines_epoch(run).await.expect("reads")
    }
}

/// The store in the database of that address.
pub(crate) async fn postgres_store(url: &str) -> PostgresStore {
    PostgresStore::open(database(url), Duration::ZERO)
        .await
        .expect("opens")
}

pub(crate) fn database(url: &str) -> Database {
    let source = Source::Flag("--store");
    match StoreAddress::read(Path::new(url), &source, &|_| None).expect("an address") {
        StoreAddress::Postgres(address) => Database::new(&address).expect("a pool"),
        StoreAddress::File(path) => panic!("{} is a file", path.display()),
    }
}

pub(crate) fn recipe(prompts: &str) -> ConfigFingerprint {
    ConfigFingerprint {
        prompts: prompts.to_owned(),
        models: "m".to_owned(),
    }
}

pub(crate) fn opening(name: &str) -> RunOpening {
    RunOpening {
        name: name.to_owned(),
        input: Some(format!("/in/{name}").into()),
        named: false,
        rehearsal: false,
        recipe: recipe("a"),
        terms: RunConstraints::default(),
        accept_drift: false,
    }
}

pub(crate) fn mark(requests: usize) -> InputMark {
    InputMark {
        digest: [7; 32],
        bytes: 1,
        requests: requests as u64,
    }
}

pub(crate) fn id(queue: &Claimed) -> String {
    queue.request.custom_id.clone().unwrap_or_default()
}

pub(crate) fn ids(queues: &[Claimed]) -> Vec<String> {
    queues.iter().map(id).collect()
}

/// A plan of these actions, made by the supervisor.
pub(crate) fn planned(lease: Lease, actions: &[&str]) -> PlanSettlement {
    PlanSettlement {
        lease,
        end: PlanEnd::Planned(PlanOrigin::Model, steps(actions)),
        making: making(10),
        attempts: vec![attempt(None, 10)],
    }
}

/// A failed planning.
pub(crate) fn planless(lease: Lease, class: Class) -> PlanSettlement {
    let mut making = making(0);
    making.wasted = Cost(3);
    PlanSettlement {
        lease,
        end: PlanEnd::Failed(Failure::new(class, "no plan")),
        making,
        attempts: vec![attempt(Some(class), 3)],
    }
}

/// A call with times and a cost. It has an answer unless it has a class.
pub(crate) fn attempt(class: Option<Class>, cost: u64) -> Attempt {
    Attempt {
        route: "primary".to_owned(),
        model: "m".to_owned(),
        lane: Lane::live(),
        end: class.map_or(CallEnd::Answered, CallEnd::Failed),
        used: class.is_none(),
        status_code: Some(200),
        usage: Usage {
            input_tokens: 10,
            cached_input_tokens: 4,
            cache_write_tokens: 3,
            output_tokens: 2,
        },
        cost: Some(Cost(cost)),
        uncertain: Cost::ZERO,
        started_at: 5,
        duration_ms: 20,
        first_token_ms: Some(3),
    }
}

pub(crate) fn making(cost: u64) -> Provenance {
    Provenance {
        route: "primary".to_owned(),
        model: "m".to_owned(),
        attempts: 1,
        usage: Usage {
            input_tokens: 10,
            cached_input_tokens: 4,
            cache_write_tokens: 3,
            output_tokens: 2,
        },
        cost: Some(Cost(cost)),
        wasted: Cost::ZERO,
        duration_ms: 20,
        first_token_ms: Some(3),
        fallback: None,
        degraded: false,
        warnings: vec![],
        made_from: None,
        sizes: nova3::domain::usage::TextSizes::NONE,
    }
}

pub(crate) fn items(count: usize) -> Product {
    items_of("answer", count)
}

fn items_of(kind: &str, count: usize) -> Product {
    let item = NewItem {
        kind: kind.to_owned(),
        body: body(),
    };
    Product::Items(vec![item; count])
}

/// The body of every item.
pub(crate) fn body() -> Map<String, Value> {
    Map::from_iter([("content".to_owned(), "好".into())])
}

pub(crate) fn made(lease: Lease, task: usize, kind: &str, then: Then) -> Settlement {
    let attempts = vec![attempt(None, 100)];
    Settlement::completed(lease, task, items_of(kind, 1), then, making(100), attempts)
}

pub(crate) fn completed(lease: Lease, task: usize, count: usize) -> Settlement {
    Settlement::completed(
        lease,
        task,
        items(count),
        Then::GoOn,
        making(100),
        vec![attempt(None, 100)],
    )
}

pub(crate) fn failed(lease: Lease, task: usize, class: Class) -> Settlement {
    let failure = Failure::new(class, "it did not work");
    let mut making = making(0);
    making.wasted = Cost(40);
    Settlement::failed(lease, task, failure, None, making, vec![attempt(Some(class), 40)])
}

/// A finished request in short form: its name or class, its place, its status, the ids of its items.
pub(crate) fn show(finished: &Finished) -> String {
    let name = finished.custom_id.as_deref().unwrap_or("-");
    let mut text = format!("{name}@{} {}", finished.index, finished.status.as_str());
    for task in &finished.tasks {
        let ids = task.result.as_deref().map(item_ids).unwrap_or_default();
        text.extend([" ", task.status.shown(), "[", &ids, "]"]);
    }
    text
}

fn item_ids(result: &RawValue) -> String {
    let result: Value = serde_json::from_str(result.get()).expect("it is JSON");
    let ids: Vec<&str> = result
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["id"].as_str())
        .collect();
    ids.join(",")
}

/// An event in short form: its request, the number of that request's tasks, and what happened.
pub(crate) fn tell(event: &SettledEvent) -> String {
    let what = match &event.what {
        Happening::Planned { steps } => {
            let steps: Vec<_> = steps.iter().map(|step| step.action.as_str()).collect();
            format!("planned {}", steps.join(","))
        }
        Happening::Completed { task_id, result, .. } => format!("{task_id}[{}]", item_ids(result)),
        Happening::Failed { task_id, class, .. } => {
            format!("failed {} {}", task_id.as_deref().unwrap_or("-"), class.as_str())
        }
        Happening::Paused { after, next } => {
            format!("paused {after} {}", next.as_deref().unwrap_or("-"))
        }
        Happening::Ended { status } => status.as_str().to_owned(),
    };
    let name = event.custom_id.as_deref().unwrap_or("-");
    format!("{name}/{} {what}", event.total_tasks)
}

/// The owner under which a harness claims.
pub(crate) fn owner() -> Owner {
    Owner("a test".to_owned())
}
