//! Messages for people and, with `-v`, a log line for each event of a task or a call.
//!
//! This sink writes its log lines on its own thread. They have the same spans as a line of the worker: run, request,
//! task.

use std::collections::HashSet;
use std::time::Duration;

use tracing::Level;

use crate::domain::outcome::CallEnd;
use crate::domain::printable::counted;
use crate::domain::tally::RouteState;
use crate::domain::usage::Cost;
use crate::observe::closing::changed;
use crate::observe::event::{Event, InputChange, RunEvent};
use crate::observe::event_bus::EventSink;
use crate::observe::screen::Screen;
use crate::observe::task_event::{CallFact, TaskEnding, TaskEvent, TaskFact, TaskRef};

/// Writes messages, and log lines of the enabled level.
pub(in crate::observe) struct LogSink {
    screen: Screen,
    /// Routes that were reported as down.
    down: HashSet<String>,
}

impl LogSink {
    pub(in crate::observe) fn new(screen: Screen) -> Self {
        Self {
            screen,
            down: HashSet::new(),
        }
    }

    fn run(&mut self, event: &RunEvent) {
        if let Some(line) = self.line(event) {
            self.screen.message(&line);
        }
    }

    /// The message of the event; `None` if it has none.
    fn line(&mut self, event: &RunEvent) -> Option<String> {
        let has_panel = self.screen.has_panel();
        Some(match event {
            RunEvent::Joined { run } if !has_panel => format!("run `{run}`: joined"),
            RunEvent::Left { run, requests, steps } => {
                let (requests, steps) = (counted(*requests, "request"), counted(*steps, "step"));
                format!("run `{run}`: left after {requests} and {steps}")
            }
            RunEvent::Waiting { only: Some(run) } => format!("waiting for something to do in run `{run}`"),
            RunEvent::Waiting { only: None } => "waiting for a run to work on".to_owned(),
            RunEvent::NothingLeft { only: Some(run) } => {
                format!("nothing is left to do in run `{run}`, if it is there at all")
            }
            RunEvent::NothingLeft { only: None } => "nothing is left to do".to_owned(),
            RunEvent::Refused { reason } => reason.clone(),
            RunEvent::RouteWarned { route, warning } => format!("route `{route}` {warning}"),
            RunEvent::SearchWarned { warning } => warning.clone(),
            RunEvent::InputChanged { run, change } => return change_line(run, *change),
            RunEvent::RecipeChanged => {
                "models, prompts or settings have changed since this run was begun: what is settled stands, the rest uses the new ones".to_owned()
            }
            RunEvent::RouteChanged(route) => return route_line(route, &mut self.down),
            RunEvent::Draining { cause, calls } => {
                let calls = counted(u64::try_from(*calls).unwrap_or(u64::MAX), "call");
                format!("{cause}: waiting for {calls} on the way (Ctrl-C gives them up)")
            }
            // A panel shows the outage all the time.
            RunEvent::OutOfReach { trouble } if !has_panel => format!("waiting: {trouble}"),
            RunEvent::InReach if !has_panel => "the database answers again".to_owned(),
            RunEvent::Cancelled => "giving up the calls on the way".to_owned(),
            RunEvent::Opened { .. }
            | RunEvent::Joined { .. }
            | RunEvent::Progressed(_)
            | RunEvent::OutOfReach { .. }
            | RunEvent::InReach
            | RunEvent::Ended(_) => return None,
        })
    }
}

impl EventSink for LogSink {
    fn name(&self) -> &'static str {
        "log"
    }

    fn takes_tasks(&self) -> bool {
        tracing::enabled!(Level::INFO)
    }

    fn receive(&mut self, event: &Event) {
        match event {
            Event::Run(event) => self.run(event),
            Event::Task(TaskEvent { task, fact, .. }) => log_task(task, fact),
        }
    }

    fn finish(&mut self) {}
}

fn log_task(task: &TaskRef, fact: &TaskFact) {
    let _run = tracing::info_span!("run", run.name = &*task.run).entered();
    let _request =
        tracing::info_span!("request", request.id = task.custom_id, queue.id = task.queue_id).entered();
    let _task = tracing::info_span!("task", task.id = task.task_id).entered();
    match fact {
        TaskFact::Begun => tracing::debug!(agent.action = task.action, "task begun"),
        TaskFact::FannedOut { parts } => tracing::debug!(parts, "task split into parts"),
        TaskFact::Searches => tracing::debug!("task waits for its search"),
        TaskFact::Settled { ending, usage, cost } => match ending {
            TaskEnding::Completed => tracing::debug!(
                llm.input_tokens = usage.input_tokens,
                llm.output_tokens = usage.output_tokens,
                cost_usd = cost.usd(),
                "task completed"
            ),
            TaskEnding::Failed { class, message } => tracing::info!(
                error.class = class.as_str(),
                cost_usd = cost.usd(),
                "task failed: {message}"
            ),
            TaskEnding::Skipped => tracing::debug!("task skipped: its condition is false"),
            TaskEnding::LeaseLost => tracing::info!(
                "another worker holds the lease, this outcome is dropped; its calls are in the ledger"
            ),
        },
        TaskFact::Released => tracing::debug!("task given back"),
        TaskFact::Searched {
            provider, outcome, ..
        } => tracing::debug!(
            search.provider = provider,
            search.outcome = outcome,
            "search provider asked"
        ),
        TaskFact::RequestEnded { status } => {
            tracing::debug!(request.status = status.as_str(), "request ended");
        }
        TaskFact::Call(fact) => log_call(fact),
    }
}

fn log_call(fact: &CallFact) {
    match fact {
        CallFact::Begun { route, model } => {
            tracing::debug!(llm.route = route, llm.model = model, "call begun");
        }
        CallFact::FirstToken { route, after } => {
            tracing::debug!(llm.route = route, after_ms = millis(*after), "first token");
        }
        CallFact::Ended {
            route,
            model,
            end,
            usage,
            cost,
            duration,
        } => tracing::debug!(
            llm.route = route,
            llm.model = model,
            llm.input_tokens = usage.input_tokens,
            llm.output_tokens = usage.output_tokens,
            cost_usd = cost.map(Cost::usd),
            duration_ms = millis(*duration),
            error.class = match end {
                CallEnd::Failed(class) => Some(class.as_str()),
                CallEnd::Answered | CallEnd::Abandoned => None,
            },
            "call {}",
            match end {
                CallEnd::Answered => "answered",
                CallEnd::Failed(_) => "failed",
                CallEnd::Abandoned => "given up",
            }
        ),
        CallFact::Exchanged { .. } => {}
        CallFact::Retried {
            route,
            class,
            message,
            retry,
            wait,
        } => tracing::info!(
            llm.route = route,
            error.class = class.as_str(),
            wait_ms = millis(*wait),
            "call failed, retry {retry} follows: {message}"
        ),
        CallFact::Paused {
            route,
            message,
            pause,
        } => tracing::info!(
            llm.route = route,
            pause_ms = pause.map(millis),
            "the route pauses: {message}"
        ),
        CallFact::FailedOver { from, to, message } => {
            tracing::info!(llm.route = to, "`{to}` is tried instead of `{from}`: {message}");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The message about a changed route: once when it goes down, once when it answers again, and when it is dead for this
/// run. Pauses and probes get no message; the panel shows them.
fn route_line(route: &RouteState, down: &mut HashSet<String>) -> Option<String> {
    let name = &route.route;
    let reason = route.reason.as_deref().unwrap_or_default();
    match route.state {
        "closed" => down.remove(name).then(|| format!("route `{name}` answers again")),
        "open" => down
            .insert(name.clone())
            .then(|| format!("route `{name}` is down, its calls wait or go elsewhere: {reason}")),
        "latched" => Some(format!("route `{name}` is dead for this run: {reason}")),
        _ => None,
    }
}

/// The message about a changed input; `None` if no line is new, changed or removed.
fn change_line(run: &str, change: InputChange) -> Option<String> {
    let change = changed(change)?;
    Some(format!("run `{run}`: the input has changed: {change}"))
}
