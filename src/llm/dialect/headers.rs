//! The headers of a route's requests, and the secrets that they carry.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::anthropic;
use crate::config::{self, Dialect, KeyHeader};
use crate::domain::failure::{Class, Verdict};
use crate::llm::wire::{CallError, Secrets};

/// Returns the headers of every call of a route. The values of its key and of its own headers are sensitive: no log
/// shows them.
pub(in crate::llm) fn headers(route: &config::RouteSettings) -> Result<HeaderMap, CallError> {
    let mut headers = HeaderMap::with_capacity(3 + route.headers.len());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if route.dialect == Dialect::Anthropic {
        let name = HeaderName::from_static("anthropic-version");
        headers.insert(name, HeaderValue::from_static(anthropic::VERSION));
    }
    for (name, value) in &route.headers {
        headers.insert(name, sensitive(value.expose_secret(), name)?);
    }
    if let Some(key) = &route.key {
        let key = key.expose_secret();
        match &route.key_header {
            KeyHeader::Bearer => {
                headers.insert(
                    AUTHORIZATION,
                    sensitive(&format!("Bearer {key}"), &AUTHORIZATION)?,
                );
            }
            KeyHeader::Named(name) => {
                headers.insert(name, sensitive(key, name)?);
            }
        }
    }
    Ok(headers)
}

fn sensitive(value: &str, name: &HeaderName) -> Result<HeaderValue, CallError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        let message = format!("the value of the header `{name}` cannot be sent");
        CallError::new(Class::Auth, Verdict::Latch, &message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the secrets of a route, which no text of its server may show.
pub(in crate::llm) fn secrets(route: &config::RouteSettings) -> Secrets {
    let headers = route.headers.iter().map(|(_, value)| value);
    let sent = route.key.iter().chain(headers);
    Secrets::of(sent.map(ExposeSecret::expose_secret), &route.endpoint)
}
