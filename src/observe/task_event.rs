//! The events of tasks, parts and calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::event::Event;
use super::event_bus::EventBus;
use super::event_tap::{Exchange, ExchangeDetail};
use crate::domain::failure::Class;
use crate::domain::outcome::CallEnd;
use crate::domain::state::Status;
use crate::domain::usage::{Cost, Usage};

/// Names a task, or a part, in events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRef {
    /// The run's name.
    pub run: Arc<str>,
    /// The run's number in the store.
    pub run_id: i64,
    /// The request's `custom_id`, if it has one.
    pub custom_id: Option<String>,
    /// The queue's number in the store.
    pub queue_id: i64,
    /// `plan`, `task001`, `task003.search` for a search, or `task003.2` for a part.
    pub task_id: String,
    /// The agent's action; `supervisor` for a plan.
    pub action: String,
}

/// An event of a task or a part.
#[derive(Debug, Clone)]
pub struct TaskEvent {
    /// The task or part.
    pub task: Arc<TaskRef>,
    /// The event's data.
    pub fact: TaskFact,
    /// Time since this process began to work on it.
    pub after: Duration,
    /// The model that its last call asked for.
    pub model: Option<Arc<str>>,
}

/// The kind and data of an event of a task or a part.
#[derive(Debug, Clone)]
pub enum TaskFact {
    /// This process began to work on it.
    Begun,
    /// It was split into parts.
    FannedOut {
        /// How many.
        parts: usize,
    },
    /// It waits for its search.
    Searches,
    /// A link of a search chain was asked for one query.
    Searched {
        /// The link: a search provider, `cached` or `default`.
        provider: String,
        /// `answered`, or the kind of the failure.
        outcome: &'static str,
        /// The number of requests that were sent.
        tries: u32,
        /// The cost of these requests.
        cost: Cost,
        /// The time that the link took, waits included.
        duration: Duration,
    },
    /// Its outcome is durable.
    Settled {
        /// How it ended.
        ending: TaskEnding,
        /// Tokens of the answer that is used.
        usage: Usage,
        /// Cost of all its calls.
        cost: Cost,
    },
    /// It was given back without an outcome. Its calls stay in the ledger.
    Released,
    /// The queue of its request ended or paused, and the store has the outcome.
    RequestEnded {
        /// How the request ended.
        status: Status,
    },
    /// Something happened to one of its calls.
    Call(CallFact),
}

/// How a task or a part ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnding {
    /// It has a result.
    Completed,
    /// It failed.
    Failed {
        /// The class of its failure.
        class: Class,
        /// Its message.
        message: String,
    },
    /// Its condition is false.
    Skipped,
    /// Another worker holds its lease; this outcome was not stored.
    LeaseLost,
}

/// An event of a call of a model.
#[derive(Debug, Clone)]
pub enum CallFact {
    /// The request is being sent.
    Begun {
        /// The route's name.
        route: String,
        /// The model that was asked for.
        model: String,
    },
    /// The first token of a streamed answer arrived.
    FirstToken {
        /// The route's name.
        route: String,
        /// Time since the call began.
        after: Duration,
    },
    /// The call ended; it is in the ledger once its task is settled or given back.
    Ended {
        /// The route's name.
        route: String,
        /// The model that was asked for.
        model: String,
        /// How it ended.
        end: CallEnd,
        /// Tokens, as far as they are known.
        usage: Usage,
        /// Cost, if it is known.
        cost: Option<Cost>,
        /// Time since the call began.
        duration: Duration,
    },
    /// The exchange of the call with its model. Taps receive it, and sinks do not. It is published if a tap asks for it.
    Exchanged {
        /// The route's name.
        route: String,
        /// Unix milliseconds at the start of the call, as in the ledger.
        started_at: i64,
        /// The exchange.
        exchange: Arc<Exchange>,
    },
    /// The call failed and is made again on the same route.
    Retried {
        /// The route's name.
        route: String,
        /// The class of the failure.
        class: Class,
        /// The failure's message.
        message: String,
        /// How many retries this task has made on the route, this one included.
        retry: u32,
        /// The wait before it.
        wait: Duration,
    },
    /// The provider asked for a pause of the whole route.
    Paused {
        /// The route's name.
        route: String,
        /// The provider's message.
        message: String,
        /// The pause, where the provider named one.
        pause: Option<Duration>,
    },
    /// The task goes on with a later route of its chain.
    FailedOver {
        /// The name of the route that is left.
        from: String,
        /// The name of the route that is tried.
        to: String,
        /// Why it is left.
        message: String,
    },
}

/// Publishes the events of one task.
#[derive(Debug, Clone)]
pub struct TaskEvents {
    bus: EventBus,
    task: Arc<TaskRef>,
    begun: Instant,
    /// The model that the last call asked for.
    model: Arc<Mutex<Option<Arc<str>>>>,
}

impl TaskEvents {
    /// The events of this task, which begins now; `None` if nothing receives events of tasks, so that none are built.
    #[must_use]
    pub fn of(bus: &EventBus, task: impl FnOnce() -> TaskRef) -> Option<Self> {
        bus.takes_tasks().then(|| Self {
            bus: bus.clone(),
            task: Arc::new(task()),
            begun: Instant::now(),
            model: Arc::default(),
        })
    }

    /// Publishes an event of the task. Never blocks.
    pub fn publish(&self, fact: TaskFact) {
        let model = {
            let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
            if let TaskFact::Call(CallFact::Begun { model: asked, .. }) = &fact {
                *model = Some(asked.as_str().into());
            }
            model.clone()
        };
        self.bus.publish(Event::Task(TaskEvent {
            task: Arc::clone(&self.task),
            fact,
            after: self.begun.elapsed(),
            model,
        }));
    }

    /// How much of its exchanges with models is to be published.
    #[must_use]
    pub fn detail(&self) -> ExchangeDetail {
        self.bus.detail()
    }

    /// Publishes an event of one of its calls. Never blocks.
    pub fn call(&self, fact: CallFact) {
        self.publish(TaskFact::Call(fact));
    }
}
