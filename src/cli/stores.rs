//! Finds and opens the store of a command.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use tokio::time::Instant;

use super::args::{Global, ReadFrom};
use super::exit::{Exit, decided};
use super::setup::MOCK_STORE;
use crate::config::{
    Config, Flags, Given, PostgresAddress, Source, StoreAddress, process_env, store_in_force,
};
use crate::limit::{InPostgres, InProcess, LimitState, LimitStore, Limiter};
use crate::llm::Client;
use crate::observe::tell;
use crate::postgres::Database;
use crate::search::{Provider, Providers, Searcher, StoreCache, route_name};
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// An open store, and the place of its limits a minute.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    limits: LimitsIn,
}

/// The place where limits a minute outlive the process.
enum LimitsIn {
    /// In the store's file, for the next process.
    File(Arc<SqliteStore>),
    /// In a database, shared by all hosts.
    Database(Database),
}

/// The limits of one route in a SQLite file.
#[derive(Debug)]
struct FileLimits {
    store: Arc<SqliteStore>,
    route: String,
    server: String,
}

#[async_trait]
impl LimitStore for FileLimits {
    async fn put(&self, state: &LimitState) -> Result<(), String> {
        self.store
            .put_limit_state(&self.route, &self.server, state)
            .await
            .map_err(|error| error.to_string())
    }
}

/// The store of a command that only reads or changes an existing one.
pub(super) fn address(store: Option<&PathBuf>, global: &Global) -> Result<StoreAddress> {
    let flags = Flags {
        config: global.config.clone(),
        store: given(store),
        ..Flags::default()
    };
    Ok(store_in_force(&flags, &process_env)?)
}

/// A store of the command line or of its variable.
pub(super) fn given(store: Option<&PathBuf>) -> Option<Given<PathBuf>> {
    store.cloned().map(|value| Given {
        source: source(&value, "--store", "NOVA3_STORE"),
        value,
    })
}

/// The store of a run. A rehearsal has its own, unless another one is named.
pub(super) fn of_run(flags: &Flags, mock: bool) -> Result<StoreAddress> {
    let configured = Config::load_without_keys(flags, &process_env)?.store;
    Ok(if mock && flags.store.is_none() {
        StoreAddress::File(MOCK_STORE.into())
    } else {
        configured
    })
}

/// Clap merges flag and variable. A value equal to the variable came from the variable.
fn source(value: &Path, flag: &'static str, name: &str) -> Source {
    match process_env(name) {
        Some(variable) if Path::new(&variable) == value => Source::Env(name.to_owned()),
        _ => Source::Flag(flag),
    }
}

/// A waiting command prints its message this often.
const SAID: Duration = Duration::from_secs(30);

/// A shorter wait prints no message.
const TOLD: Duration = Duration::from_secs(1);

/// Opens the store to work on it, and creates it if it does not exist. Waits up to `wait` for a store that is in use or does
/// not answer, and prints a message at once and every half minute.
pub(super) async fn to_work(address: &StoreAddress, wait: Duration, global: &Global) -> Result<Opened> {
    let begun = Instant::now();
    let mut patience = Duration::ZERO;
    loop {
        let tried = Instant::now();
        let error = match open(address, patience).await {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        let left = wait.saturating_sub(begun.elapsed());
        // An error that came before the timeout does not go away by waiting.
        let passes = patience.is_zero() || tried.elapsed() >= patience;
        let Some(waits) = waits(address, &error).filter(|_| passes && !left.is_zero()) else {
            return Err(error);
        };
        if !global.quiet && left >= TOLD {
            tell(&format!("waiting for up to {} s: {waits}", left.as_secs()));
        }
        patience = left.min(SAID);
    }
}

/// The message of an error that waiting may solve.
fn waits(address: &StoreAddress, error: &anyhow::Error) -> Option<String> {
    match error.downcast_ref::<StoreError>()? {
        StoreError::InUse { path, holder } => {
            Some(format!("store `{}` is in use by {holder}", path.display()))
        }
        StoreError::Io { reason, .. } => match address {
            StoreAddress::Postgres(address) => {
                Some(format!("database `{address}` does not answer: {reason}"))
            }
            StoreAddress::File(_) => None,
        },
        _ => None,
    }
}

async fn open(address: &StoreAddress, wait: Duration) -> Result<Opened> {
    match address {
        StoreAddress::File(path) => {
            let store = Arc::new(SqliteStore::open(path, wait, &super::setup::holder())?);
            Ok(Opened {
                limits: LimitsIn::File(Arc::clone(&store)),
                store,
            })
        }
        StoreAddress::Postgres(address) => {
            let database = database(address)?;
            let store = PostgresStore::open(database.clone(), wait).await?;
            Ok(Opened {
                store: Arc::new(store),
                limits: LimitsIn::Database(database),
            })
        }
    }
}

impl Opened {
    /// A client for the configured routes. Its limits continue from the stored state, and hosts that share the store share
    /// the limits.
    pub(super) async fn client(&self, config: &Config) -> Result<Client> {
        let made = match &self.limits {
            LimitsIn::File(store) => {
                let mut states = HashMap::new();
                for route in &config.routes {
                    let state = store.limit_state(&route.name, &route.server()).await?;
                    states.insert(route.name.as_str(), state);
                }
                Client::with_limits(config, &|route| {
                    let state = states.get(route.name.as_str()).and_then(Option::as_ref);
                    let limits = FileLimits {
                        store: Arc::clone(store),
                        route: route.name.clone(),
                        server: route.server(),
                    };
                    Arc::new(InProcess::stored(route.limits(), state, Arc::new(limits)))
                })
            }
            LimitsIn::Database(database) => Client::with_limits(config, &|route| {
                if failpoint!("limits-of-each-process") {
                    return Arc::new(InProcess::new(route.limits()));
                }
                Arc::new(InPostgres::new(database.clone(), &route.name, route.limits()))
            }),
        };
        made.map_err(|error| decided(Exit::Usage, error.to_string()))
    }

    /// The searcher for these providers. Its cache is in the store, and its limits continue like those of routes.
    pub(super) async fn searcher(&self, config: &Config, providers: Providers) -> Result<Searcher> {
        let cache = StoreCache::new(Arc::clone(&self.store), config.search.cache_bytes);
        let settings = config.search.clone();
        let mut states = HashMap::new();
        if let LimitsIn::File(store) = &self.limits {
            for provider in providers.all() {
                let state = store
                    .limit_state(&route_name(&provider.name), &provider.server())
                    .await?;
                states.insert(provider.name.clone(), state);
            }
        }
        let limiter = |provider: &Provider| -> Arc<dyn Limiter> {
            let (route, limits) = (route_name(&provider.name), provider.limits());
            match &self.limits {
                LimitsIn::File(store) => {
                    let state = states.get(&provider.name).and_then(Option::as_ref);
                    let stored = FileLimits {
                        store: Arc::clone(store),
                        route,
                        server: provider.server(),
                    };
                    Arc::new(InProcess::stored(limits, state, Arc::new(stored)))
                }
                LimitsIn::Database(database) => Arc::new(InPostgres::new(database.clone(), &route, limits)),
            }
        };
        Ok(Searcher::new(providers, settings, Arc::new(cache), &limiter))
    }
}

fn database(address: &PostgresAddress) -> Result<Database> {
    Database::new(address).map_err(|reason| decided(Exit::Usage, format!("store `{address}`: {reason}")))
}

/// Opens an existing store to read it.
pub(super) async fn to_read(store: Option<&PathBuf>, global: &Global) -> Result<Arc<dyn Store>> {
    let address = address(store, global)?;
    match &address {
        StoreAddress::File(path) => {
            refuse_absent(path, store.is_none())?;
            Ok(Arc::new(SqliteStore::open_to_read(path)?))
        }
        StoreAddress::Postgres(address) => match PostgresStore::if_there(database(address)?).await? {
            Some(store) => Ok(Arc::new(store)),
            None => Err(none_there(address)),
        },
    }
}

/// A store that is only read, and its age if it is a replica.
pub(super) struct ReadStore {
    pub(super) store: Arc<dyn Store>,
    /// How far a replica is behind its store; `None` for a store that is no replica.
    pub(super) age: Option<Duration>,
}

/// A replica that is further behind is told.
const TOLD_AGE: Duration = Duration::from_secs(1);

/// As [`to_read_again`]. A replica that is behind is told on stderr.
pub(super) async fn to_read_from(from: &ReadFrom, global: &Global) -> Result<ReadStore> {
    let read = to_read_again(from, global).await?;
    if let Some(age) = read.age.filter(|age| *age >= TOLD_AGE && !global.quiet) {
        let seconds = age.as_secs();
        tell(&format!(
            "the replica is {seconds} s behind its store; what is newer is not shown"
        ));
    }
    Ok(read)
}

/// Opens the store that a command reads: the replica of `--read-store`, or else the store itself. The connections of a
/// replica can write nothing.
pub(super) async fn to_read_again(from: &ReadFrom, global: &Global) -> Result<ReadStore> {
    let Some(given) = &from.read_store else {
        let store = to_read(from.store.as_ref(), global).await?;
        return Ok(ReadStore { store, age: None });
    };
    let source = source(given, "--read-store", "NOVA3_READ_STORE");
    let address = match StoreAddress::read(given, &source, &process_env)? {
        StoreAddress::Postgres(address) => address,
        StoreAddress::File(path) => {
            refuse_absent(&path, false)?;
            let store = Arc::new(SqliteStore::open_to_read(&path)?);
            return Ok(ReadStore { store, age: None });
        }
    };
    let made = Database::to_read(&address);
    let database = made.map_err(|reason| decided(Exit::Usage, format!("store `{address}`: {reason}")))?;
    let Some(store) = PostgresStore::if_there(database).await? else {
        let message =
            format!("database `{address}` holds no store (`--read-store` names a replica of `--store`)");
        return Err(decided(Exit::Nothing, message));
    };
    let age = store.replica_age().await?;
    let store = Arc::new(store);
    Ok(ReadStore { store, age })
}

/// Opens an existing store to change it. A mistyped path leaves no empty store behind.
pub(super) async fn to_change(
    store: Option<&PathBuf>,
    global: &Global,
    wait: Duration,
) -> Result<Arc<dyn Store>> {
    let address = address(store, global)?;
    match &address {
        StoreAddress::File(path) => {
            refuse_absent(path, store.is_none())?;
            drop(SqliteStore::open_to_read(path)?);
        }
        StoreAddress::Postgres(address) => {
            if PostgresStore::if_there(database(address)?).await?.is_none() {
                return Err(none_there(address));
            }
        }
    }
    Ok(to_work(&address, wait, global).await?.store)
}

/// Opens a store to read it, if it exists.
pub(super) async fn if_there(address: &StoreAddress) -> Result<Option<Arc<dyn Store>>> {
    match address {
        StoreAddress::File(path) if !path.is_file() => Ok(None),
        StoreAddress::File(path) => Ok(Some(Arc::new(SqliteStore::open_to_read(path)?))),
        StoreAddress::Postgres(address) => {
            let store = PostgresStore::if_there(database(address)?).await?;
            Ok(store.map(|store| Arc::new(store) as Arc<dyn Store>))
        }
    }
}

fn none_there(address: &PostgresAddress) -> anyhow::Error {
    let message =
        format!("database `{address}` holds no store (start a run first, or name another with `--store`)");
    decided(Exit::Nothing, message)
}

fn refuse_absent(path: &Path, by_default: bool) -> Result<()> {
    if !std::fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(());
    }
    let cure = if by_default && Path::new(MOCK_STORE).is_file() {
        format!("rehearsals are in `--store {MOCK_STORE}`")
    } else {
        "start a run first, or name its store with `--store`".to_owned()
    };
    let message = format!("there is no store `{}` ({cure})", path.display());
    Err(decided(Exit::Nothing, message))
}
