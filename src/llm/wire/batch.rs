//! What the pipeline must know of a raw Batch body, which is sent on as it came.

use std::collections::HashMap;

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

/// Reads those fields. A field that is not what it should be is not known: the body is sent as it stands, and
/// its provider judges it. Where a key stands twice, the last one counts, as for most readers.
///
/// Prompt tokens are estimated over the JSON of messages, tools and response format as it stands: the
/// escapes and names counted beside the text keep the guess on the upper side. Images inlined as base64
/// make it far too high, for which the limiter clamps to its capacity.
pub fn batch_fields(body: &str) -> BatchFields {
    let fields: HashMap<String, &RawValue> = serde_json::from_str(body).unwrap_or_default();
    let prompt_tokens = ["messages", "tools", "response_format"]
        .into_iter()
        .filter_map(|key| fields.get(key))
        .filter(|part| part.get() != "null")
        .map(|part| estimate_tokens(part.get()))
        .sum();
    BatchFields {
        stream: read(&fields, "stream").unwrap_or(false),
        max_tokens: read(&fields, "max_completion_tokens").or_else(|| read(&fields, "max_tokens")),
        model: read(&fields, "model"),
        prompt_tokens,
    }
}

fn read<'a, T: Deserialize<'a>>(fields: &HashMap<String, &'a RawValue>, key: &str) -> Option<T> {
    fields
        .get(key)
        .and_then(|field| serde_json::from_str(field.get()).ok())
}
