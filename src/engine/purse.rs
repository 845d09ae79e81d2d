//! The money of a run with a cost cap: what may be spent is decided and remembered by the store.
//!
//! A call that finds no room waits while others are on their way, because most come in far below what they may cost
//! at most; those who wait ask in turn. When nothing is on its way any more, the money is spent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Mutex, watch};

use super::worker::Fact;
use crate::domain::usage::Cost;
use crate::llm::{Purse, Reserve, Reserved, Stop};
use crate::store::{Lease, Reservation, RunId, Store};

/// The money of a run, as its workers in this process share it.
pub(super) struct Till {
    store: Arc<dyn Store>,
    run: RunId,
    cap: Cost,
    /// Held by the one that waits and asks again; tokio's mutex is fair.
    turn: Mutex<()>,
    queueing: AtomicUsize,
    /// Calls that hold money back: sent, or answered and not settled yet.
    on_their_way: AtomicUsize,
    freed: watch::Sender<()>,
}

impl Till {
    pub(super) fn new(store: Arc<dyn Store>, run: RunId, cap: Cost) -> Self {
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

    /// How many calls wait for money.
    pub(super) fn queueing(&self) -> usize {
        self.queueing.load(Ordering::Relaxed)
    }

    /// What a task under a lease pays from.
    pub(super) fn purse<'t>(
        &'t self,
        lease: Lease,
        task: Option<usize>,
        stop: &'t Stop,
        facts: &'t UnboundedSender<Fact>,
    ) -> LeasePurse<'t> {
        LeasePurse {
            till: self,
            lease,
            task,
            stop,
            facts,
            holds: AtomicBool::new(false),
        }
    }
}

/// The purse of one task. It holds money back until it is dropped, which is to be after the task is settled.
pub(super) struct LeasePurse<'t> {
    till: &'t Till,
    lease: Lease,
    task: Option<usize>,
    stop: &'t Stop,
    facts: &'t UnboundedSender<Fact>,
    holds: AtomicBool,
}

/// Counts one that waits for as long as it waits.
struct Queueing<'t>(&'t AtomicUsize);

impl Drop for Queueing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LeasePurse<'_> {
    /// Whether the store holds the money back; `None` if it failed, which ends the run.
    async fn ask(&self, call: &Reserve<'_>) -> Option<bool> {
        let reservation = Reservation {
            lease: self.lease,
            task: self.task,
            route: call.route.to_owned(),
            model: call.model.to_owned(),
            spent: call.spent,
            worst: call.worst,
        };
        match self
            .till
            .store
            .reserve(self.till.run, &reservation, self.till.cap)
            .await
        {
            Ok(fits) => Some(fits),
            Err(error) => {
                // A dispatcher that is gone has ended the run already.
                drop(self.facts.send(Fact::StoreFailed(error)));
                None
            }
        }
    }

    fn hold(&self) {
        if !self.holds.swap(true, Ordering::Relaxed) {
            self.till.on_their_way.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn let_go(&self) {
        if self.holds.swap(false, Ordering::Relaxed) {
            self.till.on_their_way.fetch_sub(1, Ordering::SeqCst);
            self.till.freed.send_replace(());
        }
    }

    async fn in_turn(&self, call: &Reserve<'_>) -> Reserved {
        self.till.queueing.fetch_add(1, Ordering::Relaxed);
        let _queueing = Queueing(&self.till.queueing);
        let _turn = tokio::select! {
            biased;
            () = self.stop.drain.cancelled() => return Reserved::Ending,
            turn = self.till.turn.lock() => turn,
        };
        // Before the question, so that nothing that is freed meanwhile is missed.
        let mut freed = self.till.freed.subscribe();
        loop {
            let others = self.till.on_their_way.load(Ordering::SeqCst);
            match self.ask(call).await {
                None => return Reserved::Ending,
                Some(true) => {
                    self.hold();
                    return Reserved::AfterWaiting;
                }
                Some(false) if others == 0 => return Reserved::NoMoney,
                Some(false) => {}
            }
            tokio::select! {
                biased;
                () = self.stop.drain.cancelled() => return Reserved::Ending,
                changed = freed.changed() => drop(changed),
            }
        }
    }
}

#[async_trait]
impl Purse for LeasePurse<'_> {
    async fn reserve(&self, call: &Reserve<'_>) -> Reserved {
        if self.till.queueing() == 0 {
            // Held before it is known, so that nobody takes the run for spent meanwhile.
            self.hold();
            match self.ask(call).await {
                None => return Reserved::Ending,
                Some(true) => return Reserved::AtOnce,
                Some(false) => self.let_go(),
            }
        }
        self.in_turn(call).await
    }

    async fn give_back(&self, call: &Reserve<'_>) {
        // Durable first: whoever is woken by it finds the money.
        if self.ask(call).await.is_some() {
            self.let_go();
        }
    }
}

impl Drop for LeasePurse<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}
