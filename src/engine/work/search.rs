//! Performs a search task: writes the queries, asks the search providers, and books what they cost.
//!
//! A search never fails its request. A query without an answer leaves its causes in the result, and the agent works with
//! the request's own material.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use crate::agent::{SearchSpec, TaskEnd, TaskOutcome, WrittenQueries, shown_search, write_queries};
use crate::clock;
use crate::domain::failure::Class;
use crate::domain::lane::Lane;
use crate::domain::outcome::{Attempt, CallEnd, Product, Provenance};
use crate::domain::request;
use crate::domain::task_search::{LinkFailureRecord, QueryRecord, SourceRecord, TaskSearch};
use crate::domain::usage::{Cost, Usage};
use crate::engine::work::budget::LeaseReservation;
use crate::engine::work::perform::{chain, material, whole};
use crate::engine::work::search_events;
use crate::engine::work::worker::LeaseContext;
use crate::llm::{CostReservation, Marks, Reserve, Reserved, Stopped};
use crate::observe::TaskEvents;
use crate::search::{FailureKind, LinkAttempt, LinkFailure, Query, SearchError, SearchOutcome, route_name};
use crate::store::{Claimed, StoreError};

/// Performs the leased search. Its agent may have changed since the search was added: without a search in its file the
/// result is empty.
pub(in crate::engine) async fn search(
    work: &LeaseContext<'_>,
    queue: &Claimed,
    reservation: Option<&LeaseReservation<'_>>,
    events: Option<&TaskEvents>,
) -> Result<TaskOutcome, StoreError> {
    let tools = work.tools;
    let planned = &queue.tasks[queue.current_task];
    let agent = tools.agents.get(&planned.action);
    let (request::Work::Brief(brief), Some(agent)) = (&queue.request.work, agent) else {
        return Ok(nothing("there is no agent for it any more"));
    };
    let Some(spec) = &agent.search else {
        return Ok(nothing("its agent does not search any more"));
    };
    let material = material(tools, queue, Some(agent), &planned.input).await?;
    let task = whole(queue, brief, &material);
    let Ok(models) = chain(tools, queue, Some(agent)) else {
        return Ok(nothing("its model is no route or chain any more"));
    };
    let began = Instant::now();
    let context = tools.context(models, work.stop, reservation, work.marks(queue), events);
    let written = write_queries(context, tools.agents.query_writer(), agent, task).await;
    let lookup = Lookup {
        work,
        queue,
        spec,
        reservation,
        events,
    };
    Ok(lookup.run(written, began).await)
}

/// A search without a query, with the reason as its warning.
fn nothing(reason: &str) -> TaskOutcome {
    let mut making = Provenance::without_calls(String::new(), String::new());
    making.degraded = true;
    making.warnings.push(format!("nothing was looked up: {reason}"));
    TaskOutcome {
        end: TaskEnd::Completed(Product::Search(Box::default())),
        making,
        attempts: Vec::new(),
    }
}

/// One search task.
struct Lookup<'t> {
    work: &'t LeaseContext<'t>,
    queue: &'t Claimed,
    spec: &'t SearchSpec,
    reservation: Option<&'t LeaseReservation<'t>>,
    events: Option<&'t TaskEvents>,
}

impl Lookup<'_> {
    async fn run(&self, written: WrittenQueries, began: Instant) -> TaskOutcome {
        let WrittenQueries {
            queries,
            mut making,
            mut attempts,
        } = written;
        let interrupted = |why, making, attempts| TaskOutcome {
            end: TaskEnd::Interrupted(why),
            making,
            attempts,
        };
        let queries = match queries {
            Ok(queries) => queries,
            Err(why) => return interrupted(why, making, attempts),
        };
        let searcher = &self.work.tools.searcher;
        let limit = self.spec.results.unwrap_or(searcher.results());
        let pages = searcher.pages_of(self.spec.read);
        let query = |text: &String| Some(Query::new(text, limit)?.with_pages(pages));
        let queries: Vec<Query> = queries.iter().filter_map(query).collect();
        if let Err(why) = self.reserve(&queries, &attempts).await {
            return interrupted(why, making, attempts);
        }
        let asked = match self.ask(&queries).await {
            Ok(asked) => asked,
            Err((why, calls)) => {
                attempts.extend(calls);
                return interrupted(why, making, attempts);
            }
        };
        let mut found = TaskSearch::default();
        let mut known = HashSet::new();
        for (query, end) in queries.iter().zip(&asked) {
            found.queries.push(record(query, end));
            search_events::publish(self.events, end);
            if let Ok(outcome) = end {
                add_sources(&mut found.sources, &mut known, query, outcome);
            }
            attempts.extend(calls(end, searcher.reader()));
        }
        for warning in searcher.take_warnings() {
            self.work
                .tools
                .events
                .publish_run(crate::observe::RunEvent::SearchWarned { warning });
        }
        warn(&found, &mut making.warnings);
        let booked = attempts.len();
        making.degraded = found.is_degraded();
        making.sizes.result = Some(shown_search(&found));
        making.attempts = u32::try_from(booked).unwrap_or(u32::MAX);
        let (good, wasted) = costs(&attempts);
        (making.cost, making.wasted) = (making.cost.map(|_| good), wasted);
        making.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        TaskOutcome {
            end: TaskEnd::Completed(Product::Search(Box::new(found))),
            making,
            attempts,
        }
    }

    fn links(&self) -> &[String] {
        self.work.tools.searcher.chain_of(self.spec.providers.as_deref())
    }

    fn worst(&self, query: &Query) -> Cost {
        self.work.tools.searcher.worst(query, self.links())
    }

    /// Reserves the highest possible cost of all queries under a cost cap.
    async fn reserve(&self, queries: &[Query], earlier: &[Attempt]) -> Result<(), Stopped> {
        let Some(reservation) = self.reservation else {
            return Ok(());
        };
        let mut worst = Cost::ZERO;
        for query in queries {
            // An answer of the cache is free, also near the cap.
            if !self.work.tools.searcher.has_fresh(query, self.links()).await {
                worst = worst.plus(self.worst(query));
            }
        }
        if worst == Cost::ZERO {
            return Ok(());
        }
        let call = Reserve {
            route: "search",
            model: "",
            tier: None,
            spent: earlier.iter().map(Attempt::worst).fold(Cost::ZERO, Cost::plus),
            worst,
        };
        match reservation.reserve(&call).await {
            Reserved::AtOnce | Reserved::AfterWaiting => Ok(()),
            Reserved::NoMoney => Err(Stopped::NoMoney),
            Reserved::Ending => Err(Stopped::Ending),
        }
    }

    /// Asks all queries side by side. If the run cancels its calls, `Err` holds the calls that had ended, and one
    /// abandoned call for each query in flight.
    async fn ask(
        &self,
        queries: &[Query],
    ) -> Result<Vec<Result<SearchOutcome, SearchError>>, (Stopped, Vec<Attempt>)> {
        let (stop, tools) = (self.work.stop, self.work.tools);
        if stop.drain.is_cancelled() {
            return Err((Stopped::Ending, Vec::new()));
        }
        if let Some(marks) = self.work.marks(self.queue) {
            // Under a lost lease nothing can be settled, and the worker is about to be stopped.
            let _: bool = marks.waits().await;
        }
        let ends: Vec<std::sync::OnceLock<_>> = queries.iter().map(|_| std::sync::OnceLock::new()).collect();
        let links = self.links();
        let all = join_all(queries.iter().zip(&ends).map(|(query, end)| async move {
            let asked = tools.searcher.search_in(query, links).await;
            // Each cell is set once, here.
            let _: Result<(), _> = end.set(asked);
        }));
        let cancelled = tokio::select! {
            biased;
            _ = all => false,
            () = stop.cancel.cancelled() => true,
        };
        if let Some(marks) = self.work.marks(self.queue) {
            marks.works().await;
        }
        if !cancelled {
            return Ok(ends
                .into_iter()
                .filter_map(std::sync::OnceLock::into_inner)
                .collect());
        }
        let sent = queries
            .iter()
            .zip(&ends)
            .flat_map(|(query, end)| match end.get() {
                Some(end) => calls(end, tools.searcher.reader()),
                None => vec![abandoned(self.worst(query))],
            });
        Err((Stopped::Ending, sent.collect()))
    }
}

/// Returns the sum of the costs of the calls in use, and of the others.
fn costs(attempts: &[Attempt]) -> (Cost, Cost) {
    let sum = |used: bool| {
        let calls = attempts.iter().filter(|call| call.used == used);
        calls.filter_map(|call| call.cost).fold(Cost::ZERO, Cost::plus)
    };
    (sum(true), sum(false))
}

fn record(query: &Query, end: &Result<SearchOutcome, SearchError>) -> QueryRecord {
    let failures = attempts_of(end).iter().filter_map(|attempt| {
        let failure = attempt.failure.as_ref()?;
        Some(LinkFailureRecord {
            link: attempt.link.clone(),
            kind: failure.kind.name().to_owned(),
            message: failure.message.clone(),
        })
    });
    let failures = failures.collect();
    let outcome = end.as_ref().ok();
    QueryRecord {
        query: query.text().to_owned(),
        provider: outcome.map(|outcome| outcome.provider.clone()),
        found_by: outcome.and_then(|outcome| outcome.found_by.clone()),
        looked_up: outcome.is_some_and(|outcome| outcome.looked_up),
        degraded: outcome.is_none_or(|outcome| outcome.degraded),
        age_s: outcome.and_then(|outcome| outcome.age).map(|age| age.as_secs()),
        failures,
    }
}

pub(super) fn attempts_of(end: &Result<SearchOutcome, SearchError>) -> &[LinkAttempt] {
    match end {
        Ok(outcome) => &outcome.attempts,
        Err(SearchError::NoAnswer { attempts, .. }) => attempts,
        Err(SearchError::UnknownLink { .. }) => &[],
    }
}

/// Adds the items that no earlier query has found, with ids of their own.
fn add_sources(
    sources: &mut Vec<SourceRecord>,
    known: &mut HashSet<String>,
    query: &Query,
    outcome: &SearchOutcome,
) {
    let age = outcome
        .age
        .map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(0));
    for item in &outcome.items {
        let identity = item
            .url
            .clone()
            .unwrap_or_else(|| format!("{}\n{}", item.title, item.hash));
        if !known.insert(identity) {
            continue;
        }
        sources.push(SourceRecord {
            id: format!("s{}", sources.len() + 1),
            query: query.text().to_owned(),
            provider: outcome
                .found_by
                .clone()
                .unwrap_or_else(|| outcome.provider.clone()),
            title: item.title.clone(),
            url: item.url.clone(),
            text: item.text.clone(),
            published_at: item.published_at.clone(),
            found_at: clock::now_ms().saturating_sub(age),
            hash: item.hash.clone(),
            looked_up: outcome.looked_up,
        });
    }
}

/// Returns the requests of one query for the ledger, and those of its pages. A query that joined an equal one sent none.
fn calls(end: &Result<SearchOutcome, SearchError>, reader: &str) -> Vec<Attempt> {
    if end.as_ref().is_ok_and(|outcome| outcome.joined) {
        return Vec::new();
    }
    let pages = end.iter().flat_map(|outcome| &outcome.pages);
    let read = pages.map(|page| request(reader, page.failure.as_ref(), page.cost, page.elapsed));
    attempts_of(end).iter().flat_map(requests).chain(read).collect()
}

/// Returns the requests to one link. The last one has the cost of all, because the cost of each try is not known.
fn requests(attempt: &LinkAttempt) -> Vec<Attempt> {
    // The causes of failures before an answer are not kept.
    let retried = LinkFailure::retried();
    let failure = attempt.failure.as_ref();
    let one = |number: u32| {
        if number == attempt.tries {
            request(&attempt.link, failure, attempt.cost, attempt.elapsed)
        } else {
            request(
                &attempt.link,
                failure.or(Some(&retried)),
                Cost::ZERO,
                Duration::ZERO,
            )
        }
    };
    (1..=attempt.tries).map(one).collect()
}

/// Returns one request to a provider as a call.
fn request(link: &str, failure: Option<&LinkFailure>, cost: Cost, elapsed: Duration) -> Attempt {
    let end = failure.map_or(CallEnd::Answered, |failure| CallEnd::Failed(class(failure.kind)));
    let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    Attempt {
        route: route_name(link),
        model: String::new(),
        lane: Lane::live(),
        end,
        used: end.is_good(),
        status_code: None,
        usage: Usage::default(),
        cost: Some(cost),
        uncertain: Cost::ZERO,
        started_at: clock::now_ms().saturating_sub(i64::try_from(duration_ms).unwrap_or(0)),
        duration_ms,
        first_token_ms: None,
    }
}

/// Returns the call of a query that was cancelled in flight.
fn abandoned(worst: Cost) -> Attempt {
    Attempt {
        end: CallEnd::Abandoned,
        used: false,
        uncertain: worst,
        ..request("cancelled", None, Cost::ZERO, Duration::ZERO)
    }
}

const fn class(kind: FailureKind) -> Class {
    match kind {
        FailureKind::NoKey | FailureKind::Terminal => Class::Auth,
        FailureKind::Limited | FailureKind::Open => Class::RateLimited,
        FailureKind::Timeout => Class::Timeout,
        FailureKind::Network | FailureKind::Redirected => Class::Network,
        FailureKind::Server | FailureKind::Cache => Class::Server,
        FailureKind::Refused => Class::BadRequest,
        FailureKind::TooLarge | FailureKind::Malformed => Class::Schema,
        FailureKind::Empty => Class::Search,
    }
}

/// Adds a warning for each query that no provider looked up.
fn warn(found: &TaskSearch, warnings: &mut Vec<String>) {
    if found.queries.is_empty() {
        warnings.push("the search has no query, and nothing was looked up".to_owned());
    }
    for query in found.queries.iter().filter(|query| !query.looked_up) {
        let causes: Vec<String> = query
            .failures
            .iter()
            .map(|failure| format!("`{}`: {}", failure.link, failure.message))
            .collect();
        warnings.push(format!(
            "no search provider looked up \"{}\" ({})",
            query.query,
            causes.join("; ")
        ));
    }
}
