//! The request for an answer, the same for both dialects.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::prompt::ReceivedPrompt;
use super::prompt_cache::CachedPrefix;
use super::request::ResponseFormat;

/// The request for an answer.
pub(crate) struct AnswerRequest<'a> {
    pub(crate) prompt: ReceivedPrompt<'a>,
    pub(crate) model: Cow<'a, str>,
    pub(crate) stream: bool,
    /// Whether a stream of Chat Completions ends with its usage.
    pub(crate) include_usage: bool,
    /// The form of the answer.
    pub(crate) format: Option<ResponseFormat>,
    /// The most pieces of the answer.
    pub(crate) limit: usize,
    /// The forced tool of the Messages API. The answer is its input.
    pub(crate) tool: Option<String>,
    /// The part of the prompt that a Messages request asks to cache.
    pub(crate) prefix: Option<CachedPrefix>,
    pub(crate) metadata: Option<&'a RawValue>,
}
