//! What a finished task or request amounts to, as the store keeps it and result lines show it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::{Class, Failure};
use super::state::{Status, TaskStatus};
use super::usage::{Cost, Usage};

impl Making {
    /// The bookkeeping of what took no call.
    pub const fn without_calls(route: String, model: String) -> Self {
        Self {
            route,
            model,
            attempts: 0,
            usage: Usage {
                input_tokens: 0,
                cached_input_tokens: 0,
                cache_write_tokens: 0,
                output_tokens: 0,
            },
            cost: Some(Cost::ZERO),
            wasted: Cost::ZERO,
            duration_ms: 0,
            first_token_ms: None,
            fallback: None,
            degraded: false,
            warnings: Vec::new(),
            made_from: None,
        }
    }
}

/// One call to a model, as the ledger of attempts keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The route that was asked.
    pub route: String,
    /// The model that was asked for.
    pub model: String,
    /// What came of it.
    pub end: CallEnd,
    /// Whether its answer is the result of its task.
    pub used: bool,
    /// The HTTP status, where there was one.
    pub status_code: Option<u16>,
    /// What the provider counted.
    pub usage: Usage,
    /// What that costs; `None` when the route has no price.
    pub cost: Option<Cost>,
    /// What it may have cost beyond that: the provider may have worked on an answer whose tokens nobody counted.
    pub uncertain: Cost,
    /// Unix milliseconds at the start.
    pub started_at: i64,
    /// Milliseconds from sending to the end.
    pub duration_ms: u64,
    /// Milliseconds from sending to the first piece of the answer.
    pub first_token_ms: Option<u64>,
}

impl Attempt {
    /// The most that it may have cost.
    pub fn worst(&self) -> Cost {
        self.cost.unwrap_or(Cost::ZERO).plus(self.uncertain)
    }
}

/// What came of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// A good answer.
    Answered,
    /// None, or one that could not be used.
    Failed(Class),
    /// It was given up before its end: by a signal, or by a process that died.
    Abandoned,
}

impl CallEnd {
    /// Under what it is written down among the calls that gave nothing; `None` for a good answer.
    pub const fn cause(self) -> Option<&'static str> {
        match self {
            Self::Answered => None,
            Self::Failed(class) => Some(class.as_str()),
            Self::Abandoned => Some("abandoned"),
        }
    }

    /// Whether there was a good answer.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Answered)
    }
}

/// Why a task was not done on the first route of its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// The first route.
    pub from: String,
    /// What was wrong with it, and with those between it and the one that answered.
    pub reason: String,
}

/// A new piece of a session's material; its number is given when the task settles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewItem {
    /// The type that its id begins with, `insight` say.
    pub kind: String,
    /// The item without its id: a JSON object.
    pub body: serde_json::Map<String, serde_json::Value>,
}

/// What a task produced.
#[derive(Debug, Clone)]
pub enum Product {
    /// An agent's items; they get their numbers in the transaction that settles the task.
    Items(Vec<NewItem>),
    /// The response to an OpenAI Batch line: a JSON object `{status_code, request_id, body}`.
    Response(Box<RawValue>),
}

impl Product {
    /// About how many bytes it takes in the store.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Items(items) => items
                .iter()
                .flat_map(|item| &item.body)
                .map(|(name, value)| name.len() + bytes_of(value))
                .sum(),
            Self::Response(raw) => raw.get().len(),
        }
    }
}

fn bytes_of(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(bytes_of).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| name.len() + bytes_of(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

/// A task as a result line shows it.
#[derive(Debug, Clone)]
pub struct TaskRecord {
    /// `task001` and so on.
    pub task_id: String,
    /// What was to be done.
    pub action: String,
    /// What it was given.
    pub input: String,
    /// Where it stands.
    pub status: TaskStatus,
    /// The stored result: an array of items with ids, or a Batch response object.
    pub result: Option<Box<RawValue>>,
    /// How it was made; of a task that has fanned out, its parts together.
    pub making: Option<Making>,
    /// Its parts, in order.
    pub parts: Vec<PartRecord>,
}

/// A part of a task as a result line shows it.
#[derive(Debug, Clone)]
pub struct PartRecord {
    /// `task001.1` and so on.
    pub task_id: String,
    /// The id of the item that it is about; `None` for a sample.
    pub subject: Option<String>,
    /// Its state.
    pub status: TaskStatus,
    /// How it was made.
    pub making: Option<Making>,
    /// Why it failed.
    pub failure: Option<Failure>,
}

impl TaskRecord {
    /// The same with its parts, whose calls count as its own. The parts ran side by side: it took as long as the longest.
    #[must_use]
    pub fn with_parts(self, parts: Vec<PartRecord>) -> Self {
        let makings = parts.iter().filter_map(|part| part.making.as_ref());
        let making = makings.fold(None, |sum: Option<Making>, part| {
            Some(sum.map_or_else(|| part.clone(), |sum| sum.beside(part)))
        });
        let making = match (making, self.making) {
            (Some(parts), Some(own)) => Some(parts.beside(&own)),
            (parts, own) => parts.or(own),
        };
        Self {
            making,
            parts,
            ..self
        }
    }
}

impl Making {
    /// The bookkeeping of a task that failed before. The cost of the failure is waste, and its calls are attempts.
    #[must_use]
    pub fn after(&self, earlier: &Self) -> Self {
        let lost = earlier.cost.unwrap_or(Cost::ZERO).plus(earlier.wasted);
        Self {
            attempts: earlier.attempts.saturating_add(self.attempts),
            wasted: self.wasted.plus(lost),
            ..self.clone()
        }
    }

    /// The bookkeeping of two tasks that ran side by side, in one.
    #[must_use]
    fn beside(self, other: &Self) -> Self {
        let mut warnings = self.warnings;
        warnings.extend(
            other
                .warnings
                .iter()
                .filter(|warning| !warnings.contains(warning))
                .cloned()
                .collect::<Vec<_>>(),
        );
        let first = |own: String, other: &str| if own.is_empty() { other.to_owned() } else { own };
        Self {
            route: first(self.route, &other.route),
            model: first(self.model, &other.model),
            attempts: self.attempts.saturating_add(other.attempts),
            usage: self.usage.plus(other.usage),
            cost: self.cost.zip(other.cost).map(|(own, other)| own.plus(other)),
            wasted: self.wasted.plus(other.wasted),
            duration_ms: self.duration_ms.max(other.duration_ms),
            first_token_ms: match (self.first_token_ms, other.first_token_ms) {
                (Some(own), Some(other)) => Some(own.min(other)),
                (own, other) => own.or(other),
            },
            fallback: self.fallback.or_else(|| other.fallback.clone()),
            degraded: self.degraded || other.degraded,
            warnings,
            made_from: None,
        }
    }
}

/// How a task's result was made: the bookkeeping of its line in the result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Making {
    /// The route that answered, or failed last.
    pub route: String,
    /// The model that answered.
    pub model: String,
    /// Calls made, failed ones included.
    pub attempts: u32,
    /// Tokens of the answer that was used.
    pub usage: Usage,
    /// Its cost.
    pub cost: Option<Cost>,
    /// Cost of the calls that gave nothing.
    pub wasted: Cost,
    /// Milliseconds of the whole task.
    pub duration_ms: u64,
    /// Milliseconds to the first piece of the answer that was used.
    pub first_token_ms: Option<u64>,
    /// Why it was not the first route of its chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// Whether it was made without something that it should have had, such as a search.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
    /// What a reader should know beside the result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// A digest of what it was made from: the agent's file, model, sampling, and the prompt with context and instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<String>,
}

/// Where a queue's tasks came from, and what finding that out took.
#[derive(Debug, Clone)]
pub struct PlanRecord {
    /// Who made the plan; `None` if there is none because planning failed.
    pub origin: Option<PlanOrigin>,
    /// How it was made.
    pub making: Making,
}

/// Who made a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanOrigin {
    /// The supervisor model.
    Model,
    /// The settings, because the model's plan could not be used.
    Default,
    /// An earlier request of the session, whose pending tasks were taken over.
    Continued,
}

impl PlanOrigin {
    /// The name as the store and result lines keep it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Default => "default",
            Self::Continued => "continued",
        }
    }

    /// The origin of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Model, Self::Default, Self::Continued]
            .into_iter()
            .find(|origin| origin.as_str() == name)
    }
}

/// A finished request, with everything that its result line needs.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The store's number of the queue.
    pub queue_id: i64,
    /// The order of finishing; grows, with gaps.
    pub finish_no: i64,
    /// The name the line gave itself; `None` also for a bad line.
    pub custom_id: Option<String>,
    /// Its place in the input, from 0.
    pub index: u64,
    /// Its physical line, from 1.
    pub line: u64,
    /// The user.
    pub user_id: String,
    /// The session, where there is one.
    pub session_id: Option<String>,
    /// How it ended.
    pub status: Status,
    /// Whether the line is an OpenAI Batch line, which is answered in Batch form.
    pub is_completion: bool,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// What a reader should know beside the result.
    pub warnings: Vec<String>,
    /// The line's own `metadata`.
    pub metadata: Option<Box<RawValue>>,
    /// Unix milliseconds at which the line arrived.
    pub created_at: i64,
    /// Unix milliseconds at which it finished.
    pub completed_at: i64,
    /// Where its tasks came from, unless the line or a flag gave them.
    pub plan: Option<PlanRecord>,
    /// Its tasks in order.
    pub tasks: Vec<TaskRecord>,
}

impl Finished {
    /// The request, of which no more than this can be read.
    #[must_use]
    pub fn unreadable(self, reason: &str) -> Self {
        let message = format!("its stored result cannot be read: {reason}");
        Self {
            status: Status::Failed,
            failure: Some(Failure::new(Class::Internal, message)),
            ..self
        }
    }
}
