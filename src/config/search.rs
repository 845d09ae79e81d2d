//! Settings of searches, and the keys of their providers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;

use super::error::ConfigError;
use super::keys;
use super::origin::{Layers, Source};
use super::raw::RawConfig;
use super::{Env, Flags};
use crate::domain::ids::shortened;
use crate::domain::retry::{BreakerPolicy, RetryPolicy};

/// The most links of a chain.
const MOST_LINKS: usize = 20;

/// The most pages that are read for one search.
pub const MOST_PAGES: usize = 5;

/// The settings of searches.
#[derive(Debug, Clone)]
pub struct SearchSettings {
    /// A folder of provider files. A file replaces the embedded provider of its name, or adds a provider.
    pub folder: Option<PathBuf>,
    /// The links of the chain, in order.
    pub providers: Vec<String>,
    /// The results of a search, at most.
    pub results: usize,
    /// The timeout of one try. A `timeout` in the provider's file overrides it.
    pub timeout: Duration,
    /// The timeout of connecting, including TLS.
    pub connect: Duration,
    /// The retries of one provider, and their backoff.
    pub retry: RetryPolicy,
    /// The failures in a row that open a provider's breaker, and the time that it stays open.
    pub breaker: BreakerPolicy,
    /// The longest pause that is waited for. The next link is asked if a provider asks for a longer one.
    pub patience: Duration,
    /// The time during which a cached answer replaces a new search.
    pub fresh: Duration,
    /// The time during which a cached answer is used when no provider answers.
    pub stale: Duration,
    /// The most bytes of the cache of one process.
    pub cache_bytes: usize,
    /// Whether a mock server is the only provider.
    pub rehearsal: bool,
    /// The results of a search whose pages are read.
    pub pages: usize,
    /// The reader of pages: `http`, or a provider of the kind `reader`.
    pub reader: String,
    /// A PEM file of additional certificate authorities.
    pub ca_file: Option<PathBuf>,
}

/// Loads the settings of searches alone, for commands that need no route.
pub fn search_in_force(flags: &Flags, env: Env<'_>) -> Result<SearchSettings, ConfigError> {
    let file = super::find_file(flags, env)?;
    let written = file
        .as_deref()
        .map(super::read_file)
        .transpose()?
        .unwrap_or_default();
    let default = super::defaults()?;
    let mut layers = Layers::new(file.as_deref());
    let connect = super::timeouts::of_run(flags, &written, &default, &mut layers)?.connect;
    let (retry, breaker, patience) = super::resilience(&written, &default, &mut layers)?;
    let of_routes = OfRoutes {
        connect,
        retry,
        breaker,
        patience,
    };
    search(&written, &default, of_routes, &mut layers)
}

/// The settings that searches share with routes.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfRoutes {
    pub(super) connect: Duration,
    pub(super) retry: RetryPolicy,
    pub(super) breaker: BreakerPolicy,
    pub(super) patience: Duration,
}

pub(super) fn search(
    written: &RawConfig,
    default: &RawConfig,
    of_routes: OfRoutes,
    layers: &mut Layers,
) -> Result<SearchSettings, ConfigError> {
    let (raw, base) = (&written.search, &default.search);
    if let Some(folder) = &raw.folder {
        layers.note("search.folder", folder.display(), layers.file_source());
    }
    let results = layers.pick("search.results", None, raw.results, base.results)?;
    if !(1..=50).contains(&results) {
        return Err(ConfigError::value("search.results", results, "1 to 50"));
    }
    let timeout = layers.duration(
        "search.timeout",
        None,
        raw.timeout.as_ref(),
        base.timeout.as_ref(),
    )?;
    if timeout.is_zero() {
        return Err(ConfigError::value("search.timeout", "0s", "a time above zero"));
    }
    let pages = layers.pick("search.pages", None, raw.pages, base.pages)?;
    if pages > MOST_PAGES {
        return Err(ConfigError::value(
            "search.pages",
            pages,
            format!("0 to {MOST_PAGES}"),
        ));
    }
    let megabytes = layers.pick("search.cache_mb", None, raw.cache_mb, base.cache_mb)?;
    Ok(SearchSettings {
        folder: raw.folder.clone(),
        providers: chain(raw.providers.as_ref(), base.providers.as_ref(), layers)?,
        results,
        timeout,
        connect: of_routes.connect,
        retry: RetryPolicy {
            retries: layers.pick("search.retries", None, raw.retries, base.retries)?,
            ..of_routes.retry
        },
        breaker: of_routes.breaker,
        patience: of_routes.patience,
        fresh: layers.duration("search.fresh", None, raw.fresh.as_ref(), base.fresh.as_ref())?,
        stale: layers.duration("search.stale", None, raw.stale.as_ref(), base.stale.as_ref())?,
        cache_bytes: megabytes.saturating_mul(1 << 20),
        rehearsal: false,
        pages,
        reader: layers.pick("search.reader", None, raw.reader.clone(), base.reader.clone())?,
        ca_file: written.http.ca_file.clone(),
    })
}

fn chain(
    written: Option<&Vec<String>>,
    default: Option<&Vec<String>>,
    layers: &mut Layers,
) -> Result<Vec<String>, ConfigError> {
    let key = "search.providers";
    let source = if written.is_some() {
        layers.file_source()
    } else {
        Source::Default
    };
    let chain = written.or(default).cloned().unwrap_or_default();
    if !(1..=MOST_LINKS).contains(&chain.len()) {
        let expected = format!("1 to {MOST_LINKS} providers");
        return Err(ConfigError::value(key, chain.len(), expected));
    }
    for (place, link) in chain.iter().enumerate() {
        if chain[..place].contains(link) {
            return Err(ConfigError::value(key, shortened(link, 60), "each provider once"));
        }
    }
    layers.note(key, chain.join(" → "), source);
    Ok(chain)
}

/// Returns the key of a provider, from the variable or the file that the provider's file names. Returns `None` if the
/// variable is unset or empty, or the file holds only white space.
pub fn provider_key(
    variable: Option<&str>,
    file: Option<&Path>,
    env: Env<'_>,
) -> Result<Option<SecretString>, ConfigError> {
    let text = match (variable, file) {
        (Some(variable), _) => {
            let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if variable.is_empty() || !variable.bytes().all(named) {
                // The error does not show the value: it may be the key itself, set here by mistake.
                return Err(ConfigError::value(
                    "key_env",
                    "…",
                    "the name of an environment variable",
                ));
            }
            keys::tidy(env(variable))
        }
        (None, Some(file)) => keys::tidy(Some(keys::read_key(file)?)),
        (None, None) => None,
    };
    match text {
        Some(text) if !text.bytes().all(|byte| byte.is_ascii_graphic()) => Err(ConfigError::value(
            "the key",
            "…",
            "printable ASCII without spaces",
        )),
        text => Ok(text.map(SecretString::from)),
    }
}
