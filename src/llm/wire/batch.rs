//! What the pipeline must know of a raw Batch body, which is sent on as it came.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::request::estimate_tokens;

/// The fields of a raw Chat Completions body that limits, prices and transport depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchFields {
    /// Whether the body asks for a stream.
    pub stream: bool,
    /// The longest answer it allows: `max_completion_tokens`, else `max_tokens`.
    pub max_tokens: Option<u64>,
    /// The model it names.
    pub model: Option<String>,
    /// Tokens its prompt may have; see [`batch_fields`].
    pub prompt_tokens: u64,
}

#[derive(Deserialize)]
struct Raw<'a> {
    stream: Option<bool>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    model: Option<String>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    response_format: Option<&'a RawValue>,
}

/// Reads those fields; an error is a body that is no such request.
///
/// Prompt tokens are estimated over the JSON of messages, tools and response format as it stands: the
/// escapes and names counted beside the text keep the guess on the upper side. Images inlined as base64
/// make it far too high, for which the limiter clamps to its capacity.
pub fn batch_fields(body: &str) -> Result<BatchFields, serde_json::Error> {
    // serde would take an array for a struct whose names were left out.
    if !body.trim_start().starts_with('{') {
        return Err(serde::de::Error::custom("expected a JSON object"));
    }
    let raw: Raw<'_> = serde_json::from_str(body)?;
    let prompt_tokens = [raw.messages, raw.tools, raw.response_format]
        .into_iter()
        .flatten()
        .map(|part| estimate_tokens(part.get()))
        .sum();
    Ok(BatchFields {
        stream: raw.stream.unwrap_or(false),
        max_tokens: raw.max_completion_tokens.or(raw.max_tokens),
        model: raw.model,
        prompt_tokens,
    })
}
