//! Who calls: the key of a request, and the header that the Messages API demands beside it.

use hyper::header::{AUTHORIZATION, HeaderMap};

use crate::config::Dialect;

/// The key of a request: `authorization: Bearer KEY` or `api-key` in OpenAI's dialect, `x-api-key` in Anthropic's.
pub(crate) fn key(dialect: Dialect, headers: &HeaderMap) -> Option<&str> {
    let bare = |name: &str| headers.get(name)?.to_str().ok();
    match dialect {
        Dialect::OpenAi => bare(AUTHORIZATION.as_str())
            .and_then(|value| value.strip_prefix("Bearer "))
            .or_else(|| bare("api-key")),
        Dialect::Anthropic => bare("x-api-key"),
    }
}

/// Whether the version of the API is named where it has to be.
pub(crate) fn names_version(dialect: Dialect, headers: &HeaderMap) -> bool {
    dialect == Dialect::OpenAi || headers.contains_key("anthropic-version")
}
