//! What a request asks for, in whichever dialect it came.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::prompt::Prompt;
use super::prompt_cache::CachedPrefix;
use super::request::ResponseFormat;

/// What a request asks for.
pub(crate) struct AnswerRequest<'a> {
    pub(crate) prompt: Prompt<'a>,
    pub(crate) model: Cow<'a, str>,
    pub(crate) stream: bool,
    /// Whether a stream of Chat Completions is to end with its usage.
    pub(crate) include_usage: bool,
    /// The form the answer must have.
    pub(crate) format: Option<ResponseFormat>,
    /// The most pieces the answer may have.
    pub(crate) limit: usize,
    /// The tool of the Messages API whose input the answer has to be.
    pub(crate) tool: Option<String>,
    /// The part of the prompt that the Messages API is asked to cache.
    pub(crate) prefix: Option<CachedPrefix>,
    pub(crate) metadata: Option<&'a RawValue>,
}
