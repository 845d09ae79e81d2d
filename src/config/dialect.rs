//! Dialects: the API that a route's server speaks, and its address.

use reqwest::Url;

use super::error::ConfigError;
use super::origin::Layers;
use super::raw::RawRoute;
use crate::domain::ids::shortened;

/// The API that a route's server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI's Chat Completions.
    OpenAi,
    /// Anthropic's Messages.
    Anthropic,
}

/// The base address of OpenAI.
pub(super) const OPENAI: &str = "https://api.openai.com/v1";

/// The base address of Anthropic.
const ANTHROPIC: &str = "https://api.anthropic.com/v1";

/// The only field of Anthropic's API for the longest answer.
const ANTHROPIC_TOKENS: &str = "max_tokens";

impl Dialect {
    /// All dialects.
    const ALL: [Self; 2] = [Self::OpenAi, Self::Anthropic];

    /// Its name in the settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// Returns the path of its chat endpoint below a base address.
    pub const fn chat_path(self) -> &'static str {
        match self {
            Self::OpenAi => "/chat/completions",
            Self::Anthropic => "/messages",
        }
    }

    /// Returns the base address of the company that defined the dialect.
    pub(super) const fn base_url(self) -> &'static str {
        match self {
            Self::OpenAi => OPENAI,
            Self::Anthropic => ANTHROPIC,
        }
    }

    /// Returns the default name of the field for the longest answer.
    pub(super) const fn token_field(self) -> &'static str {
        match self {
            Self::OpenAi => "max_completion_tokens",
            Self::Anthropic => ANTHROPIC_TOKENS,
        }
    }
}

/// Returns the dialect of a route.
pub(super) fn dialect(name: &str, raw: &RawRoute, layers: &mut Layers) -> Result<Dialect, ConfigError> {
    let key = format!("routes.{name}.dialect");
    let default = Dialect::OpenAi.as_str().to_owned();
    let written = layers.pick(&key, None, raw.dialect.clone(), Some(default))?;
    let known = Dialect::ALL
        .into_iter()
        .find(|dialect| dialect.as_str() == written);
    known.ok_or_else(|| ConfigError::value(key, shortened(&written, 80), "`openai` or `anthropic`"))
}

/// Returns the name of a route's field for the longest answer.
pub(super) fn token_field(
    name: &str,
    raw: &RawRoute,
    dialect: Dialect,
    layers: &mut Layers,
) -> Result<String, ConfigError> {
    let refused = |field: &str, reason: &str, cure: &str| {
        let key = format!("routes.{name}.{field}");
        Err(ConfigError::refused(key, reason, cure))
    };
    if raw.max_tokens_field.is_some() {
        return refused(
            "max_tokens_field",
            "the setting is called `token_field`",
            "rename it",
        );
    }
    if dialect == Dialect::Anthropic && raw.token_field.is_some() {
        return refused(
            "token_field",
            "Anthropic's dialect has one field for it, `max_tokens`",
            "remove the line",
        );
    }
    let key = format!("routes.{name}.token_field");
    let default = dialect.token_field().to_owned();
    let field = layers.pick(&key, None, raw.token_field.clone(), Some(default))?;
    let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if field.is_empty() || !field.bytes().all(named) {
        return Err(ConfigError::value(
            key,
            shortened(&field, 80),
            "the name of a field, such as `max_tokens`",
        ));
    }
    Ok(field)
}

/// Returns whether a route's answers are streamed, and whether a stream is asked for its usage.
pub(super) fn streaming(
    name: &str,
    raw: &RawRoute,
    dialect: Dialect,
    layers: &mut Layers,
) -> Result<(bool, bool), ConfigError> {
    let stream = layers.pick(&format!("routes.{name}.stream"), None, raw.stream, Some(true))?;
    let key = format!("routes.{name}.stream_usage");
    if raw.stream_usage.is_some() {
        let reason = match (dialect, stream) {
            (Dialect::Anthropic, _) => "Anthropic's dialect always sends usage",
            (Dialect::OpenAi, false) => "`stream = false` leaves no stream to ask it for",
            (Dialect::OpenAi, true) => "",
        };
        if !reason.is_empty() {
            return Err(ConfigError::refused(key, reason, "remove the line"));
        }
    }
    let usage = match raw.stream_usage {
        Some(written) => layers.pick(&key, None, Some(written), None)?,
        None => true,
    };
    Ok((stream, usage))
}

/// Returns the complete address of a route's chat endpoint.
pub(super) fn endpoint(name: &str, base_url: &str, dialect: Dialect) -> Result<Url, ConfigError> {
    let key = format!("routes.{name}.base_url");
    let expected = format!(
        "an http or https address such as `{}`, without a name or password in it",
        dialect.base_url()
    );
    // A text that is not a valid address may still contain a password before its `@`.
    let shown = if base_url.contains('@') {
        "…".to_owned()
    } else {
        shortened(without_query(base_url), 80)
    };
    let wrong = |shown: &str| ConfigError::value(&key, shown, &expected);
    let mut url = Url::parse(base_url.trim()).map_err(|_| wrong(&shown))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("…"));
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong(&shown));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let of_other = Dialect::ALL
        .into_iter()
        .find(|other| *other != dialect && path.ends_with(other.chat_path()));
    if let Some(other) = of_other {
        let cure = format!("set `dialect = \"{}\"`, or remove the end", other.as_str());
        let reason = format!("its end `{}` belongs to another dialect", other.chat_path());
        return Err(ConfigError::refused(key, reason, cure));
    }
    let path = if path.ends_with(dialect.chat_path()) {
        path
    } else {
        format!("{path}{}", dialect.chat_path())
    };
    url.set_path(&path);
    Ok(url)
}

/// Returns the address without its query, which contains the key at some providers.
pub(super) fn without_query(base_url: &str) -> &str {
    base_url.split_once('?').map_or(base_url, |(address, _)| address)
}
