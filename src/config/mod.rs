//! Makes one checked, complete [`Config`] from flags, environment and settings file, with the source of each value.
//!
//! This is the only module that reads the environment and key files. Secrets have a type that does not print them:
//! `nova3 config` shows the source of a key and not the key.

mod agents;
mod body;
mod chains;
mod conditions;
mod dialect;
mod error;
mod flags;
mod headers;
mod input;
mod keys;
mod metrics;
mod model_limits;
mod origin;
mod otel;
mod paths;
mod price_table;
mod prices;
mod raw;
#[cfg(test)]
mod route_tests;
mod routes;
mod search;
mod store;
mod timeouts;
mod tracing;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use agents::{AgentSettings, AskSettings, ContextBudget};
pub use chains::ChainSettings;
pub use dialect::Dialect;
pub use error::ConfigError;
pub use flags::Flags;
pub use headers::KeyHeader;
pub use input::InputSettings;
pub use metrics::MetricsSettings;
pub use model_limits::Structured;
pub use origin::{Given, Origin, Source};
pub use paths::resolved;
pub use price_table::{ListedPrices, PRICE_TABLE, PriceTable, SourcedPrice};
pub use prices::{RoutePrices, SETTINGS};
pub use routes::RouteSettings;
pub use search::{MOST_PAGES, SearchSettings, provider_key, search_in_force};
pub use store::{PostgresAddress, StoreAddress, Tls, store_in_force};
pub use timeouts::Timeouts;
pub use tracing::{TraceContent, TraceDestination, TraceServer, TraceSettings, trace_settings};

use self::keys::KeyPolicy;
use self::origin::Layers;
use self::raw::RawConfig;
use crate::domain::conditions::{Conditions, OnFailure};
use crate::domain::retry::{BreakerPolicy, RetryPolicy};

/// All settings with their defaults and meanings. `nova3 init` writes this text.
pub const DEFAULT: &str = include_str!("default.toml");

/// The default store. A test checks that `default.toml` names the same one.
pub const DEFAULT_STORE: &str = "nova3.db";

/// Reads one variable of the environment. Tests pass a function of their own.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Returns a variable of the process's environment. An empty variable counts as unset.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the home of the environment"
)]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns whether the variable is set to an empty value. Scripts unset a variable in this way.
#[expect(
    clippy::disallowed_methods,
    reason = "this module is the home of the environment"
)]
pub fn is_empty_variable(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value.is_empty())
}

/// All settings in force.
#[derive(Debug, Clone)]
pub struct Config {
    /// Requests in flight at once.
    pub concurrency: usize,
    /// The durable store.
    pub store: StoreAddress,
    /// Time for calls in flight to finish after the first signal.
    pub grace: Duration,
    /// Time to wait for a store that is in use.
    pub wait_lock: Duration,
    /// Time from a worker's last heartbeat until its leases expire.
    pub lease: Duration,
    /// The timeouts of routes that set none of their own.
    pub timeouts: Timeouts,
    /// How often and when a call is retried.
    pub retry: RetryPolicy,
    /// When the breaker of a route opens.
    pub breaker: BreakerPolicy,
    /// A route whose pause is longer than this is skipped while another route of its chain is free.
    pub patience: Duration,
    /// Conditions that stop the run before its work is done.
    pub conditions: Conditions,
    /// How a request continues after a failed task.
    pub on_failure: OnFailure,
    /// Queues in memory at most.
    pub max_queues: usize,
    /// Memory limit in bytes, instead of the limit of the container or machine.
    pub memory_limit: Option<u64>,
    /// Idle connections that are kept for each host.
    pub idle_connections: usize,
    /// A PEM file of additional certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// How the columns of a table become a request.
    pub input: InputSettings,
    /// The settings of agents.
    pub agents: AgentSettings,
    /// The most earlier material that a prompt may contain.
    pub context: ContextBudget,
    /// The settings of searches.
    pub search: SearchSettings,
    /// Where metrics can be read.
    pub metrics: MetricsSettings,
    /// The routes. The first one is the first route of the default chain.
    pub routes: Vec<RouteSettings>,
    /// The chains, and each route as a chain of one. The default chain is first.
    pub chains: Vec<ChainSettings>,
    /// The settings file that was read.
    pub file: Option<PathBuf>,
    /// The source of each value.
    pub origins: Vec<Origin>,
}

impl Config {
    /// Loads the settings. An error names the setting, its wrong value, and the allowed values or the cure.
    pub fn load(flags: &Flags, env: Env<'_>) -> Result<Self, ConfigError> {
        Self::load_with(KeyPolicy::Needed, flags, env)
    }

    /// Loads the settings for a command that needs no keys. No key is read, and a missing key is no error.
    pub fn load_without_keys(flags: &Flags, env: Env<'_>) -> Result<Self, ConfigError> {
        Self::load_with(KeyPolicy::Unread, flags, env)
    }

    fn load_with(keys: KeyPolicy, flags: &Flags, env: Env<'_>) -> Result<Self, ConfigError> {
        let file = find_file(flags, env)?;
        let written = file.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let default = defaults()?;
        let mut layers = Layers::new(file.as_deref());
        let (run, base) = (&written.run, &default.run);
        let concurrency = layers.pick(
            "run.concurrency",
            flags.concurrency.as_ref(),
            run.concurrency,
            base.concurrency,
        )?;
        if !(1..=100_000).contains(&concurrency) {
            return Err(ConfigError::value("run.concurrency", concurrency, "1 to 100000"));
        }
        let timeouts = timeouts::of_run(flags, &written, &default, &mut layers)?;
        let (retry, breaker, patience) = resilience(&written, &default, &mut layers)?;
        let conditions = conditions::resolve(flags, &written, &default, &mut layers)?;
        let on_failure = conditions::on_failure(flags, &written, &default, &mut layers)?;
        let max_queues = conditions::max_queues(concurrency, &written, &default, &mut layers)?;
        let memory_limit = conditions::memory_limit(flags, &written, &mut layers)?;
        let store = store::resolve(
            flags.store.as_ref(),
            run.store.as_ref(),
            base.store.as_ref(),
            env,
            &mut layers,
        )?;
        let (routes, chains) = routes::resolve(flags, &written, timeouts, env, keys, &mut layers)?;
        let config = Self {
            concurrency,
            store,
            grace: layers.duration(
                "run.grace",
                flags.grace.as_ref(),
                run.grace.as_ref(),
                base.grace.as_ref(),
            )?,
            lease: conditions::lease(&written, &default, &mut layers)?,
            wait_lock: layers.duration(
                "run.wait_lock",
                flags.wait_lock.as_ref(),
                run.wait_lock.as_ref(),
                base.wait_lock.as_ref(),
            )?,
            timeouts,
            retry,
            breaker,
            patience,
            conditions,
            on_failure,
            max_queues,
            memory_limit,
            idle_connections: layers.pick(
                "http.idle_connections",
                None,
                written.http.idle_connections,
                default.http.idle_connections,
            )?,
            ca_file: written.http.ca_file.clone(),
            input: input::input(flags, &written, &mut layers)?,
            agents: agents::agents(&written, &default, env, &mut layers)?,
            context: agents::context(&written, &default, &mut layers)?,
            search: search::search(
                &written,
                &default,
                search::OfRoutes {
                    connect: timeouts.connect,
                    retry,
                    breaker,
                    patience,
                },
                &mut layers,
            )?,
            metrics: metrics::metrics(flags, &written, &mut layers)?,
            routes,
            chains,
            file,
            origins: layers.into_origins(),
        };
        Ok(config)
    }
}

/// Loads the settings of agents and of their prompts alone, for commands that need no route.
pub fn agents_in_force(flags: &Flags, env: Env<'_>) -> Result<(AgentSettings, ContextBudget), ConfigError> {
    let file = find_file(flags, env)?;
    let written = file.as_deref().map(read_file).transpose()?.unwrap_or_default();
    let default = defaults()?;
    let mut layers = Layers::new(file.as_deref());
    Ok((
        agents::agents(&written, &default, env, &mut layers)?,
        agents::context(&written, &default, &mut layers)?,
    ))
}

fn defaults() -> Result<RawConfig, ConfigError> {
    toml::from_str(DEFAULT).map_err(|error| ConfigError::File {
        path: PathBuf::from("the built-in defaults"),
        reason: error.to_string(),
    })
}

/// Returns the settings of retries and of the breaker, and the longest pause for which a call stays on its route.
fn resilience(
    written: &RawConfig,
    default: &RawConfig,
    layers: &mut Layers,
) -> Result<(RetryPolicy, BreakerPolicy, Duration), ConfigError> {
    let retry = RetryPolicy {
        retries: layers.pick(
            "retry.retries",
            None,
            written.retry.retries,
            default.retry.retries,
        )?,
        base: layers.duration(
            "retry.base",
            None,
            written.retry.base.as_ref(),
            default.retry.base.as_ref(),
        )?,
        longest: layers.duration(
            "retry.longest",
            None,
            written.retry.longest.as_ref(),
            default.retry.longest.as_ref(),
        )?,
    };
    let breaker = BreakerPolicy {
        failures: layers.pick(
            "breaker.failures",
            None,
            written.breaker.failures,
            default.breaker.failures,
        )?,
        open: layers.duration(
            "breaker.open",
            None,
            written.breaker.open.as_ref(),
            default.breaker.open.as_ref(),
        )?,
    };
    if breaker.failures == 0 {
        return Err(ConfigError::value("breaker.failures", 0, "1 or more"));
    }
    let patience = layers.duration(
        "retry.patience",
        None,
        written.retry.patience.as_ref(),
        default.retry.patience.as_ref(),
    )?;
    Ok((retry, breaker, patience))
}

/// Returns the path of the settings file. A file that `--config` or `NOVA3_CONFIG` names must exist; the others may.
fn find_file(flags: &Flags, env: Env<'_>) -> Result<Option<PathBuf>, ConfigError> {
    if let Some(path) = flags
        .config
        .clone()
        .or_else(|| env("NOVA3_CONFIG").map(PathBuf::from))
    {
        if path.is_file() {
            return Ok(Some(path));
        }
        return Err(ConfigError::File {
            path,
            reason: "there is no such file".to_owned(),
        });
    }
    let home = env("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| env("HOME").map(|home| PathBuf::from(home).join(".config")));
    let candidates = [
        Some(PathBuf::from("nova3.toml")),
        home.map(|home| home.join("nova3/config.toml")),
    ];
    Ok(candidates.into_iter().flatten().find(|path| path.is_file()))
}

fn read_file(path: &Path) -> Result<RawConfig, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::File {
        path: path.to_path_buf(),
        reason: error.to_string(),
    })?;
    toml::from_str(&text).map_err(|error| {
        // The error names the line and does not show it: the line may contain a key by mistake.
        let before = error.span().and_then(|span| text.as_bytes().get(..span.start));
        let line = 1 + before.map_or(0, |before| before.iter().filter(|byte| **byte == b'\n').count());
        ConfigError::File {
            path: path.to_path_buf(),
            reason: format!("line {line}: {}", error.message()),
        }
    })
}

#[cfg(test)]
mod tests;
