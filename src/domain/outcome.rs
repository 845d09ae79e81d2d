//! The results of calls, tasks and requests, as the store keeps them and result lines show them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::{Class, Failure};
use super::lane::Lane;
use super::state::{Status, TaskStatus};
use super::task_search::TaskSearch;
use super::usage::{Cost, TextSizes, Usage};

impl Provenance {
    /// Creates the bookkeeping of a task that made no call.
    pub const fn without_calls(route: String, model: String) -> Self {
        Self {
            route,
            model,
            attempts: 0,
            usage: Usage::NONE,
            cost: Some(Cost::ZERO),
            wasted: Cost::ZERO,
            duration_ms: 0,
            first_token_ms: None,
            fallback: None,
            degraded: false,
            warnings: Vec::new(),
            made_from: None,
            sizes: TextSizes::NONE,
        }
    }
}

/// One call to a model, as the ledger of attempts keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The route of the call.
    pub route: String,
    /// The requested model.
    pub model: String,
    /// The lane that served it. For a call without an answer, the lane that its route asks for.
    pub lane: Lane,
    /// How the call ended.
    pub end: CallEnd,
    /// Whether its answer is the result of its task.
    pub used: bool,
    /// The HTTP status, if there was one.
    pub status_code: Option<u16>,
    /// The tokens that the provider counted.
    pub usage: Usage,
    /// The cost of that usage; `None` when the route has no price.
    pub cost: Option<Cost>,
    /// The cost that may come on top: the provider may have worked on an answer whose tokens were not reported.
    pub uncertain: Cost,
    /// Unix milliseconds at the start.
    pub started_at: i64,
    /// Milliseconds from sending to the end.
    pub duration_ms: u64,
    /// Milliseconds from sending to the first piece of the answer.
    pub first_token_ms: Option<u64>,
}

impl Attempt {
    /// Returns the most that the call may have cost.
    pub fn worst(&self) -> Cost {
        self.cost.unwrap_or(Cost::ZERO).plus(self.uncertain)
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// With a good answer.
    Answered,
    /// Without an answer, or with one that could not be used.
    Failed(Class),
    /// Before its end: a signal stopped it, or its process crashed.
    Abandoned,
}

impl CallEnd {
    /// Returns the cause under which the waste statistics count the call; `None` for a good answer.
    pub const fn cause(self) -> Option<&'static str> {
        match self {
            Self::Answered => None,
            Self::Failed(class) => Some(class.as_str()),
            Self::Abandoned => Some("abandoned"),
        }
    }

    /// Whether the call ended with a good answer.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Answered)
    }
}

/// Why a task was not done on the first route of its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// The first route.
    pub from: String,
    /// The errors of the first route and of those between it and the route that answered.
    pub reason: String,
}

/// A new item of a session; the item gets its number when the task settles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewItem {
    /// The type that its id begins with, such as `insight`.
    pub kind: String,
    /// The item without its id: a JSON object.
    pub body: serde_json::Map<String, serde_json::Value>,
}

/// The result of a task.
#[derive(Debug, Clone)]
pub enum Product {
    /// An agent's items; they get their numbers in the transaction that settles the task.
    Items(Vec<NewItem>),
    /// The response to an OpenAI Batch line: a JSON object `{status_code, request_id, body}`.
    Response(Box<RawValue>),
    /// The result of a search task.
    Search(Box<TaskSearch>),
}

impl Product {
    /// Estimates how many bytes the result takes in the store.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Items(items) => items
                .iter()
                .flat_map(|item| &item.body)
                .map(|(name, value)| name.len() + bytes_of(value))
                .sum(),
            Self::Response(raw) => raw.get().len(),
            Self::Search(search) => search.bytes(),
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
    /// The action.
    pub action: String,
    /// The instruction.
    pub input: String,
    /// The planned tasks that it needs, by index.
    pub needs: Vec<usize>,
    /// The state of the task.
    pub status: TaskStatus,
    /// The stored result: an array of items with ids, or a Batch response object.
    pub result: Option<Box<RawValue>>,
    /// How the result was made; for a task that has fanned out, all its parts together.
    pub making: Option<Provenance>,
    /// Its search, if it has one.
    pub search: Option<SearchTaskRecord>,
    /// Its parts, in order.
    pub parts: Vec<PartRecord>,
}

/// The search of a task as a result line shows it.
#[derive(Debug, Clone)]
pub struct SearchTaskRecord {
    /// The state of the search.
    pub status: TaskStatus,
    /// Its result.
    pub found: Option<TaskSearch>,
    /// How the result was made.
    pub making: Option<Provenance>,
    /// Why the search failed.
    pub failure: Option<Failure>,
}

/// A part of a task as a result line shows it.
#[derive(Debug, Clone)]
pub struct PartRecord {
    /// `task001.1` and so on.
    pub task_id: String,
    /// The id of the item that the part is about; `None` for a sample.
    pub subject: Option<String>,
    /// The state of the part.
    pub status: TaskStatus,
    /// How the result was made.
    pub making: Option<Provenance>,
    /// Why the part failed.
    pub failure: Option<Failure>,
}

impl TaskRecord {
    /// Returns the task with its parts. The calls of the parts count as calls of the task. The parts ran side by side,
    /// so the duration is that of the longest one.
    #[must_use]
    pub fn with_parts(self, parts: Vec<PartRecord>) -> Self {
        let makings = parts.iter().filter_map(|part| part.making.as_ref());
        let making = makings.fold(None, |sum: Option<Provenance>, part| {
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

impl Provenance {
    /// Returns this bookkeeping together with that of an earlier, failed try. The cost of the earlier try is waste, and
    /// its calls are attempts.
    #[must_use]
    pub fn after(&self, earlier: &Self) -> Self {
        let lost = earlier.cost.unwrap_or(Cost::ZERO).plus(earlier.wasted);
        Self {
            attempts: earlier.attempts.saturating_add(self.attempts),
            wasted: self.wasted.plus(lost),
            ..self.clone()
        }
    }

    /// Merges the bookkeeping of two tasks that ran side by side.
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
            sizes: TextSizes::default(),
        }
    }
}

/// How a task's result was made: the bookkeeping in its result line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Provenance {
    /// The route that answered, or that failed last.
    pub route: String,
    /// The model that answered.
    pub model: String,
    /// Calls made, failed ones included.
    pub attempts: u32,
    /// Tokens of the answer that was used.
    pub usage: Usage,
    /// Its cost.
    pub cost: Option<Cost>,
    /// Cost of the calls without a usable answer.
    pub wasted: Cost,
    /// Milliseconds of the whole task.
    pub duration_ms: u64,
    /// Milliseconds to the first piece of the answer that was used.
    pub first_token_ms: Option<u64>,
    /// Why another route than the first of its chain answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// Whether an input is missing that the task should have had, such as a search.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
    /// Warnings for the reader of the result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The fingerprint of the task's inputs: digests of the agent's file, the model, the sampling, the instruction, and the
    /// whole prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_from: Option<String>,
    /// The sizes of its texts, which an estimate compares with the counted tokens.
    #[serde(default)]
    pub sizes: TextSizes,
}

/// The origin of a queue's tasks, and the bookkeeping of the planning.
#[derive(Debug, Clone)]
pub struct PlanRecord {
    /// The origin of the plan; `None` if planning failed.
    pub origin: Option<PlanOrigin>,
    /// How the plan was made.
    pub making: Provenance,
}

/// The origin of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanOrigin {
    /// The supervisor model.
    Model,
    /// The settings, because the model's plan could not be used.
    Default,
    /// An earlier request of the session: its pending tasks were taken over.
    Continued,
}

impl PlanOrigin {
    /// The name in the store and in result lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Default => "default",
            Self::Continued => "continued",
        }
    }

    /// Returns the origin with this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Model, Self::Default, Self::Continued]
            .into_iter()
            .find(|origin| origin.as_str() == name)
    }
}

/// A finished request, with all fields of its result line.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The store's number of the queue.
    pub queue_id: i64,
    /// The order of finishing; grows, with gaps.
    pub finish_no: i64,
    /// The `custom_id` of the line; `None` also for a bad line.
    pub custom_id: Option<String>,
    /// Its place in the input, from 0.
    pub index: u64,
    /// Its physical line, from 1.
    pub line: u64,
    /// The user.
    pub user_id: String,
    /// The session, if it has one.
    pub session_id: Option<String>,
    /// How the request ended.
    pub status: Status,
    /// Whether the line is an OpenAI Batch line; its result has Batch form.
    pub is_completion: bool,
    /// Why the request failed.
    pub failure: Option<Failure>,
    /// Warnings for the reader of the result.
    pub warnings: Vec<String>,
    /// The line's own `metadata`.
    pub metadata: Option<Box<RawValue>>,
    /// Unix milliseconds at which the line arrived.
    pub created_at: i64,
    /// Unix milliseconds at which the request finished.
    pub completed_at: i64,
    /// Whether a redo of it is under way. The rest is its earlier result.
    pub is_redone: bool,
    /// How its tasks were planned; `None` if the line or a flag gave them.
    pub plan: Option<PlanRecord>,
    /// Its tasks in order.
    pub tasks: Vec<TaskRecord>,
}

impl Finished {
    /// Returns the request as failed, because its stored result cannot be read.
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
