//! What a route's model can do and hold.

use super::error::ConfigError;
use super::raw::RawRoute;

/// How an answer's form is asked for, from the strictest down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Structured {
    /// `response_format` with a schema, which the server holds the model to.
    JsonSchema,
    /// `response_format` for any JSON object; the schema stands in the prompt.
    JsonObject,
    /// The prompt alone.
    Prompt,
}

/// A window that every present model has; settings may know of a larger or smaller one.
pub(super) const CONTEXT_WINDOW: u64 = 32_000;

pub(super) fn structured(name: &str, raw: &RawRoute) -> Result<Structured, ConfigError> {
    match raw.structured.as_deref() {
        None | Some("json_schema") => Ok(Structured::JsonSchema),
        Some("json_object") => Ok(Structured::JsonObject),
        Some("none") => Ok(Structured::Prompt),
        Some(other) => Err(ConfigError::value(
            format!("routes.{name}.structured"),
            other,
            "`json_schema`, `json_object` or `none`",
        )),
    }
}

pub(super) fn context_window(name: &str, raw: &RawRoute) -> Result<u64, ConfigError> {
    let window = raw.context_window.unwrap_or(CONTEXT_WINDOW);
    if window < 1000 {
        return Err(ConfigError::value(
            format!("routes.{name}.context_window"),
            window,
            "at least 1000 tokens",
        ));
    }
    Ok(window)
}
