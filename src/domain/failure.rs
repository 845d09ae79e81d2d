//! Why a call, a task or a request failed, and what the failure asks of the layer that meets it.

use serde::{Deserialize, Serialize};

/// The closed list of error classes a result line may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The request, or a parameter of the call, is wrong; the same again would fail again.
    BadRequest,
    /// The key was refused.
    Auth,
    /// Money or a spending limit is used up.
    Quota,
    /// The provider asked for fewer requests (429).
    RateLimited,
    /// Connect, first token or total time ran out.
    Timeout,
    /// A stream stopped sending data.
    Stalled,
    /// The connection failed, was cut, or ended before the answer did.
    Network,
    /// The provider failed (5xx, or an error in the stream).
    Server,
    /// The prompt does not fit the model.
    ContextLength,
    /// The provider's filter, or the model itself, refused.
    ContentFilter,
    /// The answer does not have the form that was asked for.
    Schema,
    /// No search provider answered.
    Search,
    /// The request kills the process that works on it.
    Poison,
    /// A fault of nova3 itself.
    Internal,
}

impl Class {
    /// The name as it stands in result lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Stalled => "stalled",
            Self::Network => "network",
            Self::Server => "server",
            Self::ContextLength => "context_length",
            Self::ContentFilter => "content_filter",
            Self::Schema => "schema",
            Self::Search => "search",
            Self::Poison => "poison",
            Self::Internal => "internal",
        }
    }

    /// All classes, in the order of their declaration.
    pub const ALL: [Self; 14] = [
        Self::BadRequest,
        Self::Auth,
        Self::Quota,
        Self::RateLimited,
        Self::Timeout,
        Self::Stalled,
        Self::Network,
        Self::Server,
        Self::ContextLength,
        Self::ContentFilter,
        Self::Schema,
        Self::Search,
        Self::Poison,
        Self::Internal,
    ];

    /// The class of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }
}

/// What a failed call asks of the route that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again on the same route after a backoff; costs an attempt and counts against the breaker.
    Retry,
    /// As `Retry`, but says nothing about the health of the route (409).
    RetryQuietly,
    /// The whole route pauses; costs no attempt (429).
    Pause,
    /// The route is dead for this run: key, balance or model refused.
    Latch,
    /// This route cannot serve this request; another might (context length, content filter).
    Elsewhere,
    /// No route can serve this request.
    Final,
}

/// The error object of a result line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind of failure.
    pub class: Class,
    /// One sentence for a person: what failed, with which value, and the cure where there is one.
    pub message: String,
    /// The input line, counted from 1, where the line itself is at fault.
    pub line: Option<u64>,
    /// The task that failed.
    pub task_id: Option<String>,
    /// The route of the last attempt.
    pub route: Option<String>,
    /// The HTTP status of the last attempt.
    pub status_code: Option<u16>,
    /// Whether running it again may succeed.
    pub retryable: bool,
    /// Every cause on the way, oldest first.
    pub causes: Vec<String>,
}

impl Failure {
    /// A failure with nothing but its class and message.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        let retryable = matches!(
            class,
            Class::RateLimited
                | Class::Timeout
                | Class::Stalled
                | Class::Network
                | Class::Server
                | Class::Search
        );
        Self {
            class,
            message: message.into(),
            line: None,
            task_id: None,
            route: None,
            status_code: None,
            retryable,
            causes: Vec::new(),
        }
    }

    /// A bad input line.
    pub fn bad_line(line: u64, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::new(Class::BadRequest, message)
        }
    }
}

/// A message without what is different each time: a word with a digit may be an id, a number or a time. Failures with the
/// same are of the same kind.
pub fn kind_of(message: &str) -> String {
    let words = message.split_whitespace();
    let same: Vec<&str> = words
        .filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit()))
        .collect();
    same.join(" ")
}
