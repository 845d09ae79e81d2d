//! One task of an agent: its parts, and its calls on each route of its chain.

use std::collections::HashMap;

use super::history::{History, Observed};
use super::sums::{CallSums, Estimate, number, of_one};
use crate::agent::{
    Agent, Agents, COMPLETION, LaterMaterial, PartOf, PromptForecast, TaskInput, forecast_line,
    forecast_prompt, split,
};
use crate::clock;
use crate::config::ContextBudget;
use crate::domain::failure::{Class, Failure};
use crate::domain::prices::Span;
use crate::domain::request::Completion;
use crate::domain::usage::Cost;
use crate::llm::{Chain, Client, Route, TokenCounter};
use crate::search::Searcher;

/// Milliseconds before the first token of a call, where no earlier call shows its duration.
const FIRST_TOKEN_MS: f64 = 1000.0;

/// Milliseconds for each token of such a call.
const TOKEN_MS: f64 = 20.0;

/// The length of an answer that has no limit and no earlier answers.
const UNLIMITED: u64 = 4096;

/// The likely tokens of a text for each token of the bounds in the settings, which count on the high side.
pub(super) const LIKELY_SHARE: f64 = 0.75;

/// Estimates tasks and requests. It reads nothing and sends nothing.
#[derive(Debug)]
pub struct Estimator<'a> {
    /// The agents.
    pub agents: &'a Agents,
    /// The routes and chains.
    pub client: &'a Client,
    /// The costs of searches.
    pub searcher: &'a Searcher,
    /// How much of earlier work a prompt may hold.
    pub budget: &'a ContextBudget,
    /// The use of earlier calls.
    pub history: &'a History,
    /// The vocabularies of routes, by the name of the route.
    pub counters: &'a HashMap<String, TokenCounter>,
    /// Retries of a call after a failure.
    pub retries: u32,
    /// Whether the run has a cost cap.
    pub is_capped: bool,
}

/// Material of a task that does not exist yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct MaterialAhead {
    /// Its kinds, for the highest cost.
    pub later: LaterMaterial,
    /// Its likely tokens, for the expectation.
    pub tokens: f64,
}

/// The calls of a task on one route.
struct RouteForecast<'r> {
    route: &'r Route,
    model: String,
    forecast: PromptForecast,
}

impl Estimator<'_> {
    /// Returns the chain of a task: that of the request, else that of the agent, else the default one.
    pub fn chain(&self, of_request: Option<&str>, agent: Option<&Agent>) -> Result<&Chain, Failure> {
        let wanted = of_request.or(agent.and_then(|agent| agent.model.as_deref()));
        self.client.chain(wanted).ok_or_else(|| {
            let message = format!("`model` `{}` is no route or chain", wanted.unwrap_or_default());
            Failure::new(Class::BadRequest, message)
        })
    }

    /// Estimates one task of an agent on a chain, without its search. A task that fans out is the sum of its parts. `Err`
    /// if no route can take its prompt: the task would fail without a call.
    pub fn task(
        &self,
        agent: &Agent,
        chain: &Chain,
        task: TaskInput<'_>,
        ahead: MaterialAhead,
    ) -> Result<Estimate, Failure> {
        let parts = split(agent, task);
        if parts.is_empty() || task.part.is_some() {
            return self.call(agent, chain, task, ahead);
        }
        let mut sum = Estimate::default();
        for (number, part) in (1..).zip(&parts) {
            let part = PartOf {
                number,
                of: parts.len(),
                subject: part.subject.as_deref(),
            };
            let part = TaskInput {
                part: Some(part),
                ..task
            };
            let call = self.call(agent, chain, part, ahead)?;
            sum.add(&call);
            sum.result_tokens += call.result_tokens;
            // Parts run side by side.
            sum.serial_ms = sum.serial_ms.max(call.serial_ms);
        }
        Ok(sum)
    }

    /// Estimates an OpenAI Batch line.
    pub(super) fn line(&self, completion: &Completion, chain: &Chain) -> Result<Estimate, Failure> {
        let first = &chain.first().settings.name;
        let mut routes = Vec::new();
        let mut refused = None;
        for route in &chain.routes {
            let is_first = route.settings.name == *first;
            let counter = self.counters.get(&route.settings.name);
            match forecast_line(completion, route, is_first, self.is_capped, counter) {
                Ok(forecast) => routes.push(RouteForecast {
                    route,
                    model: line_model(completion, route, is_first),
                    forecast,
                }),
                Err(error) => refused = Some(Failure::new(error.class, error.message)),
            }
        }
        self.on_routes(COMPLETION, &routes, 0.0)
            .ok_or_else(|| refused.unwrap_or_else(nowhere))
    }

    fn call(
        &self,
        agent: &Agent,
        chain: &Chain,
        task: TaskInput<'_>,
        ahead: MaterialAhead,
    ) -> Result<Estimate, Failure> {
        let mut routes = Vec::new();
        let mut refused = None;
        let with_model = chain.routes.iter().filter(|route| route.settings.model.is_some());
        for route in with_model {
            let counter = self.counters.get(&route.settings.name);
            match forecast_prompt(agent, route, self.budget, task, ahead.later, counter) {
                Ok(forecast) => routes.push(RouteForecast {
                    route,
                    model: String::new(),
                    forecast,
                }),
                Err(failure) => refused = Some(failure),
            }
        }
        self.on_routes(agent.action.as_str(), &routes, ahead.tokens)
            .ok_or_else(|| refused.unwrap_or_else(nowhere))
    }

    /// Sums up the routes of a task. The expectation is shared among them as in earlier runs. The highest cost has the
    /// calls of all. `None` without a route.
    fn on_routes(&self, agent: &str, routes: &[RouteForecast<'_>], more: f64) -> Option<Estimate> {
        let first = routes.first()?;
        let names: Vec<&str> = routes
            .iter()
            .map(|one| one.route.settings.name.as_str())
            .collect();
        let shares = self.history.shares(agent, &names);
        let mut sum = Estimate::default();
        let mut dearest = Cost::ZERO;
        for (one, share) in routes.iter().zip(shares) {
            let (mut sums, result) = self.expected(agent, one, more);
            sums = scaled(sums, share);
            sum.result_tokens += result * share;
            sum.serial_ms += sums.busy_ms;
            let (once, repaired) = (one.forecast.first, one.forecast.repair);
            sums.is_unbounded = once.is_none() || repaired.is_none();
            let (once, repaired) = (once.unwrap_or_default(), repaired.unwrap_or_default());
            dearest = dearest.max(once);
            let tries = u64::from(self.retries) + 1;
            sums.worst = Cost(once.plus(repaired).0.saturating_mul(tries)).plus(Cost::ZERO);
            sum.put(agent, &one.route.settings.name, &sums);
        }
        let highest = CallSums {
            without_retries: dearest,
            ..CallSums::default()
        };
        sum.put(agent, &first.route.settings.name, &highest);
        Some(sum)
    }

    /// Returns the expected calls of a task if all of it runs on this route, and the likely tokens of its result.
    fn expected(&self, agent: &str, one: &RouteForecast<'_>, more: f64) -> (CallSums, f64) {
        let settings = &one.route.settings;
        let seen = self.history.observed(agent, &settings.name, &one.model);
        let calls = seen.map_or(1.0, Observed::calls);
        let window = number(settings.context_window) * LIKELY_SHARE;
        // A vocabulary counts the text itself. Otherwise the counts of earlier prompts correct the estimate.
        let input = if self.counters.contains_key(&settings.name) {
            (number(one.forecast.tokens) + more).min(window) * calls
        } else {
            let ratio = self.history.ratio(agent, &settings.name, &one.model);
            (number(one.forecast.likely) + more).min(window) * ratio
        };
        let limit = number(one.forecast.longest.unwrap_or(UNLIMITED));
        let output = seen.map_or(limit, Observed::output);
        let (cached, written) = seen.map_or((0.0, 0.0), Observed::cache_shares);
        let usage = of_one(calls, (input, input * cached, input * written, output));
        let now = clock::now_ms();
        let tier = settings
            .body
            .get("service_tier")
            .and_then(serde_json::Value::as_str);
        let model = if one.model.is_empty() {
            settings.model.as_deref().unwrap_or_default()
        } else {
            &one.model
        };
        let price = settings.prices.of(model);
        let cost = price.map(|price| price.of(usage, tier, Span { from: now, to: now }));
        let sums = CallSums {
            calls,
            input,
            cached: input * cached,
            output,
            cost: cost.map_or(0.0, |cost| number(cost.0) * calls),
            unpriced: if cost.is_some() { 0.0 } else { calls },
            by_limit: if seen.is_some() { 0.0 } else { 1.0 },
            busy_ms: seen.map_or(FIRST_TOKEN_MS + TOKEN_MS * output, Observed::busy_ms),
            ..CallSums::default()
        };
        let result = seen.and_then(Observed::result).unwrap_or(output);
        (sums, result)
    }
}

/// Returns a share of expected calls.
fn scaled(sums: CallSums, share: f64) -> CallSums {
    let mut of = Estimate::default();
    of.put("", "", &sums);
    let mut scaled = Estimate::default();
    scaled.add_share(&of, share);
    scaled.total()
}

/// The model that a Batch line calls on a route.
fn line_model(completion: &Completion, route: &Route, is_first: bool) -> String {
    let of_route = route.settings.model.clone().filter(|_| !is_first);
    of_route.unwrap_or_else(|| {
        let body: serde_json::Value = serde_json::from_str(completion.body.get()).unwrap_or_default();
        body["model"].as_str().unwrap_or_default().to_owned()
    })
}

fn nowhere() -> Failure {
    Failure::new(
        Class::BadRequest,
        "no route of the chain names a model (set `OPENAI_MODEL`, `-m`, or `model` of the route)",
    )
}
