//! A span before it is encoded.

use super::ids::SpanId;

/// The role of a span in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanRole {
    /// A whole request.
    Request,
    /// Planning.
    Plan,
    /// A task, a part or a join.
    Agent,
    /// A search task.
    Search,
    /// A call of a model.
    Model,
    /// A call of a search provider.
    Provider,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SpanValue {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A number.
    Amount(f64),
    /// Yes or no.
    Flag(bool),
    /// Several texts.
    Texts(Vec<String>),
}

impl From<&str> for SpanValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for SpanValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for SpanValue {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for SpanValue {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<f64> for SpanValue {
    fn from(amount: f64) -> Self {
        Self::Amount(amount)
    }
}

impl From<bool> for SpanValue {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// A span.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TraceSpan {
    /// Its id.
    pub(super) id: SpanId,
    /// The span that it is part of. The request has none.
    pub(super) parent: Option<SpanId>,
    /// Its role.
    pub(super) role: SpanRole,
    /// Its name.
    pub(super) name: String,
    /// Unix milliseconds of its start.
    pub(super) start: i64,
    /// Unix milliseconds of its end, not before its start.
    pub(super) end: i64,
    /// Its attributes.
    pub(super) attributes: Vec<(&'static str, SpanValue)>,
    /// The message of its failure, if it failed.
    pub(super) failure: Option<String>,
}

impl TraceSpan {
    /// Adds an attribute.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<SpanValue>) {
        self.attributes.push((key, value.into()));
    }

    /// Adds an attribute, if there is a value.
    pub(super) fn set_some(&mut self, key: &'static str, value: Option<impl Into<SpanValue>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }
}
