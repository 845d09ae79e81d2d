//! Keys of routes. A key comes from the environment or a file, from no other place, and is never shown.
//!
//! `OPENAI_API_KEY` is used for the route that the environment makes, for OpenAI's host over https, and for routes that
//! name it. `ANTHROPIC_API_KEY` is used for Anthropic's host over https and for routes that name it. A key is sent to
//! another machine over plain http only if its route allows it.

use std::net::IpAddr;
use std::path::Path;

use reqwest::Url;
use secrecy::SecretString;

use super::Env;
use super::error::ConfigError;
use super::origin::{Layers, Source};
use super::raw::RawRoute;

const OPENAI_KEY: &str = "OPENAI_API_KEY";

/// The variables whose keys are used for one host without being named.
const KEYS_OF_HOSTS: [(&str, &str); 2] = [
    ("api.openai.com", OPENAI_KEY),
    ("api.anthropic.com", "ANTHROPIC_API_KEY"),
];

/// The cure for a secret that would be sent over plain http.
pub(super) const OVER_HTTP: &str = "`key_over_http = true` allows it in a network that you trust";

/// Whether keys are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyPolicy {
    /// Each route must have the key that it needs, or loading the settings fails.
    Needed,
    /// No key is read and none is required, because no call needs a key.
    Unread,
}

/// Returns the key of the route that the environment makes, if the route needs one.
pub(super) fn of_environment(
    name: &str,
    endpoint: &Url,
    env: Env<'_>,
    layers: &mut Layers,
) -> Result<Option<SecretString>, ConfigError> {
    let source = Source::Env(OPENAI_KEY.to_owned());
    match tidy(env(OPENAI_KEY)) {
        Some(text) => {
            in_the_open(
                name,
                endpoint,
                "unset `OPENAI_API_KEY`, or make a route with `key_over_http = true`",
            )?;
            checked(name, text, source, layers).map(Some)
        }
        // A server on plain http is usually local and seldom needs a key.
        None if endpoint.scheme() == "http" => Ok(None),
        None => Err(missing(name, &format!("set the variable `{OPENAI_KEY}`"))),
    }
}

/// Returns the key of a route of the settings file, if the route needs one.
pub(super) fn of_route(
    name: &str,
    raw: &RawRoute,
    endpoint: &Url,
    env: Env<'_>,
    layers: &mut Layers,
) -> Result<Option<SecretString>, ConfigError> {
    if raw.no_key == Some(true) {
        return Ok(None);
    }
    let of_host = KEYS_OF_HOSTS
        .iter()
        .find(|(host, _)| endpoint.scheme() == "https" && endpoint.host_str() == Some(host))
        .map(|(_, variable)| *variable);
    let (text, source, place) = if let Some(path) = &raw.api_key_file {
        let place = format!("put one into `{}`", path.display());
        (Some(read_key(path)?), Source::File(path.clone()), place)
    } else if let Some(variable) = raw.api_key_env.as_deref().or(of_host) {
        if !is_variable(variable) {
            return Err(ConfigError::value(
                format!("routes.{name}.api_key_env"),
                // The error does not show the value: it may be the key itself, set here by mistake.
                "…",
                "the name of an environment variable",
            ));
        }
        let place = format!("set the variable `{variable}`");
        (env(variable), Source::Env(variable.to_owned()), place)
    } else if endpoint.scheme() == "http" {
        return Ok(None);
    } else {
        let place = format!(
            "name its variable with `api_key_env`; `{OPENAI_KEY}` goes to OpenAI alone unless a route names it"
        );
        return Err(missing(name, &place));
    };
    let text = tidy(text).ok_or_else(|| missing(name, &place))?;
    if raw.key_over_http != Some(true) {
        in_the_open(name, endpoint, OVER_HTTP)?;
    }
    checked(name, text, source, layers).map(Some)
}

/// Returns whether a text can be the name of a variable.
pub(super) fn is_variable(name: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(named)
}

/// Returns whether a server is on this machine. Requests to it cross no network.
pub(super) fn is_here(endpoint: &Url) -> bool {
    let host = endpoint.host_str().unwrap_or_default().trim_end_matches('.');
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            address.is_loopback() || address.is_unspecified()
        }
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Returns an error if the endpoint is another machine over plain http.
pub(super) fn in_the_open(name: &str, endpoint: &Url, cure: &str) -> Result<(), ConfigError> {
    if endpoint.scheme() != "http" || is_here(endpoint) {
        return Ok(());
    }
    Err(ConfigError::KeyInTheOpen {
        route: name.to_owned(),
        host: endpoint.host_str().unwrap_or_default().to_owned(),
        cure: cure.to_owned(),
    })
}

fn missing(name: &str, place: &str) -> ConfigError {
    ConfigError::NoKey {
        route: name.to_owned(),
        cure: format!("{place}, or `api_key_file`, or `no_key = true`; or rehearse with `--mock`"),
    }
}

pub(super) fn tidy(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
}

fn checked(
    name: &str,
    text: String,
    source: Source,
    layers: &mut Layers,
) -> Result<SecretString, ConfigError> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::value(
            format!("routes.{name}: its key from {source}"),
            "…",
            "printable ASCII without spaces",
        ));
    }
    layers.note(&format!("routes.{name}.key"), "(set)", source);
    Ok(SecretString::from(text))
}

pub(super) fn read_key(path: &Path) -> Result<String, ConfigError> {
    let problem = |reason: String| ConfigError::File {
        path: path.to_path_buf(),
        reason,
    };
    let data = std::fs::metadata(path).map_err(|error| problem(error.to_string()))?;
    if data.len() > 64 * 1024 {
        return Err(problem(
            "a key file holds one key; this one is too large".to_owned(),
        ));
    }
    std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))
}
