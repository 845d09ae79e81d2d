//! Keys: from the environment or a file, never from anywhere else, and never shown.

use std::path::Path;

use reqwest::Url;
use secrecy::SecretString;

use super::Env;
use super::error::ConfigError;
use super::origin::{Layers, Source};
use super::raw::RawRoute;

const OPENAI_KEY: &str = "OPENAI_API_KEY";

/// The key of a route, if it needs one.
pub(super) fn key(
    name: &str,
    raw: &RawRoute,
    endpoint: &Url,
    env: Env<'_>,
    layers: &mut Layers,
) -> Result<Option<SecretString>, ConfigError> {
    if raw.no_key == Some(true) {
        return Ok(None);
    }
    let (text, source) = if let Some(path) = &raw.api_key_file {
        let text = read_key(path)?;
        (Some(text), Source::File(path.clone()))
    } else {
        let variable = raw.api_key_env.clone().unwrap_or_else(|| OPENAI_KEY.to_owned());
        let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if !variable.bytes().all(named) {
            return Err(ConfigError::value(
                format!("routes.{name}.api_key_env"),
                // Somebody may have put the key itself here.
                "…",
                "the name of an environment variable",
            ));
        }
        (env(&variable), Source::Env(variable))
    };
    let text = text
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty());
    let Some(text) = text else {
        // A server on plain HTTP is a local one, which seldom wants a key.
        if endpoint.scheme() == "http" {
            return Ok(None);
        }
        let variable = raw.api_key_env.as_deref().unwrap_or(OPENAI_KEY);
        return Err(ConfigError::NoKey {
            route: name.to_owned(),
            cure: format!(
                "set the variable `{variable}`, or `api_key_file`, or `no_key = true`; or rehearse with `--mock`"
            ),
            variable: variable.to_owned(),
        });
    };
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConfigError::value(
            format!("routes.{name}: its key from {source}"),
            "…",
            "printable ASCII without spaces",
        ));
    }
    layers.note(&format!("routes.{name}.key"), "(set)", source);
    Ok(Some(SecretString::from(text)))
}

fn read_key(path: &Path) -> Result<String, ConfigError> {
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
