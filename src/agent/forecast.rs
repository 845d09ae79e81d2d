//! The prompt and the most expensive calls of a task that has not run.
//!
//! The prompt is built by the code that a run uses. Material that does not exist yet is counted by its bounds in the settings.

use serde_json::Value;

use super::context::max_tokens;
use super::definition::Agent;
use super::fan_out::of_part;
use super::run::{TaskInput, prompt};
use super::supervise::LONGEST_INPUT;
use crate::config::ContextBudget;
use crate::domain::failure::Failure;
use crate::domain::request::Completion;
use crate::domain::usage::Cost;
use crate::llm::{
    CallError, CallForecast, ChatRequest, Message, ModelRequest, Role, Route, TokenCounter, VerbatimRequest,
    likely_messages,
};

/// A token of the estimate that bounds a prompt has at most this many bytes of text, the marks around it included.
const BYTES_PER_TOKEN: u64 = 4;

/// Bytes of the headings of material that does not exist yet.
const HEADINGS: u64 = 2000;

/// Bytes of a character at most.
const WIDEST: usize = 4;

/// The material of a prompt that other tasks or a search will make.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaterMaterial {
    /// Results of earlier tasks of the request.
    pub earlier: bool,
    /// Rounds of the session, and items that the request references.
    pub session: bool,
    /// Search results.
    pub search: bool,
    /// An instruction that the supervisor writes.
    pub instruction: bool,
}

impl LaterMaterial {
    /// Returns the most bytes that this material can take in a prompt.
    fn most_bytes(self, budget: &ContextBudget) -> u64 {
        let parts = [
            (self.earlier, budget.earlier_tokens),
            (
                self.session,
                budget.round_tokens.saturating_add(budget.reference_tokens),
            ),
            (self.search, budget.search_tokens),
        ];
        let tokens = parts.iter().filter(|(is_there, _)| *is_there);
        let tokens = tokens.fold(0_u64, |sum, (_, tokens)| sum.saturating_add(*tokens));
        let instruction = if self.instruction {
            LONGEST_INPUT * WIDEST
        } else {
            0
        };
        tokens
            .saturating_mul(BYTES_PER_TOKEN)
            .saturating_add(instruction as u64)
            .saturating_add(HEADINGS)
    }
}

/// The calls of a task on one route.
#[derive(Debug, Clone, Copy)]
pub struct PromptForecast {
    /// The tokens of the prompt as far as it is known: counted with a vocabulary, else estimated from the text.
    pub tokens: u64,
    /// The same, estimated from the text.
    pub likely: u64,
    /// The token limit of the answer; `None` if it has no bound.
    pub longest: Option<u64>,
    /// The most that the first call can cost; `None` without a price or a bound.
    pub first: Option<Cost>,
    /// The most that a repair can cost. A Batch line has no repair.
    pub repair: Option<Cost>,
}

/// Builds the prompt of a task for a route, and returns the size and the highest cost of its calls.
pub fn forecast_prompt(
    agent: &Agent,
    route: &Route,
    budget: &ContextBudget,
    task: TaskInput<'_>,
    later: LaterMaterial,
    counter: Option<&TokenCounter>,
) -> Result<PromptForecast, Failure> {
    let share = task.part.map(|part| of_part(agent, part));
    let agent = share.as_ref().unwrap_or(agent);
    let prompt = prompt(agent, route, budget, task)?;
    let mut messages = prompt.messages;
    let (tokens, likely) = (
        counter.map_or_else(
            || likely_messages(&messages),
            |counter| counter.count_messages(&messages),
        ),
        likely_messages(&messages),
    );
    let longest = max_tokens(route, agent);
    let more = later.most_bytes(budget);
    let highest = |messages: &[Message], longest: u32| {
        let request = ModelRequest::Chat(ChatRequest {
            messages,
            schema: agent.form.output_schema(agent.action.as_str(), prompt.language),
            longest,
            sampling: agent.sampling,
            tools: &[],
        });
        Ok(route.forecast(&request, false).map_err(refused)?.worst(more))
    };
    let first = highest(&messages, longest)?;
    // An answer that was cut off is repaired with twice the limit.
    messages.extend(super::conversation::longest_repair(prompt.language));
    let repair = highest(&messages, longest.saturating_mul(2))?;
    Ok(PromptForecast {
        tokens,
        likely,
        longest: Some(u64::from(longest)),
        first,
        repair,
    })
}

/// Returns the size and the highest cost of an OpenAI Batch line on a route. `is_first`: the route is the first of its chain,
/// so that the line's own model is called. With `capped`, the run has a cost cap.
pub fn forecast_line(
    completion: &Completion,
    route: &Route,
    is_first: bool,
    capped: bool,
    counter: Option<&TokenCounter>,
) -> Result<PromptForecast, CallError> {
    let request = ModelRequest::Verbatim(VerbatimRequest {
        body: completion.body.get(),
        endpoint: completion.endpoint,
        streams: completion.streams,
        to_model_of_route: !is_first,
    });
    let call: CallForecast<'_> = route.forecast(&request, capped)?;
    let likely = line_tokens(completion);
    let tokens = counter.map_or(likely, |counter| {
        counter.count_messages(&line_messages(completion))
    });
    Ok(PromptForecast {
        tokens,
        likely,
        longest: call.longest,
        first: call.worst(0),
        repair: Some(Cost::ZERO),
    })
}

fn refused(error: CallError) -> Failure {
    Failure::new(error.class, error.message)
}

/// Returns the likely number of tokens of the prompt of a Batch line.
pub(super) fn line_tokens(completion: &Completion) -> u64 {
    likely_messages(&line_messages(completion)).max(1)
}

/// Returns the texts of the prompt of a Batch line as messages.
fn line_messages(completion: &Completion) -> Vec<Message> {
    let body: Value = serde_json::from_str(completion.body.get()).unwrap_or_default();
    let mut messages = Vec::new();
    for key in ["messages", "input", "prompt", "instructions"] {
        match &body[key] {
            Value::Array(list) => messages.extend(list.iter().map(text_message)),
            Value::Null => {}
            other => messages.push(text_message(other)),
        }
    }
    messages
}

fn text_message(value: &Value) -> Message {
    let mut content = String::new();
    add_texts(value, &mut content);
    Message {
        role: Role::User,
        content,
    }
}

fn add_texts(value: &Value, to: &mut String) {
    match value {
        Value::String(text) => to.push_str(text),
        Value::Array(list) => list.iter().for_each(|value| add_texts(value, to)),
        Value::Object(fields) => {
            let texts = fields
                .iter()
                .filter(|(key, _)| !["role", "type"].contains(&key.as_str()));
            texts.for_each(|(_, value)| add_texts(value, to));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
