//! Routes: from what is written to what can be called.

use reqwest::Url;
use secrecy::SecretString;

use super::chains::{self, Chain};
use super::error::ConfigError;
use super::keys::{self, Keys};
use super::model_limits::{self, CONTEXT_WINDOW, Structured};
use super::origin::{Layers, Source};
use super::prices;
use super::raw::{RawConfig, RawRoute};
use super::{Env, Flags};
use crate::domain::bucket::Limits;
use crate::domain::ids::shortened;
use crate::domain::prices::Price;

/// One way to reach a model.
#[derive(Debug, Clone)]
pub struct Route {
    /// Its name in settings, results and messages.
    pub name: String,
    /// Where Chat Completions are asked for.
    pub endpoint: Url,
    /// The model that agents ask for; a Batch line names its own.
    pub model: Option<String>,
    /// The key, where one is needed.
    pub key: Option<SecretString>,
    /// Requests a minute.
    pub rpm: Option<u32>,
    /// Tokens a minute.
    pub tpm: Option<u64>,
    /// Tokens an answer may have at most.
    pub max_tokens: Option<u32>,
    /// The field that says so.
    pub max_tokens_field: String,
    /// Whether to ask for usage in streams.
    pub stream_usage: bool,
    /// What it understands of structured output, as far as the settings know.
    pub structured: Structured,
    /// Tokens of prompt and answer together.
    pub context_window: u64,
    /// What it costs.
    pub price: Option<Price>,
}

/// The route that the environment makes where the settings name none.
const DEFAULT_NAME: &str = "default";

const OPENAI: &str = "https://api.openai.com/v1";

impl Route {
    /// What it may be asked in a minute.
    pub const fn limits(&self) -> Limits {
        Limits {
            rpm: self.rpm,
            tpm: self.tpm,
        }
    }

    /// The server that answers: host and port.
    pub fn server(&self) -> String {
        let host = self.endpoint.host_str().unwrap_or_default();
        match self.endpoint.port_or_known_default() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Whether its server is on this machine.
    pub fn is_here(&self) -> bool {
        keys::is_here(&self.endpoint)
    }

    /// What stands in for a route with `--mock`: no key, free. One that nobody named is called `mock`.
    pub fn mock(base_url: &str, written: &Self) -> Result<Self, ConfigError> {
        let name = if written.name == DEFAULT_NAME {
            "mock"
        } else {
            &written.name
        };
        Ok(Self {
            name: name.to_owned(),
            endpoint: endpoint(name, base_url)?,
            model: Some("mock".to_owned()),
            key: None,
            price: Some(Price::default()),
            max_tokens_field: "max_completion_tokens".to_owned(),
            stream_usage: true,
            structured: Structured::JsonSchema,
            ..written.clone()
        })
    }

    /// What `--mock` starts from when nothing is configured: only the limits that flags give.
    pub fn bare(flags: &Flags) -> Result<Self, ConfigError> {
        Ok(Self {
            name: DEFAULT_NAME.to_owned(),
            endpoint: endpoint(DEFAULT_NAME, OPENAI)?,
            model: None,
            key: None,
            rpm: flags.rpm.as_ref().map(|given| given.value),
            tpm: flags.tpm.as_ref().map(|given| given.value),
            max_tokens: None,
            max_tokens_field: "max_completion_tokens".to_owned(),
            stream_usage: true,
            structured: Structured::JsonSchema,
            context_window: CONTEXT_WINDOW,
            price: None,
        })
    }
}

/// All routes, the first choice of the default chain first; and all chains, the default one first.
pub(super) fn resolve(
    flags: &Flags,
    written: &RawConfig,
    env: Env<'_>,
    keys: Keys,
    layers: &mut Layers,
) -> Result<(Vec<Route>, Vec<Chain>), ConfigError> {
    let mut routes = Vec::with_capacity(written.routes.len().max(1));
    if written.routes.is_empty() {
        routes.push(from_env(env, keys, layers)?);
    }
    for (name, raw) in &written.routes {
        let mut route = checked(name, raw, layers)?;
        if keys == Keys::Needed {
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
    let alone = routes.iter().map(|route| Chain::of(&route.name));
    let others = named
        .into_iter()
        .chain(alone)
        .filter(|chain| chain.name != chosen.name);
    let chains: Vec<Chain> = std::iter::once(chosen.clone()).chain(others).collect();
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

/// Which chain is the default: the only route or chain, the one called `default`, or the one that `--model` or
/// `run.model` names. A name that is neither's is a model for the only route.
fn choose(
    flags: &Flags,
    written: &RawConfig,
    routes: &mut [Route],
    named: &[Chain],
    layers: &mut Layers,
) -> Result<Chain, ConfigError> {
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
        return Ok(Chain::of(&routes[0].name));
    };
    layers.note("run.model", &wanted, source);
    if let Some(chain) = named.iter().find(|chain| chain.name == wanted) {
        return Ok(chain.clone());
    }
    if routes.iter().any(|route| route.name == wanted) {
        return Ok(Chain::of(&wanted));
    }
    if routes.len() > 1 {
        return Err(ConfigError::value(
            "run.model",
            &wanted,
            format!("a route or a chain: one of {}", names()),
        ));
    }
    routes[0].model = Some(wanted);
    Ok(Chain::of(&routes[0].name))
}

fn from_env(env: Env<'_>, keys: Keys, layers: &mut Layers) -> Result<Route, ConfigError> {
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
    let mut route = checked(DEFAULT_NAME, &raw, layers)?;
    if keys == Keys::Needed {
        route.key = keys::of_environment(DEFAULT_NAME, &route.endpoint, env, layers)?;
    }
    Ok(route)
}

/// The route without its key.
fn checked(name: &str, raw: &RawRoute, layers: &mut Layers) -> Result<Route, ConfigError> {
    let base_url = raw.base_url.clone().ok_or_else(|| ConfigError::Missing {
        key: format!("routes.{name}.base_url"),
        cure: format!("for OpenAI it is `{OPENAI}`"),
    })?;
    let endpoint = endpoint(name, &base_url)?;
    if raw.base_url.is_some() && layers.file_source() != Source::Default && name != DEFAULT_NAME {
        let file = layers.file_source();
        layers.note(
            &format!("routes.{name}.base_url"),
            without_query(&base_url),
            file.clone(),
        );
        if let Some(model) = &raw.model {
            layers.note(&format!("routes.{name}.model"), model, file);
        }
    }
    Ok(Route {
        name: name.to_owned(),
        endpoint,
        model: raw.model.clone(),
        key: None,
        rpm: raw.rpm,
        tpm: raw.tpm,
        max_tokens: raw.max_tokens,
        max_tokens_field: raw
            .max_tokens_field
            .clone()
            .unwrap_or_else(|| "max_completion_tokens".to_owned()),
        stream_usage: raw.stream_usage.unwrap_or(true),
        structured: model_limits::structured(name, raw)?,
        context_window: model_limits::context_window(name, raw)?,
        price: prices::price(name, raw)?,
    })
}

fn endpoint(name: &str, base_url: &str) -> Result<Url, ConfigError> {
    let key = format!("routes.{name}.base_url");
    let expected =
        "an http or https address such as `https://api.openai.com/v1`, without a name or password in it";
    // What cannot be read as an address may still hold a password before its `@`.
    let shown = if base_url.contains('@') {
        "…".to_owned()
    } else {
        shortened(without_query(base_url), 80)
    };
    let wrong = || ConfigError::value(&key, &shown, expected);
    let base = Url::parse(base_url.trim()).map_err(|_| wrong())?;
    if !base.username().is_empty() || base.password().is_some() {
        return Err(ConfigError::value(&key, "…", expected));
    }
    if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
        return Err(wrong());
    }
    let mut url = base;
    let path = url.path().trim_end_matches('/').to_owned();
    let path = if path.ends_with("/chat/completions") {
        path
    } else {
        format!("{path}/chat/completions")
    };
    url.set_path(&path);
    Ok(url)
}

/// An address as it is shown: some providers take their key in the query.
fn without_query(base_url: &str) -> &str {
    base_url.split_once('?').map_or(base_url, |(address, _)| address)
}
