//! Carries events from the run to its sinks, and counts them in place.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{OwnedPermit, Receiver, Sender, channel};

use super::event::{Event, RunEvent};
use super::event_tap::{EventTap, ExchangeDetail, Tap};
use super::task_event::{CallFact, TaskFact};

/// The capacity of one sink's queue: enough for a slow terminal, and small in memory.
const QUEUE: usize = 1024;

/// How long the end of a run waits for its sinks to finish.
const PATIENCE: Duration = Duration::from_secs(2);

/// Receives events on its own thread.
pub trait EventSink: Send {
    /// The sink's name, in log lines and as the name of its thread.
    fn name(&self) -> &'static str;

    /// Whether the sink receives events of tasks and calls. If no sink does, none are built.
    fn takes_tasks(&self) -> bool;

    /// Receives an event. It may be slow: later events wait in the queue, and are dropped when the queue is full.
    fn receive(&mut self, event: &Event);

    /// Called once, after the last event.
    fn finish(&mut self);
}

/// Publishes events to any number of sinks and taps. Clones share them.
#[derive(Debug, Clone)]
pub struct EventBus {
    sinks: Arc<Vec<Subscription>>,
    taps: Arc<[Tap]>,
}

/// A sink's queue.
struct Subscription {
    name: &'static str,
    takes_tasks: bool,
    queue: Mutex<Queue>,
    dropped: AtomicU64,
    /// Disconnects when the sink's thread ends.
    ended: Mutex<mpsc::Receiver<()>>,
}

/// The sending end of a queue. Both fields are `None` once it is closed.
struct Queue {
    sender: Option<Sender<Arc<Event>>>,
    /// A place that is kept for the end of the run, so that this event is never dropped.
    last: Option<OwnedPermit<Arc<Event>>>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("name", &self.name)
            .field("takes_tasks", &self.takes_tasks)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}

impl EventBus {
    /// Starts a thread for each sink.
    pub fn start(sinks: Vec<Box<dyn EventSink>>) -> std::io::Result<Self> {
        let started: std::io::Result<Vec<Subscription>> =
            sinks.into_iter().map(Subscription::start).collect();
        Ok(Self {
            sinks: Arc::new(started?),
            taps: Arc::new([]),
        })
    }

    /// Returns the bus with observers that receive events in place.
    #[must_use]
    pub fn with_taps(self, taps: Vec<Arc<dyn EventTap>>) -> Self {
        let taps: Arc<[Tap]> = taps.into_iter().map(Tap::new).collect();
        for sink in self.sinks.iter() {
            taps.iter().for_each(|tap| tap.missed(sink.name, 0));
        }
        Self { taps, ..self }
    }

    /// How much of the exchanges with models the observers need.
    #[must_use]
    pub fn detail(&self) -> ExchangeDetail {
        let details = self.taps.iter().map(Tap::detail);
        details.max().unwrap_or(ExchangeDetail::None)
    }

    /// Whether any observer receives events of tasks and calls.
    #[must_use]
    pub fn takes_tasks(&self) -> bool {
        !self.taps.is_empty() || self.sinks.iter().any(|sink| sink.takes_tasks)
    }

    /// Counts the event, and sends it to each sink that receives its kind. Never blocks. The event is dropped and
    /// counted for a sink whose queue is full, and for every sink after [`Self::close`].
    pub fn publish(&self, event: Event) {
        for tap in self.taps.iter() {
            tap.observe(&event);
        }
        // Only a tap takes an exchange, which may hold long texts.
        if matches!(&event, Event::Task(event) if matches!(event.fact, TaskFact::Call(CallFact::Exchanged { .. })))
        {
            return;
        }
        let is_of_run = matches!(event, Event::Run(_));
        let mut takers = self
            .sinks
            .iter()
            .filter(|sink| sink.takes_tasks || is_of_run)
            .peekable();
        if takers.peek().is_none() {
            return;
        }
        let event = Arc::new(event);
        for sink in takers {
            if !sink.offer(&event) {
                self.taps.iter().for_each(|tap| tap.missed(sink.name, 1));
            }
        }
    }

    /// Publishes an event of the run.
    pub fn publish_run(&self, event: RunEvent) {
        self.publish(Event::Run(event));
    }

    /// Ends each sink after the events in its queue, one sink after the other in the order of their start. Waits two
    /// seconds for all of them together, and does not wait longer for a sink that is still busy. Returns how many
    /// events each sink has missed.
    pub fn close(&self) -> Vec<(&'static str, u64)> {
        let until = Instant::now() + PATIENCE;
        self.sinks
            .iter()
            .map(|sink| (sink.name, sink.close(until)))
            .collect()
    }
}

impl Subscription {
    fn start(sink: Box<dyn EventSink>) -> std::io::Result<Self> {
        let (sender, events) = channel(QUEUE);
        let (alive, ended) = mpsc::channel::<()>();
        let (name, takes_tasks) = (sink.name(), sink.takes_tasks());
        let last = sender.clone().try_reserve_owned().ok();
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            run(sink, events);
            drop(alive);
        })?;
        Ok(Self {
            name,
            takes_tasks,
            queue: Mutex::new(Queue {
                sender: Some(sender),
                last,
            }),
            dropped: AtomicU64::new(0),
            ended: Mutex::new(ended),
        })
    }

    /// Returns whether the event is in the queue. Otherwise it was dropped, and counted.
    fn offer(&self, event: &Arc<Event>) -> bool {
        let mut queue = lock(&self.queue);
        if matches!(**event, Event::Run(RunEvent::Ended(_)))
            && let Some(last) = queue.last.take()
        {
            last.send(Arc::clone(event));
            return true;
        }
        let sent = queue
            .sender
            .as_ref()
            .is_some_and(|sender| sender.try_send(Arc::clone(event)).is_ok());
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    fn close(&self, until: Instant) -> u64 {
        {
            let mut queue = lock(&self.queue);
            (queue.sender, queue.last) = (None, None);
        }
        let left = until.saturating_duration_since(Instant::now());
        let late = lock(&self.ended).recv_timeout(left) == Err(RecvTimeoutError::Timeout);
        let dropped = self.dropped.load(Ordering::Relaxed);
        if late || dropped > 0 {
            tracing::warn!(
                sink = self.name,
                dropped,
                late,
                "events were dropped, or the sink did not finish in time"
            );
        }
        dropped
    }
}

/// The thread of a sink. A sink that panics receives nothing more. Later events count as dropped.
fn run(mut sink: Box<dyn EventSink>, mut events: Receiver<Arc<Event>>) {
    let name = sink.name();
    let received = catch_unwind(AssertUnwindSafe(move || {
        while let Some(event) = events.blocking_recv() {
            sink.receive(&event);
        }
        sink.finish();
    }));
    if received.is_err() {
        tracing::error!(sink = name, "the sink panicked and receives no more events");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver as Wait, Sender as Signal, channel as signals};

    use super::*;
    use crate::observe::event::{Report, RunEnding};
    use crate::observe::task_event::{TaskEvents, TaskFact, TaskRef};

    /// An action of a test sink.
    #[derive(Debug, PartialEq, Eq)]
    enum Did {
        Received(String),
        Finished,
    }

    /// A sink that reports its actions, and waits for a permission before it is done with each event.
    struct Probe {
        name: &'static str,
        takes_tasks: bool,
        did: Signal<Did>,
        gate: Option<Wait<()>>,
        panics: bool,
    }

    impl EventSink for Probe {
        fn name(&self) -> &'static str {
            self.name
        }

        fn takes_tasks(&self) -> bool {
            self.takes_tasks
        }

        fn receive(&mut self, event: &Event) {
            let what = match event {
                Event::Run(RunEvent::Opened { run }) => run.clone(),
                Event::Run(RunEvent::Ended(_)) => "ended".to_owned(),
                Event::Task(event) => event.task.task_id.clone(),
                Event::Run(_) => "another event".to_owned(),
            };
            self.did.send(Did::Received(what)).unwrap_or_default();
            if let Some(gate) = &self.gate {
                gate.recv().unwrap_or_default();
            }
            assert!(!self.panics, "a sink of a test panics on purpose");
        }

        fn finish(&mut self) {
            self.did.send(Did::Finished).unwrap_or_default();
        }
    }

    fn probe(name: &'static str) -> (Probe, Wait<Did>) {
        let (did, seen) = signals();
        let probe = Probe {
            name,
            takes_tasks: false,
            did,
            gate: None,
            panics: false,
        };
        (probe, seen)
    }

    /// A probe that waits in each event, until the returned permission is dropped.
    fn stuck_probe() -> (Probe, Wait<Did>, Signal<()>) {
        let (stuck, did) = probe("stuck");
        let (permit, gate) = signals();
        let stuck = Probe {
            gate: Some(gate),
            ..stuck
        };
        (stuck, did, permit)
    }

    fn opened(number: usize) -> Event {
        Event::Run(RunEvent::Opened {
            run: number.to_string(),
        })
    }

    fn ended() -> Event {
        Event::Run(RunEvent::Ended(Box::new(Report {
            run: "r".to_owned(),
            ending: RunEnding::Finished,
            counts: crate::domain::tally::Counts::default(),
            input_read: true,
            change: None,
            summary: crate::domain::tally::RunSummary::default(),
            commonest: None,
            failures: Vec::new(),
            files: Vec::new(),
            finished_now: 0,
            calls_now: 0,
            usage_now: crate::domain::usage::Usage::default(),
            cost_now: crate::domain::usage::Cost::ZERO,
            elapsed: Duration::ZERO,
        })))
    }

    fn received(what: &impl ToString) -> Did {
        Did::Received(what.to_string())
    }

    #[test]
    fn a_stuck_sink_drops_and_counts_and_the_others_receive_everything() {
        let (stuck, stuck_did, permit) = stuck_probe();
        let (well, well_did) = probe("well");
        let bus = EventBus::start(vec![Box::new(stuck), Box::new(well)]).unwrap();
        let dropped = 50;
        for number in 0..QUEUE + dropped {
            bus.publish(opened(number));
            assert_eq!(well_did.recv().unwrap(), received(&number));
            if number == 0 {
                assert_eq!(stuck_did.recv().unwrap(), received(&0));
            }
        }
        // One place of the queue is kept for this event.
        bus.publish(ended());
        assert_eq!(well_did.recv().unwrap(), received(&"ended"));
        drop(permit);
        assert_eq!(bus.close(), [("stuck", dropped as u64), ("well", 0)]);
        let seen: Vec<Did> = stuck_did.iter().collect();
        let kept = (1..QUEUE).map(|number| received(&number));
        let expected: Vec<Did> = kept.chain([received(&"ended"), Did::Finished]).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_sink_that_panics_ends_alone() {
        let (bad, bad_did) = probe("bad");
        let bad = Probe { panics: true, ..bad };
        let (well, well_did) = probe("well");
        let bus = EventBus::start(vec![Box::new(bad), Box::new(well)]).unwrap();
        bus.publish(opened(1));
        // The sink's end of the channel closes when its thread ends.
        assert_eq!(bad_did.iter().collect::<Vec<Did>>(), [received(&1)]);
        bus.publish(opened(2));
        assert_eq!(bus.close(), [("bad", 1), ("well", 0)]);
        assert_eq!(
            well_did.iter().collect::<Vec<Did>>(),
            [received(&1), received(&2), Did::Finished]
        );
    }

    #[test]
    fn closing_leaves_a_stuck_sink_behind_and_finishes_the_others_in_order() {
        let (stuck, stuck_did, permit) = stuck_probe();
        let (well, well_did) = probe("well");
        let bus = EventBus::start(vec![Box::new(stuck), Box::new(well)]).unwrap();
        bus.publish(opened(1));
        assert_eq!(stuck_did.recv().unwrap(), received(&1));
        bus.close();
        assert_eq!(
            well_did.iter().collect::<Vec<Did>>(),
            [received(&1), Did::Finished]
        );
        // Events after the close are dropped.
        bus.publish(opened(2));
        assert_eq!(bus.sinks[1].dropped.load(Ordering::Relaxed), 1);
        drop(permit);
        assert_eq!(stuck_did.recv().unwrap(), Did::Finished);
    }

    #[test]
    fn events_of_tasks_are_built_only_for_a_sink_that_takes_them() {
        let task = || TaskRef {
            run: "r".into(),
            run_id: 1,
            custom_id: None,
            queue_id: 1,
            task_id: "task001".to_owned(),
            action: "insight".to_owned(),
        };
        let (runs_only, runs_did) = probe("runs");
        let bus = EventBus::start(vec![Box::new(runs_only)]).unwrap();
        assert!(TaskEvents::of(&bus, || panic!("no sink takes it")).is_none());
        bus.close();
        let (also_tasks, tasks_did) = probe("tasks");
        let also_tasks = Probe {
            takes_tasks: true,
            ..also_tasks
        };
        let (runs_only, runs_again) = probe("runs");
        let bus = EventBus::start(vec![Box::new(also_tasks), Box::new(runs_only)]).unwrap();
        TaskEvents::of(&bus, task).unwrap().publish(TaskFact::Begun);
        assert_eq!(bus.close(), [("tasks", 0), ("runs", 0)]);
        assert_eq!(
            tasks_did.iter().collect::<Vec<Did>>(),
            [received(&"task001"), Did::Finished]
        );
        for did in [runs_did, runs_again] {
            assert_eq!(did.iter().collect::<Vec<Did>>(), [Did::Finished]);
        }
    }

    /// A counter that sums up its calls, and panics at an event of this name.
    #[derive(Default)]
    struct Tally {
        events: AtomicU64,
        missed: AtomicU64,
        panics_at: Option<&'static str>,
    }

    impl EventTap for Tally {
        fn name(&self) -> &'static str {
            "tally"
        }

        fn detail(&self) -> ExchangeDetail {
            ExchangeDetail::None
        }

        fn observe(&self, event: &Event) {
            let Event::Run(RunEvent::Opened { run }) = event else {
                return;
            };
            assert_ne!(
                Some(run.as_str()),
                self.panics_at,
                "a counter of a test panics on purpose"
            );
            self.events.fetch_add(1, Ordering::Relaxed);
        }

        fn missed(&self, sink: &'static str, events: u64) {
            assert_eq!(sink, "stuck");
            self.missed.fetch_add(events, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_tap_observes_each_event_also_those_that_a_sink_misses() {
        let (stuck, did, permit) = stuck_probe();
        let tally = Arc::new(Tally::default());
        let bus = EventBus::start(vec![Box::new(stuck)])
            .unwrap()
            .with_taps(vec![Arc::clone(&tally) as _]);
        bus.publish(opened(0));
        assert_eq!(did.recv().unwrap(), received(&0));
        (1..QUEUE + 50).for_each(|number| bus.publish(opened(number)));
        assert_eq!(tally.events.load(Ordering::Relaxed), QUEUE as u64 + 50);
        assert_eq!(tally.missed.load(Ordering::Relaxed), 50);
        drop(permit);
        bus.close();
    }

    #[test]
    fn a_tap_that_panics_is_switched_off_alone() {
        let bad = Arc::new(Tally {
            panics_at: Some("2"),
            ..Tally::default()
        });
        let well = Arc::new(Tally::default());
        let counters: Vec<Arc<dyn EventTap>> = vec![Arc::clone(&bad) as _, Arc::clone(&well) as _];
        let bus = EventBus::start(Vec::new()).unwrap().with_taps(counters);
        (1..=3).for_each(|number| bus.publish(opened(number)));
        let counts = [bad, well].map(|tally| tally.events.load(Ordering::Relaxed));
        assert_eq!(counts, [1, 3]);
    }
}
