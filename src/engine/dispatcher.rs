//! The loop that owns the truth: what runs, what may start, when it is over.
//!
//! Each turn waits for one fact, changes the counters, and starts what may be started. Nobody else changes
//! a counter, claims a queue, or cancels a call.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ingest::{IngestFact, Intake};
use super::shutdown::Shutdown;
use super::signals::Signals;
use super::slots::Slots;
use super::worker::{Fact, Tools, work};
use super::{Driven, Exported, Exporting, Job, RunError, Wakes, World};
use crate::llm::Stop;
use crate::observe::{Ending, RunEvent, Snapshot};
use crate::store::{Claimable, Claimed, Owner, RunId, Settled, StoreError};

/// A lease is good for so long; it is renewed three times in that time. The length of a task does not matter.
const LEASE_MS: i64 = 30_000;

/// Snapshots for the display, and the fallback for a wake-up that nobody sent.
const TICK: Duration = Duration::from_millis(200);

type Claiming = Pin<Box<dyn Future<Output = Result<Vec<Claimed>, StoreError>> + Send>>;

/// Something to react to.
enum Turn {
    Claimed(Result<Vec<Claimed>, StoreError>),
    Fact(Fact),
    WorkerLost,
    Ingest(IngestFact),
    Signal(i32),
    Exported(Result<Exported, RunError>),
    GraceOver,
    Tick,
}

pub(super) struct Dispatcher<'a> {
    world: &'a World,
    run: RunId,
    owner: Owner,
    tools: Arc<Tools>,
    wakes: Wakes,
    slots: Slots,
    begun: Instant,

    workers: JoinSet<()>,
    facts: mpsc::UnboundedReceiver<Fact>,
    tell: mpsc::UnboundedSender<Fact>,
    claiming: Option<Claiming>,
    /// Whether a claim may find something: set by whatever makes queues ready.
    may_find: bool,
    ingested: bool,

    shutdown: Shutdown<'a>,
    next_beat: Instant,
    snapshot: Snapshot,
}

impl<'a> Dispatcher<'a> {
    pub(super) fn new(
        world: &'a World,
        job: &Job,
        run: RunId,
        owner: Owner,
        stop: Stop,
        wakes: Wakes,
        begun: Instant,
    ) -> Self {
        // Unbounded, because each running queue sends a handful of facts and queues are bounded by slots.
        let (tell, facts) = mpsc::unbounded_channel();
        let tools = Tools {
            store: Arc::clone(&world.store),
            client: Arc::clone(&world.client),
            agents: Arc::clone(&world.agents),
            planner: Arc::clone(&world.planner),
            budget: world.budget,
            stop: stop.clone(),
            plan_only: job.plan_only,
        };
        Self {
            world,
            run,
            owner,
            tools: Arc::new(tools),
            wakes,
            slots: Slots::new(job.concurrency),
            begun,
            workers: JoinSet::new(),
            facts,
            tell,
            claiming: None,
            may_find: true,
            ingested: false,
            shutdown: Shutdown::new(&world.announcer, stop, job.grace),
            next_beat: begun + beat(),
            snapshot: Snapshot::default(),
        }
    }

    /// Drives the run to its end. Whatever the ending, every settled task is durable on return, every
    /// finished line is written (unless the output failed), and every other lease was given back.
    pub(super) async fn drive(
        mut self,
        mut intake: Intake,
        exporting: Exporting,
        mut signals: Signals,
    ) -> Driven {
        let Exporting {
            tasks: mut exporters,
            finish,
        } = exporting;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_claim();
            if self.is_over().await {
                break;
            }
            let turn = tokio::select! {
                claimed = poll(&mut self.claiming) => Turn::Claimed(claimed),
                Some(fact) = self.facts.recv() => Turn::Fact(fact),
                Some(joined) = self.workers.join_next() => match joined {
                    Ok(()) => continue,
                    Err(_) => Turn::WorkerLost,
                },
                Some(fact) = intake.facts.recv() => Turn::Ingest(fact),
                signal = signals.next() => Turn::Signal(signal),
                Some(end) = exporters.join_next() => Turn::Exported(exported(end)),
                () = self.shutdown.grace_over() => Turn::GraceOver,
                _ = tick.tick() => Turn::Tick,
            };
            self.take(turn).await;
        }
        self.give_back().await;
        if !self.shutdown.is_abandoned() {
            finish.send_replace(true);
            self.wakes.all();
            while let Some(end) = exporters.join_next().await {
                self.exported(exported(end));
            }
        }
        self.shutdown.into_driven()
    }

    /// Asks for as many queues as may be claimed, one question at a time.
    fn start_claim(&mut self) {
        let free = self.slots.free();
        if self.claiming.is_some() || self.shutdown.has_begun() || !self.may_find || free == 0 {
            return;
        }
        let (store, run, owner) = (Arc::clone(&self.tools.store), self.run, self.owner.clone());
        let which = if self.tools.plan_only {
            Claimable::Unplanned
        } else {
            Claimable::All
        };
        self.may_find = false;
        self.claiming = Some(Box::pin(async move {
            store.claim(run, &owner, which, free, LEASE_MS).await
        }));
    }

    /// Over is when nothing runs, nothing can be started and nothing more will come.
    async fn is_over(&mut self) -> bool {
        if self.shutdown.is_abandoned() {
            return true;
        }
        if !self.slots.is_idle() || self.claiming.is_some() {
            return false;
        }
        if self.shutdown.has_begun() {
            return true;
        }
        if !self.ingested || self.may_find {
            return false;
        }
        if self.tools.plan_only {
            return true;
        }
        match self.tools.store.has_unfinished(self.run).await {
            Ok(unfinished) => !unfinished,
            Err(error) => {
                self.shutdown.fail(error.into());
                true
            }
        }
    }

    async fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Claimed(claimed) => self.claimed(claimed),
            Turn::Fact(fact) => self.fact(fact),
            Turn::WorkerLost => self.shutdown.fail(RunError::Broken {
                part: "a worker".to_owned(),
            }),
            Turn::Ingest(fact) => self.ingest(fact),
            Turn::Signal(signal) => self.shutdown.signal(signal, self.slots.calling()),
            Turn::Exported(end) => self.exported(end),
            Turn::GraceOver => self.shutdown.cancel(),
            Turn::Tick => self.tick().await,
        }
    }

    fn claimed(&mut self, claimed: Result<Vec<Claimed>, StoreError>) {
        self.claiming = None;
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => return self.shutdown.fail(error.into()),
        };
        if !claimed.is_empty() {
            self.may_find = true;
        }
        for queue in claimed {
            if self.shutdown.has_begun() {
                self.slots.leave(queue.lease);
                continue;
            }
            // Registered before it runs, so that the counters and the truth agree.
            self.slots.begin(queue.lease);
            self.workers
                .spawn(work(Arc::clone(&self.tools), queue, self.tell.clone()));
        }
    }

    fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::AnswerIn(lease) => {
                self.slots.answer_in(lease);
                self.may_find = true;
            }
            Fact::Settled {
                lease,
                settled,
                usage,
                cost,
            } => {
                self.snapshot.usage = self.snapshot.usage.plus(usage);
                self.snapshot.cost = self.snapshot.cost.plus(cost);
                self.snapshot.tasks += u64::from(settled != Settled::LostLease);
                if settled == Settled::Stepped {
                    return;
                }
                self.slots.end(lease);
                self.may_find = true;
                if let Settled::Finished { ok } = settled {
                    self.snapshot.finished += 1;
                    self.snapshot.finished_now += 1;
                    self.snapshot.failed += u64::from(!ok);
                    self.wakes.all();
                }
            }
            Fact::Interrupted(lease) => {
                self.slots.leave(lease);
                self.notice_dead_route();
            }
            Fact::StoreFailed(error) => self.shutdown.fail(error.into()),
        }
    }

    /// A dead route ends the run: its requests cannot go on, and failing them would make people pay again.
    fn notice_dead_route(&mut self) {
        if self.shutdown.has_begun() {
            return;
        }
        let dead = self.world.client.routes().iter().find_map(|route| {
            route
                .latched()
                .map(|error| (route.settings.name.clone(), error.message.clone()))
        });
        if let Some((route, reason)) = dead {
            let ending = Ending::NoRoute {
                reason: format!("route `{route}`: {reason}"),
            };
            let cause = format!("route `{route}` is dead for this run");
            self.shutdown.drain(ending, &cause, self.slots.calling());
            self.world
                .announcer
                .announce(RunEvent::RouteLatched { route, reason });
        }
    }

    fn ingest(&mut self, fact: IngestFact) {
        match fact {
            IngestFact::Unchanged(counts) => {
                self.snapshot.total = counts.total;
                self.snapshot.finished = counts.finished();
                self.snapshot.failed = counts.failed;
            }
            IngestFact::Added { lines, finished, bad } => {
                self.snapshot.total += lines;
                self.snapshot.finished += finished;
                self.snapshot.failed += bad;
                self.may_find = true;
                self.wakes.all();
            }
            IngestFact::Ended => {
                self.ingested = true;
                self.may_find = true;
                self.snapshot.total_known = true;
                self.wakes.all();
            }
            IngestFact::Failed(error) => self.shutdown.fail_gently(error, self.slots.calling()),
        }
    }

    fn exported(&mut self, end: Result<Exported, RunError>) {
        let calls = self.slots.calling();
        match end {
            Ok(Exported::All) => {}
            Ok(Exported::Closed) => {
                self.shutdown
                    .drain(Ending::ClosedPipe, "the reader of the output has gone", calls);
            }
            Err(error) => self.shutdown.fail_gently(error, calls),
        }
    }

    async fn tick(&mut self) {
        self.may_find |= self.slots.is_idle();
        if Instant::now() >= self.next_beat {
            self.next_beat = Instant::now() + beat();
            let held = self.slots.held();
            if !held.is_empty()
                && let Err(error) = self.tools.store.renew(&held, LEASE_MS).await
            {
                return self.shutdown.fail(error.into());
            }
        }
        self.snapshot.running = self.slots.calling();
        self.snapshot.elapsed = self.begun.elapsed();
        self.snapshot.waits = self.slots.waits(self.world.client.routes(), self.ingested);
        self.world
            .announcer
            .announce(RunEvent::Progressed(self.snapshot.clone()));
    }

    /// Gives back what was claimed and not done. If the store is broken, the next start does it.
    async fn give_back(&mut self) {
        if self.shutdown.is_abandoned() && !self.shutdown.has_failed() {
            self.slots.leave_all();
        }
        self.workers.abort_all();
        let leases = self.slots.take_left();
        if leases.is_empty() {
            return;
        }
        if let Err(error) = self.tools.store.release(&leases).await {
            self.shutdown.note(error.into());
        }
    }
}

fn exported(end: Result<Result<Exported, RunError>, JoinError>) -> Result<Exported, RunError> {
    end.unwrap_or_else(|_| {
        Err(RunError::Broken {
            part: "the exporter".to_owned(),
        })
    })
}

const fn beat() -> Duration {
    Duration::from_millis(LEASE_MS.unsigned_abs() / 3)
}

/// The outcome of the claim under way; never, if there is none.
async fn poll(claiming: &mut Option<Claiming>) -> Result<Vec<Claimed>, StoreError> {
    match claiming {
        Some(claiming) => claiming.await,
        None => std::future::pending().await,
    }
}
