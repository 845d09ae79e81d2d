//! Counts the events of a run, in place.

use super::catalog as id;
use super::{RunMetrics, float, now};
use crate::domain::usage::Usage;
use crate::observe::event::{Event, RouteTraffic, RunEvent, Snapshot};
use crate::observe::event_tap::{EventTap, ExchangeDetail};
use crate::observe::task_event::{CallFact, TaskEnding, TaskEvent, TaskFact};

impl EventTap for RunMetrics {
    fn name(&self) -> &'static str {
        "metrics"
    }

    fn detail(&self) -> ExchangeDetail {
        ExchangeDetail::None
    }

    fn observe(&self, event: &Event) {
        match event {
            Event::Run(event) => self.run_event(event),
            Event::Task(event) => self.task(event),
        }
    }

    fn missed(&self, sink: &'static str, events: u64) {
        self.series.add(id::EVENTS_DROPPED, &[sink], events);
    }
}

impl RunMetrics {
    fn run_event(&self, event: &RunEvent) {
        match event {
            RunEvent::Opened { run } | RunEvent::Joined { run } => self.set_run(Some(run.clone())),
            RunEvent::Progressed(snapshot) => self.progressed(snapshot),
            RunEvent::Left { .. } => self.at_rest(),
            RunEvent::Ended(report) => {
                self.at_rest();
                let counts = &report.counts;
                self.requests(counts.total, counts.finished(), counts.bad());
                self.series.set(id::RUN_COST, &[], report.summary.cost.usd());
            }
            _ => {}
        }
    }

    fn set_run(&self, run: Option<String>) {
        *self.run.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = run;
    }

    /// No call is in flight any more.
    fn at_rest(&self) {
        self.set_run(None);
        self.series.set(id::QUEUES, &[], 0.0);
        for route in &self.routes {
            self.series.set(id::IN_FLIGHT, &[route], 0.0);
        }
    }

    fn progressed(&self, snapshot: &Snapshot) {
        let series = &self.series;
        series.set(id::QUEUES, &[], float(snapshot.queues as u64));
        series.set(id::RUN_DURATION, &[], self.begun.elapsed().as_secs_f64());
        if let Some(limit) = snapshot.memory_limit {
            series.set(id::MEMORY_LIMIT, &[], float(limit));
        }
        self.requests(snapshot.total, snapshot.finished, snapshot.failed);
        snapshot.routes.iter().for_each(|route| self.route(route));
    }

    fn requests(&self, total: u64, finished: u64, failed: u64) {
        let states = [
            ("good", finished.saturating_sub(failed)),
            ("failed", failed),
            ("unfinished", total.saturating_sub(finished)),
        ];
        for (state, requests) in states {
            self.series.set(id::RUN_REQUESTS, &[state], float(requests));
        }
    }

    fn route(&self, traffic: &RouteTraffic) {
        let series = &self.series;
        let route: &[&str] = &[&traffic.route];
        series.set(id::IN_FLIGHT, route, float(traffic.in_flight as u64));
        series.set(id::RPM, route, float(traffic.requests));
        series.set(id::TPM, route, float(traffic.tokens));
        if let Some(limit) = traffic.rpm {
            series.set(id::RPM_LIMIT, route, f64::from(limit));
        }
        if let Some(limit) = traffic.tpm {
            series.set(id::TPM_LIMIT, route, float(limit));
        }
        let circuit = match traffic.state {
            "half_open" => 1.0,
            "open" | "latched" => 2.0,
            _ => 0.0,
        };
        series.set(id::CIRCUIT, route, circuit);
        let is = |state| f64::from(u8::from(traffic.state == state));
        series.set(id::PAUSED, route, is("paused"));
        series.set(id::LATCHED, route, is("latched"));
    }

    fn task(&self, event: &TaskEvent) {
        match &event.fact {
            TaskFact::Settled { ending, .. } => self.settled(event, ending),
            TaskFact::RequestEnded { status } => self.series.add(id::FINISHED, &[status.as_str()], 1),
            TaskFact::Searched {
                provider, outcome, ..
            } => {
                self.series.add(id::SEARCHES, &[provider, outcome], 1);
            }
            TaskFact::Call(call) => self.call(call),
            TaskFact::Begun | TaskFact::FannedOut { .. } | TaskFact::Searches | TaskFact::Released => {}
        }
    }

    fn settled(&self, event: &TaskEvent, ending: &TaskEnding) {
        let status = match ending {
            TaskEnding::Completed => "completed",
            TaskEnding::Failed { .. } => "failed",
            TaskEnding::Skipped => "skipped",
            TaskEnding::LeaseLost => return,
        };
        self.series.set(id::RUN_PROGRESS, &[], now());
        if event.task.task_id.ends_with(".search") {
            return;
        }
        let (agent, model) = (
            event.task.action.as_str(),
            event.model.as_deref().unwrap_or_default(),
        );
        self.series.add(id::REQUESTS, &[status, agent, model], 1);
        self.series.record(id::DURATION, &[agent, model], event.after);
    }

    fn call(&self, call: &CallFact) {
        let series = &self.series;
        match call {
            CallFact::FirstToken { route, after } => series.record(id::FIRST_TOKEN, &[route], *after),
            CallFact::Ended {
                route,
                model,
                end,
                usage,
                cost,
                duration,
            } => {
                let outcome = end.cause().unwrap_or("answered");
                series.add(id::CALLS, &[route, model, outcome], 1);
                if end.is_good() {
                    series.record(id::CALL_DURATION, &[route], *duration);
                }
                self.tokens(model, *usage);
                let cost = cost.map_or(0.0, crate::domain::usage::Cost::usd);
                series.add_fraction(id::COST, &[route, model], cost);
            }
            CallFact::Retried { class, .. } => series.add(id::RETRIES, &[class.as_str()], 1),
            CallFact::FailedOver { from, to, .. } => series.add(id::FALLBACKS, &[from, to], 1),
            CallFact::Begun { .. } | CallFact::Exchanged { .. } | CallFact::Paused { .. } => {}
        }
    }

    fn tokens(&self, model: &str, usage: Usage) {
        let directions = [
            ("input", usage.input_tokens),
            ("cached_input", usage.cached_input_tokens),
            ("cache_write", usage.cache_write_tokens),
            ("output", usage.output_tokens),
        ];
        for (direction, tokens) in directions {
            self.series.add(id::TOKENS, &[direction, model], tokens);
        }
    }
}
