//! What every call of an agent needs, and the conversation along a chain that ends in a usable answer.

use std::sync::Arc;

use super::definition::Agent;
use super::run::Prompt;
use super::talk::Talk;
use crate::config::ContextBudget;
use crate::domain::failure::{Class, Failure, Verdict};
use crate::domain::outcome::{Attempt, Making};
use crate::domain::request::Digest;
use crate::domain::usage::{Cost, Usage};
use crate::llm::wire::{Answer, CallError};
use crate::llm::{
    Chain, Client, CostReservation, Ended, Marks, Over, Route, Stop, Stopped, Unanswered, Walk,
};

/// What an agent works with.
#[derive(Clone, Copy)]
pub struct AgentContext<'a> {
    /// The way to models.
    pub client: &'a Client,
    /// The routes it may take.
    pub chain: &'a Chain,
    /// How much of earlier work may stand in a prompt.
    pub budget: &'a ContextBudget,
    /// How the run ends early.
    pub stop: &'a Stop,
    /// What calls are paid from, under a cost cap.
    pub reservation: Option<&'a dyn CostReservation>,
    /// The crash mark of a request that was in flight at a crash.
    pub marks: Option<&'a dyn Marks>,
}

impl<'a> AgentContext<'a> {
    /// A task's way along the chain.
    pub(super) fn walk(self) -> Walk<'a> {
        self.client
            .walk(self.chain, self.stop, self.reservation, self.marks)
    }
}

/// What an answer is worth.
pub(super) enum Judged<T> {
    /// It will do.
    Good(T),
    /// It can be used, but there is something to mend.
    Mend(T, Vec<String>),
    /// It cannot be used; the model can be told why.
    Bad(String),
    /// It was cut at its longest length.
    Cut(String),
    /// It cannot be used, and telling the model would not help.
    Refused(CallError),
}

/// How a conversation ended.
pub(super) enum Talked<T> {
    /// With something to use; what is still to mend is told in warnings.
    Well(T),
    /// Without, on every route that there is.
    Failed(Failure),
    /// Nothing more is sent; the task is as good as before.
    Interrupted(Stopped),
}

/// A conversation and what it took.
pub(super) struct Conversation<T> {
    pub(super) end: Talked<T>,
    pub(super) making: Making,
    pub(super) attempts: Vec<Attempt>,
}

/// Asks until there is a usable answer: on each route of the chain one conversation with at most one repair. The prompt
/// is made for each, since their windows differ.
pub(super) async fn converse<T>(
    context: AgentContext<'_>,
    agent: &Agent,
    make: impl Fn(&Route) -> Result<Prompt, Failure>,
    judge: impl Fn(&Prompt, &Answer) -> Judged<T>,
) -> Conversation<T> {
    let mut walk = context.walk().to_models();
    let mut route = Arc::clone(walk.first());
    let mut warnings = Vec::new();
    let mut made_from = None;
    let end = loop {
        route = match walk.route() {
            Ok(route) => route,
            Err(over) => break closed(&route, over),
        };
        let ended = match make(&route) {
            Ok(prompt) => {
                made_from = Some(digest_of(agent, &route, &prompt));
                let mut talk = Talk::new(&mut walk, &route, agent, prompt);
                let end = talk.until_usable(&judge).await;
                warnings = talk.warnings;
                match end {
                    Ok(product) => break Talked::Well(product),
                    Err(ended) => ended,
                }
            }
            Err(failure) => unsent(&failure),
        };
        if let Some(over) = walk.leave(&route, ended).await {
            break closed(&route, over);
        }
    };
    let used = matches!(end, Talked::Well(_));
    let mut making = making(&walk, &route, used);
    making.warnings = warnings;
    making.made_from = made_from;
    Conversation {
        end,
        making,
        attempts: walk.attempts,
    }
}

/// A digest of everything that makes an answer what it is. A redo compares it with that of the present prompt.
fn digest_of(agent: &Agent, route: &Route, prompt: &Prompt) -> String {
    let parts = (
        &agent.source,
        &route.settings.model,
        (
            agent.sampling.temperature,
            agent.sampling.top_p,
            agent.sampling.seed,
        ),
        &prompt.messages,
    );
    // Texts and numbers are always JSON.
    let text = serde_json::to_vec(&parts).unwrap_or_default();
    Digest::of(&text).hex()
}

/// There is no prompt for the route. For another one there may be, unless the fault is ours.
fn unsent(failure: &Failure) -> Ended {
    let verdict = match failure.class {
        Class::Internal => Verdict::Final,
        _ => Verdict::Elsewhere,
    };
    CallError::new(failure.class, verdict, &failure.message).into()
}

fn closed<T>(route: &Route, over: Over) -> Talked<T> {
    match over {
        Over::Failed(with) => Talked::Failed(failure(route, *with)),
        Over::Stopped(why) => Talked::Interrupted(why),
    }
}

/// The failure of a task whose last route was this one.
pub(super) fn failure(route: &Route, with: Unanswered) -> Failure {
    let error = with.error;
    Failure {
        route: Some(route.settings.name.clone()),
        status_code: error.status.filter(|status| *status != 200),
        causes: with.causes,
        ..Failure::new(error.class, error.message)
    }
}

/// The longest answer of an agent on a route.
pub(super) fn max_tokens(route: &Route, agent: &Agent) -> u32 {
    let settings = &route.settings;
    // At least half of the window is for the prompt.
    let half = u32::try_from(settings.context_window / 2).unwrap_or(u32::MAX);
    let most = settings.max_tokens.unwrap_or(u32::MAX);
    agent.max_tokens.min(most).min(half)
}

/// The bookkeeping of a task: what its good answer used, and what the other calls cost for nothing.
pub(super) fn making(walk: &Walk<'_>, route: &Route, used: bool) -> Making {
    let attempts = &walk.attempts;
    let used = attempts.last().filter(|attempt| used && attempt.end.is_good());
    let cost = attempts
        .iter()
        .filter_map(|attempt| attempt.cost)
        .fold(Cost::ZERO, Cost::plus);
    let good = used.map_or(route.settings.price.as_ref().map(|_| Cost::ZERO), |attempt| {
        attempt.cost
    });
    let model = attempts.last().map(|attempt| attempt.model.clone());
    Making {
        attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
        usage: used.map_or_else(Usage::default, |attempt| attempt.usage),
        cost: good,
        wasted: Cost(cost.0.saturating_sub(good.unwrap_or_default().0)),
        duration_ms: walk.duration_ms,
        first_token_ms: used.and_then(|attempt| attempt.first_token_ms),
        fallback: walk.fallback(),
        ..Making::without_calls(
            route.settings.name.clone(),
            model.or_else(|| route.settings.model.clone()).unwrap_or_default(),
        )
    }
}
