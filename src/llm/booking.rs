//! The ledger entry of a call: its usage, its cost, and the largest cost that it may have had.

use std::time::Duration;

use super::dialect::Call;
use super::response::{Answer, ModelResponse};
use super::route::Route;
use super::transport::Got;
use super::wire::CallError;
use crate::domain::failure::{Class, Verdict};
use crate::domain::lane::Lane;
use crate::domain::outcome::{Attempt, CallEnd};
use crate::domain::prices::{Price, Span};
use crate::domain::usage::{Cost, Usage};

/// Returns the highest possible cost of a call.
pub(super) fn worst(route: &Route, call: &Call<'_>) -> Option<Cost> {
    highest(price(route, call), call.body_bytes(), call.longest)
}

/// Returns the highest possible cost of a call with a body of this size and an answer of at most `longest` tokens. No
/// tokenizer makes more tokens from a text than it has bytes.
pub(super) fn highest(price: Option<&Price>, body_bytes: u64, longest: Option<u64>) -> Option<Cost> {
    Some(price?.worst(body_bytes, longest?))
}

/// Returns the price of the call's model on its route.
fn price<'r>(route: &'r Route, call: &Call<'_>) -> Option<&'r Price> {
    route.settings.prices.of(&call.model)
}

pub(super) fn unbounded(route: &Route, call: &Call<'_>) -> CallError {
    if price(route, call).is_none() {
        let message = format!(
            "route `{0}` has no price for model `{1}`, and the run has a cost cap (set `input_usd_per_million` and \
             `output_usd_per_million` in `[routes.{0}]`)",
            route.settings.name, call.model
        );
        return CallError::new(Class::BadRequest, Verdict::Final, &message);
    }
    let message = format!(
        "what this call may cost has no bound, and the run has a cost cap (set `max_completion_tokens` in the line, or \
         `max_tokens` of route `{}`; only text has a bound)",
        route.settings.name
    );
    CallError::new(Class::BadRequest, Verdict::Final, &message)
}

impl Attempt {
    /// Adds the highest possible cost as uncertain, for a call whose answer was lost.
    pub(super) fn uncertain(mut self, route: &Route, call: &Call<'_>) -> Self {
        self.uncertain = worst(route, call).unwrap_or(Cost::ZERO);
        self
    }
}

pub(super) fn attempt(
    route: &Route,
    call: &Call<'_>,
    end: CallEnd,
    (started_at, duration_ms): (i64, u64),
) -> Attempt {
    Attempt {
        route: route.settings.name.clone(),
        model: call.model.clone(),
        lane: Lane::of_tier(asked_tier(route)),
        end,
        used: false,
        status_code: None,
        usage: Usage::default(),
        cost: price(route, call).map(|_| Cost::ZERO),
        uncertain: Cost::ZERO,
        started_at,
        duration_ms,
        first_token_ms: None,
    }
}

/// Returns the service tier that the route asks for in each request.
pub(super) fn asked_tier(route: &Route) -> Option<&str> {
    route.settings.body.get("service_tier")?.as_str()
}

pub(super) fn good(route: &Route, call: &Call<'_>, got: &Got, took: (i64, u64)) -> Attempt {
    let mut attempt = attempt(route, call, CallEnd::Answered, took);
    if let ModelResponse::Answer(Answer {
        model: Some(model), ..
    }) = &got.response
        && !model.is_empty()
    {
        attempt.model.clone_from(model);
    }
    attempt.status_code = Some(got.status);
    if let Some(tier) = &got.bill.tier {
        attempt.lane = Lane::of_tier(Some(tier));
    }
    attempt.first_token_ms = got.first_token.map(millis);
    let Some(usage) = got.bill.usage else {
        if let Some(doubt) = &got.bill.doubt {
            tracing::warn!(
                llm.route = route.settings.name,
                "the server's count of tokens is not believed: {doubt}"
            );
        } else {
            let warning = "sends no `usage`: what its answers used and cost is not known";
            route.warnings.add(warning.to_owned());
        }
        // The cost is unknown. Only its upper bound is known.
        attempt.cost = None;
        return attempt.uncertain(route, call);
    };
    let price = price(route, call);
    let (from, lasted) = (
        attempt.started_at,
        i64::try_from(attempt.duration_ms).unwrap_or(i64::MAX),
    );
    let to = from.saturating_add(lasted);
    attempt.usage = usage;
    attempt.cost = price.map(|price| price.of(usage, got.bill.tier.as_deref(), Span { from, to }));
    attempt
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
