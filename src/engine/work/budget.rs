//! The cost cap of a run: each call reserves its highest possible cost before it is sent.
//!
//! The store decides whether a reservation fits below the cap. A call that does not fit waits while other calls are in
//! flight, because most calls cost far less than they reserve. Waiting calls are served in order of arrival. When no
//! call of the run is in flight any more, in this process or in another one, the budget is spent.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Mutex, watch};

use crate::domain::lane::Lane;
use crate::domain::task::TaskNo;
use crate::domain::usage::Cost;
use crate::engine::work::worker::Fact;
use crate::llm::{CostReservation, Reserve, Reserved, Stop};
use crate::store::{Hold, Lease, Reservation, RunId, Store, StoreError};

/// How often a waiting call asks again while only other processes hold reservations.
const ELSEWHERE: Duration = Duration::from_millis(500);

/// The cost cap of a run, shared by the workers of this process.
pub(in crate::engine) struct CostBudget {
    store: Arc<dyn Store>,
    run: RunId,
    cap: Cost,
    /// Held by the waiting call that asks again. Tokio's mutex is fair, which keeps the order of arrival.
    turn: Mutex<()>,
    queueing: AtomicUsize,
    /// Calls with a reservation: they are in flight, or answered and not settled yet.
    on_their_way: AtomicUsize,
    freed: watch::Sender<()>,
}

impl CostBudget {
    pub(in crate::engine) fn new(store: Arc<dyn Store>, run: RunId, cap: Cost) -> Self {
        Self {
            store,
            run,
            cap,
            turn: Mutex::new(()),
            queueing: AtomicUsize::new(0),
            on_their_way: AtomicUsize::new(0),
            freed: watch::Sender::new(()),
        }
    }

    /// How many calls wait for a reservation.
    pub(in crate::engine) fn queueing(&self) -> usize {
        self.queueing.load(Ordering::Relaxed)
    }

    /// The reservation of a task under this lease. It is empty at first.
    pub(in crate::engine) fn reservation<'t>(
        &'t self,
        lease: Lease,
        task: TaskNo,
        stop: &'t Stop,
        facts: &'t UnboundedSender<Fact>,
    ) -> LeaseReservation<'t> {
        LeaseReservation {
            cost_budget: self,
            lease,
            task,
            stop,
            facts,
            holds: AtomicBool::new(false),
            refused: OnceLock::new(),
        }
    }
}

/// The reservation of one task. It ends when it is dropped, which must happen after the task is settled.
pub(in crate::engine) struct LeaseReservation<'t> {
    cost_budget: &'t CostBudget,
    lease: Lease,
    task: TaskNo,
    stop: &'t Stop,
    facts: &'t UnboundedSender<Fact>,
    holds: AtomicBool,
    refused: OnceLock<StoreError>,
}

/// Counts one waiting call until it is dropped.
struct Queueing<'t>(&'t AtomicUsize);

impl Drop for Queueing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LeaseReservation<'_> {
    /// The error with which the store refused a reservation of this lease, if it did.
    pub(in crate::engine) fn refused(&self) -> Option<&StoreError> {
        self.refused.get()
    }

    /// Asks the store for the reservation. `None` if the store failed, which ends the run, or if the lease is lost.
    async fn ask(&self, call: &Reserve<'_>) -> Option<Hold> {
        let reservation = Reservation {
            lease: self.lease,
            task: self.task,
            route: call.route.to_owned(),
            model: call.model.to_owned(),
            lane: Lane::of_tier(call.tier),
            spent: call.spent,
            worst: call.worst,
        };
        match self
            .cost_budget
            .store
            .reserve(self.cost_budget.run, &reservation, self.cost_budget.cap)
            .await
        {
            Ok(Hold::LostLease) => None,
            Ok(hold) => Some(hold),
            Err(error) if error.is_of_one_row() => {
                // A later error does not replace the first one, which is the cause.
                let _: Result<(), _> = self.refused.set(error);
                None
            }
            Err(error) => {
                // A dispatcher that has gone has already ended the run.
                drop(self.facts.send(Fact::StoreFailed(error)));
                None
            }
        }
    }

    fn hold(&self) {
        if !self.holds.swap(true, Ordering::Relaxed) {
            self.cost_budget.on_their_way.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn let_go(&self) {
        if self.holds.swap(false, Ordering::Relaxed) {
            self.cost_budget.on_their_way.fetch_sub(1, Ordering::SeqCst);
            self.cost_budget.freed.send_replace(());
        }
    }

    async fn in_turn(&self, call: &Reserve<'_>) -> Reserved {
        self.cost_budget.queueing.fetch_add(1, Ordering::Relaxed);
        let _queueing = Queueing(&self.cost_budget.queueing);
        let _turn = tokio::select! {
            biased;
            () = self.stop.drain.cancelled() => return Reserved::Ending,
            turn = self.cost_budget.turn.lock() => turn,
        };
        // Subscribe before asking, or a release in between is lost.
        let mut freed = self.cost_budget.freed.subscribe();
        loop {
            let others = self.cost_budget.on_their_way.load(Ordering::SeqCst);
            match self.ask(call).await {
                None => return Reserved::Ending,
                Some(Hold::Held) => {
                    self.hold();
                    return Reserved::AfterWaiting;
                }
                Some(Hold::NoRoom { others_hold: false }) if others == 0 => return Reserved::NoMoney,
                Some(_) => {}
            }
            tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => return Reserved::Ending,
                changed = freed.changed() => drop(changed),
                () = tokio::time::sleep(ELSEWHERE), if others == 0 => {}
            }
        }
    }
}

#[async_trait]
impl CostReservation for LeaseReservation<'_> {
    async fn reserve(&self, call: &Reserve<'_>) -> Reserved {
        if self.holds.load(Ordering::Relaxed) {
            // The reservation is for a call that was never sent, because its route became unusable. Other calls must
            // not wait for it.
            let nothing = Reserve {
                worst: Cost::ZERO,
                ..*call
            };
            self.give_back(&nothing).await;
        }
        if self.cost_budget.queueing() == 0 {
            // Counted before the store answers, or another call could take the budget for spent meanwhile.
            self.hold();
            match self.ask(call).await {
                None => return Reserved::Ending,
                Some(Hold::Held) => return Reserved::AtOnce,
                Some(_) => self.let_go(),
            }
        }
        self.in_turn(call).await
    }

    async fn give_back(&self, call: &Reserve<'_>) {
        // The store first: calls that this wakes up find the free money.
        if self.ask(call).await.is_some() {
            self.let_go();
        }
    }
}

impl Drop for LeaseReservation<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::domain::request::{Rules, Stops, read_line};
    use crate::store::sqlite::SqliteStore;
    use crate::store::{
        Changes, Claimable, Claimed, Ingest, Leases, NewLine, NewRequest, Owner, Planned, RunOpening, Runs,
    };

    /// A run with two leased queues.
    async fn two() -> (Arc<dyn Store>, RunId, Vec<Claimed>) {
        let store = SqliteStore::open(Path::new(":memory:"), Duration::ZERO, "a test").unwrap();
        let opening = RunOpening {
            name: "a".to_owned(),
            input: None,
            named: true,
            rehearsal: false,
            recipe: crate::store::ConfigFingerprint::default(),
            terms: crate::store::RunConstraints::default(),
            accept_drift: false,
        };
        let run = store.open_run(&opening).await.unwrap().id;
        let epoch = store.begin_ingest(run).await.unwrap();
        let line = |index: u64| {
            let known = read_line(format!(r#"{{"query":"q{index}"}}"#).as_bytes(), Rules::default()).unwrap();
            NewLine {
                line: index + 1,
                index,
                content: NewRequest::Good {
                    request: Box::new(known.request),
                    identity: known.identity,
                    content: known.content,
                    notes: known.notes,
                    plan: vec![Planned {
                        action: "answer".to_owned(),
                        description: String::new(),
                        input: "q".to_owned(),
                        needs: None,
                    }],
                    stops: Stops::default(),
                },
            }
        };
        let lines = vec![line(0), line(1)];
        store.add(run, epoch, lines, Changes::Replace).await.unwrap();
        let owner = Owner("a test".to_owned());
        let claims = store.claim(run, &owner, Claimable::All, 2, 1000).await.unwrap();
        (Arc::new(store), run, claims.queues)
    }

    fn call(worst: u64) -> Reserve<'static> {
        Reserve {
            route: "primary",
            model: "m",
            tier: None,
            spent: Cost::ZERO,
            worst: Cost(worst),
        }
    }

    #[tokio::test]
    async fn a_call_that_was_never_sent_waits_for_nobody_and_holds_nobody_up() {
        let (store, run, claimed) = two().await;
        let cost_budget = CostBudget::new(store, run, Cost(1000));
        let (facts, _listener) = tokio::sync::mpsc::unbounded_channel();
        let stop = Stop::default();
        let reservation =
            |queue: usize| cost_budget.reservation(claimed[queue].lease, TaskNo::planned(0), &stop, &facts);
        let (first, second) = (reservation(0), reservation(1));
        assert_eq!(first.reserve(&call(600)).await, Reserved::AtOnce);
        let waits = async move {
            let reserved = second.reserve(&call(700)).await;
            drop(second);
            reserved
        };
        tokio::pin!(waits);
        tokio::select! {
            biased;
            reserved = &mut waits => panic!("{reserved:?} above the cap"),
            () = async { while cost_budget.queueing() == 0 { tokio::task::yield_now().await; } } => {}
        }
        // The route of the first call became unusable before the call was sent, and another route costs more.
        let again = async move { first.reserve(&call(900)).await };
        let over = tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(waits, again) });
        // The possible cost of the second call stays spent, so the first call has no room.
        assert_eq!(over.await.unwrap(), (Reserved::AfterWaiting, Reserved::NoMoney));
    }
}
