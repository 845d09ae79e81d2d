//! Why a call, a task or a request failed, and how the layer above reacts.

use serde::{Deserialize, Serialize};

/// The closed list of error classes in result lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The request, or a parameter of the call, is wrong; the same call would fail again.
    BadRequest,
    /// The provider refused the key.
    Auth,
    /// Money or a spending limit is used up.
    Quota,
    /// The provider asked for fewer requests (429).
    RateLimited,
    /// The time for the connection, the first token or the whole call ran out.
    Timeout,
    /// A stream stopped sending data.
    Stalled,
    /// The connection failed, was cut, or ended before the answer.
    Network,
    /// The provider failed (5xx, or an error in the stream).
    Server,
    /// The prompt does not fit the model.
    ContextLength,
    /// The provider's filter, or the model itself, refused.
    ContentFilter,
    /// The answer does not have the requested form.
    Schema,
    /// No search provider answered.
    Search,
    /// A poison message: processes crashed while they worked on the request.
    Poison,
    /// An error of nova3 itself.
    Internal,
}

impl Class {
    /// The name in result lines.
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

    /// One sentence for a person: the step after a failure of this class.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::BadRequest => {
                "Correct the line, or the parameter that the message names; the next run runs a changed line again."
            }
            Self::Auth => "Correct the key of the route, then retry.",
            Self::Quota => "Add credit or raise the spending limit at the provider, then retry.",
            Self::RateLimited => "Lower `--rpm` or `--tpm`, then retry.",
            Self::Timeout => {
                "Raise `--timeout` or `--first-token-timeout`, or use a faster model, then retry."
            }
            Self::Stalled => "Raise `--idle-timeout`, or use another route, then retry.",
            Self::Network => "Check the connection and the base URL of the route, then retry.",
            Self::Server => "Retry when the provider answers again, or add another route to the chain.",
            Self::ContextLength => {
                "Shorten the request, or use a model with a larger context window, then retry."
            }
            Self::ContentFilter => "Change the wording of the request, or use another model.",
            Self::Schema => {
                "Use a model that keeps to the schema, or simplify the schema of the agent, then retry."
            }
            Self::Search => "Test the provider with `nova3 search`, then retry.",
            Self::Poison => "Report the request as a fault of nova3: it crashes the process. Retry it alone.",
            Self::Internal => "Report the message as a fault of nova3, then retry.",
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

    /// Returns the class with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }
}

/// How a route reacts to a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Try again on the same route after a backoff; costs an attempt and counts against the breaker.
    Retry,
    /// As `Retry`, but does not count against the breaker (409).
    RetryQuietly,
    /// The whole route pauses; costs no attempt (429).
    Pause,
    /// The route is not used again in this run: key, balance or model was refused.
    Latch,
    /// This route cannot serve this request; another one may (context length, content filter).
    Elsewhere,
    /// No route can serve this request.
    Final,
}

/// The error object of a result line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error class.
    pub class: Class,
    /// One sentence for a person: the failure with its value, and the cure if there is one.
    pub message: String,
    /// The input line, counted from 1, if the line itself is wrong.
    pub line: Option<u64>,
    /// The task that failed.
    pub task_id: Option<String>,
    /// The route of the last attempt.
    pub route: Option<String>,
    /// The HTTP status of the last attempt.
    pub status_code: Option<u16>,
    /// Whether the request may succeed when it runs again.
    pub retryable: bool,
    /// Every earlier cause, oldest first.
    pub causes: Vec<String>,
}

impl Failure {
    /// Creates a failure that has only a class and a message.
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

    /// Creates the failure of a bad input line.
    pub fn bad_line(line: u64, message: impl Into<String>) -> Self {
        Self {
            line: Some(line),
            ..Self::new(Class::BadRequest, message)
        }
    }
}

/// Returns the message without the words that contain a digit: such a word may be an id, a number or a time. Failures
/// with equal results are of the same kind.
pub fn kind_of(message: &str) -> String {
    let words = message.split_whitespace();
    let same: Vec<&str> = words
        .filter(|word| !word.bytes().any(|byte| byte.is_ascii_digit()))
        .collect();
    same.join(" ")
}
