//! Errors in the form of each dialect.

use bytes::Bytes;
use serde_json::json;

use crate::config::Dialect;

/// The fields of an error object. OpenAI sends `null` for fields that do not apply. Anthropic sends type and message
/// only.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorObject<'a> {
    pub(crate) message: &'a str,
    /// OpenAI's type.
    pub(crate) kind: &'a str,
    /// Anthropic's type.
    pub(crate) anthropic_kind: &'a str,
    pub(crate) param: Option<&'a str>,
    pub(crate) code: Option<&'a str>,
}

impl ErrorObject<'_> {
    /// Returns the JSON: `{"error": {...}}`, with `"type": "error"` in Anthropic's dialect.
    pub(crate) fn json(&self, dialect: Dialect) -> Bytes {
        let Self {
            message,
            kind,
            anthropic_kind,
            param,
            code,
        } = self;
        let object = match dialect {
            Dialect::OpenAi => {
                json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
            }
            Dialect::Anthropic => {
                json!({ "type": "error", "error": { "type": anthropic_kind, "message": message } })
            }
        };
        object.to_string().into()
    }
}

/// Returns the error of a request that is not valid.
pub(crate) fn invalid<'a>(message: &'a str, code: Option<&'a str>) -> ErrorObject<'a> {
    ErrorObject {
        message,
        kind: "invalid_request_error",
        anthropic_kind: "invalid_request_error",
        param: None,
        code,
    }
}

/// The error of a failed server, also inside a stream.
pub(crate) const SERVER_ERROR: ErrorObject<'static> = ErrorObject {
    message: "The server had an error while processing your request. Sorry about that!",
    kind: "server_error",
    anthropic_kind: "api_error",
    param: None,
    code: None,
};

/// The error of a wrong key.
pub(crate) const WRONG_KEY: ErrorObject<'static> = ErrorObject {
    message: "Incorrect API key provided.",
    kind: "invalid_request_error",
    anthropic_kind: "authentication_error",
    param: None,
    code: Some("invalid_api_key"),
};

/// The error of an overloaded server.
pub(crate) const OVERLOADED: ErrorObject<'static> = ErrorObject {
    message: "Overloaded",
    kind: "service_unavailable_error",
    anthropic_kind: "overloaded_error",
    param: None,
    code: Some("server_is_overloaded"),
};

/// The page that a proxy sends for a failed server behind it.
pub(crate) const PROXY_PAGE: &str = "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body>\r\n\
     <center><h1>503 Service Temporarily Unavailable</h1></center>\r\n</body>\r\n</html>\r\n";

/// A text that is not JSON, in place of JSON.
pub(crate) const GARBAGE: &str = "{\"id\":\"chatcmpl-\u{fffd}<<upstream buffer overrun>>";
