//! The context of an agent's calls, and the conversation along a chain that ends in a usable answer.

use std::sync::Arc;

use super::conversation::Conversation;
use super::definition::Agent;
use super::fingerprint::Fingerprint;
use super::run::Prompt;
use crate::config::ContextBudget;
use crate::domain::failure::{Class, Failure, Verdict};
use crate::domain::outcome::{Attempt, Provenance};
use crate::domain::usage::{Cost, TextSizes, Usage};
use crate::llm::{
    Answer, CallError, CallFailure, Chain, ChainError, Client, CostReservation, Marks, Route, RouteError,
    RouteSelector, Stop, Stopped, likely_messages,
};
use crate::observe::TaskEvents;

/// The services and limits that an agent's calls share.
#[derive(Clone, Copy)]
pub struct AgentContext<'a> {
    /// Calls the models.
    pub client: &'a Client,
    /// The routes that the calls may use.
    pub chain: &'a Chain,
    /// How much of earlier work a prompt may hold.
    pub budget: &'a ContextBudget,
    /// Ends the run early.
    pub stop: &'a Stop,
    /// Reserves the cost of each call, if the run has a cost cap.
    pub reservation: Option<&'a dyn CostReservation>,
    /// The crash mark of a request that was in flight at a crash.
    pub marks: Option<&'a dyn Marks>,
    /// Publishes the events of its calls, if any sink receives them.
    pub events: Option<&'a TaskEvents>,
}

impl<'a> AgentContext<'a> {
    /// Selects routes of the chain for one task.
    pub(super) fn selector(self) -> RouteSelector<'a> {
        self.client
            .selector(self.chain, self.stop, self.reservation, self.marks)
            .publishing(self.events)
    }
}

/// The validation result of an answer.
pub(super) enum Validation<T> {
    /// The answer can be used.
    Good(T),
    /// The answer can be used, but a repair should fix these complaints.
    Mend(T, Vec<String>),
    /// The answer cannot be used. The model can be shown why.
    Bad(String),
    /// The answer ended at its token limit.
    Cut(String),
    /// The answer cannot be used, and a repair would not help.
    Refused(CallError),
}

/// The end of a conversation.
pub(super) enum ConversationOutcome<T> {
    /// The conversation has a usable result. Remaining complaints are warnings.
    Well(T),
    /// Every route of the chain failed.
    Failed(Failure),
    /// The run stopped and sends nothing more. The task keeps its state.
    Interrupted(Stopped),
}

/// An outcome, with its bookkeeping and its calls.
pub(super) struct ConversationResult<T> {
    pub(super) outcome: ConversationOutcome<T>,
    pub(super) making: Provenance,
    pub(super) attempts: Vec<Attempt>,
}

/// Asks until an answer is usable. `input` is the task's own instruction. Each route of the chain has one conversation with at most one repair. The prompt is
/// built for each route, because context windows differ.
pub(super) async fn converse<T>(
    context: AgentContext<'_>,
    agent: &Agent,
    input: &str,
    make: impl Fn(&Route) -> Result<Prompt, Failure>,
    validate: impl Fn(&Prompt, &Answer) -> Validation<T>,
) -> ConversationResult<T> {
    let mut selector = context.selector().to_models();
    let mut route = Arc::clone(selector.first());
    let mut warnings = Vec::new();
    let (mut made_from, mut size) = (None, None);
    let outcome = loop {
        route = match selector.route() {
            Ok(route) => route,
            Err(over) => break closed(&route, over),
        };
        let ended = match make(&route) {
            Ok(prompt) => {
                made_from = Some(Fingerprint::of(agent, &route, input, &prompt).to_string());
                size = Some(likely_messages(&prompt.messages));
                let mut conversation = Conversation::new(&mut selector, &route, agent, prompt);
                let answered = conversation.until_usable(&validate).await;
                warnings = conversation.warnings;
                match answered {
                    Ok(product) => break ConversationOutcome::Well(product),
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
    making.sizes = TextSizes {
        prompt: size,
        result: None,
    };
    ConversationResult {
        outcome,
        making,
        attempts: selector.attempts,
    }
}

/// Returns the error for a route that has no prompt. Another route may have one, unless the failure is internal.
fn unsent(failure: &Failure) -> RouteError {
    let verdict = match failure.class {
        Class::Internal => Verdict::Final,
        _ => Verdict::Elsewhere,
    };
    CallError::new(failure.class, verdict, &failure.message).into()
}

fn closed<T>(route: &Route, over: ChainError) -> ConversationOutcome<T> {
    match over {
        ChainError::Failed(with) => ConversationOutcome::Failed(failure(route, *with)),
        ChainError::Stopped(why) => ConversationOutcome::Interrupted(why),
    }
}

/// Returns the failure of a task whose last route was `route`.
pub(super) fn failure(route: &Route, with: CallFailure) -> Failure {
    let error = with.error;
    Failure {
        route: Some(route.settings.name.clone()),
        status_code: error.status.filter(|status| *status != 200),
        causes: with.causes,
        ..Failure::new(error.class, error.message)
    }
}

/// Returns the token limit of an agent's answer on a route.
pub(super) fn max_tokens(route: &Route, agent: &Agent) -> u32 {
    let settings = &route.settings;
    // The prompt gets at least half of the window.
    let half = u32::try_from(settings.context_window / 2).unwrap_or(u32::MAX);
    let most = settings.max_tokens.unwrap_or(u32::MAX);
    agent.max_tokens.min(most).min(half)
}

/// Returns the bookkeeping of a task: the usage of the answer in use, and the cost of the other calls as waste.
pub(super) fn making(selector: &RouteSelector<'_>, route: &Route) -> Provenance {
    let attempts = &selector.attempts;
    let used = attempts.iter().rfind(|attempt| attempt.used);
    let cost = attempts
        .iter()
        .filter_map(|attempt| attempt.cost)
        .fold(Cost::ZERO, Cost::plus);
    let free = || route.settings.price().map(|_| Cost::ZERO);
    let good = used.map_or_else(free, |attempt| attempt.cost);
    let model = used.or(attempts.last()).map(|attempt| attempt.model.clone());
    Provenance {
        attempts: u32::try_from(attempts.len()).unwrap_or(u32::MAX),
        usage: used.map_or_else(Usage::default, |attempt| attempt.usage),
        cost: good,
        wasted: Cost(cost.0.saturating_sub(good.unwrap_or_default().0)),
        duration_ms: selector.duration_ms,
        first_token_ms: used.and_then(|attempt| attempt.first_token_ms),
        fallback: selector.fallback(),
        ..Provenance::without_calls(
            route.settings.name.clone(),
            model.or_else(|| route.settings.model.clone()).unwrap_or_default(),
        )
    }
}
