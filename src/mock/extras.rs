//! The fields and headers of a request that the mock does not use. The log shows them, so that tests can check them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hyper::header::HeaderMap;
use serde_json::Value;
use serde_json::value::RawValue;

use super::prompt::key_id;

/// Fields that are not logged.
const FIELDS: &[&str] = &[
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "response_format",
    "seed",
    "stream",
    "stream_options",
    "system",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
];

/// Headers that are not logged.
const HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "anthropic-version",
    "api-key",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-api-key",
    "x-nova3-id",
];

/// The other fields and headers of a request.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    pub(crate) fields: BTreeMap<String, Value>,
    /// The [`key_id`] of each value, by name. The values may be secret.
    pub(crate) headers: BTreeMap<String, String>,
}

impl Extras {
    pub(crate) fn of(headers: &HeaderMap, body: &[u8]) -> Self {
        let fields: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(body).unwrap_or_default();
        let fields = fields
            .into_iter()
            .filter(|(name, _)| !FIELDS.contains(&name.as_ref()))
            .filter_map(|(name, value)| Some((name.into_owned(), serde_json::from_str(value.get()).ok()?)));
        let headers = headers
            .iter()
            .filter(|(name, _)| !HEADERS.contains(&name.as_str()))
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                (name.as_str().to_owned(), key_id(&value))
            });
        Self {
            fields: fields.collect(),
            headers: headers.collect(),
        }
    }
}
