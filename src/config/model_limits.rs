//! Limits of a route's model: its structured output and its context window.

use super::error::ConfigError;
use super::raw::RawRoute;

/// How a call asks for the form of its answer, strictest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Structured {
    /// A schema that the server enforces: `response_format`, or `output_config` in Anthropic's dialect.
    JsonSchema,
    /// `response_format` for any JSON object, with the schema in the prompt. Anthropic's dialect: a forced tool.
    JsonObject,
    /// The prompt alone, which contains the schema.
    Prompt,
}

/// The default context window. Every current model has at least this much; settings can set another number.
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
