//! The key of a request, and the version header that the Messages API requires in addition.

use hyper::header::{AUTHORIZATION, HeaderMap};

use crate::config::Dialect;

/// Returns the key of a request. It is `authorization: Bearer KEY` or `api-key` in OpenAI's dialect, and `x-api-key` in
/// Anthropic's.
pub(crate) fn key(dialect: Dialect, headers: &HeaderMap) -> Option<&str> {
    let bare = |name: &str| headers.get(name)?.to_str().ok();
    match dialect {
        Dialect::OpenAi => bare(AUTHORIZATION.as_str())
            .and_then(|value| value.strip_prefix("Bearer "))
            .or_else(|| bare("api-key")),
        Dialect::Anthropic => bare("x-api-key"),
    }
}

/// Returns whether the request names the version of the API, which only Anthropic's dialect requires.
pub(crate) fn names_version(dialect: Dialect, headers: &HeaderMap) -> bool {
    dialect == Dialect::OpenAi || headers.contains_key("anthropic-version")
}
