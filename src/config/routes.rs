//! Makes the routes that can be called from the settings.

use std::path::PathBuf;

use reqwest::Url;
use reqwest::header::HeaderName;
use secrecy::SecretString;

use super::chains::{self, ChainSettings};
use super::dialect::{self, Dialect, OPENAI, without_query};
use super::error::ConfigError;
use super::headers::{self, KeyHeader};
use super::keys::{self, KeyPolicy};
use super::model_limits::{self, Structured};
use super::origin::{Layers, Source};
use super::prices::RoutePrices;
use super::raw::{RawConfig, RawRoute};
use super::timeouts::{self, Timeouts};
use super::{Env, Flags, body, prices};
use crate::domain::bucket::Limits;
use crate::domain::prices::Price;

/// One way to reach a model.
#[derive(Debug, Clone)]
pub struct RouteSettings {
    /// Its name in settings, results and messages.
    pub name: String,
    /// The API of its server.
    pub dialect: Dialect,
    /// The complete address of its chat endpoint.
    pub endpoint: Url,
    /// The model for the calls of agents. A Batch line names its own.
    pub model: Option<String>,
    /// The key, if the server needs one.
    pub key: Option<SecretString>,
    /// The header that carries the key.
    pub key_header: KeyHeader,
    /// Extra headers of its requests.
    pub headers: Vec<(HeaderName, SecretString)>,
    /// Extra fields of its request bodies. Fields that nova3 writes itself are not among them.
    pub body: serde_json::Map<String, serde_json::Value>,
    /// Requests a minute.
    pub rpm: Option<u32>,
    /// Tokens a minute.
    pub tpm: Option<u64>,
    /// Most tokens of an answer.
    pub max_tokens: Option<u32>,
    /// The request field for `max_tokens`.
    pub token_field: String,
    /// Whether its answers are streamed.
    pub stream: bool,
    /// Whether to ask for usage in streams.
    pub stream_usage: bool,
    /// The strictest structured output that its server supports, by the settings.
    pub structured: Structured,
    /// Tokens of prompt and answer together.
    pub context_window: u64,
    /// The file of its model's vocabulary, which an estimate counts tokens with.
    pub tokenizer: Option<PathBuf>,
    /// Its prices.
    pub prices: RoutePrices,
    /// How long its calls may take.
    pub timeouts: Timeouts,
}

/// The name of the route that is made from the environment when the settings have no routes.
const DEFAULT_NAME: &str = "default";

impl RouteSettings {
    /// Returns its limits per minute.
    pub const fn limits(&self) -> Limits {
        Limits {
            rpm: self.rpm,
            tpm: self.tpm,
        }
    }

    /// Returns host and port of its server.
    pub fn server(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        match self.endpoint.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Returns the price of its own model, if it is known.
    pub fn price(&self) -> Option<&Price> {
        self.prices.of(self.model.as_deref().unwrap_or_default())
    }

    /// Returns whether its server is on this machine.
    pub fn is_here(&self) -> bool {
        keys::is_here(&self.endpoint)
    }

    /// Returns the replacement of a route for `--mock`: without key and cost. A `default` route is renamed to `mock`.
    pub fn mock(base_url: &str, written: &Self) -> Result<Self, ConfigError> {
        let name = if written.name == DEFAULT_NAME {
            "mock"
        } else {
            &written.name
        };
        Ok(Self {
            name: name.to_owned(),
            endpoint: dialect::endpoint(name, base_url, written.dialect)?,
            model: Some("mock".to_owned()),
            key: None,
            prices: RoutePrices::own(Price::default()),
            token_field: written.dialect.token_field().to_owned(),
            stream_usage: true,
            structured: Structured::JsonSchema,
            ..written.clone()
        })
    }
}

/// Returns all routes and all chains. The default chain and its first route come first.
pub(super) fn resolve(
    flags: &Flags,
    written: &RawConfig,
    timeouts: Timeouts,
    env: Env<'_>,
    keys: KeyPolicy,
    layers: &mut Layers,
) -> Result<(Vec<RouteSettings>, Vec<ChainSettings>), ConfigError> {
    let mut routes = Vec::with_capacity(written.routes.len().max(1));
    if written.routes.is_empty() {
        routes.push(from_env(env, keys, timeouts, layers)?);
    }
    for (name, raw) in &written.routes {
        let mut route = checked(name, raw, timeouts, layers)?;
        route.timeouts = timeouts::of_route(name, raw, timeouts, flags, layers)?;
        route.headers = headers::extra(raw, &route, env, keys, layers)?;
        if keys == KeyPolicy::Needed {
            route.key = keys::of_route(name, raw, &route.endpoint, env, layers)?;
        }
        routes.push(route);
    }
    let named = chains::written(written, layers)?;
    let chosen = choose(flags, written, &mut routes, &named, layers)?;
    let first = routes
        .iter()
        .position(|route| route.name == chosen.routes[0])
        .unwrap_or(0);
    routes.swap(0, first);
    let alone = routes.iter().map(|route| ChainSettings::of(&route.name));
    let others = named
        .into_iter()
        .chain(alone)
        .filter(|chain| chain.name != chosen.name);
    let chains: Vec<ChainSettings> = std::iter::once(chosen.clone()).chain(others).collect();
    prices::assign(&mut routes, written, layers)?;
    let default = &mut routes[0];
    if let Some(given) = &flags.rpm {
        default.rpm = Some(given.value);
        layers.note(
            &format!("routes.{}.rpm", default.name),
            given.value,
            given.source.clone(),
        );
    }
    if let Some(given) = &flags.tpm {
        default.tpm = Some(given.value);
        layers.note(
            &format!("routes.{}.tpm", default.name),
            given.value,
            given.source.clone(),
        );
    }
    for route in &routes {
        for (key, zero) in [("rpm", route.rpm == Some(0)), ("tpm", route.tpm == Some(0))] {
            if zero {
                return Err(ConfigError::value(
                    format!("routes.{}.{key}", route.name),
                    0,
                    "1 or more",
                ));
            }
        }
    }
    Ok((routes, chains))
}

/// Returns the default chain: the one that `--model` or `run.model` names, the only chain, the one called `default`, or
/// the only route. A name that is no route and no chain is a model for the only route.
fn choose(
    flags: &Flags,
    written: &RawConfig,
    routes: &mut [RouteSettings],
    named: &[ChainSettings],
    layers: &mut Layers,
) -> Result<ChainSettings, ConfigError> {
    let wanted = match (&flags.model, &written.run.model) {
        (Some(given), _) => Some((given.value.clone(), given.source.clone())),
        (None, Some(model)) => Some((model.clone(), layers.file_source())),
        (None, None) => None,
    };
    let names = || {
        let chains = named.iter().map(|chain| &chain.name);
        chains
            .chain(routes.iter().map(|route| &route.name))
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let Some((wanted, source)) = wanted else {
        if let Some(chain) = chains::only(named) {
            return Ok(chain.clone());
        }
        if routes.len() > 1 {
            return Err(ConfigError::Missing {
                key: "run.model".to_owned(),
                cure: format!(
                    "there are several routes; name one of {} there or with `-m`, or make a chain of them in `[chains]`",
                    names()
                ),
            });
        }
        return Ok(ChainSettings::of(&routes[0].name));
    };
    layers.note("run.model", &wanted, source);
    if let Some(chain) = named.iter().find(|chain| chain.name == wanted) {
        return Ok(chain.clone());
    }
    if routes.iter().any(|route| route.name == wanted) {
        return Ok(ChainSettings::of(&wanted));
    }
    if routes.len() > 1 {
        return Err(ConfigError::value(
            "run.model",
            &wanted,
            format!("a route or a chain: one of {}", names()),
        ));
    }
    routes[0].model = Some(wanted);
    Ok(ChainSettings::of(&routes[0].name))
}

fn from_env(
    env: Env<'_>,
    keys: KeyPolicy,
    timeouts: Timeouts,
    layers: &mut Layers,
) -> Result<RouteSettings, ConfigError> {
    let raw = RawRoute {
        base_url: env("OPENAI_BASE_URL"),
        model: env("OPENAI_MODEL"),
        ..RawRoute::default()
    };
    let source = |given: bool, name: &str| {
        if given {
            Source::Env(name.to_owned())
        } else {
            Source::Default
        }
    };
    let url = raw.base_url.clone().unwrap_or_else(|| OPENAI.to_owned());
    layers.note(
        "routes.default.base_url",
        without_query(&url),
        source(raw.base_url.is_some(), "OPENAI_BASE_URL"),
    );
    if let Some(model) = &raw.model {
        layers.note("routes.default.model", model, source(true, "OPENAI_MODEL"));
    }
    let raw = RawRoute {
        base_url: Some(url),
        ..raw
    };
    // `nova3 config` does not show the defaults of this route: they go to a second list, which is discarded.
    let mut route = checked(DEFAULT_NAME, &raw, timeouts, &mut Layers::new(None))?;
    if keys == KeyPolicy::Needed {
        route.key = keys::of_environment(DEFAULT_NAME, &route.endpoint, env, layers)?;
    }
    Ok(route)
}

/// Returns a checked route without its key and headers, with the timeouts of the run.
fn checked(
    name: &str,
    raw: &RawRoute,
    timeouts: Timeouts,
    layers: &mut Layers,
) -> Result<RouteSettings, ConfigError> {
    let dialect = dialect::dialect(name, raw, layers)?;
    let base_url = raw.base_url.clone().ok_or_else(|| ConfigError::Missing {
        key: format!("routes.{name}.base_url"),
        cure: match dialect {
            Dialect::OpenAi => format!("for OpenAI it is `{}`", dialect.base_url()),
            Dialect::Anthropic => format!("for Anthropic it is `{}`", dialect.base_url()),
        },
    })?;
    let endpoint = dialect::endpoint(name, &base_url, dialect)?;
    let file = layers.file_source();
    layers.note(
        &format!("routes.{name}.base_url"),
        without_query(&base_url),
        file.clone(),
    );
    if let Some(model) = &raw.model {
        layers.note(&format!("routes.{name}.model"), model, file);
    }
    let key_header = headers::key_header(name, raw, dialect, layers)?;
    let token_field = dialect::token_field(name, raw, dialect, layers)?;
    let (stream, stream_usage) = dialect::streaming(name, raw, dialect, layers)?;
    Ok(RouteSettings {
        name: name.to_owned(),
        dialect,
        endpoint,
        model: raw.model.clone(),
        key: None,
        key_header,
        headers: Vec::new(),
        body: body::extra(name, raw, &token_field, layers)?,
        rpm: raw.rpm,
        tpm: raw.tpm,
        max_tokens: raw.max_tokens,
        token_field,
        stream,
        stream_usage,
        structured: model_limits::structured(name, raw)?,
        context_window: model_limits::context_window(name, raw)?,
        tokenizer: raw.tokenizer.clone(),
        prices: RoutePrices::written(prices::price(name, raw)?),
        timeouts,
    })
}
