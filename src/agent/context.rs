//! What every call of an agent needs, and the conversation along a chain that ends in a usable answer.

use std::sync::Arc;

use super::conversation::Conversation;
use super::definition::Agent;
use super::run::Prompt;
use crate::config::ContextBudget;
use crate::domain::failure::{Class, Failure, Verdict};
use crate::domain::outcome::{Attempt, Making};
use crate::domain::request::Digest;
use crate::domain::usage::{Cost, Usage};
use crate::llm::{
    Answer, CallError, CallFailure, Chain, ChainError, Client, CostReservation, Marks, Route, RouteError,
    RouteSelector, Stop, Stopped,
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
    /// Selects routes of the chain for one task.
    pub(super) fn selector(self) -> RouteSelector<'a> {
        self.client
            .selector(self.chain, self.stop, self.reservation, self.marks)
    }
}

/// What an answer is worth.
pub(super) enum Validation<T> {
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
pub(super) enum Outcome<T> {
    /// With something to use; what is still to mend is told in warnings.
    Well(T),
    /// Without, on every route that there is.
    Failed(Failure),
    /// Nothing more is sent; the task is as good as before.
    Interrupted(Stopped),
}

/// An outcome and what it took.
pub(super) struct ConversationResult<T> {
    pub(super) outcome: Outcome<T>,
    pub(super) making: Making,
    pub(super) attempts: Vec<Attempt>,
}

/// Asks until there is a usable answer: on each route of the chain one conversation with at most one repair. The prompt
/// is made for each, since their windows differ.
pub(super) async fn converse<T>(
    context: AgentContext<'_>,
    agent: &Agent,
    make: impl Fn(&Route) -> Result<Prompt, Failure>,
    validate: impl Fn(&Prompt, &Answer) -> Validation<T>,
) -> ConversationResult<T> {
    let mut selector = context.selector().to_models();
    let mut route = Arc::clone(selector.first());
    let mut warnings = Vec::new();
    let mut made_from = None;
    let outcome = loop {
        route = match selector.route() {
            Ok(route) => route,
            Err(over) => break closed(&route, over),
        };
        let ended = match make(&route) {
            Ok(prompt) => {
                made_from = Some(digest_of(agent, &route, &prompt));
                let mut conversation = Conversation::new(&mut selector, &route, agent, prompt);
                let answered = conversation.until_usable(&validate).await;
                warnings = conversation.warnings;
                match answered {
                    Ok(product) => break Outcome::Well(product),
                    Err(ended) => ended,
                }
            }
            Err(failure) => unsent(&failure),
        };
        if let Some(over) = selector.leave(&route, ended).await {
            break closed(&route, over);
        }
    };
    let mut making = making(&selector, &route);
    making.warnings = warnings;
    making.made_from = made_from;
    ConversationResult {
        outcome,
        making,
        attempts: selector.attempts,
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
fn unsent(failure: &Failure) -> RouteError {
    let verdict = match failure.class {
        Class::Internal => Verdict::Final,
        _ => Verdict::Elsewhere,
    };
    CallError::new(failure.class, verdict, &failure.message).into()
}

fn closed<T>(route: &Route, over: ChainError) -> Outcome<T> {
    match over {
        ChainError::Failed(with) => Outcome::Failed(failure(route, *with)),
        ChainError::Stopped(why) => Outcome::Interrupted(why),
    }
}

/// The failure of a task whose last route was this one.
pub(super) fn failure(route: &Route, with: CallFailure) -> Failure {
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
pub(super) fn making(selector: &RouteSelector<'_>, route: &Route) -> Making {
    let attempts = &selector.attempts;
    let used = attempts.iter().rfind(|attempt| attempt.used);
    let cost = attempts
        .iter()
        .filter_map(|attempt| attempt.cost)
        .fold(Cost::ZERO, Cost::plus);
    let good = used.map_or(route.settings.price.as_ref().map(|_| Cost::ZERO), |attempt| {
        attempt.cost
    });
    let model = used.or(attempts.last()).map(|attempt| attempt.model.clone());
    Making {
        attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
        usage: used.map_or_else(Usage::default, |attempt| attempt.usage),
        cost: good,
        wasted: Cost(cost.0.saturating_sub(good.unwrap_or_default().0)),
        duration_ms: selector.duration_ms,
        first_token_ms: used.and_then(|attempt| attempt.first_token_ms),
        fallback: selector.fallback(),
        ..Making::without_calls(
            route.settings.name.clone(),
            model.or_else(|| route.settings.model.clone()).unwrap_or_default(),
        )
    }
}
