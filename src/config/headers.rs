//! Headers of a route's requests: the header of the key, and extra headers. Their values are secret.

use std::path::{Path, PathBuf};

use reqwest::header::{HeaderName, HeaderValue};
use secrecy::SecretString;

use super::Env;
use super::dialect::Dialect;
use super::error::ConfigError;
use super::keys::{self, KeyPolicy};
use super::origin::{Layers, Source};
use super::raw::RawRoute;
use super::routes::RouteSettings;

/// The header that carries a route's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyHeader {
    /// `authorization: Bearer KEY`.
    Bearer,
    /// This header, whose value is the key alone.
    Named(HeaderName),
}

/// Headers that nova3 or its HTTP library writes. Settings cannot set them.
const OWN_HEADERS: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// The header for the version of Anthropic's API.
const ANTHROPIC_VERSION: &str = "anthropic-version";

/// The allowed values of a header, for errors.
const EXPECTED: &str = "text in printable ASCII, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`";

/// Returns the header for the key of a route.
pub(super) fn key_header(
    name: &str,
    raw: &RawRoute,
    dialect: Dialect,
    layers: &mut Layers,
) -> Result<KeyHeader, ConfigError> {
    let key = format!("routes.{name}.key_header");
    if raw.no_key == Some(true) && raw.key_header.is_some() {
        let reason = "`no_key = true` sends no key";
        return Err(ConfigError::refused(key, reason, "remove one of the two lines"));
    }
    let default = match dialect {
        Dialect::OpenAi => "authorization",
        Dialect::Anthropic => "x-api-key",
    };
    let written = layers.pick(&key, None, raw.key_header.clone(), Some(default.to_owned()))?;
    let expected = "`authorization`, or the name of a header for the bare key such as `api-key`";
    let header = HeaderName::from_bytes(written.as_bytes())
        // The error does not show the value: it may be a key, set here by mistake.
        .map_err(|_| ConfigError::value(&key, "…", expected))?;
    if is_own(&header, dialect) {
        return Err(ConfigError::value(&key, written, expected));
    }
    Ok(if header == "authorization" {
        KeyHeader::Bearer
    } else {
        KeyHeader::Named(header)
    })
}

/// Returns the extra headers of a route. With [`KeyPolicy::Unread`], headers from the environment or a file are left out.
pub(super) fn extra(
    raw: &RawRoute,
    route: &RouteSettings,
    env: Env<'_>,
    keys: KeyPolicy,
    layers: &mut Layers,
) -> Result<Vec<(HeaderName, SecretString)>, ConfigError> {
    let mut headers: Vec<(HeaderName, SecretString)> = Vec::with_capacity(raw.headers.len());
    for (written, value) in &raw.headers {
        let key = format!("routes.{}.headers.{written}", route.name);
        let header = HeaderName::from_bytes(written.as_bytes())
            .map_err(|_| ConfigError::refused(&key, "it is not the name of a header", NAME_CURE))?;
        if let Some((reason, cure)) = refusal(&header, route) {
            return Err(ConfigError::refused(key, reason, cure));
        }
        if headers.iter().any(|(other, _)| *other == header) {
            let reason = "the same header is written twice, and case makes no difference";
            return Err(ConfigError::refused(key, reason, "remove one of the two lines"));
        }
        let place = HeaderSource::of(value).ok_or_else(|| ConfigError::value(&key, "…", EXPECTED))?;
        if keys == KeyPolicy::Unread && !matches!(place, HeaderSource::Here(_)) {
            continue;
        }
        if !matches!(place, HeaderSource::Here(_)) && raw.key_over_http != Some(true) {
            keys::in_the_open(&route.name, &route.endpoint, keys::OVER_HTTP)?;
        }
        let (value, source) = place.read(&key, env, layers)?;
        let is_valid = value.is_ascii() && HeaderValue::from_str(&value).is_ok();
        if value.is_empty() || !is_valid {
            return Err(ConfigError::value(&key, "…", EXPECTED));
        }
        layers.note(&key, "…", source);
        headers.push((header, SecretString::from(value)));
    }
    Ok(headers)
}

const NAME_CURE: &str = "write letters, digits and `-`, such as `X-Title`";

/// Returns the reason and the cure if a header cannot be an extra header.
fn refusal(header: &HeaderName, route: &RouteSettings) -> Option<(&'static str, &'static str)> {
    let carries_key = match &route.key_header {
        KeyHeader::Bearer => false,
        KeyHeader::Named(name) => name == header,
    };
    if carries_key || header == "authorization" || header == "proxy-authorization" {
        Some((
            "it carries a key",
            "name the key with `api_key_env` or `api_key_file`, and its header with `key_header`",
        ))
    } else if is_own(header, route.dialect) {
        Some(("nova3 sends this header itself", "remove the line"))
    } else {
        None
    }
}

fn is_own(header: &HeaderName, dialect: Dialect) -> bool {
    OWN_HEADERS.contains(&header.as_str()) || (dialect == Dialect::Anthropic && header == ANTHROPIC_VERSION)
}

/// The source of a header's value.
enum HeaderSource<'a> {
    /// The settings file.
    Here(&'a str),
    /// A variable of the environment.
    Env(&'a str),
    /// A separate file.
    File(&'a str),
}

impl<'a> HeaderSource<'a> {
    fn of(written: &'a toml::Value) -> Option<Self> {
        if let Some(text) = written.as_str() {
            return Some(Self::Here(text));
        }
        let mut fields = written.as_table()?.iter();
        let (kind, place) = fields.next()?;
        match (kind.as_str(), place.as_str()?, fields.next()) {
            ("env", name, None) if keys::is_variable(name) => Some(Self::Env(name)),
            ("file", path, None) => Some(Self::File(path)),
            _ => None,
        }
    }

    fn read(&self, key: &str, env: Env<'_>, layers: &Layers) -> Result<(String, Source), ConfigError> {
        match self {
            Self::Here(text) => Ok(((*text).to_owned(), layers.file_source())),
            Self::Env(name) => match env(name) {
                Some(text) => Ok((text.trim().to_owned(), Source::Env((*name).to_owned()))),
                None => Err(ConfigError::Missing {
                    key: key.to_owned(),
                    cure: format!("set the variable `{name}`"),
                }),
            },
            Self::File(path) => {
                let text = keys::read_key(Path::new(path))?;
                Ok((text.trim().to_owned(), Source::File(PathBuf::from(path))))
            }
        }
    }
}
