//! The loop that owns the truth: what runs, what may start, when it is over.
//!
//! Each turn waits for one fact, changes the counters, and starts what may be started. Nobody else changes
//! a counter, claims a queue, or cancels a call.

mod claiming;
mod input;
mod leaving;
mod ticking;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::clock;
use crate::engine::board::Board;
use crate::engine::errands::Errands;
use crate::engine::halts::Halts;
use crate::engine::ingest::Intake;
use crate::engine::keeper::Keeper;
use crate::engine::looks::Looks;
use crate::engine::memory::Memory;
use crate::engine::outage::Outage;
use crate::engine::quarantine::Quarantine;
use crate::engine::reasons::Reasons;
use crate::engine::routes::Watched;
use crate::engine::shutdown::Shutdown;
use crate::engine::signals::Signals;
use crate::engine::slots::Slots;
use crate::engine::turn::{Claiming, Turn, exported, poll};
use crate::engine::worker::{Fact, Tools};
use crate::engine::{Driven, Exported, Exporting, Job, RunError, Wakes, World};
use crate::llm::{Chain, Stop, Stopped};
use crate::observe::Ending;
use crate::store::{Lease, Left, Owner, RunId, Settled, StoreError};

/// Snapshots for the display, and the fallback for a wake-up that nobody sent.
const TICK: Duration = Duration::from_millis(200);

pub(super) struct Dispatcher<'a> {
    world: &'a World,
    run: RunId,
    owner: Owner,
    tools: Arc<Tools>,
    wakes: Wakes,
    slots: Slots,

    workers: JoinSet<()>,
    facts: mpsc::UnboundedReceiver<Fact>,
    tell: mpsc::UnboundedSender<Fact>,
    claiming: Option<Claiming>,
    /// Whether a claim may find something: set by whatever makes queues ready.
    may_find: bool,
    quarantine: Quarantine,
    ingested: bool,
    /// Since when failures wait for proof.
    held_since: Option<Instant>,
    /// A queue that the store calls unfinished and that has no task left.
    stuck: Option<Lease>,
    /// Whether anything may be claimed: not before the input is known to hold something.
    is_read: bool,
    /// Whether it was asked, since the last look at a shared store, if anything is left.
    looked: bool,
    /// Whether the run is over for this process when nothing is left that it could claim.
    leaves_to_others: bool,

    /// Why a queue is parked of which the store takes nothing: the run ends with that when all others are done.
    unsettled: Option<StoreError>,

    shutdown: Shutdown<'a>,
    halts: Halts,
    watched: Watched,
    keeper: Keeper,
    looks: Looks,
    errands: Errands,
    outage: Outage,
    board: Board,
    reasons: Reasons,
    memory: Memory,
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
        let tools = Tools::new(world, job, run);
        let keeper = Keeper::new(Arc::clone(&world.store), owner.clone(), job.lease);
        let memory = Memory::new(job.memory_limit, job.max_queues);
        if let Some(limit) = memory.limit() {
            world.client.keep_below(limit);
        }
        let deadline = job.conditions.deadline;
        let deadline = deadline.and_then(|when| begun.checked_add(when.left(clock::now())));
        Self {
            world,
            run,
            owner,
            tools: Arc::new(tools),
            wakes,
            slots: Slots::new(job.concurrency, job.max_queues, world.store.is_shared()),
            workers: JoinSet::new(),
            facts,
            tell,
            claiming: None,
            may_find: true,
            quarantine: Quarantine::new(),
            ingested: false,
            held_since: None,
            stuck: None,
            is_read: false,
            looked: false,
            leaves_to_others: job.leaves_to_others,
            unsettled: None,
            shutdown: Shutdown::new(&world.announcer, stop, job.grace, deadline),
            halts: Halts::new(job.conditions),
            watched: Watched::default(),
            keeper,
            looks: Looks::new(),
            errands: Errands::default(),
            outage: Outage::default(),
            board: Board::new(begun),
            reasons: Reasons::default(),
            memory,
        }
    }

    /// Drives the run to its end. Whatever the ending, every settled task is durable on return, every
    /// finished line is written (unless the output failed), and every other lease was given back.
    pub(super) async fn drive(
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
            let turn = tokio::select! {
                turn = poll(&mut self.claiming) => turn,
                beat = self.keeper.beaten() => Turn::Beat(beat),
                done = self.errands.done() => Turn::Errand(done),
                Some(fact) = self.facts.recv() => Turn::Fact(fact),
                Some(joined) = self.workers.join_next() => match joined {
                    Ok(()) => continue,
                    Err(_) => Turn::WorkerLost,
                },
                Some(fact) = intake.facts.recv() => Turn::Ingest(fact),
                signal = signals.next() => Turn::Signal(signal),
                Some(end) = exporters.join_next() => Turn::Exported(exported(end)),
                () = doubts.came() => Turn::InDoubt,
                () = self.shutdown.grace_over() => Turn::GraceOver,
                () = self.shutdown.end_of_time() => Turn::TimeOver,
                () = self.shutdown.deadline() => Turn::Deadline,
                () = self.looks.due(), if self.tools.store.is_shared() => Turn::Look,
                _ = tick.tick() => Turn::Tick,
            };
            self.take(turn);
        }
        self.give_back().await;
        if !self.shutdown.is_abandoned() {
            finish.send_replace(true);
            self.wakes.all();
            self.last_lines(&mut exporters, signals).await;
        }
        let done = self.board.done();
        self.shutdown.into_driven(done, self.reasons.commonest())
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
        let used_up = self.halts.is_used_up();
        if !self.ingested || (self.may_find && !used_up) {
            if used_up {
                self.shutdown.drain(Ending::Limit, "", 0);
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
            // What is left waits for a chain that is of no use, or for a session that does.
            Ok(true) if self.slots.has_parked() => self.halts.no_route(),
            Ok(true) if used_up => Ending::Limit,
            // The others are done by now.
            Ok(true) if self.stuck.is_some() => return self.ends_with_stuck(),
            // Others have it, or it waits for them.
            Ok(true) => return self.leaves_to_others && !self.quarantine.has_snoozing(),
            Err(error) => {
                self.shutdown.fail(error.into());
                return true;
            }
        };
        self.shutdown.drain(ending, "", 0);
        true
    }

    fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Claimed(claimed, until) => self.claimed(claimed, until),
            Turn::Beat(beat) => self.beaten(beat),
            Turn::Errand(Ok(())) => {}
            Turn::Errand(Err(error)) => self.shutdown.fail(error),
            Turn::Fact(fact) => self.fact(fact),
            Turn::WorkerLost => self.shutdown.fail(RunError::Broken {
                part: "a worker".to_owned(),
            }),
            Turn::Ingest(fact) => self.ingest(fact),
            Turn::Signal(signal) => self.shutdown.signal(signal, self.slots.calling()),
            Turn::Exported(end) => self.exported(end),
            Turn::GraceOver => self.shutdown.cancel(),
            Turn::TimeOver => self.time_is_over(),
            Turn::Deadline => {
                let calls = self.slots.calling();
                self.shutdown
                    .drain(Ending::Deadline, "the deadline has come", calls);
            }
            // Its slot is free.
            Turn::InDoubt => self.may_find = true,
            Turn::Look => self.look(),
            Turn::Tick => self.tick(),
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
                self.board.settled(settled, usage, cost);
                if settled == Settled::Stepped {
                    return;
                }
                self.slots.end(lease);
                self.memory.ended();
                self.may_find = true;
                if let Settled::Finished { ok } = settled {
                    self.wakes.all();
                    if let Some(ending) = self.halts.finished(ok) {
                        let calls = self.slots.calling();
                        self.shutdown
                            .drain(ending, "too many requests have failed", calls);
                    }
                }
            }
            Fact::Failed(reason) => self.reasons.failed(reason),
            Fact::Interrupted(left, why) => self.interrupted(left, &why),
            Fact::NothingToDo(lease) => self.stuck(lease),
            Fact::Unsettled(lease, error) => {
                tracing::error!(
                    queue.id = lease.queue_id,
                    "nothing can be settled of a queue: {error}"
                );
                self.slots.park(Left::untouched(lease));
                self.unsettled.get_or_insert(error);
                self.may_find = true;
            }
            Fact::StoreFailed(error) => self.shutdown.fail(error.into()),
        }
    }

    fn interrupted(&mut self, left: Left, why: &Stopped) {
        let calls = self.slots.calling().saturating_sub(1);
        if !self.halts.is_about_routes(why) {
            self.slots.leave(left);
            if !self.shutdown.has_begun() {
                self.halts.given_back();
                self.release();
            }
            if *why == Stopped::NoMoney {
                let ending = self.halts.no_money();
                self.shutdown.drain(ending, "the cost cap is reached", calls);
            }
            return;
        }
        // Failing these requests would make people pay again; others may name a route that is alive.
        self.slots.park(left);
        let chains = self.world.client.chains();
        if chains.iter().all(Chain::is_dead) || chains.len() == 1 || self.slots.is_full_of_parked() {
            let ending = self.halts.no_route();
            self.shutdown.drain(ending, "no route is usable any more", calls);
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
}
