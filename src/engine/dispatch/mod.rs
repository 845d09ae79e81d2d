//! The dispatcher's loop: it decides what runs, what may start, and when the run is over.
//!
//! Each round waits for one event, changes the counters, and starts what may start. No other part changes a counter,
//! claims a queue, or cancels a call.

pub(in crate::engine) mod background_writes;
mod claiming;
mod event;
mod failure_reasons;
pub(in crate::engine) mod heartbeat;
mod leaving;
mod memory;
pub(in crate::engine) mod outage;
pub(in crate::engine) mod poll_backoff;
mod present_calls;
mod progress_counters;
mod quarantine;
mod reading;
mod route_changes;
pub(in crate::engine) mod shutdown;
mod slots;
mod stop_conditions;
mod ticking;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock;
use crate::engine::RunError;
use crate::engine::dispatch::background_writes::BackgroundWrites;
use crate::engine::dispatch::event::{Claiming, DispatchEvent, exported, poll};
use crate::engine::dispatch::failure_reasons::FailureReasons;
use crate::engine::dispatch::heartbeat::Heartbeat;
use crate::engine::dispatch::memory::Memory;
use crate::engine::dispatch::outage::Outage;
use crate::engine::dispatch::poll_backoff::PollBackoff;
use crate::engine::dispatch::progress_counters::ProgressCounters;
use crate::engine::dispatch::quarantine::Quarantine;
use crate::engine::dispatch::route_changes::RouteChanges;
use crate::engine::dispatch::shutdown::Shutdown;
use crate::engine::dispatch::slots::Slots;
use crate::engine::dispatch::stop_conditions::StopConditions;
use crate::engine::input::ingest::Intake;
use crate::engine::job::{Driven, Exported, Exporting, Job, Services};
use crate::engine::signals::Signals;
use crate::engine::wakes::Wakes;
use crate::engine::work::worker::{Fact, Tools};
use crate::llm::{Chain, Stop, Stopped};
use crate::observe::RunEnding;
use crate::store::{Owner, ReleasedLease, RunId, Settled, StoreError};

/// The interval of progress snapshots. It is also the longest wait if a wake-up was lost.
const TICK: Duration = Duration::from_millis(200);

pub(in crate::engine) struct Dispatcher<'a> {
    services: &'a Services,
    run: RunId,
    owner: Owner,
    tools: Arc<Tools>,
    wakes: Wakes,
    slots: Slots,

    workers: JoinSet<()>,
    facts: mpsc::UnboundedReceiver<Fact>,
    tell: mpsc::UnboundedSender<Fact>,
    claiming: Option<Claiming>,
    /// Whether a claim may find a queue. Every event that may make a queue ready sets it.
    may_find: bool,
    quarantine: Quarantine,
    ingested: bool,
    /// The time since which failures wait for proof.
    held_since: Option<Instant>,
    /// Whether queues may be claimed. Not before the input is known to hold a request.
    is_read: bool,
    /// Whether the store was already asked if anything is unfinished. A poll and a settlement reset it.
    looked: bool,
    /// Whether the run ends for this process when nothing is left that it could claim.
    leaves_to_others: bool,

    /// The first error of a queue whose outcome the store refuses. The run ends with it when all others are done.
    unsettled: Option<StoreError>,

    shutdown: Shutdown<'a>,
    stop_conditions: StopConditions,
    watched: RouteChanges,
    heartbeat: Heartbeat,
    poll_backoff: PollBackoff,
    background_writes: BackgroundWrites,
    outage: Outage,
    counters: ProgressCounters,
    reasons: FailureReasons,
    memory: Memory,
}

impl<'a> Dispatcher<'a> {
    pub(in crate::engine) fn new(
        services: &'a Services,
        job: &Job,
        run: RunId,
        owner: Owner,
        stop: Stop,
        wakes: Wakes,
        begun: Instant,
    ) -> Self {
        // Unbounded, because each running queue sends a handful of facts and queues are bounded by slots.
        let (tell, facts) = mpsc::unbounded_channel();
        let tools = Tools::new(services, job, run);
        let heartbeat = Heartbeat::new(Arc::clone(&services.store), owner.clone(), job.lease);
        let memory = Memory::new(job.memory_limit, job.max_queues);
        if let Some(limit) = memory.limit() {
            services.client.keep_below(limit);
        }
        let deadline = job.conditions.deadline;
        let deadline = deadline.and_then(|when| begun.checked_add(when.left(clock::now())));
        Self {
            services,
            run,
            owner,
            tools: Arc::new(tools),
            wakes,
            slots: Slots::new(job.concurrency, job.max_queues),
            workers: JoinSet::new(),
            facts,
            tell,
            claiming: None,
            may_find: true,
            quarantine: Quarantine::new(),
            ingested: false,
            held_since: None,
            is_read: false,
            looked: false,
            leaves_to_others: job.leaves_to_others,
            unsettled: None,
            shutdown: Shutdown::new(&services.events, stop, job.grace, deadline),
            stop_conditions: StopConditions::new(job.conditions),
            watched: RouteChanges::default(),
            heartbeat,
            poll_backoff: PollBackoff::new(),
            background_writes: BackgroundWrites::default(),
            outage: Outage::default(),
            counters: ProgressCounters::new(begun),
            reasons: FailureReasons::default(),
            memory,
        }
    }

    /// Drives the run to its end. On return every settled task is durable. Every finished line is written and every
    /// other lease was released, unless the run ended at once or the store or the output failed.
    pub(in crate::engine) async fn drive(
        mut self,
        mut intake: Intake,
        exporting: Exporting,
        signals: &mut Signals,
    ) -> Driven {
        let Exporting {
            tasks: mut exporters,
            finish,
        } = exporting;
        let doubts = self.shutdown.doubts().clone();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.start_claim();
            self.weigh_doubts();
            if self.is_over().await {
                break;
            }
            let event = tokio::select! {
                event = poll(&mut self.claiming) => event,
                beat = self.heartbeat.beaten() => DispatchEvent::Renewed(beat),
                done = self.background_writes.done() => DispatchEvent::Written(done),
                Some(fact) = self.facts.recv() => DispatchEvent::Fact(fact),
                Some(joined) = self.workers.join_next() => match joined {
                    Ok(()) => continue,
                    Err(_) => DispatchEvent::WorkerLost,
                },
                Some(fact) = intake.facts.recv() => DispatchEvent::Ingest(fact),
                signal = signals.next() => DispatchEvent::Signal(signal),
                Some(end) = exporters.join_next() => DispatchEvent::Exported(exported(end)),
                () = doubts.came() => DispatchEvent::InDoubt,
                () = self.shutdown.grace_over() => DispatchEvent::GraceOver,
                () = self.shutdown.end_of_time() => DispatchEvent::TimeOver,
                () = self.shutdown.deadline() => DispatchEvent::Deadline,
                () = self.poll_backoff.due() => DispatchEvent::Look,
                _ = tick.tick() => DispatchEvent::Tick,
            };
            self.handle(event);
        }
        self.give_back().await;
        if !self.shutdown.is_abandoned() {
            finish.send_replace(true);
            self.wakes.all();
            self.last_lines(&mut exporters, signals).await;
        }
        let (done, change) = (self.counters.done(), self.counters.change());
        Driven {
            change,
            ..self.shutdown.into_driven(done, self.reasons.commonest())
        }
    }

    /// Whether the loop is over: nothing runs, nothing can start and nothing more will come.
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
        let used_up = self.stop_conditions.is_used_up();
        if !self.ingested || (self.may_find && !used_up) {
            if used_up {
                self.shutdown.drain(RunEnding::Limit, "", 0);
            }
            return used_up;
        }
        if self.tools.plan_only {
            return true;
        }
        let Some(unfinished) = self.has_unfinished().await else {
            return false;
        };
        let ending = match unfinished {
            Ok(false) => return true,
            Ok(true) if self.unsettled.is_some() => {
                let error = self.unsettled.take();
                error
                    .into_iter()
                    .for_each(|error| self.shutdown.note(error.into()));
                return true;
            }
            // The remaining queues are blocked: their chain is dead, or an earlier line of their session waits for a
            // dead chain.
            Ok(true) if self.slots.has_parked() => self.stop_conditions.no_route(),
            Ok(true) if used_up => RunEnding::Limit,
            Ok(true) if self.has_stuck().await => return true,
            // The remaining queues are leased by others, wait for them, are snoozed, or belong to an outside job.
            Ok(true) => return self.leaves_to_others && !self.quarantine.has_snoozing(),
            Err(error) => {
                self.shutdown.fail(error.into());
                return true;
            }
        };
        self.shutdown.drain(ending, "", 0);
        true
    }

    fn handle(&mut self, event: DispatchEvent) {
        match event {
            DispatchEvent::Claimed(claimed, until) => self.claimed(claimed, until),
            DispatchEvent::Renewed(beat) => self.beaten(beat),
            DispatchEvent::Written(Ok(())) => {}
            DispatchEvent::Written(Err(error)) => self.shutdown.fail(error),
            DispatchEvent::Fact(fact) => self.fact(fact),
            DispatchEvent::WorkerLost => self.shutdown.fail(RunError::Broken {
                part: "a worker".to_owned(),
            }),
            DispatchEvent::Ingest(fact) => self.ingest(fact),
            DispatchEvent::Signal(signal) => self.shutdown.signal(signal, self.slots.calling()),
            DispatchEvent::Exported(end) => self.exported(end),
            DispatchEvent::GraceOver => self.shutdown.cancel(),
            DispatchEvent::TimeOver => self.time_is_over(),
            DispatchEvent::Deadline => {
                let calls = self.slots.calling();
                self.shutdown
                    .drain(RunEnding::Deadline, "the deadline has come", calls);
            }
            // A held request holds no slot, so another queue may start.
            DispatchEvent::InDoubt => self.may_find = true,
            DispatchEvent::Look => self.look(),
            DispatchEvent::Tick => self.tick(),
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
                self.counters.settled(settled, usage, cost);
                if matches!(settled, Settled::Stepped | Settled::Moved(_)) {
                    return;
                }
                self.slots.end(lease);
                self.memory.ended();
                self.may_find = true;
                self.looked = false;
                if let Settled::Finished { ok } = settled {
                    self.wakes.all();
                    if let Some(ending) = self.stop_conditions.finished(ok) {
                        let calls = self.slots.calling();
                        self.shutdown
                            .drain(ending, "too many requests have failed", calls);
                    }
                }
            }
            Fact::Failed(reason) => self.reasons.failed(reason),
            Fact::Interrupted(left, why) => self.interrupted(left, &why),
            Fact::FannedOut => self.may_find = true,
            Fact::Unsettled(lease, error) => {
                self.slots.park(ReleasedLease::untouched(lease));
                self.unsettled.get_or_insert(error);
                self.may_find = true;
            }
            Fact::StoreFailed(error) => self.shutdown.fail(error.into()),
        }
    }

    fn interrupted(&mut self, left: ReleasedLease, why: &Stopped) {
        let calls = self.slots.calling().saturating_sub(1);
        if !self.stop_conditions.is_about_routes(why) {
            let is_subtask = left.task.is_subtask();
            self.slots.leave(left);
            if !self.shutdown.has_begun() {
                if !is_subtask {
                    self.stop_conditions.given_back();
                }
                self.release();
            }
            if *why == Stopped::NoMoney {
                let ending = self.stop_conditions.no_money();
                self.shutdown.drain(ending, "the cost cap is reached", calls);
            }
            return;
        }
        // Failing these requests would make the user pay again. Other requests may use a chain that still works.
        self.slots.park(left);
        let chains = self.services.client.chains();
        if chains.iter().all(Chain::is_dead) || chains.len() == 1 || self.slots.is_full_of_parked() {
            let ending = self.stop_conditions.no_route();
            self.shutdown.drain(ending, "no route is usable any more", calls);
        }
    }

    fn exported(&mut self, end: Result<Exported, RunError>) {
        let calls = self.slots.calling();
        match end {
            Ok(Exported::All) => {}
            Ok(Exported::Closed) => {
                self.shutdown
                    .drain(RunEnding::ClosedPipe, "the reader of the output has gone", calls);
            }
            Err(error) => self.shutdown.fail_gently(error, calls),
        }
    }
}
